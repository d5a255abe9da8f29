# SPDX-License-Identifier: LGPL-2.1-or-later
"""``mark``: regions that somebody calls dirty by hand, so that they are copied at the next activation.

Lives here: which regions ranges touch, and what marking them comes to. Does not ask, write or print.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from diskulog.errors import RefusedError
from diskulog.exits import UsageError
from diskulog.forensic import belief, bitmap
from diskulog.forensic.bitmap import Regions
from diskulog.forensic.image import Image
from diskulog.forensic.report import report
from diskulog.ondisk import Extension, State
from diskulog.units import SECTOR_BYTES

Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Plan:
    """``clean`` is the clean bitmap afterwards, None when there is nothing to do.

    ``during`` is what the extension says while the bitmap is written, ``extension`` what afterwards: a closed log is
    open in between, so that a stop in the middle costs nothing. None where the kernel's own log has none.
    """

    summary: str
    clean: Regions | None = None
    during: Extension | None = None
    extension: Extension | None = None


def regions_of(image: Image, spans: Sequence[Range], unit_bytes: int | None) -> list[Range]:
    """Return the regions behind ranges of bytes or sectors of the mirror; ``unit_bytes`` None: they are regions.

    Raises:
        UsageError: when the log does not know its region size.
    """
    if unit_bytes is None:
        return list(spans)
    size = report(image).span_bytes(0, 1)
    if size is None or image.extension is None:
        raise UsageError(f"{image.name} does not say how large its regions are: name regions (--regions)")
    region_bytes = image.extension.region_size_sectors * SECTOR_BYTES
    return [
        (first * unit_bytes // region_bytes, ((last + 1) * unit_bytes - 1) // region_bytes) for first, last in spans
    ]


def plan(image: Image, regions: Sequence[Range]) -> Plan:
    """Decide what marking ranges of regions, as (first, last), comes to.

    Raises:
        UsageError: when the mirror has no such regions.
        RefusedError: when the log is damaged: what is marked in it may be lost by whatever mends it.
    """
    for first, last in regions:
        if last >= image.bit_count:
            raise UsageError(f"region {last if first < image.bit_count else first} of {image.bit_count} does not exist")
    if belief.judge(image) not in belief.TAKES_CLEAN | belief.TAKES_BOTH:
        raise RefusedError(image.name, "is damaged", "repair or adopt it first ('diskulog check' says what it is)")
    marked = bitmap.made(image.name, image.bit_count, _merged(regions))
    before = Regions(image.bit_count, (image.clean,))
    after = Regions(image.bit_count, (image.clean, marked))
    more = after.zeros - before.zeros
    if not more:
        return Plan("nothing to mark: these regions are dirty already")
    summary = f"{more} more region{'s' * (more != 1)} dirty, {after.zeros} of {image.bit_count} in all"
    if image.extension is None:
        return Plan(summary, after)
    # no live log of this boot may be found again in it: it would keep the region in sync
    marked_one = image.extension.changed(boot_id=bytes(16), live_token=bytes(8))
    if marked_one.state is not State.CLOSED:
        return Plan(summary, after, marked_one, marked_one)
    during = replace(marked_one, state=State.OPEN, clean_crc32=0, sync_crc32=0)
    return Plan(summary, after, during, replace(marked_one, clean_crc32=_crc32(after)))


def _merged(regions: Sequence[Range]) -> Iterator[Range]:
    """Yield ranges as (first, count), in order and apart."""
    begin, end = 0, 0
    for first, last in sorted(regions):
        if first > end:
            if end > begin:
                yield begin, end - begin
            begin = first
        end = max(end, last + 1)
    if end > begin:
        yield begin, end - begin


def _crc32(regions: Regions) -> int:
    checksum = 0
    for piece in regions.pieces():
        checksum = zlib.crc32(piece, checksum)
    return checksum
