# SPDX-License-Identifier: LGPL-2.1-or-later
"""The one door through which a command writes a log: opened for itself alone, and never half a log that looks whole.

Lives here: opening, whole blocks, the order of what becomes durable. Does not know why something is written.
"""

import errno as errnos
import fcntl
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import chain
from typing import Final

from diskulog import ondisk, sysfs
from diskulog.errors import BadLogError, DeviceError, RefusedError
from diskulog.exits import UsageError
from diskulog.forensic import source
from diskulog.forensic.bitmap import Bits, Regions
from diskulog.forensic.image import Image
from diskulog.forensic.source import FileSource
from diskulog.ondisk import Extension
from diskulog.units import div_up, round_down, round_up

_BLKROGET: Final = 0x125E  # linux/fs.h
_LOOP_GET_STATUS64: Final = 0x4C05  # linux/loop.h: struct loop_info64 begins with lo_device and lo_inode
_LOOP_INFO64_BYTES: Final = 232


@contextmanager
def opened(name: str, *, write: bool) -> Iterator[FileSource]:
    """Open a log for itself alone, so that dm cannot take it meanwhile.

    Raises:
        RefusedError: when it is in use, with its holders.
        UsageError: for standard input, and for what cannot hold a log.
        DeviceError: when it cannot be opened.
    """
    if name == source.STDIN:
        raise UsageError("standard input cannot be written to: name a block device or an image file")
    flags = os.O_EXCL | (os.O_RDWR if write else os.O_RDONLY)
    try:
        with source.opened(name, flags) as log:
            assert isinstance(log, FileSource)  # only standard input is a stream
            if log.is_block:
                _check_writable(log, write)
                log.bypass_cache()  # the kernel's own log wrote past it; nothing is decided on an old page
            else:
                _take_file(log)
            yield log
    except DeviceError as cause:
        if cause.errno != errnos.EBUSY:
            raise
        raise RefusedError(name, f"is in use{_holders(name)}", "deactivate the mirror first") from cause


@contextmanager
def held(name: str) -> Iterator[FileSource]:
    """Open a log that dm holds, for a mirror that is suspended: nobody else writes it then.

    Raises:
        UsageError, DeviceError: as ``source.opened``.
    """
    with source.opened(name, os.O_RDWR) as log:
        assert isinstance(log, FileSource)  # a device's own name
        if log.is_block:
            log.bypass_cache()
        yield log


def _holders(name: str) -> str:
    found = sysfs.holders(os.stat(name).st_rdev)  # noqa: PTH116 - a device name, not a place in a tree
    return f", held by {', '.join(found)}" if found else " (mounted, or opened by a program for itself)"


def _check_writable(log: FileSource, write: bool) -> None:
    # the open succeeds, and the first write would fail
    if write and any(fcntl.ioctl(log.fd, _BLKROGET, bytes(4))):
        raise RefusedError(
            log.name, "is read-only", "make it writable first (blockdev --setrw, lvchange --permission rw)"
        )


def _take_file(log: FileSource) -> None:
    """Refuse a file that a loop device stands on, or another writing command of ours is at."""
    loops = [name for name, backing in sysfs.loops() if _stands_on(name, backing, log.fd)]
    if loops:
        raise RefusedError(log.name, f"is in use, held by {', '.join(loops)}", f"name {loops[0]}, or detach it")
    try:
        fcntl.flock(log.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as cause:
        raise RefusedError(log.name, "is in use by another command that writes", "wait until it has ended") from cause
    except OSError:  # a file system without locks
        return


def _stands_on(loop: str, backing: str, fd: int) -> bool:
    """Tell whether a loop device's file is the open one: by the file's name, or what the device says it is."""
    found = os.fstat(fd)
    with suppress(OSError, ValueError):  # removed, or of another mount namespace
        if os.path.samestat(os.stat(backing), found):  # noqa: PTH116 - a name that the kernel told
            return True
    try:
        device = os.open(f"/dev/{loop}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        told = fcntl.ioctl(device, _LOOP_GET_STATUS64, bytes(_LOOP_INFO64_BYTES))
    except OSError:
        return False
    finally:
        os.close(device)
    return struct.unpack_from("=QQ", told) == (found.st_dev, found.st_ino)


def write_sector(log: FileSource, offset_bytes: int, sector: bytes) -> None:
    """Replace a sector and make it durable.

    Raises:
        DeviceError: when the device fails.
    """
    _write(log, offset_bytes, sector)
    _flush(log)


def write_extension(log: FileSource, sector: bytes) -> None:
    """Replace a log's extension and make it durable.

    Raises:
        DeviceError: when the device fails.
    """
    write_sector(log, ondisk.EXTENSION_OFFSET_BYTES, sector)


def write_log(log: FileSource, image: Image) -> Image:
    """Write a whole log and return it as it lies there; a stop in the middle leaves no log.

    The sync bitmap stays where the image has it, if it can lie there, and is placed anew otherwise. Each step is
    durable before the next: a first sector that is nobody's, the bitmaps, the extension, the header. Not zeros: what is
    blank, or has a header and no extension, would be believed.

    Raises:
        RefusedError: when it does not fit the device; nothing was written.
        DeviceError: when the device fails.
    """
    extension = image.extension and _placed(log, image, image.extension)
    if extension is None:
        _check_size(log, ondisk.CLEAN_OFFSET_BYTES + ondisk.bitmap_bytes(image.bit_count), image.bit_count)
    head = ondisk.head(image.header, extension)
    _write(log, 0, ondisk.STOPPED.ljust(ondisk.EXTENSION_OFFSET_BYTES, b"\0"))
    _flush(log)
    _write_bits(log, ondisk.CLEAN_OFFSET_BYTES, image.clean, image.bit_count)
    if extension and image.sync:
        _write_bits(log, extension.sync_offset_bytes, image.sync, image.bit_count)
    _flush(log)
    write_extension(log, head[ondisk.EXTENSION_OFFSET_BYTES :])
    _write(log, 0, head[: ondisk.EXTENSION_OFFSET_BYTES])
    _flush(log)
    return replace(image, name=log.name, size_bytes=log.size_bytes, head=head, extension=extension)


def places(log: FileSource, image: Image) -> tuple[tuple[int, int], ...]:
    """List what ``write_log`` would write behind the first sectors, as (offset, length) in bytes.

    Raises:
        RefusedError: when it does not fit the device.
    """
    size = ondisk.bitmap_bytes(image.bit_count)
    found = [(ondisk.CLEAN_OFFSET_BYTES, size)]
    if image.extension:
        found.append((_placed(log, image, image.extension).sync_offset_bytes, size))
    else:
        _check_size(log, ondisk.CLEAN_OFFSET_BYTES + size, image.bit_count)
    return tuple(found)


def _placed(log: FileSource, image: Image, extension: Extension) -> Extension:
    offset = extension.sync_offset_bytes
    geometry = ondisk.Geometry(image.bit_count, offset, log.size_bytes - offset)
    if image.size_bytes != log.size_bytes or not ondisk.fits(geometry, log.size_bytes):
        try:
            geometry = ondisk.choose_geometry(image.bit_count, log.size_bytes, log.block_bytes)
        except BadLogError as cause:
            raise RefusedError(log.name, str(cause), "use a larger device") from cause
    return replace(
        extension,
        sync_offset_bytes=geometry.sync_offset_bytes,
        sync_capacity_bytes=geometry.sync_capacity_bytes,
    )


def _check_size(log: FileSource, needed: int, region_count: int) -> None:
    if log.size_bytes < needed:
        reason = f"has {log.size_bytes} bytes, {region_count} regions need {needed}"
        raise RefusedError(log.name, reason, "use a larger device")


def write_bits(log: FileSource, offset_bytes: int, bits: Bits, region_count: int) -> None:
    """Replace a bitmap and make it durable; zeros follow the last region.

    Raises:
        DeviceError: when the device fails.
    """
    _write_bits(log, offset_bytes, bits, region_count)
    _flush(log)


def _write_bits(log: FileSource, offset_bytes: int, bits: Bits, region_count: int) -> None:
    padding = bytes(ondisk.bitmap_bytes(region_count) - div_up(region_count, 8))
    for at, piece in _aligned(log, offset_bytes, chain(Regions(region_count, (bits,)).pieces(), [padding])):
        _write(log, at, piece, lossy=True)


def _aligned(log: FileSource, offset_bytes: int, pieces: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Cut pieces where the device's blocks end, so that most are written without reading a block before."""
    at, rest = offset_bytes, b""
    for piece in pieces:
        rest += piece
        whole = round_down(at + len(rest), log.block_bytes) - at
        if whole > 0:
            yield at, rest[:whole]
            at, rest = at + whole, rest[whole:]
    if rest:
        yield at, rest


def _write(log: FileSource, offset_bytes: int, data: bytes, *, lossy: bool = False) -> None:
    """Write some bytes: whole blocks, of which the first and the last keep what lies beside.

    ``lossy``: where that cannot be read it becomes zeros, and the block is sound again.
    """
    start, end = round_down(offset_bytes, log.block_bytes), round_up(offset_bytes + len(data), log.block_bytes)
    before = _beside(log, start, offset_bytes - start, lossy)
    after = _beside(log, offset_bytes + len(data), end - offset_bytes - len(data), lossy)
    block = b"".join((before, data, after))
    with source.aligned_buffer(len(block)) as view:
        view[:] = block
        try:
            written = os.pwritev(log.fd, [view], start)
        except OSError as cause:
            raise DeviceError(f"cannot write {log.name}", cause) from cause
    if written != len(block):
        raise DeviceError(f"cannot write {log.name}", OSError(errnos.EIO, f"{written} of {len(block)} bytes written"))


def _beside(log: FileSource, offset_bytes: int, length_bytes: int, lossy: bool) -> bytes:
    try:
        return log.read(offset_bytes, length_bytes)
    except DeviceError:
        if not lossy:
            raise
        return bytes(length_bytes)


def _flush(log: FileSource) -> None:
    try:
        os.fsync(log.fd)
    except OSError as cause:
        raise DeviceError(f"cannot write {log.name}", cause) from cause
