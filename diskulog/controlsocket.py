# SPDX-License-Identifier: LGPL-2.1-or-later
"""The control socket: whoever may open it asks, and is answered from memory; nothing here ever waits.

Lives here: connections, their limits, the lines that go in and out. Does not know what an answer says (``status``).
"""

import json
import logging
import os
import select
import shutil
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from diskulog.status import error

logger = logging.getLogger("diskulog.control")

GROUP: Final = "diskulog"
MAX_CLIENTS: Final = 16
_MAX_REQUEST_BYTES: Final = 1024
_MAX_UNSENT_BYTES: Final = 256 * 1024  # whoever follows events and reads no more gets none meanwhile
_FOLLOW_SECONDS: Final = 0.1  # between two looks for events, while somebody follows them


class Answering(Protocol):
    """Where answers come from."""

    def status(self) -> bytes:
        """Return the line about everything."""

    def events(self, first: int) -> tuple[list[bytes], int]:
        """Return the lines of events from a number on, and the next number."""

    def kept(self, history: int) -> int:
        """Return the number of the first of so many kept events."""


@dataclass(slots=True, eq=False)
class _Client:
    socket: socket.socket
    asked: bytearray = field(default_factory=bytearray)
    unsent: bytearray = field(default_factory=bytearray)
    following: int | None = None  # the number of the next event it gets
    answered: bool = False


class ControlSocket:
    """Listens at a path. Its owner polls what is ``wanted``, and calls ``turn`` and ``tick``."""

    def __init__(self, path: Path, answers: Answering) -> None:
        """Listen; a socket that lies there is a dead daemon's, since only one runs.

        Raises:
            OSError: the path is too long, or cannot be made.
        """
        self._path = path
        self._answers = answers
        self._clients: dict[int, _Client] = {}
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            path.unlink(missing_ok=True)
            before = os.umask(0o177)  # nobody connects before the group is right
            try:
                self._listener.bind(str(path))
            finally:
                os.umask(before)
            with suppress(LookupError):  # without the group it is root's alone
                shutil.chown(path, group=GROUP)
            path.chmod(0o660)
            self._listener.listen()
        except OSError:
            self._listener.close()
            raise

    @property
    def wait_seconds(self) -> float | None:
        """How long to wait at most before the next ``tick``; None: as long as one likes."""
        followed = any(client.following is not None for client in self._clients.values())
        return _FOLLOW_SECONDS if followed else None

    def wanted(self) -> list[tuple[int, int]]:
        """List descriptors with the events to poll them for."""
        found = [(self._listener.fileno(), select.POLLIN)] if len(self._clients) < MAX_CLIENTS else []
        for number, client in self._clients.items():
            # once it was answered, only its end is of interest, which poll reports unasked; half an end is none
            asks = 0 if client.answered else select.POLLIN
            found.append((number, asks | (select.POLLOUT if client.unsent else 0)))
        return found

    def turn(self, number: int, ready: int) -> None:
        """Do what a descriptor is ready for; never raises."""
        if number == self._listener.fileno():
            self._guard(None, self._accept)
        elif (client := self._clients.get(number)) is not None:
            self._guard(client, lambda: self._serve(client, ready))

    def tick(self) -> None:
        """Give events to those who follow them; never raises."""
        for client in tuple(self._clients.values()):
            if client.following is not None and len(client.unsent) < _MAX_UNSENT_BYTES:
                self._guard(client, lambda client=client: self._follow(client))  # type: ignore[misc]

    def close_in_child(self) -> None:
        """Let go of everything, in a child process: a client would wait for the end of a connection that we hold."""
        for client in self._clients.values():
            client.socket.close()
        self._listener.close()
        self._clients.clear()

    def close(self) -> None:
        """Stop listening."""
        self.close_in_child()
        with suppress(OSError):
            self._path.unlink()

    def _guard(self, client: _Client | None, does: Callable[[], None]) -> None:
        # a fault here must not end the one who keeps the worker
        try:
            does()
        except OSError:
            self._drop(client)  # it went away
        except Exception:
            logger.exception("bug: the control socket")
            self._drop(client)

    def _drop(self, client: _Client | None) -> None:
        if client is not None:
            self._clients.pop(client.socket.fileno(), None)
            client.socket.close()

    def _accept(self) -> None:
        made, _ = self._listener.accept()
        made.setblocking(False)
        self._clients[made.fileno()] = _Client(made)

    def _serve(self, client: _Client, ready: int) -> None:
        if client.answered:
            if ready & (select.POLLHUP | select.POLLERR):
                self._drop(client)
            else:
                self._send(client)
            return
        data = client.socket.recv(_MAX_REQUEST_BYTES)
        client.asked += data
        line, end, _ = client.asked.partition(b"\n")
        if end:
            self._answer(client, bytes(line))
        elif not data:
            self._drop(client)
        elif len(client.asked) >= _MAX_REQUEST_BYTES:
            self._answer_with(client, error(f"a request has at most {_MAX_REQUEST_BYTES} bytes"))

    def _answer(self, client: _Client, line: bytes) -> None:
        try:
            asked: Any = json.loads(line)
        except (ValueError, RecursionError):
            asked = None
        what = asked.get("do") if isinstance(asked, dict) else None
        if what == "status":
            self._answer_with(client, self._answers.status())
        elif what == "events":
            history = asked.get("history", 0)
            if not isinstance(history, int) or isinstance(history, bool) or history < 0:
                self._answer_with(client, error("history is a number of events"))
                return
            client.answered = True
            client.following = self._answers.kept(history)
            self._follow(client)
        else:
            self._answer_with(client, error('a request is a line of JSON: {"do": "status"} or {"do": "events"}'))

    def _answer_with(self, client: _Client, line: bytes) -> None:
        client.answered = True
        client.unsent += line
        self._send(client)

    def _follow(self, client: _Client) -> None:
        lines, client.following = self._answers.events(client.following or 0)
        client.unsent += b"".join(lines)
        self._send(client)

    def _send(self, client: _Client) -> None:
        with suppress(BlockingIOError):
            while client.unsent:
                del client.unsent[: client.socket.send(client.unsent)]
        if not client.unsent and client.answered and client.following is None:
            self._drop(client)
