# SPDX-License-Identifier: LGPL-2.1-or-later
"""Time for a long reading command: a rate that is kept, pauses, and a stop by signal that waits for a good moment.

Lives here: the clock, sleeping, SIGINT and SIGTERM. Does not know what is read.
"""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

from diskulog.forensic.verify import Stopped

_SLICE_SECONDS: Final = 0.1  # a sleep goes on after a signal: this is how late a stop may be
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Pace:
    """Keeps a rate in bytes a second; without one it only looks whether to stop."""

    def __init__(
        self,
        rate: int | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Take the rate, and where time comes from."""
        self._rate, self._clock, self._sleep = rate, clock, sleep
        self._due = clock()
        self.stopped = False

    def now(self) -> float:
        """Return the time in seconds."""
        return self._clock()

    def passed(self, size_bytes: int) -> None:
        """Wait as long as so much may take; time that was lost elsewhere is not made up for.

        Raises:
            Stopped: when a signal came.
        """
        now = self._clock()
        if self._rate:
            self._due = max(self._due, now) + size_bytes / self._rate
            self.pause(self._due - now)
        self._refuse_when_stopped()

    def pause(self, seconds: float) -> None:
        """Wait.

        Raises:
            Stopped: when a signal came.
        """
        end = self._clock() + seconds
        while (left := end - self._clock()) > 0:
            self._refuse_when_stopped()
            self._sleep(min(left, _SLICE_SECONDS))
        self._refuse_when_stopped()

    def _refuse_when_stopped(self) -> None:
        if self.stopped:
            raise Stopped

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Let SIGINT and SIGTERM stop it; a second one does what it always did, and what is ignored stays so."""
        found: dict[int, Any] = {number: signal.getsignal(number) for number in _SIGNALS}
        before = {number: handler for number, handler in found.items() if handler != signal.SIG_IGN}

        def restore() -> None:
            for number, handler in before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)

        def stop(_number: int, _frame: FrameType | None) -> None:
            self.stopped = True
            restore()

        for number in before:
            signal.signal(number, stop)
        try:
            yield
        finally:
            restore()
