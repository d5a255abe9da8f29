# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where a log's bytes come from: a device, a partition, an image file, standard input.

Lives here: opening read-only, refusing what cannot hold a log, aligned reads past the page cache. Does not know what
the bytes mean.
"""

import fcntl
import mmap
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol

from diskulog import sysfs
from diskulog.errors import DeviceError
from diskulog.exits import UsageError
from diskulog.units import MIB, SECTOR_BYTES, round_down, round_up

STDIN: Final = "-"
CHUNK_BYTES: Final = MIB
_BLKSSZGET: Final = 0x1268  # linux/fs.h: the logical block size, to which O_DIRECT aligns

_NO_LOG_INSIDE: Final = (
    (stat.S_ISDIR, "is a directory"),
    (stat.S_ISFIFO, "is a FIFO (pipe into '-' instead)"),
    (stat.S_ISSOCK, "is a socket"),
    (stat.S_ISCHR, "is a character device"),
)


@contextmanager
def aligned_buffer(length_bytes: int) -> Iterator[memoryview]:
    """Lend zeroed memory that O_DIRECT takes: anonymous and page-aligned, not a mapping of any device."""
    with mmap.mmap(-1, length_bytes) as memory, memoryview(memory) as view:
        yield view


class Source(Protocol):
    """Bytes to read a log from; ``size_bytes`` is None when only the end will tell."""

    @property
    def name(self) -> str:
        """What the user called it."""

    @property
    def size_bytes(self) -> int | None:
        """The real size."""

    @property
    def holders(self) -> tuple[str, ...]:
        """Devices that are built on it now."""

    @property
    def is_block(self) -> bool:
        """Whether a page cache may stand between the reader and the medium."""

    def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        """Read, shorter only at the end."""

    def bypass_cache(self) -> None:
        """Read the medium from here on."""


@dataclass(frozen=True, slots=True)
class FileSource:
    """A regular file or a block device behind an open descriptor."""

    name: str
    fd: int
    size_bytes: int
    is_block: bool = False
    block_bytes: int = SECTOR_BYTES
    holders: tuple[str, ...] = ()

    def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        """Read up to ``length_bytes``, shorter only at the end; whole blocks through an aligned buffer.

        Raises:
            DeviceError: when the device fails the read.
        """
        start = round_down(offset_bytes, self.block_bytes)
        end = round_up(offset_bytes + length_bytes, self.block_bytes)
        data = bytearray()
        with aligned_buffer(max(min(CHUNK_BYTES, end - start), self.block_bytes)) as view:
            while start + len(data) < end:
                with view[: end - start - len(data)] as window:
                    got = self._read_into(window, start + len(data))
                    data += window[:got]
                if got == 0:
                    break
        skipped = offset_bytes - start
        return bytes(memoryview(data)[skipped : skipped + length_bytes])

    def _read_into(self, window: memoryview, position_bytes: int) -> int:
        try:
            return os.preadv(self.fd, [window], position_bytes)
        except OSError as cause:
            raise DeviceError(f"cannot read {self.name} at byte {position_bytes}", cause) from cause

    def bypass_cache(self) -> None:
        """Set O_DIRECT: dm's own log does its I/O past the page cache, which then holds old bytes.

        Raises:
            DeviceError: when the device has no direct I/O.
        """
        try:
            fcntl.fcntl(self.fd, fcntl.F_SETFL, fcntl.fcntl(self.fd, fcntl.F_GETFL) | os.O_DIRECT)
        except OSError as cause:
            raise DeviceError(f"cannot read {self.name} past the page cache", cause) from cause


@dataclass(slots=True)
class StreamSource:
    """A pipe: read forwards once, nothing kept; ``seekable`` when it is a file after all, and need not be read over."""

    name: str
    fd: int
    size_bytes: int | None = None
    is_block: bool = False
    holders: tuple[str, ...] = ()
    seekable: bool = False
    _position: int = field(default=0, repr=False)

    def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        """Skip forwards to ``offset_bytes`` and read; the caller never goes back.

        Raises:
            DeviceError: when the pipe fails.
        """
        if offset_bytes < self._position:
            raise ValueError(f"a stream at byte {self._position} cannot go back to {offset_bytes}")
        self._skip(offset_bytes - self._position)
        return b"".join(self._chunks(length_bytes))

    def _skip(self, length_bytes: int) -> None:
        if not self.seekable:
            for _ in self._chunks(length_bytes):
                pass
            return
        here = os.lseek(self.fd, 0, os.SEEK_CUR)
        os.lseek(self.fd, min(here + length_bytes, max(here, os.fstat(self.fd).st_size)), os.SEEK_SET)
        self._position += length_bytes

    def _chunks(self, length_bytes: int) -> Iterator[bytes]:
        while length_bytes:
            try:
                chunk = os.read(self.fd, min(length_bytes, CHUNK_BYTES))
            except OSError as cause:
                raise DeviceError(f"cannot read {self.name} at byte {self._position}", cause) from cause
            if not chunk:
                return
            self._position += len(chunk)
            length_bytes -= len(chunk)
            yield chunk

    def bypass_cache(self) -> None:
        """Do nothing: a pipe has no cache of its own."""


@dataclass(slots=True)
class Through:
    """A source behind another one, which has its name and its size; ``read`` is its own matter."""

    source: Source

    @property
    def name(self) -> str:
        """What the user called it."""
        return self.source.name

    @property
    def size_bytes(self) -> int | None:
        """The real size."""
        return self.source.size_bytes

    @property
    def holders(self) -> tuple[str, ...]:
        """Devices that are built on it now."""
        return self.source.holders

    @property
    def is_block(self) -> bool:
        """Whether a page cache may stand between the reader and the medium."""
        return self.source.is_block

    def bypass_cache(self) -> None:
        """Read the medium from here on."""
        self.source.bypass_cache()


@contextmanager
def opened(name: str, flags: int = os.O_RDONLY) -> Iterator[FileSource | StreamSource]:
    """Open a log to read from; ``-`` is standard input. Never blocks, never creates.

    ``flags`` come on top of what is always set; every reading command leaves them alone.

    Raises:
        UsageError: for what cannot hold a log: a directory, FIFO, socket or character device by name.
        DeviceError: when it cannot be opened.
    """
    if name == STDIN:
        yield from _standard_input()
        return
    # looked at before it is opened: opening a FIFO waits, opening a tape or a watchdog does things
    _refuse_what_holds_no_log(name, _stat(name))
    try:
        fd = os.open(name, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as cause:
        raise DeviceError(f"cannot open {name}", cause) from cause
    try:
        _refuse_what_holds_no_log(name, os.fstat(fd))
        yield _file_source(name, fd)
    finally:
        os.close(fd)


def _stat(name: str) -> os.stat_result:
    try:
        return os.stat(name)  # noqa: PTH116 - a device name, not a place in a tree
    except (OSError, ValueError) as cause:  # ValueError: a NUL in the name
        raise DeviceError(
            f"cannot open {name}", cause if isinstance(cause, OSError) else OSError(2, str(cause))
        ) from cause


def _refuse_what_holds_no_log(name: str, found: os.stat_result) -> None:
    for matches, what in _NO_LOG_INSIDE:
        if matches(found.st_mode):
            raise UsageError(f"{name} {what}: name a block device or an image file")


def _file_source(name: str, fd: int) -> FileSource:
    found = os.fstat(fd)
    if not stat.S_ISBLK(found.st_mode):
        return FileSource(name, fd, found.st_size)
    try:
        size = os.lseek(fd, 0, os.SEEK_END)
        block = struct.unpack("i", fcntl.ioctl(fd, _BLKSSZGET, bytes(4)))[0]
    except OSError as cause:
        raise DeviceError(f"cannot read the size of {name}", cause) from cause
    return FileSource(name, fd, size, True, block, sysfs.holders(found.st_rdev))


def _standard_input() -> Iterator[FileSource | StreamSource]:
    try:
        mode = os.fstat(0).st_mode
    except OSError as cause:
        raise UsageError("standard input is closed: name a device, or pipe an image into '-'") from cause
    if stat.S_ISDIR(mode):
        raise UsageError("standard input is a directory: name a block device or an image file")
    if stat.S_ISBLK(mode):
        # `inspect - < /dev/vg/log`: the same rules as by name, on a descriptor whose flags are ours to change
        with opened("/proc/self/fd/0") as source:
            yield source
        return
    yield StreamSource("standard input", 0, seekable=stat.S_ISREG(mode))
