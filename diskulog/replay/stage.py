# SPDX-License-Identifier: LGPL-2.1-or-later
"""The rest of a daemon's world, played: legs that can be flushed, no failure to remember, lanes that run at once.

Lives here: the smallest things that keep the contracts of ``media``, ``logstore`` and ``work``. Does not know requests.
"""

from collections import deque

from bitarray import bitarray
from bitarray.util import zeros

from diskulog.work import Work


class PlayedMirror:
    """A mirror whose legs never fail. ``unheard`` says that requests were lost since its log was closed."""

    def __init__(self) -> None:
        """Begin with nothing lost."""
        self.unheard = False

    def look(self) -> None:
        """Do nothing."""

    def flush_legs(self) -> None:
        """Do nothing: they keep what is written."""

    def suspended(self) -> bool:
        """Say that a suspended log's mirror is so too, unless its RESUME may have been lost."""
        return not self.unheard

    def held(self) -> bool:
        """Say yes: a log ends with its DTR."""
        return True

    def close(self) -> None:
        """Know that its log is closed: it is suspended, or new."""
        self.unheard = False


class PlayedLatch:
    """What a worker remembers of a failure."""

    def __init__(self) -> None:
        """Begin with none."""
        self._failed = False

    def set(self) -> None:
        """Remember."""
        self._failed = True

    def is_set(self) -> bool:
        """Tell."""
        return self._failed

    def clear(self) -> None:
        """Forget."""
        self._failed = False


class PlayedKept:
    """Held clears, for no next worker."""

    def __init__(self, region_count: int) -> None:
        """Take the number of regions; nothing is made yet."""
        self._region_count = region_count

    def begin(self) -> bitarray:
        """Hold none."""
        return zeros(self._region_count, endian="little")

    def resume(self) -> tuple[bitarray, int]:
        """Hold none: an image does not have them."""
        return self.begin(), 0

    def flushing(self, begins: bool) -> None:
        """Do nothing."""

    def remove(self) -> None:
        """Do nothing."""


class PlayedLanes:
    """Runs work in the order in which it comes, when it is told to."""

    def __init__(self) -> None:
        """Begin with nothing to do."""
        self._waiting: deque[Work] = deque()

    def submit(self, uuid: bytes, work: Work) -> None:
        """Take work of any log."""
        del uuid
        self._waiting.append(work)

    def run(self) -> None:
        """Do all of it, and what follows from it."""
        while self._waiting:
            work = self._waiting.popleft()
            value, error = None, None
            try:
                value = work.run()
            except Exception as failure:  # it belongs to the one who waits
                error = failure
            work.finish(value, error)
