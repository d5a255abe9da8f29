# SPDX-License-Identifier: LGPL-2.1-or-later
"""What can be run: the targets, and one execution of one of them.

Lives here: the table of targets, the limits of an execution, and how it fails. Does not know who chooses the inputs.
"""

import resource
import signal
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from diskulog.units import MIB
from tools.fuzzing.changes import (
    ANY,
    MAX_BYTES,
    Chance,
    Change,
    change_frame,
    change_log,
    change_memory,
    change_program,
    change_table,
    change_toml,
    change_trace,
    leave,
    mend_frame,
    mend_log,
)
from tools.fuzzing.logs import run_image, run_inspect, run_ondisk, run_store
from tools.fuzzing.parsers import run_config, run_ctr, run_wire
from tools.fuzzing.programs import run_handover, run_server
from tools.fuzzing.traces import run_trace

DEADLINE_SECONDS = 5.0  # of processor time, for one input: a busy machine makes no hang
AGAIN_SECONDS = 0.001  # of processor time, until a deadline that came at a bad moment comes again
MEMORY_BYTES = 256 * MIB  # address space that one input may take on top of what is there

_OURS = ("diskulog", "tools", "tests")


class Hang(BaseException):
    """An input took too long; no ``except Exception`` on the way may swallow it."""


class Failure(Exception):
    """An input that was met badly; its cause says how."""

    def __init__(self, target: str, data: bytes) -> None:
        super().__init__(target, data)
        self.target, self.data = target, data


def _late(number: int, frame: FrameType | None) -> None:
    if _measuring(frame):
        signal.setitimer(signal.ITIMER_PROF, AGAIN_SECONDS)
        return
    raise Hang(f"more than {DEADLINE_SECONDS:g} s of processor time")


def _measuring(frame: FrameType | None) -> bool:
    """Whether coverage is at work: an exception there leaves its lock taken, and all that is measured later waits."""
    while frame and (package := frame.f_globals.get("__name__", "").partition(".")[0]) not in _OURS:
        if package == "coverage":
            return True
        frame = frame.f_back
    return False


@contextmanager
def limits() -> Iterator[None]:
    """Bound time and memory of what runs inside: beyond them it raises Hang or MemoryError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    handler = signal.signal(signal.SIGPROF, _late)
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY_BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.signal(signal.SIGPROF, handler)


@dataclass(frozen=True)
class Target:
    """Something that reads bytes from outside: what is run, where its inputs begin, how they are changed."""

    run: Callable[[bytes], Hashable]
    corpus: str
    change: Change
    mend: Change = leave

    @property
    def name(self) -> str:
        """The name for ``--target``."""
        return self.run.__name__.removeprefix("run_")

    def execute(self, data: bytes) -> Hashable:
        """Run one input under the deadline; Failure with the input when it is met badly."""
        signal.setitimer(signal.ITIMER_PROF, DEADLINE_SECONDS)
        try:
            return self.run(data)
        except (Exception, Hang) as error:
            raise Failure(self.name, data) from error
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)

    def changed(self, chance: Chance, data: bytes, other: bytes = b"") -> bytes:
        """Change an input, with what a reader would check first put right more often than not."""
        made = bytearray(data)
        for _ in range(chance.choice((1, 1, 2, 4, 8))):
            (self.change if chance.random() < 0.6 else chance.choice(ANY))(chance, made)
        if other and chance.random() < 0.1:
            made[chance.randrange(len(made) + 1) :] = other[chance.randrange(len(other)) :]
        self.mend(chance, made)
        return bytes(made[:MAX_BYTES])


TARGETS = {
    target.name: target
    for target in (
        Target(run_wire, "wire", change_frame, mend_frame),
        Target(run_server, "server", change_program),
        Target(run_handover, "handover", change_memory),
        Target(run_ctr, "ctr", change_table),
        Target(run_ondisk, "log", change_log, mend_log),
        Target(run_store, "log", change_log, mend_log),
        Target(run_image, "log", change_log, mend_log),
        Target(run_inspect, "log", change_log, mend_log),
        Target(run_config, "config", change_toml),
        Target(run_trace, "trace", change_trace),
    )
}
