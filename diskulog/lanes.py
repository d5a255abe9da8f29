# SPDX-License-Identifier: LGPL-2.1-or-later
"""Threads that do the blocking work: one for each uuid and lane, so that a slow device delays nobody else's.

Lives here: queues, threads, time limits, the way back to the loop. Does not know what the work is.
"""

import heapq
import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from queue import SimpleQueue
from typing import Any

from diskulog.work import Lane, Work

logger = logging.getLogger("diskulog.lanes")


class Lanes:
    """Runs work on threads; results come back through ``collect``, on the thread that calls it.

    ``wake_fd`` becomes readable when there is something to collect.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        """Take the monotonic clock that time limits are measured on."""
        self.wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._now = now
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
            os.eventfd_write(self.wake_fd, 1)

    def collect(self) -> None:
        """Bring back what has finished, and end what took too long."""
        with suppress(BlockingIOError):
            os.eventfd_read(self.wake_fd)
        while self._finished:
            work, value, error = self._finished.popleft()
            work.finish(value, error)
        now = self._now()
        while self._deadlines and (self._deadlines[0][0] <= now or not self._deadlines[0][2].waiters):
            work = heapq.heappop(self._deadlines)[2]
            if work.waiters:
                logger.warning("a flush of a mirror's legs takes longer than %s s", work.timeout_seconds)
                work.finish(None, TimeoutError())

    def next_deadline_seconds(self) -> float | None:
        """Return the monotonic time at which ``collect`` is to be called even if nothing woke."""
        return self._deadlines[0][0] if self._deadlines else None

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
