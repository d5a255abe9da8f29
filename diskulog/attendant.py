# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the supervisor does while a worker works: answers on the control socket, and listens to the worker's heart.

Lives here: systemd's watchdog, a worker that stands still, a reload of the configuration. Does not know logs, forking,
or what a setting does.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from diskulog import process
from diskulog.board import HEARTBEAT, Board
from diskulog.config import Config
from diskulog.controlsocket import ControlSocket

logger = logging.getLogger("diskulog.supervisor")

_LOOK_SECONDS = 0.5
_READY_SECONDS = 0.02  # between two looks whether the first worker answers
_FEEDS = 3  # within systemd's time


class Attendant:
    """Goes with one worker after the other; ``worker`` is the one that lives now."""

    def __init__(
        self, board: Board, control: ControlSocket | None, timeout_seconds: float, reread: Callable[[], Config] | None
    ) -> None:
        """Take the board, the control socket, how long a worker may stand still, and what reads the configuration."""
        self._board = board
        self._control = control
        self._reread = reread
        self.timeout_seconds = timeout_seconds
        self.worker: int | None = None
        self.reload_asked = False
        self.on_reload: Callable[[Config], None] = lambda _: None
        watchdog = process.watchdog_seconds()
        self._feed_seconds = watchdog / _FEEDS if watchdog else None
        self._fed = self._looked = time.monotonic()
        self._heart = 0
        self._ready = False  # whether systemd was told
        self._still_seconds = 0.0
        self._reading: threading.Thread | None = None
        self._read: list[Config] = []

    @property
    def wait_seconds(self) -> float | None:
        """How long may be waited before the next ``tick``."""
        if not self._ready:
            return _READY_SECONDS
        return self._control.wait_seconds if self._control is not None else None

    def wanted(self) -> list[tuple[int, int]]:
        """List the control socket's descriptors."""
        return self._control.wanted() if self._control is not None else []

    def turn(self, number: int, ready: int) -> None:
        """Let the control socket do what it can."""
        if self._control is not None:
            self._control.turn(number, ready)

    def tick(self) -> None:
        """Do what has its time."""
        if self._control is not None:
            self._control.tick()
        if not self._ready and self._board.words[HEARTBEAT]:
            self._ready = True
            process.notify("READY=1")
        now = time.monotonic()
        if now - self._looked >= _LOOK_SECONDS:
            # what passed is counted in looks: a machine that was stopped for an hour has looked once
            passed, self._looked = min(now - self._looked, 2 * _LOOK_SECONDS), now
            self._listen(passed, now)
            self._reload()

    def begin(self, worker: int | None) -> None:
        """Go with another worker, which has its time to begin."""
        self.worker, self._still_seconds = worker, 0.0

    def leave_in_child(self) -> None:
        """Let go of the control socket, in a worker that was just forked."""
        if self._control is not None:
            self._control.close_in_child()

    def _listen(self, passed_seconds: float, now: float) -> None:
        heart = self._board.words[HEARTBEAT]
        if heart != self._heart:
            self._heart, self._still_seconds = heart, 0.0
            if self._feed_seconds is not None and now - self._fed >= self._feed_seconds:
                self._fed = now
                process.notify("WATCHDOG=1")
            return
        self._still_seconds += passed_seconds
        if self._still_seconds >= self.timeout_seconds and self.worker is not None:
            logger.error("the worker stands still for %g s and is killed", self.timeout_seconds)
            self._still_seconds = 0.0
            with suppress(ProcessLookupError):
                os.kill(self.worker, signal.SIGKILL)

    def _reload(self) -> None:
        # on a thread: the file may lie on a mirror whose worker has just died, and who forks the next one must not wait
        if self.reload_asked and self._reading is None:
            self.reload_asked = False
            if self._reread is not None:
                self._reading = threading.Thread(target=self._read_again, name="configuration", daemon=True)
                self._reading.start()
        elif self._reading is not None and not self._reading.is_alive():
            self._reading = None
            if self._read:
                self.on_reload(self._read.pop())

    def _read_again(self) -> None:
        assert self._reread is not None
        try:
            self._read.append(self._reread())
        except Exception as error:
            logger.error("the configuration stays as it was: %s", error)  # noqa: TRY400
