# SPDX-License-Identifier: LGPL-2.1-or-later
"""``repair``: a log that can be believed, made of one that cannot; dirty wherever in doubt.

Lives here: which bits of a damaged log are beyond doubt, and why. Does not ask, write or print.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from diskulog import ondisk
from diskulog.errors import BadLogError, DeviceError
from diskulog.exits import UsageError
from diskulog.forensic import adopt, belief, bitmap, image
from diskulog.forensic.belief import Belief
from diskulog.forensic.bitmap import Bitmap, Regions
from diskulog.forensic.image import Image
from diskulog.forensic.source import Source, Through
from diskulog.ondisk import Dialect, Extension, Header, State
from diskulog.units import MAX_REGION_COUNT, round_down

UNREADABLE_STEP_BYTES: Final = 4096  # what is lost around a bad sector


@dataclass(frozen=True, slots=True)
class Found:
    """A damaged log: what could be read of it, and what is wrong beyond what its bytes say."""

    image: Image
    header_lost: bool = False
    bits_lost: bool = False
    unreadable_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """``image`` is the log to write, None when nothing is to be repaired; ``reasons`` say what is in doubt."""

    image: Image | None
    reasons: tuple[str, ...]


@dataclass(slots=True)
class Tolerant(Through):
    """A source whose bytes read as zeros, which is dirty, where the device fails."""

    head: bytes | None = None  # in place of its own first bytes
    unreadable_bytes: int = 0

    def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        """Read, shorter only at the end."""
        if self.head is not None and offset_bytes == 0:
            return (self.head + self._read(len(self.head), max(length_bytes - len(self.head), 0)))[:length_bytes]
        return self._read(offset_bytes, length_bytes)

    def _read(self, offset_bytes: int, length_bytes: int) -> bytes:
        try:
            return self.source.read(offset_bytes, length_bytes)
        except DeviceError:
            return b"".join(self._piecewise(offset_bytes, offset_bytes + length_bytes))

    def _piecewise(self, start: int, end: int) -> Iterator[bytes]:
        while start < end:
            until = min(round_down(start, UNREADABLE_STEP_BYTES) + UNREADABLE_STEP_BYTES, end)
            try:
                piece = self.source.read(start, until - start)
            except DeviceError:
                piece = bytes(until - start)
                self.unreadable_bytes += until - start
            yield piece
            start = until if piece else end


def load(source: Source) -> Found:
    """Read as much of a damaged log as can be read.

    Raises:
        BadLogError: when nothing says that there was a log, or it is of a version that is not known.
    """
    tolerant = Tolerant(source)
    head = tolerant.read(0, ondisk.HEAD_BYTES)
    head_lost = tolerant.unreadable_bytes > 0
    extension = ondisk.unpack_extension(head)
    header_lost = extension is not None and ondisk.dialect(head) is Dialect.FOREIGN
    if header_lost and extension:
        tolerant.head = ondisk.head(Header(nr_regions=extension.region_count), extension)
    try:
        found = image.load(tolerant)
    except BadLogError:
        # cut off, perhaps: whose log it is remains known
        if extension is None or not _sound(extension) or not ondisk.version_known(ondisk.unpack_header(head)):
            if head_lost:
                source.read(0, ondisk.HEAD_BYTES)  # says what cannot be read
            raise
        return Found(_all_dirty(source.name, extension), header_lost, True, tolerant.unreadable_bytes)
    # whoever was stopped while writing left bits of two logs, and an extension that may happen to fit them
    return Found(found, header_lost, head.startswith(ondisk.STOPPED), tolerant.unreadable_bytes)


def _sound(extension: Extension) -> bool:
    return ondisk.incompatibility(extension) is None and extension.region_count <= MAX_REGION_COUNT


def _all_dirty(name: str, extension: Extension) -> Image:
    count = extension.region_count
    none = bitmap.made(name, count, [(0, count)] if count else [])
    return image.assembled(name, Header(nr_regions=count), extension, count, none, none)


_REASONS: Final = {
    Belief.CHANGED: "a bitmap changed after diskulog closed the log",
    Belief.RESIZED: "header and extension count different numbers of regions",
    Belief.MISPLACED: "the extension puts the sync bitmap where it cannot be",
    Belief.DAMAGED: "the extension is damaged",
}


def believable(found: Image) -> tuple[Image, tuple[str, ...]]:
    """Return a log as the next activation may take it at best: itself, or repaired, with the reasons."""
    if belief.judge(found) in belief.TAKES_CLEAN | belief.TAKES_BOTH:
        return found, ()
    made = plan(Found(found), None)
    return made.image or found, made.reasons


def plan(found: Found, uuid: str | None) -> Plan:
    """Decide what the repaired log says; ``uuid`` gives a log without a believable extension one.

    Raises:
        UsageError: when ``uuid`` cannot be a mirror's.
    """
    log, judged = found.image, belief.judge(found.image)
    if uuid is not None:
        adopt.check_uuid(uuid)
        if log.extension is None and log.region_count is None:
            raise UsageError("--uuid: the log does not say how many regions it has; repair it without, or format it")
    reasons = tuple(_reasons(found, judged))
    if not reasons:
        return Plan(None, ())
    kept = None if found.bits_lost else _believable(found, judged)
    extension = log.extension or (_nameless(log, uuid) if uuid is not None else None)
    clean = kept if kept is not None else _none(log)
    if extension is None:
        return Plan(image.assembled(log.name, log.header, None, log.bit_count, clean, None), reasons)
    released = judged is Belief.RELEASED
    repaired = extension.changed(
        uuid=extension.uuid if uuid is None else uuid,
        region_count=log.bit_count,
        target_length_sectors=_length(extension, log.bit_count),
        state=State.RELEASED if released else State.CLOSED,
        boot_id=bytes(16),  # no live log of this boot may be found again in it
        live_token=bytes(8),
    )
    sync = None if released else clean
    made = image.assembled(log.name, Header(nr_regions=log.bit_count), repaired, log.bit_count, clean, sync)
    return Plan(replace(made, size_bytes=log.size_bytes), reasons)


def _reasons(found: Found, judged: Belief) -> Iterator[str]:
    if found.header_lost:
        yield "the header is damaged, the extension is not"
    if found.bits_lost:
        yield "its bitmaps are cut off, or were being written"
    if found.unreadable_bytes:
        yield f"{found.unreadable_bytes} bytes cannot be read"
    if judged in _REASONS:
        yield _REASONS[judged]
    for name in belief.stray_bits(found.image):
        yield f"the {name} bitmap has bits set beyond the last region"


def _believable(found: Found, judged: Belief) -> Bitmap | None:
    """Return the regions that are clean beyond doubt, as a bitmap; None when there is none."""
    log = found.image
    if judged is Belief.CHANGED and belief.clean_checksum_ok(log):
        # the clean bitmap is proved; of the other one only what it denies is believed
        return _bits(log, belief.clean_regions(log))
    if judged not in belief.TAKES_CLEAN | belief.TAKES_BOTH or (found.header_lost and judged is not Belief.CLOSED):
        return None  # of an open log no checksum says that what took the header took nothing else
    return _bits(log, belief.clean_regions(log))


def _bits(log: Image, regions: Regions) -> Bitmap:
    return bitmap.made(log.name, log.bit_count, regions.ranges())


def _none(log: Image) -> Bitmap:
    return bitmap.made(log.name, log.bit_count, [(0, log.bit_count)] if log.bit_count else [])


def _nameless(log: Image, uuid: str) -> Extension:
    """Stand in for an extension that is damaged: sizes of 0 are not known, the next activation fills them in."""
    return Extension(uuid, 0, 0, log.bit_count, 0, 0, State.CLOSED, generation=0)


def _length(extension: Extension, count: int) -> int:
    if count == extension.region_count:
        return extension.target_length_sectors
    length = count * extension.region_size_sectors
    return length if length < 2**64 else 0
