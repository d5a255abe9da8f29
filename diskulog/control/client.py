# SPDX-License-Identifier: LGPL-2.1-or-later
"""The door to the daemon's control socket: one request a connection, answers line by line.

Lives here: connecting, how long to wait, how much to read, what each failure means. Does not know what an answer says.
"""

import errno as errnos
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from diskulog.errors import DeviceError, RefusedError
from diskulog.exits import NoDaemonError, UsageError

SOCKET_NAME: Final = "control.sock"
ANSWER_SECONDS: Final = 10.0
# a log takes some 2 KiB, and there are a thousand at most
MAX_LINE_BYTES: Final = 16 * 1024 * 1024
_CHUNK_BYTES: Final = 64 * 1024

_START: Final = "start it ('systemctl start diskulog', or 'diskulog serve')"
_NOBODY: Final = {
    errnos.ENOENT: "there is no",
    errnos.ENOTDIR: "there is no",
    errnos.ECONNREFUSED: "nobody listens at",
}
_CLOSED: Final = (BrokenPipeError, ConnectionResetError)


def status(path: Path, wait_seconds: float = ANSWER_SECONDS) -> bytes:
    """Return the daemon's answer to ``status``, a line of JSON.

    Raises:
        NoDaemonError: when none is there, it does not answer, or it goes away in the middle.
        RefusedError: when it has too many clients.
        DeviceError: when the socket may not be used, or sends what is no answer.
    """
    with _asked(path, {"do": "status"}, wait_seconds) as asked:
        for line in _lines(asked, path, time.monotonic() + wait_seconds):
            return line
    raise NoDaemonError(f"control socket {path}: the daemon closed it without an answer; try again, or {_START}")


def events(path: Path, history: int = 0) -> Iterator[bytes]:
    """Yield events as lines of JSON, kept ones first, until the daemon goes; raises as ``status`` does.

    Raises:
        NoDaemonError: at the end, too: there is no other.
    """
    with _asked(path, {"do": "events", "history": history}, ANSWER_SECONDS) as asked:
        yield from _lines(asked, path, None)  # nothing may happen for days
    raise NoDaemonError(f"control socket {path}: the daemon went away; {_START}")


@contextmanager
def _asked(path: Path, request: dict[str, object], wait_seconds: float) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asked:
        asked.settimeout(wait_seconds)
        try:
            asked.connect(os.fspath(path))
            asked.sendall(json.dumps(request).encode() + b"\n")
        except _CLOSED:
            pass  # it refused already: the reason can be read
        except (OSError, ValueError) as cause:
            raise _unreached(path, cause) from cause
        yield asked


def _lines(asked: socket.socket, path: Path, deadline: float | None) -> Iterator[bytes]:
    begun: list[bytes] = []
    size = 0
    while chunk := _received(asked, path, deadline):
        *whole, rest = chunk.split(b"\n")
        for line in whole:
            yield b"".join([*begun, line])
            begun, size = [], 0
        begun.append(rest)
        size += len(rest)
        if size > MAX_LINE_BYTES:
            cause = OSError(errnos.EMSGSIZE, f"its answer is longer than {MAX_LINE_BYTES} bytes")
            raise DeviceError(f"control socket {path}: this is no diskulog daemon", cause)
    if size:
        raise NoDaemonError(f"control socket {path}: the daemon went away in the middle of an answer; {_START}")


def _received(asked: socket.socket, path: Path, deadline: float | None) -> bytes:
    try:
        # a timeout of 0 would mean not to wait at all, which is told apart from having waited
        asked.settimeout(None if deadline is None else max(deadline - time.monotonic(), 0.001))
        return asked.recv(_CHUNK_BYTES)
    except TimeoutError as cause:
        raise _silent(path) from cause
    except _CLOSED:
        return b""
    except OSError as cause:
        raise DeviceError(f"control socket {path}", cause) from cause


def _unreached(path: Path, cause: OSError | ValueError) -> Exception:
    where = f"control socket {path}"
    number = getattr(cause, "errno", None)
    if number in _NOBODY:
        return NoDaemonError(f"no daemon: {_NOBODY[number]} {where}; {_START}, or name another with --socket")
    if isinstance(cause, TimeoutError):
        return _silent(path)
    if isinstance(cause, BlockingIOError):
        return RefusedError(where, "its queue of callers is full", "try again")
    if number in (errnos.EACCES, errnos.EPERM):
        known = OSError(number, "permission denied: be root, or in the socket's group (diskulog)")
        return DeviceError(where, known)
    if number is None:  # Python refuses a name that is too long for the kernel, or has a NUL in it
        return UsageError(f"{where}: {cause}: give another name with --socket")
    return DeviceError(where, cause if isinstance(cause, OSError) else OSError(number, str(cause)))


def _silent(path: Path) -> NoDaemonError:
    where = f"control socket {path}: no answer in time"
    return NoDaemonError(f"{where}: too many ask, or the daemon hangs; look at its log ('journalctl -u diskulog')")
