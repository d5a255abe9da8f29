# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where a trace goes: a file as it comes, or a file of the last requests at the end.

Lives here: files that are made and written. Does not know who listens, or what is listened to.
"""

import os
from collections import deque
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Final, Protocol

from diskulog.errors import DeviceError, RefusedError
from diskulog.trace.record import Header, Record, header_line, line

_LINES_A_WRITE: Final = 4096
_MODE: Final = 0o600  # a luid is a kernel address


class Sink(Protocol):
    """Takes records; every method raises DeviceError."""

    def put(self, record: Record) -> None:
        """Take a record."""

    def rest(self) -> None:
        """Hand over what was taken: nothing more comes just now."""

    def write_now(self) -> None:
        """Write what there is, and wait until it is on the disk."""


class FileSink:
    """Appends to a new file."""

    def __init__(self, path: Path, header: Header) -> None:
        """Make the file.

        Raises:
            RefusedError: there is one of this name.
            DeviceError: it cannot be made or written.
        """
        self._path = path
        self._fd = _create(path)
        self._lines = [header_line(header)]
        self.rest()

    def put(self, record: Record) -> None:
        """Take a record."""
        self._lines.append(line(record))

    def rest(self) -> None:
        """Give the lines to the kernel: they are in the file though this process be killed."""
        lines, self._lines = self._lines, []
        _write(self._path, self._fd, lines)

    def write_now(self) -> None:
        """Write, and wait until it is on the disk."""
        self.rest()
        _sync(self._path, self._fd)


class RingSink:
    """Keeps the last records in memory; ``write_now`` replaces the file as a whole."""

    def __init__(self, path: Path, header: Header, size: int) -> None:
        """Make the file, with a header alone; raises as ``FileSink`` does."""
        self._path = path
        self._header = header_line(header)
        self._records: deque[Record] = deque(maxlen=size)
        fd = _create(path)
        try:
            _write(path, fd, [self._header])
        finally:
            os.close(fd)

    def put(self, record: Record) -> None:
        """Take a record in the place of the oldest."""
        self._records.append(record)  # made a line only when it is written

    def rest(self) -> None:
        """Do nothing."""

    def write_now(self) -> None:
        """Write a file beside it, and put that in its place."""
        beside = self._path.with_name(f"{self._path.name}.new")
        fd = _create(beside)
        try:
            try:
                _write(beside, fd, [self._header])
                records = iter(self._records)
                while lines := [line(record) for record in islice(records, _LINES_A_WRITE)]:
                    _write(beside, fd, lines)
                _sync(beside, fd)
            finally:
                os.close(fd)
            beside.replace(self._path)
        except (OSError, DeviceError) as cause:
            beside.unlink(missing_ok=True)
            if isinstance(cause, DeviceError):
                raise
            raise DeviceError(f"cannot write {self._path}", cause) from cause


def _create(path: Path) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
    except FileExistsError:
        raise RefusedError(str(path), "exists", "name a new file, or remove it") from None
    except (OSError, ValueError) as cause:  # ValueError: a NUL in the name
        failure = cause if isinstance(cause, OSError) else OSError(2, str(cause))
        raise DeviceError(f"cannot make {path}", failure) from cause


def _write(path: Path, fd: int, lines: Iterable[str]) -> None:
    left = memoryview("".join(lines).encode())
    try:
        while left:
            left = left[os.write(fd, left) :]
    except OSError as cause:
        raise DeviceError(f"cannot write {path}", cause) from cause


def _sync(path: Path, fd: int) -> None:
    try:
        os.fsync(fd)
    except OSError as cause:
        raise DeviceError(f"cannot write {path}", cause) from cause
