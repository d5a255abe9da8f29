# SPDX-License-Identifier: LGPL-2.1-or-later
"""The supervisor: holds the netlink socket, and keeps one worker answering on it.

Lives here: start and end of the daemon, forking, what a worker's death means. Does not know logs, bits or formats.
"""

import logging
import os
import select
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from diskulog import journal, process, wire
from diskulog.config import Config
from diskulog.daemon import Daemon
from diskulog.errors import RefusedError
from diskulog.exits import Exit, exit_for
from diskulog.handover import HANDOVER_BYTES, Handover
from diskulog.neighbours import refuse_beside_another
from diskulog.transport import Transport
from diskulog.wire import Request

logger = logging.getLogger("diskulog.supervisor")

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_FAULTS = (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT, signal.SIGSYS)
_POISON_DEATHS = 3  # a request that was in hand at so many deaths is answered without a worker
_SHORT_LIFE_SECONDS = 1.0
_LONG_LIFE_SECONDS = 60.0
_FREE_LIVES = 8  # short ones in a row that delay nobody: a mirror's I/O waits for all of them
_FIRST_PAUSE_SECONDS = 0.01
_PAUSE_SECONDS = 0.5  # a worker that cannot live is no busy loop
_LOOK_SECONDS = 0.5  # between two looks at a worker that may be dead but for a thread
_LAST_WORDS_SECONDS = 1.0


def serve(config: Config) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code."""
    journal.log_to_stderr(config.daemon.log_level)
    code = _serve(config)
    journal.drain(_LAST_WORDS_SECONDS)
    return code


def _serve(config: Config) -> int:
    missing = process.missing_privileges()
    for line in missing:
        logger.error("%s", line)
    if missing:
        return Exit.NO_PERMISSION
    try:
        lock = process.claim(Path(config.daemon.run_directory))
        refuse_beside_another()
        # everything is imported by now: a new worker is a fork, and reads no file
        process.become_io_path()
        memory = process.shared_memory(HANDOVER_BYTES)
        transport = Transport(config.netlink.receive_buffer_bytes, Handover(memory), _spins(config))
        code = Supervisor(config, transport, memory).run()
        transport.close()
        os.close(lock)
    except RefusedError as error:
        logger.error("%s", error)  # noqa: TRY400 - a sentence for the administrator, not a traceback
        return Exit.REFUSED
    except OSError as error:
        logger.error("cannot serve: %s", error)  # noqa: TRY400
        return exit_for(error)
    return code


class Supervisor:
    """One worker at a time, and what is done between two of them."""

    def __init__(self, config: Config, transport: Transport, memory: memoryview) -> None:
        """Take the socket that outlives workers, and the memory that they share."""
        self._config = config
        self._transport = transport
        self._memory = memory
        self._pid = os.getpid()
        self._worker: int | None = None
        self._stopping = False
        self._began = process.shared_memory(1)  # whether a worker ever got as far as answering
        self._deaths: Counter[tuple[int, int, bytes]] = Counter()

    def run(self) -> int:
        """Keep a worker until a signal; return the last worker's exit code."""
        for number in _SIGNALS:
            signal.signal(number, self._stop)
        lives = short_lives = 0
        while True:
            begun = time.monotonic()
            code = self._one_life(lives)
            lives += 1
            if self._stopping or (code > 0 and not self._began[0]):
                return max(code, 0)
            logger.error("the worker ended (%s), a new one starts", _how(code))
            lived = time.monotonic() - begun
            if lived > _LONG_LIFE_SECONDS:
                self._deaths.clear()
            self._after_death(code)
            short_lives = short_lives + 1 if lived < _SHORT_LIFE_SECONDS else 0
            time.sleep(_pause_seconds(short_lives))

    def _stop(self, number: int, _: object) -> None:
        self._stopping = True
        if self._worker is not None:
            with suppress(ProcessLookupError):
                os.kill(self._worker, signal.SIGTERM)

    def _one_life(self, lives: int) -> int:
        reap_leftovers()
        # the signals wait while the worker is neither known here nor has handlers of its own
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        if self._stopping:
            return Exit.FINE
        self._worker = fork(lambda: self._work(lives))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        code = reap(self._worker)
        self._worker = None
        return code

    def _work(self, lives: int) -> int:
        journal.begin_in_child()
        process.die_with_parent(self._pid)
        process.become_io_path()
        with Daemon(self._config, self._transport) as daemon:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            self._began[0] = 1
            daemon.run(first=not lives)
        return Exit.FINE

    def _after_death(self, code: int) -> None:
        # What was being handled is to blame, or else everything that waited for a thread of the worker's. Nothing is,
        # when somebody else killed it.
        if code < 0 and -code not in _FAULTS:
            return
        left = Handover(self._memory)
        left.take_over()
        current = left.current()
        for request in [current] if current else left.in_hand():
            key = request.luid, request.type, request.data
            self._deaths[key] += 1
            if self._deaths[key] >= _POISON_DEATHS:
                self._leave_behind(request, left)

    def _leave_behind(self, request: Request, left: Handover) -> None:
        logger.error(
            "request type %d killed %d workers; it is answered with the least harmful reply",
            request.type,
            _POISON_DEATHS,
        )
        self._transport.send(wire.fallback_reply(request))
        left.forget(request.seq)
        left.overrun = True  # a mark that nobody made is a request that was lost: no held clear may survive it


def _spins(config: Config) -> int:
    # on a single processor the kernel could not ask while we look
    return config.netlink.spins if len(os.sched_getaffinity(0)) > 1 else 0


def _pause_seconds(short_lives: int) -> float:
    beyond = short_lives - _FREE_LIVES
    # the exponent is bounded too: a float overflows after a thousand deaths
    return min(_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2 ** min(beyond, 10)) if beyond > 0 else 0.0


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


def reap(child: int) -> int:
    """Wait for a child's end; return its exit code, or the negative number of the signal that killed it.

    A child that is dead but for threads in uninterruptible sleep, on a device that hangs, has ended too: nothing of it
    will run again, and whoever waited for the rest of it would let every mirror wait for that device.
    """
    pidfd = os.pidfd_open(child)
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        status = None
        while not poll.poll(_LOOK_SECONDS * 1000):
            if status is not None:  # the other threads had their time to end
                return os.waitstatus_to_exitcode(status)
            status = _status_of_dead_leader(child)
    finally:
        os.close(pidfd)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def reap_leftovers() -> None:
    """Collect former children whose last thread has come back from its device; call while there is no worker."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _status_of_dead_leader(child: int) -> int | None:
    # proc_pid_stat(5): after the name, which may hold anything, the state is the first field, the status the last
    fields = (Path("/proc") / str(child) / "stat").read_text().rpartition(")")[2].split()
    return int(fields[-1]) if fields[0] == "Z" else None


def _how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"code {code}"
