# SPDX-License-Identifier: LGPL-2.1-or-later
"""How far a long command has come: one line on a terminal, drawn again in its place.

Lives here: when to draw, and the line. Does not know what is counted; uses no colour, so NO_COLOR changes nothing.
"""

import os
import shutil
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from diskulog.units import human_bytes

_EVERY_SECONDS: Final = 0.2
_BAR_CELLS: Final = 20
_CLEAR: Final = "\r\x1b[K"


class Progress:
    """A bar on standard error, if that is a terminal that can go back to the start of its line."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Find out whether to draw at all."""
        terminal = sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._shown = terminal
        self._clock = clock
        self._total = self._done = 0
        self._began = self._drawn = clock()
        self._note: Callable[[], str] = str

    def begin(self, total_bytes: int, note: Callable[[], str]) -> Callable[[int], None]:
        """Start; ``note`` gives the end of the line. Returns what counts bytes as done."""
        self._total, self._note, self._began = total_bytes, note, self._clock()
        return self._advance

    def _advance(self, size_bytes: int) -> None:
        self._done += size_bytes
        now = self._clock()
        if self._shown and now - self._drawn >= _EVERY_SECONDS:
            self._drawn = now
            text = line(self._done, self._total, now - self._began, self._note())
            sys.stderr.write(_CLEAR + text[: shutil.get_terminal_size().columns - 1])
            sys.stderr.flush()

    def end(self) -> None:
        """Leave the line empty for what follows."""
        if self._shown:
            sys.stderr.write(_CLEAR)
            sys.stderr.flush()


def line(done_bytes: int, total_bytes: int, seconds: float, note: str) -> str:
    """Render the bar, how much, how fast, how long still."""
    share = min(done_bytes / total_bytes, 1.0) if total_bytes else 1.0
    rate = done_bytes / seconds if seconds > 0 else 0.0
    left = max(total_bytes - done_bytes, 0) / rate if rate else 0.0
    bar = "#" * int(share * _BAR_CELLS)
    return (
        f"[{bar:.<{_BAR_CELLS}}] {100 * share:5.1f} %  {human_bytes(done_bytes)} of {human_bytes(total_bytes)}  "
        f"{human_bytes(int(rate))}/s  {timedelta(seconds=int(left))} left  {note}"
    )
