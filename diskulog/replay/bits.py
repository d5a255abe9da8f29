# SPDX-License-Identifier: LGPL-2.1-or-later
"""Both bitmaps of a log at one moment, and what became different until another.

Lives here: copies of bits and ranges of changes. Does not know who changed them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from bitarray import bitarray

from diskulog import ondisk
from diskulog.replay.medium import Medium
from diskulog.trace.text import ranges
from diskulog.verdict import geometry_of

_PIECE_BITS: Final = 1 << 19


@dataclass(frozen=True, slots=True)
class Bits:
    """A bit for each region: 1 is clean, and in sync."""

    clean: bitarray
    in_sync: bitarray


NO_BITS: Final = Bits(bitarray(endian="little"), bitarray(endian="little"))


@dataclass(frozen=True, slots=True)
class Change:
    """What became of the regions of one bitmap; both are ranges of (first, last)."""

    bitmap: str
    set: tuple[tuple[int, int], ...]
    cleared: tuple[tuple[int, int], ...]


def on_medium(medium: Medium) -> Bits:
    """Copy what a power cut now would leave; nothing where no log of diskulog lies."""
    head = medium.on_medium(0, ondisk.HEAD_BYTES)
    extension = ondisk.unpack_extension(head)
    if extension is None or not ondisk.fits(geometry_of(extension), medium.size_bytes):
        return NO_BITS
    place = geometry_of(extension)
    starts = (ondisk.CLEAN_OFFSET_BYTES, place.sync_offset_bytes)
    clean, in_sync = (ondisk.bits_from(medium.on_medium(at, place.bitmap_bytes), place.region_count) for at in starts)
    return Bits(clean, in_sync)


def changes(old: Bits, new: Bits) -> tuple[Change, ...]:
    """List what differs."""
    found = (_change("clean", old.clean, new.clean), _change("sync", old.in_sync, new.in_sync))
    return tuple(change for change in found if change is not None)


def _change(name: str, old: bitarray, new: bitarray) -> Change | None:
    if old == new:
        return None
    became_1, became_0 = tuple(ranges(_ones_new_in(new, old))), tuple(ranges(_ones_new_in(old, new)))
    return Change(name, became_1, became_0) if became_1 or became_0 else None  # new regions may all be 0


def _ones_new_in(bits: bitarray, others: bitarray) -> Iterator[int]:
    """List the bits that are 1 here and not there, a piece at a time: in a large log very little differs."""
    for at in range(0, len(bits), _PIECE_BITS):
        piece, other = bits[at : at + _PIECE_BITS], others[at : at + _PIECE_BITS]
        if piece != other:
            other.extend(bitarray(max(len(piece) - len(other), 0), endian="little"))
            yield from map(at.__add__, (piece & ~other[: len(piece)]).search(1))
