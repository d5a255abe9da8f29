# SPDX-License-Identifier: LGPL-2.1-or-later
"""Threads that do the blocking work: one for each uuid and lane, so that a slow device delays nobody else's.

Lives here: queues, threads, time limits, the way back to the loop. Does not know what the work is.
"""

import heapq
import logging
import threading
from collections import deque
from collections.abc import Callable
from itertools import count
from queue import SimpleQueue
from typing import Any

from diskulog.work import Lane, Work

logger = logging.getLogger("diskulog.lanes")


class Lanes:
    """Runs work on threads; results come back through ``collect``, on the thread that calls it."""

    def __init__(self, now: Callable[[], float], wake: Callable[[], None]) -> None:
        """Take the monotonic clock of time limits, and what tells the loop that there is something to collect."""
        self._now = now
        self._wake = wake
        self._queues: dict[tuple[bytes, Lane], SimpleQueue[Work | None]] = {}
        self._finished: deque[tuple[Work, Any, BaseException | None]] = deque()
        self._deadlines: list[tuple[float, int, Work]] = []
        self._order = count()

    def submit(self, uuid: bytes, work: Work) -> None:
        """Queue work on its lane; the lane's thread is started with its first work."""
        key = (uuid, work.lane)
        queue = self._queues.get(key)
        if queue is None:
            queue = SimpleQueue()
            name = f"{work.lane.value}-{uuid.decode('ascii', 'replace')[-8:]}"
            threading.Thread(target=self._run, args=(queue,), name=name, daemon=True).start()
            self._queues[key] = queue  # only now: a lane whose thread could not be started would swallow all work
        if work.timeout_seconds is not None:
            heapq.heappush(self._deadlines, (self._now() + work.timeout_seconds, next(self._order), work))
        queue.put(work)

    def _run(self, queue: "SimpleQueue[Work | None]") -> None:
        while (work := queue.get()) is not None:
            if not work.waiters:  # its time ran out while it stood behind other work
                continue
            value, error = None, None
            try:
                value = work.run()
            except BaseException as failure:  # whatever it is belongs to the one who waits
                error = failure
            self._finished.append((work, value, error))
            self._wake()

    def collect(self) -> None:
        """Bring back what has finished."""
        while self._finished:
            work, value, error = self._finished.popleft()
            work.finish(value, error)

    def end_overdue(self, now_seconds: float) -> None:
        """End what took too long."""
        while self._deadlines and (self._deadlines[0][0] <= now_seconds or not self._deadlines[0][2].waiters):
            work = heapq.heappop(self._deadlines)[2]
            if work.waiters:
                logger.warning("a flush of a mirror's legs takes longer than %s s", work.timeout_seconds)
                work.finish(None, TimeoutError())

    @property
    def deadlines(self) -> bool:
        """Whether ``end_overdue`` may have something to do later."""
        return bool(self._deadlines)

    def retire(self, uuid: bytes) -> None:
        """End the threads of a uuid that has no log any more; their queues are empty."""
        for lane in Lane:
            queue = self._queues.pop((uuid, lane), None)
            if queue is not None:
                queue.put(None)

    def close(self) -> None:
        """End every thread that is not stuck in its work."""
        for uuid, _ in tuple(self._queues):
            self.retire(uuid)
