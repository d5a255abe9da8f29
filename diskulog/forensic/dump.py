# SPDX-License-Identifier: LGPL-2.1-or-later
"""The text and the JSON of a log: canonical, so that dumps of equal logs are equal, and others differ where they do.

Lives here: a log in, its dump out, line by line. Does not judge it, and does not know how a dump is read (``undump``).
"""

import json
from collections.abc import Iterable, Iterator
from typing import Final

from diskulog.forensic.bitmap import Bitmap, Regions
from diskulog.forensic.image import Image
from diskulog.forensic.text import moment
from diskulog.ondisk import ALL_REGIONS, State
from diskulog.printable import printable
from diskulog.units import SECTOR_BYTES, human_bytes

FIRST_LINE: Final = "diskulog dump 1"
LAST_LINE: Final = "end"
FORMAT_VERSION: Final = 1
# What a dump says of the extension, and of which kind it is. The rest belongs to a device or to a boot: where the
# sync bitmap lies, checksums, which boot had it open.
FIELDS: Final[tuple[tuple[str, type], ...]] = (
    ("uuid", str),
    ("region_size_sectors", int),
    ("target_length_sectors", int),
    ("generation", int),
    ("created_seconds", int),
    ("resumed_seconds", int),
    ("closed_seconds", int),
    ("host_name", str),
    ("compatible", int),
)
STATES: Final = {State.OPEN: "open", State.CLOSED: "closed", State.RELEASED: "released"}
KINDS: Final = ("dirty", "out_of_sync")  # bits that are 0 in the clean bitmap, in the sync bitmap


def facts(image: Image) -> dict[str, str | int | None]:
    """Return what a dump says beside the ranges, in the order of its lines; None: the log does not know it yet."""
    extension = image.extension
    found: dict[str, str | int | None] = {"dialect": "diskulog" if extension else "kernel"}
    if extension:
        found["state"] = STATES[extension.state]
    found["region_count"] = None if image.header.nr_regions == ALL_REGIONS else image.header.nr_regions
    found["bit_count"] = image.bit_count
    if extension:
        found |= {name: getattr(extension, name) for name, _ in FIELDS}
        # bytes that are no UTF-8 became longer when they were read
        found["host_name"] = extension.host_name.encode()[:64].decode(errors="ignore").rstrip("\0")
    return found


def counts(image: Image) -> dict[str, int]:
    """Count what the ranges come to: a dump that lost a line is not to be read as a log with more clean regions."""
    return {f"{kind}_count": regions.zeros for kind, regions in _kinds(image)}


def text(image: Image) -> Iterator[str]:
    """Yield the text of a dump."""
    yield f"{FIRST_LINE}\n"
    yield "# 'diskulog restore FILE DEV' makes a log of it again; lines that begin with # are not read\n"
    for name, value in (facts(image) | counts(image)).items():
        yield from (f"# {line}\n" for line in _remark(name, value))
        yield f"{name} {json.dumps(value)}\n"
    for kind, regions in _kinds(image):
        ranges, count = regions.range_count, regions.zeros
        yield f"# {kind}, first region and count: {ranges} range{'s' * (ranges != 1)}, {count} of {regions.count}\n"
        yield from (f"{kind} {first} {length}\n" for first, length in regions.ranges())
    yield f"{LAST_LINE}\n"


def as_json(image: Image, exit_status: int = 0) -> Iterator[str]:
    """Yield the same as one JSON document."""
    document = {
        "format_version": FORMAT_VERSION,
        "command": "dump",
        "exit_status": exit_status,
        "log": facts(image) | counts(image),
    }
    yield json.dumps(document, indent=1)[:-2]
    for kind, regions in _kinds(image):
        yield f',\n "{kind}": ['
        yield from listed(f"\n  [{first}, {length}]" for first, length in regions.ranges())
        yield "]"
    yield "\n}\n"


def _kinds(image: Image) -> Iterator[tuple[str, Regions]]:
    bitmaps: tuple[Bitmap | None, ...] = (image.clean, image.sync)
    for kind, bitmap in zip(KINDS, bitmaps, strict=True):
        if bitmap is not None:
            yield kind, Regions(image.bit_count, (bitmap,))


def listed(written: Iterable[str]) -> Iterator[str]:
    """Put commas between the elements of a JSON list, however many there are."""
    before = ""
    for each in written:
        yield before + each
        before = ","


def _remark(name: str, value: str | int | None) -> Iterator[str]:
    if isinstance(value, int) and name.endswith("_seconds"):
        yield f"{name.removesuffix('_seconds')}: {printable(moment(value))}"
    elif isinstance(value, int) and name.endswith("_sectors") and value:
        yield f"{name.removesuffix('_sectors').replace('_', ' ')}: {human_bytes(value * SECTOR_BYTES)}"
