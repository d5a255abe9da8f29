# SPDX-License-Identifier: LGPL-2.1-or-later
"""Logging to standard error, for a terminal or for journald; whoever logs never waits for whoever reads.

Lives here: formats, the lines that wait, the thread that writes them. Does not know what is logged.
"""

import logging
import os
import select
import stat
import threading
import traceback
from collections import deque
from types import TracebackType
from typing import Final

_LEVELS: Final = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_STDERR: Final = 2
_MAX_WAITING: Final = 1000


def log_to_stderr(level: str) -> None:
    """Send everything of ours from this level on to standard error, and nothing of others."""
    # journald reads the level from the prefix; a terminal gets the time instead
    plain = os.isatty(_STDERR)
    handler = _Handler(Lines(_STDERR))
    before = "%(asctime)s " if plain else "diskulog: " if _is_kernel_log(_STDERR) else ""
    handler.setFormatter(_Journald(f"{before}%(message)s", prefix=not plain))
    root = logging.getLogger("diskulog")
    root.handlers[:] = [handler]
    root.propagate = False
    root.setLevel(level.upper())


def _is_kernel_log(fd: int) -> bool:
    # /dev/kmsg, where nobody else says whose line it is
    found = os.fstat(fd)
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == os.makedev(1, 11)


def begin_in_child() -> None:
    """Forget, after a fork, the lines that wait: they are the parent's, and so is the thread that writes them."""
    for handler in _handlers():
        handler.lines = Lines(_STDERR)


def drain(timeout_seconds: float) -> None:
    """Wait until every line is written, but not for ever: the end of a process must not hang on its log."""
    for handler in _handlers():
        handler.lines.drain(timeout_seconds)


class Lines:
    """Lines on their way to a descriptor that may block: a pipe that nobody reads, a file on a mirror served here.

    A thread writes them, started when there is something to write and ended when there is not. Over the bound lines
    are dropped, and their number is told once somebody reads again.
    """

    def __init__(self, fd: int, max_waiting: int = _MAX_WAITING) -> None:
        """Take the descriptor, and how many lines may wait."""
        self._fd = fd
        self._max_waiting = max_waiting
        self._waiting: deque[str] = deque()
        self._guard = threading.Lock()  # never held while writing
        self._thread: threading.Thread | None = None
        self._dropped = 0

    def put(self, text: str) -> None:
        """Have a text written, some time; returns at once."""
        with self._guard:
            if len(self._waiting) >= self._max_waiting:
                self._dropped += 1
                return
            self._waiting.append(text)
            if self._thread is not None:
                return
            self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # no memory for it now; the next line tries again
                self._thread = None

    def drain(self, timeout_seconds: float) -> None:
        """Wait for the thread to write what waits; returns after the time at the latest."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout_seconds)

    def _run(self) -> None:
        while (text := self._next()) is not None:
            _write(self._fd, (text + "\n").encode(errors="backslashreplace"))

    def _next(self) -> str | None:
        with self._guard:
            if self._waiting:
                return self._waiting.popleft()
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                return f"<4>{dropped} lines are missing here: they were not read fast enough"
            self._thread = None
            return None


def _write(fd: int, data: bytes) -> None:
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:  # a descriptor that somebody else made so
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            poll.poll()
        except OSError:
            return  # nobody reads any more; a daemon does not end for that


class _Handler(logging.Handler):
    """Formats on the thread that logs, and leaves the writing to another."""

    def __init__(self, lines: Lines) -> None:
        super().__init__()
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
        except Exception:  # a request must not fail for the words about it
            text = f"<3>bug: a line that cannot be formatted: {record.msg!r}"
        self.lines.put(text)


def _handlers() -> list[_Handler]:
    return [handler for handler in logging.getLogger("diskulog").handlers if isinstance(handler, _Handler)]


class _Journald(logging.Formatter):
    """Every line led by ``<N>``, the syslog level (sd-daemon(3)), those of a traceback too."""

    def __init__(self, text: str, prefix: bool) -> None:
        super().__init__(text)
        self._prefix = prefix

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if not self._prefix:
            return text
        number = next((number for level, number in _LEVELS if record.levelno >= level), 7)
        return "\n".join(f"<{number}>{line}" for line in text.splitlines())

    def formatException(
        self, ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
    ) -> str:
        # without the source's lines: those would be read from files, and the files may lie on a mirror served here
        kind, error, trace = ei
        places = [
            f'  File "{frame.f_code.co_filename}", line {number}, in {frame.f_code.co_name}'
            for frame, number in traceback.walk_tb(trace)
        ]
        name = kind.__name__ if kind else "no exception"
        return "\n".join(["Traceback (most recent call last):", *places, f"{name}: {error}"])
