# SPDX-License-Identifier: LGPL-2.1-or-later
"""The bitmaps of a log, read once and kept, and what one bit a region comes to: counts and ranges.

Lives here: where a bitmap stays after it was read, and passes over it in pieces, so that memory does not grow with a
log. Does not know what a bit means.
"""

import weakref
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import zip_longest
from operator import and_
from tempfile import SpooledTemporaryFile
from typing import Final

from bitarray import bitarray

from diskulog.errors import DeviceError
from diskulog.forensic.source import CHUNK_BYTES, Source
from diskulog.units import MIB, div_up

# A log is read once and in order, whatever it is in: a pipe does not go back, a live log says something else the second
# time, and a device that then fails would break off a document that is half printed. A bitmap that is longer than this
# (2^27 regions) stays in a temporary file without a name instead, of 512 MiB at most.
MAX_HELD_BYTES: Final = 16 * MIB
PIECE_BYTES: Final = MIB


@dataclass(frozen=True)
class Bitmap:
    """The bytes of a bitmap, as they were read."""

    name: str
    size_bytes: int
    _kept: "SpooledTemporaryFile[bytes]"

    def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        """Return some of its bytes, fewer only at the end.

        Raises:
            DeviceError: when the temporary file fails.
        """
        try:
            self._kept.seek(offset_bytes)
            return self._kept.read(length_bytes)
        except OSError as cause:
            raise _unkept(self.name, cause) from cause

    def crc32(self, length_bytes: int) -> int:
        """Checksum its first bytes."""
        checksum = 0
        for at in range(0, length_bytes, PIECE_BYTES):
            checksum = zlib.crc32(self.read(at, min(PIECE_BYTES, length_bytes - at)), checksum)
        return checksum


def keep(source: Source, offset_bytes: int, length_bytes: int) -> Bitmap:
    """Read a bitmap, shorter only where the source ends.

    Raises:
        DeviceError: when the device fails a read, or the temporary file takes nothing.
    """
    with ExitStack() as until_whole:
        kept = until_whole.enter_context(SpooledTemporaryFile(max_size=MAX_HELD_BYTES))
        size = 0
        while size < length_bytes and (
            chunk := source.read(offset_bytes + size, min(CHUNK_BYTES, length_bytes - size))
        ):
            try:
                kept.write(chunk)
            except OSError as cause:
                raise _unkept(source.name, cause) from cause
            size += len(chunk)
        made = Bitmap(source.name, size, kept)
        weakref.finalize(made, until_whole.pop_all().close)
    return made


def _unkept(name: str, cause: OSError) -> DeviceError:
    return DeviceError(f"cannot keep {name} in a temporary file (TMPDIR says where)", cause)


@dataclass(frozen=True)
class Regions:
    """One bit for each of ``count`` regions: 1 where it is 1 in every one of the bitmaps."""

    count: int
    bitmaps: tuple[Bitmap, ...]

    @cached_property
    def ones(self) -> int:
        """Regions whose bit is 1."""
        return sum(piece.count() for piece in self._pieces(0, self.count))

    @property
    def zeros(self) -> int:
        """Regions whose bit is 0."""
        return self.count - self.ones

    @cached_property
    def range_count(self) -> int:
        """Ranges that ``ranges`` lists."""
        return div_up(sum(changes.count() for _, changes in self._changes()), 2)

    def ranges(self) -> Iterator[tuple[int, int]]:
        """List the ranges of regions whose bit is 0 as (first, count), in order."""
        edges = self._edges()  # where one begins, where it ends, where the next begins
        return ((first, end - first) for first, end in zip_longest(edges, edges, fillvalue=self.count))

    def zeros_in(self, first: int, end: int) -> int:
        """Count the regions from ``first`` to before ``end`` whose bit is 0."""
        return sum(piece.count(0) for piece in self._pieces(first, end))

    def bit(self, region: int) -> int:
        """Return the bit of a region."""
        return 1 - self.zeros_in(region, region + 1)

    def _edges(self) -> Iterator[int]:
        for at, changes in self._changes():
            yield from map(at.__add__, changes.search(1))

    def _changes(self) -> Iterator[tuple[int, bitarray]]:
        """Set, for each piece, the bits of regions that differ from the one before; before the first there are ones."""
        at, before = 0, 1
        for piece in self._pieces(0, self.count):
            changes = piece >> 1
            changes[0] = before
            changes ^= piece
            yield at, changes
            at, before = at + len(piece), piece[-1]

    def _pieces(self, first: int, end: int) -> Iterator[bitarray]:
        bits = PIECE_BYTES * 8
        return (self._piece(at, min(at + bits, end)) for at in range(first, end, bits))

    def _piece(self, first: int, end: int) -> bitarray:
        start = first // 8
        length = div_up(end, 8) - start
        stored = (bitarray(buffer=bitmap.read(start, length), endian="little") for bitmap in self.bitmaps)
        return reduce(and_, stored)[first - start * 8 : end - start * 8]
