# SPDX-License-Identifier: LGPL-2.1-or-later
"""How far a resync has come, how fast it is, and how long it will take.

Lives here: the arithmetic, over one answer of the daemon or several. Does not know layout, clocks or sockets.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

from diskulog.control.model import Log
from diskulog.units import SECTOR_BYTES

_WINDOW_SECONDS: Final = 30.0  # a rate over less jumps, one over more says what was
_STILL_SECONDS: Final = 5.0  # a slow leg may take that long for a large region


@dataclass(frozen=True, slots=True)
class Progress:
    """``rate_bytes`` a second and ``seconds_left`` are None while nobody can tell; 0 says that nothing moves."""

    done_bytes: int
    total_bytes: int
    rate_bytes: float | None
    seconds_left: int | None


def span_bytes(log: Log, regions: int) -> int:
    """Return how much so many regions are; the last one may be cut off."""
    return min(regions * log.region_size_sectors, log.target_length_sectors) * SECTOR_BYTES


def since_start(log: Log, now_seconds: float) -> Progress | None:
    """Judge by the resync as a whole; ``now_seconds`` are since 1970. None where there is no resync."""
    if log.resync is None or log.in_sync_count is None:
        return None
    return _progress(
        log,
        log.in_sync_count,
        log.in_sync_count - log.resync.started_in_sync_count,
        now_seconds - log.resync.started_seconds,
    )


def _progress(log: Log, in_sync: int, gained: int, seconds: float) -> Progress:
    done, total = span_bytes(log, in_sync), span_bytes(log, log.region_count)
    regions_a_second = gained / seconds if gained > 0 and seconds > 0 else None
    if regions_a_second is None:
        return Progress(done, total, 0.0 if seconds >= _STILL_SECONDS else None, None)
    left = max(log.region_count - in_sync, 0) / regions_a_second
    rate = regions_a_second * log.region_size_sectors * SECTOR_BYTES
    return Progress(done, total, rate, math.ceil(left))


class Rates:
    """Remembers how every log stood lately."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._seen: dict[str, deque[tuple[float, int]]] = {}

    def progress(self, log: Log, at_seconds: float, now_seconds: float) -> Progress | None:
        """Judge by the last half minute, and until there are two figures of that by the resync as a whole.

        ``at_seconds`` is when the figures were true, by a clock that only runs forward. None where there is no resync.
        """
        if log.resync is None or log.in_sync_count is None:
            self._seen.pop(log.luid, None)
            return None
        seen = self._seen.setdefault(log.luid, deque())
        if seen and log.in_sync_count < seen[-1][1]:
            seen.clear()  # another resync
        seen.append((at_seconds, log.in_sync_count))
        while len(seen) > 2 and seen[1][0] <= at_seconds - _WINDOW_SECONDS:
            seen.popleft()
        first_at, first = seen[0]
        passed, gained = at_seconds - first_at, log.in_sync_count - first
        if not gained and passed < _STILL_SECONDS:
            return since_start(log, now_seconds)
        return _progress(log, log.in_sync_count, gained, passed)
