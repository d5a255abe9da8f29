# SPDX-License-Identifier: LGPL-2.1-or-later
"""A mapped file of the run directory: a head that says whose it is, and bitmaps with a bit for each region.

Lives here: name, layout, creating and finding it again. Does not know what the bits mean. Nothing in it outlives the
boot, so nothing is flushed for anybody.
"""

import mmap
import os
import struct
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Final

from bitarray import bitarray

from diskulog import ondisk
from diskulog.units import round_up

# magic, boot id, live token, the owner's flag, region count
_HEAD: Final = struct.Struct("<8s16s8sIxxxxQ")
_FLAG_AT: Final = 32
_BITS_AT: Final = 64


@dataclass(frozen=True, slots=True)
class Whose:
    """The luid of a log in this boot."""

    uuid: bytes
    boot_id: bytes
    token: bytes  # ondisk.live_token

    def file_name(self) -> str:
        """Return a name that no other luid's file has."""
        return blake2b(self.uuid + self.token, digest_size=16).hexdigest()


class RunFile:
    """One file; ``bitmaps`` are empty until it is created or opened. All methods raise OSError."""

    def __init__(self, folder: Path, whose: Whose, magic: bytes, region_count: int, bitmap_count: int) -> None:
        """Take where it lies and what must stand in it; nothing is opened yet."""
        self._path = folder / whose.file_name()
        self._fixed = (magic, whose.boot_id, whose.token, region_count)
        self._bitmap_count = bitmap_count
        self._memory: mmap.mmap | None = None
        self.bitmaps: tuple[bitarray, ...] = ()

    def create(self) -> None:
        """Make it anew, all bits and the flag zero."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path.unlink(missing_ok=True)
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            # allocated now: a full tmpfs must refuse here, not kill the daemon at the first store
            os.posix_fallocate(fd, 0, self._size())
            memory = self._map(fd)
        finally:
            os.close(fd)
        magic, boot_id, token, count = self._fixed
        _HEAD.pack_into(memory, 0, magic, boot_id, token, 0, count)

    def open(self) -> None:
        """Find it again.

        Raises:
            ValueError: it is another log's, with the reason.
        """
        fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        try:
            if os.fstat(fd).st_size != self._size():
                raise ValueError("its file has another size")
            memory = self._map(fd)
        finally:
            os.close(fd)
        magic, boot_id, token, _, count = _HEAD.unpack_from(memory)
        if (magic, boot_id, token, count) != self._fixed:
            self.close()
            self._path.unlink(missing_ok=True)
            raise ValueError("its file is another log's")

    def _size(self) -> int:
        return round_up(_BITS_AT + self._bitmap_count * ondisk.bitmap_bytes(self._fixed[3]), mmap.PAGESIZE)

    def _map(self, fd: int) -> mmap.mmap:
        memory = self._memory = mmap.mmap(fd, self._size())
        view, length = memoryview(memory), ondisk.bitmap_bytes(self._fixed[3])
        starts = range(_BITS_AT, _BITS_AT + self._bitmap_count * length, length)
        self.bitmaps = tuple(bitarray(buffer=view[at : at + length], endian="little") for at in starts)
        return memory

    @property
    def is_open(self) -> bool:
        """Whether it is mapped."""
        return self._memory is not None

    @property
    def flag(self) -> int:
        """A byte whose meaning is the owner's; 0 while it is not open."""
        return self._memory[_FLAG_AT] if self._memory is not None else 0

    @flag.setter
    def flag(self, value: int) -> None:
        memory = self._memory
        if memory is not None:
            memory[_FLAG_AT] = value

    def close(self) -> None:
        """Let go of it; it is unmapped when nobody refers to its bits any more."""
        self.bitmaps = ()
        self._memory = None

    def remove(self) -> None:
        """Let go of it and remove it."""
        self.close()
        self._path.unlink(missing_ok=True)
