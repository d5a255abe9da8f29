# SPDX-License-Identifier: LGPL-2.1-or-later
"""The supervisor: holds the netlink socket, and keeps one worker answering on it.

Lives here: start and end of the daemon, what a worker's death means. Does not know logs, bits or formats, or what is
done while a worker works (``attendant``).
"""

import logging
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from diskulog import handover, journal, process, wire
from diskulog.attendant import Attendant
from diskulog.board import BOARD_BYTES, Board, Event, Names
from diskulog.config import Config
from diskulog.controlsocket import ControlSocket
from diskulog.daemon import Daemon
from diskulog.errors import RefusedError
from diskulog.exits import Exit, exit_for
from diskulog.forks import fork, reap, reap_leftovers
from diskulog.handover import HANDOVER_BYTES, Handover
from diskulog.livesettings import SETTINGS_BYTES, LiveSettings, Settings
from diskulog.neighbours import refuse_beside_another
from diskulog.publish import RESTARTED
from diskulog.status import About, Answers, how_it_ended
from diskulog.transport import Transport, usable
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
_LAST_WORDS_SECONDS = 1.0
_CONTROL = "control.sock"
# what systemd keeps for us over a restart, by name
_KEPT_SOCKET, _KEPT_MEMORY = "netlink", "handover"
# changed for a running daemon only by another start
_NEEDS_RESTART = (("daemon", "run_directory"),)


def serve(config: Config, reread: Callable[[], Config] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code. ``reread`` reads the configuration again, for SIGHUP."""
    journal.log_to_stderr(config.daemon.log_level)
    code = _serve(config, reread)
    journal.drain(_LAST_WORDS_SECONDS)
    return code


def _serve(config: Config, reread: Callable[[], Config] | None) -> int:
    missing = process.missing_privileges()
    for line in missing:
        logger.error("%s", line)
    if missing:
        return Exit.NO_PERMISSION
    try:
        run_directory = Path(config.daemon.run_directory)
        lock = process.claim(run_directory)
        kept, memory = _kept_for_us()
        refuse_beside_another(os.fstat(kept.fileno()).st_ino if kept is not None else None)
        # everything is imported by now: a new worker is a fork, and reads no file
        process.become_io_path()
        transport = Transport(config.netlink.receive_buffer_bytes, Handover(memory), _spins(config), kept)
        if kept is None:
            process.notify(f"FDSTORE=1\nFDNAME={_KEPT_SOCKET}", transport.fileno())
        board = Board(process.shared_memory(BOARD_BYTES))
        about = About(os.getpid(), time.time(), transport.port)
        control = _control_socket(run_directory, Answers(board, about, time.time, time.monotonic))
        attendant = Attendant(board, control, config.daemon.worker_timeout_seconds, reread)
        supervisor = Supervisor(config, transport, memory, board, about, attendant, kept is not None)
        # a worker that hangs in a device when all else was killed must not keep the next daemon from starting
        supervisor.on_fork = lambda: os.close(lock)
        code = supervisor.run()
        if control is not None:
            control.close()
        transport.close()
        os.close(lock)
    except RefusedError as error:
        logger.error("%s", error)  # noqa: TRY400 - a sentence for the administrator, not a traceback
        return Exit.REFUSED
    except OSError as error:
        logger.error("cannot serve: %s", error)  # noqa: TRY400
        return exit_for(error)
    return code


def _kept_for_us() -> tuple[socket.socket | None, memoryview]:
    # the socket with what came while nobody served, and what was in hand; one without the other is of no use
    passed = process.passed_descriptors()
    kept = usable(passed.pop(_KEPT_SOCKET)) if _KEPT_SOCKET in passed else None
    memory = None
    if _KEPT_MEMORY in passed:
        with suppress(OSError, ValueError):
            memory = process.mapped_memory(passed[_KEPT_MEMORY])
    for fd in passed.values():
        os.close(fd)
    if memory is not None and kept is not None and handover.fits(memory):
        return kept, memory
    if passed:  # of another version: the kernel meets us as it meets any daemon
        process.notify(f"FDSTOREREMOVE=1\nFDNAME={_KEPT_MEMORY}")
    fd, memory = process.kept_memory(HANDOVER_BYTES)
    process.notify(f"FDSTORE=1\nFDNAME={_KEPT_MEMORY}", fd)
    os.close(fd)
    return kept, memory


def _control_socket(run_directory: Path, answers: Answers) -> ControlSocket | None:
    try:
        return ControlSocket(run_directory / _CONTROL, answers)
    except OSError as error:  # mirrors are served all the same
        logger.warning("nobody can ask how things stand: %s: %s", run_directory / _CONTROL, error.strerror or error)
        return None


class Supervisor:
    """One worker at a time, and what is done between two of them."""

    def __init__(
        self,
        config: Config,
        transport: Transport,
        memory: memoryview,
        board: Board,
        about: About,
        attendant: Attendant,
        takes_over: bool = False,
    ) -> None:
        """Take the socket that outlives workers, the memory that they share, and who attends to them.

        ``takes_over`` says that both are another daemon's, with its logs and requests.
        """
        self._config = config
        self._transport = transport
        self._memory = memory
        self._board = board
        self._about = about
        self._attendant = attendant
        self._takes_over = takes_over
        self._pid = os.getpid()
        self._worker: int | None = None
        self._stopping = False
        self._began = process.shared_memory(1)  # whether a worker ever got as far as answering
        self._settings = LiveSettings(process.shared_memory(SETTINGS_BYTES))
        self._deaths: Counter[tuple[int, int, bytes]] = Counter()
        attendant.on_reload = self._reload
        self.on_fork: Callable[[], None] = lambda: None  # called in each worker, at its begin

    def run(self) -> int:
        """Keep a worker until a signal; return the last worker's exit code."""
        self._settings.write(_live(self._config))
        for number in _SIGNALS:
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, self._hang_up)
        lives = short_lives = 0
        while True:
            begun = time.monotonic()
            code = self._one_life(lives)
            lives += 1
            if self._stopping or (code > 0 and not self._began[0]):
                return max(code, 0)
            self._tell_death(code)
            lived = time.monotonic() - begun
            if lived > _LONG_LIFE_SECONDS:
                self._deaths.clear()
            self._after_death(code)
            short_lives = short_lives + 1 if lived < _SHORT_LIFE_SECONDS else 0
            time.sleep(_pause_seconds(short_lives))

    def _stop(self, number: int, _: object) -> None:
        self._stopping = True
        process.notify("STOPPING=1")
        if self._worker is not None:
            with suppress(ProcessLookupError):
                os.kill(self._worker, signal.SIGTERM)

    def _hang_up(self, number: int, _: object) -> None:
        self._attendant.reload_asked = True

    def _one_life(self, lives: int) -> int:
        reap_leftovers()
        # the signals wait while the worker is neither known here nor has handlers of its own
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        if self._stopping:
            return Exit.FINE
        self._worker = self._about.worker_pid = fork(lambda: self._work(lives))
        self._attendant.begin(self._worker)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        code = reap(self._worker, self._attendant)
        self._worker = self._about.worker_pid = None
        self._attendant.begin(None)
        return code

    def _work(self, lives: int) -> int:
        journal.begin_in_child()
        self._attendant.leave_in_child()
        self.on_fork()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        process.die_with_parent(self._pid)
        process.become_io_path()
        with Daemon(self._config, self._transport, self._board.again(), self._settings) as daemon:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            self._began[0] = 1
            daemon.run(first=not lives, takes_over=self._takes_over or bool(lives))
        return Exit.FINE

    def _tell_death(self, code: int) -> None:
        how = (-code, 0) if code < 0 else (0, code)
        self._about.last_worker_end = how_it_ended(*how)
        self._about.worker_restarts += 1
        logger.error("the worker ended (%s), a new one starts", self._about.last_worker_end)
        self._board.tell(Event(0, int(time.time() * 1e6), RESTARTED, Names(0, b"", "", ""), *how))

    def _reload(self, config: Config) -> None:
        for section, key in _NEEDS_RESTART:
            if getattr(getattr(config, section), key) != getattr(getattr(self._config, section), key):
                logger.warning("configuration: [%s] %s changes with the next start only", section, key)
        if config.netlink.receive_buffer_bytes != self._config.netlink.receive_buffer_bytes:
            self._transport.resize(config.netlink.receive_buffer_bytes)
        self._config = config
        self._attendant.timeout_seconds = config.daemon.worker_timeout_seconds
        logging.getLogger("diskulog").setLevel(config.daemon.log_level.upper())
        self._settings.write(_live(config))
        logger.info("the configuration was read again")

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


def _live(config: Config) -> Settings:
    clears, level = config.clears, logging.getLevelNamesMapping()[config.daemon.log_level.upper()]
    return Settings(
        clears.hold_seconds,
        clears.max_held,
        clears.leg_flush_timeout_seconds,
        _spins(config),
        config.compat.clustered_single_host,
        level,
    )


def _pause_seconds(short_lives: int) -> float:
    beyond = short_lives - _FREE_LIVES
    # the exponent is bounded too: a float overflows after a thousand deaths
    return min(_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2 ** min(beyond, 10)) if beyond > 0 else 0.0
