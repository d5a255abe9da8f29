# SPDX-License-Identifier: LGPL-2.1-or-later
"""The bitmaps of a log, read once and kept, and what one bit a region comes to: counts and ranges.

Lives here: where a bitmap stays after it was read, and passes over it in pieces, so that memory does not grow with a
log. Does not know what a bit means.
"""

import weakref
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import zip_longest
from operator import and_
from tempfile import SpooledTemporaryFile
from typing import Final, Protocol

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

    def pieces(self, length_bytes: int) -> Iterator[bytes]:
        """Yield its first bytes, a piece at a time."""
        for at in range(0, length_bytes, PIECE_BYTES):
            yield self.read(at, min(PIECE_BYTES, length_bytes - at))

    def crc32(self, length_bytes: int) -> int:
        """Checksum its first bytes."""
        checksum = 0
        for piece in self.pieces(length_bytes):
            checksum = zlib.crc32(piece, checksum)
        return checksum

    def bits(self, first: int, end: int) -> bitarray:
        """Return the bits from ``first`` to before ``end``."""
        start = first // 8
        stored = bitarray(buffer=self.read(start, div_up(end, 8) - start), endian="little")
        return stored[first - start * 8 : end - start * 8]


def keep(source: Source, offset_bytes: int, length_bytes: int) -> Bitmap:
    """Read a bitmap, shorter only where the source ends.

    Raises:
        DeviceError: when the device fails a read, or the temporary file takes nothing.
    """
    return _kept(source.name, _read(source, offset_bytes, length_bytes))


def made(name: str, region_count: int, zeros: Iterable[tuple[int, int]]) -> Bitmap:
    """Make a bitmap of ones but for some ranges of regions as (first, count), which come in order and lie inside.

    Raises:
        DeviceError: when the temporary file takes nothing.
    """
    return _kept(name, _filled(region_count, zeros))


def _read(source: Source, offset_bytes: int, length_bytes: int) -> Iterator[bytes]:
    at = 0
    while at < length_bytes and (chunk := source.read(offset_bytes + at, min(CHUNK_BYTES, length_bytes - at))):
        yield chunk
        at += len(chunk)


def _filled(region_count: int, zeros: Iterable[tuple[int, int]]) -> Iterator[bytes]:
    ranges = iter(zeros)
    first, end = 0, 0
    for at, until in _steps(0, region_count):
        piece = bitarray(until - at, endian="little")
        piece.setall(1)
        while True:
            piece[max(first - at, 0) : max(end - at, 0)] = 0
            if end > until:
                break  # the rest of it lies in later pieces
            found = next(ranges, None)
            if found is None:
                first, end = region_count, region_count
                break
            first, end = found[0], sum(found)
            if first >= until:
                break
        yield piece.tobytes()
    for _ in ranges:  # whoever makes them may have something to say at their end
        pass


def _steps(first: int, end: int) -> Iterator[tuple[int, int]]:
    bits = PIECE_BYTES * 8
    return ((at, min(at + bits, end)) for at in range(first, end, bits))


def _kept(name: str, chunks: Iterable[bytes]) -> Bitmap:
    with ExitStack() as until_whole:
        kept = until_whole.enter_context(SpooledTemporaryFile(max_size=MAX_HELD_BYTES))
        size = 0
        for chunk in chunks:
            try:
                kept.write(chunk)
            except OSError as cause:
                raise _unkept(name, cause) from cause
            size += len(chunk)
        whole = Bitmap(name, size, kept)
        weakref.finalize(whole, until_whole.pop_all().close)
    return whole


def _unkept(name: str, cause: OSError) -> DeviceError:
    return DeviceError(f"cannot keep {name} in a temporary file (TMPDIR says where)", cause)


class Bits(Protocol):
    """Whatever has a bit for each region."""

    def bits(self, first: int, end: int) -> bitarray:
        """Return the bits from ``first`` to before ``end``."""


@dataclass(frozen=True)
class Regions:
    """One bit for each of ``count`` regions: what ``join`` makes of those in each of ``parts``, ``and`` by default."""

    count: int
    parts: tuple[Bits, ...]
    join: Callable[[bitarray, bitarray], bitarray] = and_

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

    def bits(self, first: int, end: int) -> bitarray:
        """Return the bits from ``first`` to before ``end``."""
        return reduce(self.join, (part.bits(first, end) for part in self.parts))

    def bit(self, region: int) -> int:
        """Return the bit of a region."""
        return 1 - self.zeros_in(region, region + 1)

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes of all, a piece at a time; zeros follow the last bit."""
        return (piece.tobytes() for piece in self._pieces(0, self.count))

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
        return (self.bits(at, until) for at, until in _steps(first, end))
