# SPDX-License-Identifier: LGPL-2.1-or-later
"""Child processes: one is forked, and its end waited for while other things are done.

Lives here: fork, pidfd, zombies that still have threads. Does not know what a child does, or what is done meanwhile.
"""

import logging
import os
import select
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from diskulog import journal
from diskulog.exits import Exit

logger = logging.getLogger("diskulog.supervisor")

_LOOK_SECONDS: Final = 0.5  # between two looks at a child that may be dead but for a thread
_LAST_WORDS_SECONDS: Final = 1.0


class Meanwhile(Protocol):
    """What is done while a child lives; nothing here may wait or raise."""

    @property
    def wait_seconds(self) -> float | None:
        """How long to wait at most before the next ``tick``; None: as long as one likes."""

    def wanted(self) -> list[tuple[int, int]]:
        """List descriptors with the events to poll them for."""

    def turn(self, number: int, ready: int) -> None:
        """Do what a descriptor is ready for."""

    def tick(self) -> None:
        """Do what has its time; called often."""


def fork(work: Callable[[], int]) -> int:
    """Run a function in a child process, which ends with what it returns; return the child's number."""
    child = os.fork()
    if child:
        return child
    code = int(Exit.IO_ERROR)
    try:
        code = work()
    except OSError as error:
        logger.error("the worker cannot serve: %s", error)  # noqa: TRY400
    except BaseException:
        logger.exception("bug: the worker ended")
    finally:
        journal.drain(_LAST_WORDS_SECONDS)
        os._exit(code)


def reap(child: int, meanwhile: Meanwhile | None = None) -> int:
    """Wait for a child's end; return its exit code, or the negative number of the signal that killed it.

    A child that is dead but for threads in uninterruptible sleep, on a device that hangs, has ended too: nothing of it
    will run again, and whoever waited for the rest of it would let every mirror wait for that device.
    """
    pidfd = os.pidfd_open(child)
    try:
        status, looked = None, time.monotonic()
        while True:
            ready = dict(_poll(pidfd, meanwhile))
            if pidfd in ready:
                break
            if meanwhile is not None:
                for number, events in ready.items():
                    meanwhile.turn(number, events)
                meanwhile.tick()
            if time.monotonic() - looked >= _LOOK_SECONDS:
                if status is not None:  # the other threads had their time to end
                    return os.waitstatus_to_exitcode(status)
                status, looked = _status_of_dead_leader(child), time.monotonic()
    finally:
        os.close(pidfd)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _poll(pidfd: int, meanwhile: Meanwhile | None) -> list[tuple[int, int]]:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    wait_seconds = _LOOK_SECONDS
    if meanwhile is not None:
        for number, events in meanwhile.wanted():
            poll.register(number, events)
        wait_seconds = min(wait_seconds, meanwhile.wait_seconds or wait_seconds)
    return poll.poll(wait_seconds * 1000)


def reap_leftovers() -> None:
    """Collect former children whose last thread has come back from its device; call while there is no worker."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _status_of_dead_leader(child: int) -> int | None:
    # proc_pid_stat(5): after the name, which may hold anything, the state is the first field, the status the last
    fields = (Path("/proc") / str(child) / "stat").read_text().rpartition(")")[2].split()
    return int(fields[-1]) if fields[0] == "Z" else None
