# SPDX-License-Identifier: LGPL-2.1-or-later
"""A file that a command makes beside its output: whole or not at all, and never over what it reads.

Lives here: what may be replaced, and by which steps. Does not know what is written.
"""

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from diskulog.errors import DeviceError
from diskulog.exits import UsageError
from diskulog.forensic.source import STDIN

_WHOLE_FOR_ALL: Final = 0o666  # less the umask


def check(name: str, option: str, read_from: str) -> None:
    """Refuse a file that cannot be replaced, before any work is done for it.

    Raises:
        UsageError: for the input itself, and for what is no regular file.
        DeviceError: when it cannot be looked at.
    """
    if name in ("", STDIN):
        raise UsageError(f"{option} {name!r}: is not the name of a file")
    try:
        found = os.lstat(name)
    except FileNotFoundError:
        return
    except (OSError, ValueError) as cause:  # ValueError: a NUL in the name
        raise _unwritten(name, cause) from cause
    if not stat.S_ISREG(found.st_mode):
        raise UsageError(f"{option} {name}: is there and is no regular file: it is not replaced; give another name")
    if _same(found, read_from):
        raise UsageError(f"{option} {name}: is the log itself; give another name")


def _same(found: os.stat_result, read_from: str) -> bool:
    with suppress(OSError, ValueError):  # reading it will say what is wrong with it
        read = os.fstat(0) if read_from == STDIN else os.stat(read_from)  # noqa: PTH116 - a device name
        return (found.st_dev, found.st_ino) == (read.st_dev, read.st_ino)
    return False


def write(name: str, data: bytes, *, durable: bool = True) -> None:
    """Make or replace a file: written beside it, made durable, renamed.

    ``durable`` False leaves out the second: for what is written again soon, and worth nothing after a crash.

    Raises:
        DeviceError: when it cannot be; then nothing is left, and what was there stays.
    """
    beside = Path(name).with_name(f".diskulog-{os.urandom(6).hex()}")
    try:
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _WHOLE_FOR_ALL)
        try:
            with open(fd, "wb") as file:
                file.write(data)
                file.flush()
                if durable:
                    os.fsync(fd)
            beside.rename(name)
        except BaseException:
            with suppress(OSError):
                beside.unlink()
            raise
    except (OSError, ValueError) as cause:
        raise _unwritten(name, cause) from cause


def _unwritten(name: str, cause: OSError | ValueError) -> DeviceError:
    known = cause if isinstance(cause, OSError) else OSError(2, str(cause))
    return DeviceError(f"cannot write {name}", known)
