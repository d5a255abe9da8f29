# SPDX-License-Identifier: LGPL-2.1-or-later
"""What of a log's bitmaps can be believed: the question behind ``inspect`` and ``adopt``.

Lives here: who wrote last, as far as the bytes tell, and what the next activation will make of it. Opens nothing and
prints nothing.
"""

from enum import Enum
from typing import Final

from diskulog import ondisk
from diskulog.forensic.bitmap import Bitmap, Regions
from diskulog.forensic.image import Image
from diskulog.ondisk import State
from diskulog.units import div_up, round_up


class Belief(Enum):
    """Who wrote the log last."""

    KERNEL = "kernel"  # no extension: the kernel's own log
    RELEASED = "released"  # handed to the kernel's own log by diskulog
    CLOSED = "closed"  # diskulog, in order
    OPEN = "open"  # diskulog, which is at work or was interrupted; perhaps the kernel's log since
    CHANGED = "changed"  # somebody, after diskulog closed it
    RESIZED = "resized"  # somebody who gave it another number of regions
    MISPLACED = "misplaced"  # the extension puts the sync bitmap where it cannot be
    DAMAGED = "damaged"  # an extension that cannot be believed


# these take the clean bitmap as it stands, or with the sync bitmap; after any other everything is dirty
TAKES_CLEAN: Final = frozenset({Belief.KERNEL, Belief.RELEASED})
TAKES_BOTH: Final = frozenset({Belief.CLOSED, Belief.OPEN})


def judge(image: Image) -> Belief:
    """Say who wrote a log last (on-disk rules 9, 12 and 13)."""
    extension = image.extension
    if extension is None:
        return Belief.DAMAGED if image.dialect is ondisk.Dialect.DAMAGED else Belief.KERNEL
    if extension.state is State.RELEASED:
        return Belief.RELEASED
    if image.header.nr_regions != extension.region_count:
        return Belief.RESIZED
    if image.sync is None:
        return Belief.MISPLACED
    if extension.state is State.OPEN:
        return Belief.OPEN
    return Belief.CLOSED if clean_checksum_ok(image) and sync_checksum_ok(image) else Belief.CHANGED


def clean_checksum_ok(image: Image) -> bool:
    """Tell whether the clean bitmap is the one that was there at the close."""
    stored = image.extension.clean_crc32 if image.extension else None
    return _checksum(image.clean, image.bit_count) == stored


def sync_checksum_ok(image: Image) -> bool:
    """Tell whether the sync bitmap is the one that was there at the close."""
    if image.extension is None or image.sync is None:
        return False
    return _checksum(image.sync, image.bit_count) == image.extension.sync_crc32


def _checksum(bitmap: Bitmap, region_count: int) -> int:
    return bitmap.crc32(div_up(region_count, 8))  # as ondisk.bitmap_crc32 of the whole


def clean_regions(image: Image) -> Regions:
    """Return the regions that count as clean: with a sync bitmap, only those that are in sync too (rule 6)."""
    return Regions(image.bit_count, (image.clean,) if image.sync is None else (image.clean, image.sync))


def sync_regions(image: Image) -> Regions | None:
    """Return the regions whose legs are equal, as the log says; None where it does not say."""
    return None if image.sync is None else Regions(image.bit_count, (image.sync,))


def stray_bits(image: Image) -> list[str]:
    """Name the bitmaps that have bits beyond the last region, where a sound log has zeros."""
    # the kernel's own log zeroes its last 32-bit word only (dm-log.c, disk_resume), LVM fills the rest with ones
    word_bits = 32 if image.sync is None else 64
    if image.region_count is None:
        return []
    end = round_up(image.bit_count, word_bits)
    bitmaps = (("clean", image.clean), ("sync", image.sync))
    return [name for name, bitmap in bitmaps if bitmap is not None and _any_beyond(bitmap, image.bit_count, end)]


def _any_beyond(bitmap: Bitmap, first: int, end: int) -> bool:
    start = first // 8
    tail = int.from_bytes(bitmap.read(start, end // 8 - start), "little")
    return bool(tail >> (first - start * 8))
