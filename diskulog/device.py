# SPDX-License-Identifier: LGPL-2.1-or-later
"""The door to a block device: open, read the medium, map, msync, close.

Lives here: descriptors, mmap, O_DIRECT, errno. Does not know what the bytes mean, or when to write what.
"""

import ctypes
import errno
import fcntl
import mmap
import os
import stat
import struct
from pathlib import Path
from typing import Final

from diskulog.errors import DeviceError, RefusedError
from diskulog.units import MIB, div_up, round_down, round_up

_BLKSSZGET: Final = 0x1268  # linux/fs.h: logical block size
_BLKROGET: Final = 0x125E  # linux/fs.h: read-only
_MS_SYNC: Final = 4
_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.msync.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def find(name: str) -> str:
    """Return the path of a device node for a path, a symlink or ``major:minor``.

    Without udev there is no /dev/block, so a number is looked up in sysfs, where ``!`` stands for ``/``.

    Raises:
        RefusedError: no such device.
    """
    major, colon, minor = name.partition(":")
    if not (colon and major.isascii() and major.isdigit() and minor.isascii() and minor.isdigit()):
        return name
    sysfs = Path("/sys/dev/block") / f"{int(major)}:{int(minor)}"
    if not sysfs.exists():
        raise RefusedError("log device", f"there is no device {name}", "name one that /proc/partitions lists")
    return node_of(sysfs.resolve().name)


def node_of(sysfs_name: str) -> str:
    """Return the device node of a name in sysfs."""
    return "/dev/" + sysfs_name.replace("!", "/")


class BlockDevice:
    """An open log device: one descriptor to map and write through, one to read past the page cache.

    It is not claimed (O_EXCL): dm claims it by the name that the CTR's answer gives.
    """

    def __init__(self, name: str) -> None:
        """Open a device by path, symlink or ``major:minor``.

        Raises:
            RefusedError: it is no block device, or is read-only.
            DeviceError: the open failed.
        """
        path = find(name)
        self._fds: list[int] = []
        try:
            status = Path(path).stat()
            if not stat.S_ISBLK(status.st_mode):
                raise RefusedError(
                    "log device", f"{name} is not a block device", "name one (losetup makes one of a file)"
                )
            self.number = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
            if path != name and self.number != ":".join(str(int(number)) for number in name.split(":")):
                raise RefusedError("log device", f"{path} is {self.number}, not {name}", "name the device by its path")
            self._fd = self._open(path, os.O_RDWR)
            self._direct_fd = self._open(path, os.O_RDONLY | os.O_DIRECT)
            self.size_bytes = os.lseek(self._fd, 0, os.SEEK_END)
            self.block_bytes = _ioctl_int(self._fd, _BLKSSZGET)
            if _ioctl_int(self._fd, _BLKROGET):
                raise RefusedError("log device", f"{name} is read-only", "make it writable (blockdev --setrw)")
        except OSError as error:
            self.close()
            if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
                raise RefusedError("log device", f"{name}: {error.strerror}", "make it writable") from error
            raise DeviceError(f"log device {name}", error) from error
        except RefusedError:
            self.close()
            raise

    def _open(self, path: str, flags: int) -> int:
        fd = os.open(path, flags | os.O_CLOEXEC)
        self._fds.append(fd)
        return fd

    def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        """Read the medium itself; what lies beyond the device's end is zero.

        Raises:
            DeviceError: the medium cannot be read.
        """
        start = round_down(offset_bytes, self.block_bytes)
        end = min(round_up(offset_bytes + length_bytes, self.block_bytes), self.size_bytes)
        wanted = max(end - start, 0)
        if not wanted:
            return bytes(length_bytes)
        with mmap.mmap(-1, round_up(wanted, mmap.PAGESIZE)) as aligned, memoryview(aligned) as view:
            done = 0
            while done < wanted:
                try:
                    got = os.preadv(self._direct_fd, [view[done:wanted]], start + done)
                except OSError as error:
                    raise DeviceError(f"log device {self.number}: read at byte {start + done}", error) from error
                if not got:
                    shorter = OSError(errno.ENXIO, f"it has become shorter than {self.size_bytes} bytes")
                    raise DeviceError(f"log device {self.number}: read at byte {start + done}", shorter)
                done += got
            skip = offset_bytes - start
            return bytes(view[skip : min(skip + length_bytes, wanted)]).ljust(length_bytes, b"\0")

    def forget_cache(self) -> None:
        """Drop what the page cache holds, where it is clean: dm's own log writes past it."""
        os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def map(self, offset_bytes: int, length_bytes: int) -> "MappedWindow":
        """Map a piece of the device for reading and writing, rounded outwards to pages.

        Raises:
            DeviceError: the piece does not lie on the device, or cannot be mapped.
        """
        try:
            size = os.lseek(self._fd, 0, os.SEEK_END)  # now: touching what is no longer there would be a SIGBUS
            if offset_bytes + length_bytes > size:
                raise OSError(errno.ENXIO, f"has {size} bytes, {offset_bytes + length_bytes} are needed")
            start = round_down(offset_bytes, mmap.PAGESIZE)
            end = min(round_up(offset_bytes + length_bytes, mmap.PAGESIZE), size)
            # an unreadable block would keep mmap() in the kernel for ever, with the interpreter's lock; a read fails
            self.read(start, end - start)
            self._fill_cache(start, end)
            return MappedWindow(self._fd, self.number, start, end - start)
        except OSError as error:
            raise DeviceError(f"log device {self.number}: map", error) from error

    def _fill_cache(self, start: int, end: int) -> None:
        # mmap() then finds every page: it would wait for a slow device with the interpreter's lock, a read does not
        for at in range(start, end, MIB):
            os.pread(self._fd, min(MIB, end - at), at)

    def close(self) -> None:
        """Close every descriptor; windows must be closed before."""
        self._fd = self._direct_fd = -1  # the numbers may soon be somebody else's
        while self._fds:
            os.close(self._fds.pop())


class MappedWindow:
    """A shared mapping of whole pages of a device (the last one may be short)."""

    def __init__(self, fd: int, number: str, offset_bytes: int, length_bytes: int) -> None:
        """Map and read in every page; raises OSError."""
        self.offset_bytes = offset_bytes
        self._end_bytes = offset_bytes + length_bytes
        self._number = number
        pages = div_up(length_bytes, mmap.PAGESIZE) * mmap.PAGESIZE
        # every page in now: a fault later would read the device while the interpreter's lock is held
        flags = mmap.MAP_SHARED | mmap.MAP_POPULATE
        self._map = mmap.mmap(fd, pages, flags=flags, prot=mmap.PROT_READ | mmap.PROT_WRITE, offset=offset_bytes)
        self._fd = os.dup(fd)  # the device's own may be closed first
        self._anchor = ctypes.c_char.from_buffer(self._map)
        self._address = ctypes.addressof(self._anchor)
        self._whole = memoryview(self._map)
        self.view = self._whole[:length_bytes]

    def sync(self, offset_bytes: int, length_bytes: int) -> None:
        """Write these bytes of the device back, and flush its cache.

        Through libc, for mmap.flush() holds the interpreter's lock during the whole msync.

        Raises:
            DeviceError: the write-back failed; Linux says so once only.
        """
        start = round_down(offset_bytes - self.offset_bytes, mmap.PAGESIZE)
        length = offset_bytes - self.offset_bytes + length_bytes - start
        if _libc.msync(self._address + start, length, _MS_SYNC):
            number = ctypes.get_errno()
            raise DeviceError(f"log device {self._number}: write-back", OSError(number, os.strerror(number)))
        # pages beyond the end of a device that shrank are dropped and called written (buffer.c, block_write_full_folio)
        size = os.lseek(self._fd, 0, os.SEEK_END)
        if size < self._end_bytes:
            shorter = OSError(errno.ENXIO, f"it has become shorter: {size} of {self._end_bytes} bytes")
            raise DeviceError(f"log device {self._number}: write-back", shorter)

    def close(self) -> None:
        """Unmap; in this order, or the mapping refuses."""
        self.view.release()
        self._whole.release()
        del self._anchor
        self._map.close()
        os.close(self._fd)  # last: after a refusal the number must not be closed twice, it may be somebody else's then


def _ioctl_int(fd: int, request: int) -> int:
    value: int = struct.unpack("i", fcntl.ioctl(fd, request, bytes(4)))[0]
    return value
