# SPDX-License-Identifier: LGPL-2.1-or-later
"""``verify``: the legs of a mirror compared where its log calls them equal.

Lives here: the order of looks, when a difference counts on a log that is live, when to go slower, save or stop. Opens
nothing: legs, log, clock and state are given. Does not print.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

from diskulog.forensic.comparison import PIECE_BYTES, Apart, Layout, Selection, Tally, Unread, compare
from diskulog.forensic.legs import LegReadError
from diskulog.units import MIB

TRIES: Final = 5
PAUSE_SECONDS: Final = 0.5
SAVE_SECONDS: Final = 15.0
BATCH_BYTES: Final = 64 * MIB
BATCH_SPANS: Final = 4096


class Stopped(Exception):
    """The run is to end before its time."""


class LegReader(Protocol):
    """All legs, to be read at once."""

    def lent(self, at_bytes: int, length_bytes: int) -> AbstractContextManager[Sequence[memoryview]]:
        """Lend the same bytes of the mirror from each leg; raises LegReadError."""


class Log(Protocol):
    """The log, to be asked again."""

    def live(self) -> bool:
        """Tell whether something uses it now."""

    def is_clean(self, region: int) -> bool:
        """Tell whether a region is clean and in sync now."""


class Pacer(Protocol):
    """Time: a rate to keep, pauses, and whether to go on."""

    def passed(self, size_bytes: int) -> None:
        """Wait as long as reading so much may take; raises Stopped."""

    def pause(self, seconds: float) -> None:
        """Wait; raises Stopped."""

    def now(self) -> float:
        """Return a time that only grows, in seconds."""


class _Written(Enum):
    """A region of a live log that was written whenever it was looked at."""

    MEANWHILE = "meanwhile"


Odd = Apart | Unread | _Written


@dataclass(frozen=True, slots=True)
class Run:
    """One pass over the regions of a log, a batch at a time; the tally knows a batch whole or not at all.

    ``show`` is told how many bytes every read took from each leg; ``save`` is called now and then.
    """

    layout: Layout
    selection: Selection
    legs: LegReader
    log: Log
    pacer: Pacer
    tally: Tally
    show: Callable[[int], None]
    save: Callable[[], None]

    def go(self) -> bool:
        """Compare what is left; tell whether the end was reached.

        Raises:
            DeviceError: when the log, or the state, fails.
            RefusedError: when the log has become another one.
        """
        saved = self.pacer.now()
        try:
            for spans in self._batches():
                odd: dict[int, Odd] = {region: found for span in spans for region, found in self._survey(*span)}
                self._settle(odd)
                self._count(spans, odd)
                if self.pacer.now() - saved >= SAVE_SECONDS:
                    self.save()
                    saved = self.pacer.now()
        except Stopped:
            return False
        self.tally.passed(self.selection, self.selection.end)
        return True

    def _batches(self) -> Iterator[list[tuple[int, int]]]:
        most = max(PIECE_BYTES // self.layout.region_bytes, 1)  # small regions are read many at a time
        batch: list[tuple[int, int]] = []
        size = 0
        for span in self.selection.spans(self.tally.next_region, most):
            batch.append(span)
            size += self.layout.size(*span)
            if size >= BATCH_BYTES or len(batch) >= BATCH_SPANS:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def _survey(self, first: int, count: int) -> Iterator[tuple[int, Apart | Unread]]:
        """Find the regions of a span that are not simply equal."""
        if count > 1 and self._all_equal(first, count):
            return
        for region in range(first, first + count):
            found = self._try(region)
            if found is not None:
                yield region, found

    def _all_equal(self, first: int, count: int) -> bool:
        try:
            return self._look(first, count) is None
        except LegReadError:
            return False  # each of them for itself then

    def _try(self, region: int) -> Apart | Unread | None:
        try:
            return self._look(region, 1)
        except LegReadError as failure:
            return Unread(region, failure.leg, str(failure))

    def _look(self, first: int, count: int) -> Apart | None:
        for at, size in self.layout.pieces(first, count):
            with self.legs.lent(at, size) as views:
                found = compare(at, views)
            self.show(size)
            self.pacer.passed(size)
            if found:
                return found
        return None

    def _settle(self, odd: dict[int, Odd]) -> None:
        """Look again at what differs on a live log, until it says something that writes do not explain.

        A write reaches one leg before the other, after the log called its region dirty. So a difference counts when
        the log calls the region clean before and after a look that sees the very same as the one before it.
        """
        waiting = [region for region, found in odd.items() if isinstance(found, Apart)]
        if not waiting or not self.log.live():
            return
        for _ in range(TRIES):
            self.pacer.pause(PAUSE_SECONDS)  # once for the whole batch: a log that lied everywhere takes no days
            waiting = [region for region in waiting if not self._settled(region, odd)]
            if not waiting:
                return
        odd.update(dict.fromkeys(waiting, _Written.MEANWHILE))

    def _settled(self, region: int, odd: dict[int, Odd]) -> bool:
        clean, before = self.log.is_clean(region), odd[region]
        now = self._try(region)
        if now is None:
            del odd[region]
            return True
        odd[region] = now
        return isinstance(now, Unread) or (clean and now == before and self.log.is_clean(region))

    def _count(self, spans: list[tuple[int, int]], odd: dict[int, Odd]) -> None:
        for first, count in spans:
            self.tally.passed(self.selection, first)
            these = [region for region in range(first, first + count) if region in odd]
            size = self.layout.size(first, count) - sum(self.layout.size(region, 1) for region in these)
            self.tally.equal(count - len(these), size)
            for region in these:
                self._count_odd(region, odd[region])
            self.tally.next_region = first + count

    def _count_odd(self, region: int, found: Odd) -> None:
        match found:
            case Apart():
                self.tally.differs(region, self.layout.size(region, 1), found)
            case Unread():
                self.tally.fails(found)
            case _Written():
                self.tally.changed_count += 1
