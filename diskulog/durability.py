# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which marks are known to be on the medium, and one msync for many FLUSHes.

Lives here: counting stores against msyncs. Does not know bitmaps, requests, or how an msync is made.
"""

from collections.abc import Callable, Generator
from typing import Any

from diskulog.errors import DiskulogError
from diskulog.work import Lane, Work


class Durability:
    """The marks of one log: how many were stored in the mapping, how many of them a successful msync covered.

    An msync answers only for what was stored before it began (on-disk rule 2), so a FLUSH that finds one under way
    waits for it and may have to wait for the next one too; all who wait for the same one share it.
    """

    def __init__(self, commit: Callable[[int, int], None]) -> None:
        """Take the blocking call that makes the clean bits from one region to another durable."""
        self._commit = commit
        self._stored = 0
        self._durable = 0
        self._range: tuple[int, int] | None = None
        self._running: Work | None = None
        self._failed = False
        self.pending = False  # whether any mark is not known durable
        self.cause: BaseException | None = None  # of the last msync that failed

    def stored(self, region: int) -> None:
        """Count a mark that was just stored in the mapping."""
        self._stored += 1
        self.pending = True
        first, last = self._range or (region, region)
        self._range = (min(first, region), max(last, region))

    def all_durable(self) -> None:
        """Begin anew after an activation, which made every page durable itself."""
        self._durable = self._stored
        self.pending = False
        self._range = None
        self._failed = False

    def fail(self) -> None:
        """Believe no msync any more, also none that is under way."""
        self._failed = True

    def until_durable(self) -> Generator[Work, Any, bool]:
        """Wait until everything stored so far is durable; False when an msync failed."""
        wanted = self._stored
        while self._durable < wanted and not self._failed:
            if self._running is None:
                self._running = self._begin()
            yield self._running
        return not self._failed

    def _begin(self) -> Work:
        first, last = self._range or (0, 0)
        stored, self._range = self._stored, None

        def run() -> DiskulogError | None:
            try:
                self._commit(first, last)
            except DiskulogError as error:
                return error
            return None

        def done(failure: DiskulogError | None, broken: BaseException | None) -> None:
            self._running = None
            if failure is not None or broken is not None:
                self._failed = True
                self.cause = failure or broken
            elif not self._failed:
                self._durable = max(self._durable, stored)
                self.pending = self._durable < self._stored

        # first among the waiters: whoever shares this msync finds its outcome here
        return Work(Lane.DEVICE, run, waiters=[done])
