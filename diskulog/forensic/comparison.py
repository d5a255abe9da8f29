# SPDX-License-Identifier: LGPL-2.1-or-later
"""The pure part of ``verify``: which bytes belong to which regions, where buffers differ, and the tally.

Lives here: arithmetic, comparing, counting in bounded memory. Opens nothing, reads nothing, prints nothing.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from diskulog.forensic.bitmap import Regions
from diskulog.units import MIB

PIECE_BYTES: Final = MIB
MAX_KEPT: Final = 10_000  # ranges, and read errors, that are kept for the end; beyond it they are only counted


@dataclass(frozen=True, slots=True)
class Layout:
    """How a mirror is cut into regions; the last one may be short."""

    region_bytes: int
    region_count: int
    length_bytes: int

    def span(self, first_region: int, count: int) -> tuple[int, int]:
        """Return where regions begin and end in the mirror, in bytes."""
        start = first_region * self.region_bytes
        return start, min(start + count * self.region_bytes, self.length_bytes)

    def size(self, first_region: int, count: int) -> int:
        """Return how many bytes regions are."""
        start, end = self.span(first_region, count)
        return end - start

    def pieces(self, first_region: int, count: int) -> Iterator[tuple[int, int]]:
        """Cut regions into reads, as offset in the mirror and length."""
        start, end = self.span(first_region, count)
        for at in range(start, end, PIECE_BYTES):
            yield at, min(PIECE_BYTES, end - at)


@dataclass(frozen=True, slots=True)
class Selection:
    """The regions that a run looks at: from ``first`` to before ``end``, and of these the clean ones."""

    clean: Regions
    in_sync: Regions | None
    first: int
    end: int

    def spans(self, start: int, most: int) -> Iterator[tuple[int, int]]:
        """List runs of clean regions from ``start`` on, at most ``most`` long, as (first region, count)."""
        for first, end in self._clean_runs(max(start, self.first)):
            for at in range(first, end, most):
                yield at, min(most, end - at)

    def _clean_runs(self, start: int) -> Iterator[tuple[int, int]]:
        at = start
        for dirty, count in self.clean.ranges():
            if dirty >= self.end:
                break
            if dirty > at:
                yield at, dirty
            at = max(at, dirty + count)
        if at < self.end:
            yield at, self.end

    def skipped(self, first: int, end: int) -> tuple[int, int]:
        """Count the regions between two that are not looked at: in sync but dirty, and out of sync."""
        out_of_sync = self.in_sync.zeros_in(first, end) if self.in_sync else 0
        return self.clean.zeros_in(first, end) - out_of_sync, out_of_sync

    def bytes_from(self, start: int, layout: Layout) -> int:
        """Sum up what there is to compare from a region on."""
        begin = max(start, self.first)
        if begin >= self.end:
            return 0
        count = self.end - begin - self.clean.zeros_in(begin, self.end)
        short = layout.region_bytes - layout.size(self.end - 1, 1)
        return count * layout.region_bytes - (short if self.clean.bit(self.end - 1) else 0)


@dataclass(frozen=True, slots=True)
class Apart:
    """Where legs are not equal: the byte of the mirror, the legs that differ from the first one, and what was seen.

    ``digests`` has a checksum for each leg, of the piece around that byte: two looks at what is at rest are equal.
    """

    offset_bytes: int
    legs: tuple[int, ...]
    digests: tuple[int, ...] = ()


def compare(at_bytes: int, views: Sequence[memoryview]) -> Apart | None:
    """Compare what every leg holds at a byte of the mirror with the first leg's; None when all are equal."""
    reference = bytearray(views[0])  # its comparison is memcmp's; that of memoryviews takes 30 times as long
    found = {number: view for number, view in enumerate(views[1:], 1) if reference != view}
    if not found:
        return None
    offset = min(_first_difference(reference, view) for view in found.values())
    return Apart(at_bytes + offset, tuple(found), tuple(map(zlib.crc32, views)))


def _first_difference(reference: bytearray, view: memoryview) -> int:
    first, end = 0, len(reference)
    while end - first > 1:
        middle = (first + end) // 2
        if reference[first:middle] != view[first:middle]:
            end = middle
        else:
            first = middle
    return first


@dataclass(frozen=True, slots=True)
class Difference:
    """Neighbouring regions whose legs differ; the rest says where the first of them does."""

    first_region: int
    region_count: int
    offset_bytes: int
    legs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Unread:
    """A region that a leg would not give, so that it was not compared."""

    region: int
    leg: int
    reason: str


@dataclass(slots=True)
class Tally:
    """What came out so far. All regions before ``next_region`` are in exactly one of the counts."""

    next_region: int = 0
    compared_count: int = 0
    compared_bytes: int = 0
    dirty_count: int = 0
    out_of_sync_count: int = 0
    changed_count: int = 0
    unread_count: int = 0
    differing_count: int = 0
    range_count: int = 0
    differing: list[Difference] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)
    last_differing: int = -2  # tells whether a range goes on

    def equal(self, count: int, size_bytes: int) -> None:
        """Count regions whose legs are equal."""
        self.compared_count += count
        self.compared_bytes += size_bytes

    def differs(self, region: int, size_bytes: int, seen: Apart) -> None:
        """Count a region whose legs differ, and make it part of the range before it if it follows on that."""
        self.equal(1, size_bytes)
        self.differing_count += 1
        joined = region == self.last_differing + 1
        self.last_differing = region
        if not joined:
            self.range_count += 1
            if len(self.differing) < MAX_KEPT:
                self.differing.append(Difference(region, 1, seen.offset_bytes, seen.legs))
        elif self.range_count <= MAX_KEPT:
            last = self.differing[-1]
            self.differing[-1] = replace(last, region_count=last.region_count + 1)

    def fails(self, found: Unread) -> None:
        """Count a region that could not be read."""
        self.unread_count += 1
        if len(self.unread) < MAX_KEPT:
            self.unread.append(found)

    def passed(self, selection: Selection, next_region: int) -> None:
        """Count what is skipped up to a region, and go on from there."""
        if next_region > self.next_region:
            dirty, out_of_sync = selection.skipped(self.next_region, next_region)
            self.dirty_count += dirty
            self.out_of_sync_count += out_of_sync
            self.next_region = next_region
