# SPDX-License-Identifier: LGPL-2.1-or-later
"""Blocking work as a value: the core says what must be done, somebody else runs it on a thread and comes back.

Lives here: Work, and Steps, the generators that wait for it. Does not know threads, devices or requests.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Lane(Enum):
    """Where work runs. Work of one uuid and lane runs in the order of submission; the lanes run side by side."""

    DEVICE = "device"  # reads and msyncs of the log device
    LEGS = "legs"  # cache flushes of the mirror's legs, which may hang without the log's fault


Done = Callable[[Any, BaseException | None], None]


@dataclass(slots=True, eq=False)
class Work:
    """One blocking call.

    ``run`` is called on the lane's thread and touches nothing but its store. Everybody who yielded this work is in
    ``waiters`` and is called back on the loop with the result or the exception, in order. After ``timeout_seconds``
    the waiters get a TimeoutError instead, and the late result is dropped.
    """

    lane: Lane
    run: Callable[[], Any]
    timeout_seconds: float | None = None
    waiters: list[Done] = field(default_factory=list)
    submitted: bool = False

    def finish(self, value: Any, error: BaseException | None) -> None:
        """Call every waiter, once; a second call (the late result) finds none."""
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            waiter(value, error)


# What a request that cannot be answered at once does: yields work, gets its result, returns the reply's payload.
Steps = Generator[Work, Any, bytes]

Submit = Callable[[bytes, Work], None]  # uuid, work: runs it some time, then calls work.finish on the loop


def wait(submit: Submit, uuid: bytes, work: Work, waiter: Done) -> None:
    """Join ``work``: submit it if nobody has, otherwise share its end."""
    work.waiters.append(waiter)
    if not work.submitted:
        work.submitted = True
        try:
            submit(uuid, work)
        except Exception as error:  # no thread could be started: nobody may wait for ever
            work.finish(None, error)
