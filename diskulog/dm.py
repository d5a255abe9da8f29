# SPDX-License-Identifier: LGPL-2.1-or-later
"""The door to device mapper: tables in and out, suspend and resume, by ioctl.

Lives here: linux/dm-ioctl.h. Does not know what a table says. No program is started, for its file may lie on the very
mirror that is suspended.
"""

import errno as errnos
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from diskulog.errors import DeviceError, RefusedError
from diskulog.exits import UsageError

CONTROL: Final = "/dev/mapper/control"
PREFIX: Final = "/dev/mapper/"

# struct dm_ioctl: version[3], data_size, data_start, target_count, open_count, flags, event_nr, padding, dev, name,
# uuid
_HEADER: Final = struct.Struct("=3IIIIiIIIQ128s129s7x")
# struct dm_target_spec: sector_start, length, status, next, target_type; its parameters follow
_TARGET: Final = struct.Struct("=QQiI16s")
_VERSION: Final = (4, 0, 0)
_DEV_SUSPEND, _DEV_STATUS, _TABLE_LOAD, _TABLE_CLEAR, _TABLE_STATUS = 6, 7, 9, 10, 12
_IOWR: Final = 0xC0000000 | _HEADER.size << 16 | 0xFD << 8

_READ_ONLY, _SUSPEND, _STATUS_TABLE, _ACTIVE, _INACTIVE = 1 << 0, 1 << 1, 1 << 4, 1 << 5, 1 << 6
_BUFFER_FULL, _SKIP_LOCKFS, _NO_FLUSH, _QUERY_INACTIVE = 1 << 8, 1 << 10, 1 << 11, 1 << 12
_FIRST_BYTES, _MOST_BYTES = 16 * 1024, 4 * 1024 * 1024
_NAME_BYTES: Final = 127


@dataclass(frozen=True, slots=True)
class Info:
    """What dm says of a device; ``number`` is its ``major:minor``."""

    name: str
    uuid: str
    number: str
    suspended: bool
    has_table: bool
    has_inactive: bool
    read_only: bool


class Mapper(Protocol):
    """What is asked of device mapper. Tables are lines as ``dmsetup table`` prints them."""

    def info(self, name: str) -> Info:
        """Return how a device stands; never asks its target."""

    def table(self, name: str, *, inactive: bool = False) -> str:
        """Return the live table, or the one that waits; answered by the kernel alone."""

    def status(self, name: str) -> str:
        """Return what the target says. Where the mirror's log is in user space this asks the daemon, and waits."""

    def load(self, name: str, line: str, *, read_only: bool) -> None:
        """Load a table that waits for the next resume."""

    def clear(self, name: str) -> None:
        """Drop the table that waits."""

    def suspend(self, name: str) -> None:
        """Suspend without flushing: writes that a mirror holds are kept and come again, none is failed."""

    def resume(self, name: str) -> None:
        """Make the table that waits the live one, if there is one, and let I/O go on."""


class _Told(NamedTuple):
    target_count: int
    flags: int
    dev: int
    name: str
    uuid: str
    data: bytes


class KernelMapper:
    """Device mapper of this host behind an open descriptor."""

    def __init__(self, fd: int) -> None:
        """Take the descriptor of the control node."""
        self._fd = fd

    def info(self, name: str) -> Info:
        """Return how a device stands.

        Raises:
            UsageError: when there is no such device.
            DeviceError: when dm refuses.
        """
        told = self._ask(_DEV_STATUS, name, "look at it")
        return Info(
            name=told.name,
            uuid=told.uuid,
            number=f"{os.major(told.dev)}:{os.minor(told.dev)}",
            suspended=bool(told.flags & _SUSPEND),
            has_table=bool(told.flags & _ACTIVE),
            has_inactive=bool(told.flags & _INACTIVE),
            read_only=bool(told.flags & _READ_ONLY),
        )

    def table(self, name: str, *, inactive: bool = False) -> str:
        """Return a table; raises as ``info``."""
        return self._targets(name, _STATUS_TABLE | (_QUERY_INACTIVE if inactive else 0), "read its table")

    def status(self, name: str) -> str:
        """Return the target's status; raises as ``info``."""
        return self._targets(name, _NO_FLUSH, "ask for its status")

    def load(self, name: str, line: str, *, read_only: bool) -> None:
        """Load a table of one target; raises as ``info``."""
        start, length, kind, parameters = line.split(maxsplit=3)
        text = os.fsencode(parameters) + b"\0"
        target = _TARGET.pack(int(start), int(length), 0, 0, os.fsencode(kind)) + text
        target += bytes(-len(target) % 8)
        self._ask(_TABLE_LOAD, name, "load the new table", _READ_ONLY if read_only else 0, target)

    def clear(self, name: str) -> None:
        """Drop the table that waits; raises as ``info``."""
        self._ask(_TABLE_CLEAR, name, "drop the table that waits")

    def suspend(self, name: str) -> None:
        """Suspend; raises as ``info``."""
        self._ask(_DEV_SUSPEND, name, "suspend it", _SUSPEND | _NO_FLUSH | _SKIP_LOCKFS)

    def resume(self, name: str) -> None:
        """Resume; raises as ``info``."""
        # should it have been resumed by somebody else meanwhile, this suspends it once more, as above
        self._ask(_DEV_SUSPEND, name, "resume it", _NO_FLUSH | _SKIP_LOCKFS)

    def _targets(self, name: str, flags: int, what: str) -> str:
        told = self._ask(_TABLE_STATUS, name, what, flags)
        lines, at = [], 0
        for _ in range(told.target_count):
            start, length, _, at_next, kind = _TARGET.unpack_from(told.data, at)
            words = os.fsdecode(told.data[at + _TARGET.size :].split(b"\0", 1)[0])
            lines.append(f"{start} {length} {_text(kind)} {words}".rstrip())
            at = at_next  # counted from where the targets begin
        return "\n".join(lines)

    def _ask(self, number: int, name: str, what: str, flags: int = 0, target: bytes = b"") -> _Told:
        encoded = os.fsencode(name)
        if not 0 < len(encoded) <= _NAME_BYTES or b"\0" in encoded:
            raise UsageError(f"{name!r}: is no name of a mapped device")
        size = max(_FIRST_BYTES, _HEADER.size + len(target))
        while True:
            count = 1 if target else 0
            header = _HEADER.pack(*_VERSION, size, _HEADER.size, count, 0, flags, 0, 0, 0, encoded, b"")
            buffer = bytearray((header + target).ljust(size, b"\0"))
            try:
                fcntl.ioctl(self._fd, _IOWR | number, buffer)
            except OSError as cause:
                raise _failure(name, what, cause) from cause
            fields = _HEADER.unpack_from(buffer)
            if not fields[7] & _BUFFER_FULL or size >= _MOST_BYTES:
                data = bytes(buffer[fields[4] :])
                return _Told(fields[5], fields[7], fields[10], _text(fields[11]), _text(fields[12]), data)
            size *= 4


@contextmanager
def opened() -> Iterator[KernelMapper]:
    """Open the control node.

    Raises:
        DeviceError: when it is not there, or not for this user.
    """
    try:
        fd = os.open(CONTROL, os.O_RDWR | os.O_CLOEXEC)
    except OSError as cause:
        raise DeviceError(f"cannot ask device mapper ({CONTROL})", cause) from cause
    try:
        yield KernelMapper(fd)
    finally:
        os.close(fd)


@contextmanager
def alone(name: str, node: str) -> Iterator[None]:
    """Be the only command of ours that changes a mapped device, by a lock on its node.

    Raises:
        RefusedError: another one is at it.
        DeviceError: when the node cannot be opened.
    """
    try:
        fd = os.open(node, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as cause:
        raise DeviceError(f"cannot open {node}", cause) from cause
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as cause:
        raise RefusedError(name, "another diskulog command is moving it", "wait until it has ended") from cause
    finally:
        os.close(fd)


def _text(field: bytes) -> str:
    return os.fsdecode(field.split(b"\0", 1)[0])


def _failure(name: str, what: str, cause: OSError) -> DeviceError | UsageError:
    if cause.errno == errnos.ENXIO:
        return UsageError(f"{name}: there is no such mapped device ('dmsetup ls' lists them)")
    return DeviceError(f"{name}: dm cannot {what}", cause)
