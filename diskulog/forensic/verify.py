# SPDX-License-Identifier: LGPL-2.1-or-later
"""``verify``: the legs of a mirror compared where its log calls them equal.

Lives here: the order of looks, when a difference counts on a log that is live, when to go slower, save or stop. Opens
nothing: legs, log, clock and state are given. Does not print.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

from diskulog.forensic.comparison import PIECE_BYTES, Apart, Layout, Selection, Tally, Unread, compare
from diskulog.forensic.legs import LegReadError

TRIES: Final = 5
PAUSE_SECONDS: Final = 0.5
SAVE_SECONDS: Final = 15.0


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


class _Unsettled(Enum):
    """A region of a live log that was written whenever it was looked at."""

    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Run:
    """One pass over the regions of a log.

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
        most = max(PIECE_BYTES // self.layout.region_bytes, 1)  # small regions are read many at a time
        try:
            for first, count in self.selection.spans(self.tally.next_region, most):
                self.tally.passed(self.selection, first)
                self._span(first, count)
                if self.pacer.now() - saved >= SAVE_SECONDS:
                    self.save()
                    saved = self.pacer.now()
        except Stopped:
            return False
        self.tally.passed(self.selection, self.selection.end)
        return True

    def _span(self, first: int, count: int) -> None:
        if count > 1 and self._equal(first, count):
            self.tally.equal(count, self.layout.size(first, count))
            self.tally.next_region = first + count
            return
        for region in range(first, first + count):
            self._region(region)
            self.tally.next_region = region + 1

    def _equal(self, first: int, count: int) -> bool:
        try:
            return self._look(first, count) is None
        except LegReadError:
            return False  # each of them for itself then

    def _region(self, region: int) -> None:
        size = self.layout.size(region, 1)
        try:
            found = self._settled(region)
        except LegReadError as failure:
            self.tally.fails(Unread(region, failure.leg, str(failure)))
        else:
            match found:
                case None:
                    self.tally.equal(1, size)
                case Apart():
                    self.tally.differs(region, size, found)
                case _Unsettled():
                    self.tally.changed_count += 1

    def _settled(self, region: int) -> Apart | _Unsettled | None:
        """Look at a region until it says something that writes to the mirror do not explain.

        A write reaches one leg before the other, after the log called its region dirty. So a difference counts when
        the log calls the region clean before and after a look that sees the very same as the one before it.
        """
        seen = self._look(region, 1)
        if seen is None or not self.log.live():
            return seen
        for _ in range(TRIES):
            self.pacer.pause(PAUSE_SECONDS)
            clean = self.log.is_clean(region)
            now = self._look(region, 1)
            if now is None:
                return None
            if clean and now == seen and self.log.is_clean(region):
                return now
            seen = now
        return _Unsettled.CHANGED

    def _look(self, first: int, count: int) -> Apart | None:
        for at, size in self.layout.pieces(first, count):
            with self.legs.lent(at, size) as views:
                found = compare(at, views)
            self.show(size)
            self.pacer.passed(size)
            if found:
                return found
        return None
