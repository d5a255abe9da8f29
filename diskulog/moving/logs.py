# SPDX-License-Identifier: LGPL-2.1-or-later
"""The log devices of a move: looked at, prepared, copied between, handed over, taken out of use.

Lives here: which bytes are read and written at each step. Does not know the order of steps, or dm. Between suspend and
resume nothing here makes a file or starts a program: either might wait for the mirror itself.
"""

import os
import stat
import time
from dataclasses import dataclass

from bitarray import bitarray

from diskulog import ondisk, sysfs
from diskulog.errors import RefusedError
from diskulog.exits import UsageError
from diskulog.forensic import content, source, writing
from diskulog.forensic.bitmap import Bits
from diskulog.forensic.source import FileSource
from diskulog.moving import medium
from diskulog.moving.medium import Medium
from diskulog.moving.table import Kind, Table
from diskulog.ondisk import CLEAN_OFFSET_BYTES, EXTENSION_OFFSET_BYTES, HEAD_BYTES, Dialect, Extension, Header, State
from diskulog.units import MAX_REGION_COUNT, MIB, div_up


@dataclass(frozen=True, slots=True)
class _Held:
    """Bits in memory, as the writers take them."""

    held: bitarray

    def bits(self, first: int, end: int) -> bitarray:
        """Return the bits from ``first`` to before ``end``."""
        return self.held[first:end]


def number_of(word: str) -> str:
    """Return the ``major:minor`` of a table's device; a word that names none stays as it is.

    Raises:
        UsageError: when a path is there and is no block device.
    """
    if not word.startswith("/"):
        return word
    try:
        found = os.stat(word)  # noqa: PTH116 - a device name
    except (OSError, ValueError):
        return word
    if not stat.S_ISBLK(found.st_mode):
        raise UsageError(f"{word} is not a block device: name one")
    return f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"


def node(number: str) -> str:
    """Return what to open for a device.

    Raises:
        UsageError: when it is not there.
    """
    found = sysfs.node(number)
    if found is None:
        raise UsageError(f"there is no block device {number}")
    return found


def look(name: str, *, direct: bool = True) -> Medium:
    """Say what lies on a device, which may be in use; ``direct`` is past the page cache.

    Raises:
        DeviceError: when it cannot be read.
    """
    with source.opened(name) as log:
        assert isinstance(log, FileSource)
        if log.is_block and direct:
            log.bypass_cache()
        head = log.read(0, HEAD_BYTES)
        there = content.look(log)
        number = os.fstat(log.fd).st_rdev
        dialect = ondisk.dialect(head)
        extension = ondisk.unpack_extension(head) if dialect is Dialect.DISKULOG else None
        return Medium(
            node=name,
            size_bytes=log.size_bytes,
            block_bytes=log.block_bytes,
            dialect=dialect,
            extension=extension,
            unknown=ondisk.incompatibility(extension) if extension else None,
            what=there.what if there else None,
            stopped=head.startswith(ondisk.STOPPED),
            nothing_clean=dialect is Dialect.KERNEL and not _any_clean(log, ondisk.unpack_header(head)),
            holders=sysfs.dm_holders(number) if log.is_block else (),
            below=sysfs.below(number) if log.is_block else frozenset(),
        )


def check_free(name: str) -> None:
    """Refuse a device that somebody has for himself: mounted, in an array, held by dm.

    Raises:
        RefusedError, DeviceError.
    """
    with writing.opened(name, write=False):
        pass


def prepare(name: str, table: Table) -> None:
    """Write the log of a table, of which everything is dirty, to a device that nobody uses.

    Raises:
        RefusedError: when it is in use, or too small.
        DeviceError: when it fails.
    """
    with writing.opened(name, write=True) as log:
        writing.write_log(log, medium.all_dirty(table, int(time.time())))


def clean_regions(name: str, device: str, table: Table) -> bitarray:
    """Return the regions that the log of a suspended mirror calls clean: diskulog's closed one, or the kernel's.

    Raises:
        RefusedError: when it is not the log of this table, closed.
        DeviceError: when it cannot be read.
    """
    with writing.held(device) as log:
        head = log.read(0, HEAD_BYTES)
        size = ondisk.bitmap_bytes(table.region_count)
        clean = log.read(CLEAN_OFFSET_BYTES, size)
        if table.log.kind is Kind.DISKULOG:
            extension = medium.check_diskulogs(name, head, table)
            return medium.believed(name, extension, clean, log.read(extension.sync_offset_bytes, size))
        _check_kernels(name, log, table)
    return ondisk.bits_from(clean, table.region_count)


def store(name: str, device: str, table: Table, bits: bitarray) -> None:
    """Make a prepared log call these regions clean and in sync, and no other; it is sound at any stop.

    Raises:
        RefusedError: when it is not the log of this table.
        DeviceError: when it fails.
    """
    held: Bits = _Held(bits)
    count = table.region_count
    with writing.held(device) as log:
        if table.log.kind is Kind.KERNEL:
            _check_kernels(name, log, table)
            writing.write_bits(log, CLEAN_OFFSET_BYTES, held, count)
            return
        found = medium.check_diskulogs(name, log.read(0, HEAD_BYTES), table)
        during = found.changed(state=State.OPEN, boot_id=bytes(16), live_token=bytes(8), clean_crc32=0, sync_crc32=0)
        _write(log, during)  # no checksum holds from here on
        writing.write_bits(log, found.sync_offset_bytes, held, count)
        writing.write_bits(log, CLEAN_OFFSET_BYTES, held, count)
        checksum = ondisk.bitmap_crc32(ondisk.bits_to_bytes(bits), count)
        _write(log, during.changed(state=State.CLOSED, clean_crc32=checksum, sync_crc32=checksum))


def _check_kernels(name: str, log: FileSource, table: Table) -> None:
    header = ondisk.unpack_header(log.read(0, HEAD_BYTES))
    if header.magic != ondisk.MAGIC or header.nr_regions != table.region_count:
        raise RefusedError(name, f"{table.log.device} is not the log that it was", "look with 'diskulog check'")


def release(name: str, device: str, old: Table, new: Table) -> None:
    """Say in the log's extension that its clean bitmap is the whole truth, whoever takes it next.

    Raises:
        RefusedError: when it is not the log that was closed.
        DeviceError: when it fails.
    """
    table = old if old.log.kind is Kind.DISKULOG else new
    found = look(device)
    with writing.held(device) as log:
        if old.log.kind is Kind.DISKULOG:
            medium.check_diskulogs(name, log.read(0, HEAD_BYTES), old)
        _write(log, medium.released(found, table))


@dataclass(frozen=True, slots=True)
class Retirement:
    """What takes a log out of use: a sector of its device, as it is and as it is to be."""

    device: str
    offset_bytes: int
    before: bytes
    after: bytes


def retirement(name: str, device: str, table: Table) -> Retirement:
    """Return what takes the log of a suspended mirror out of use: no table that names it will believe it then.

    Only an activation looks at that sector: the mirror goes on without a loss if it is resumed with this log after all.
    The kernel's own log reads it at each resume: undo it before.

    Raises:
        RefusedError: when it is not the log of this table.
        DeviceError: when it cannot be read.
    """
    with writing.held(device) as log:
        head = log.read(0, HEAD_BYTES)
        if table.log.kind is Kind.KERNEL:
            _check_kernels(name, log, table)
    if table.log.kind is Kind.KERNEL:
        offset, sector = 0, ondisk.STOPPED.ljust(EXTENSION_OFFSET_BYTES, b"\0")
    else:
        found = medium.check_diskulogs(name, head, table)
        changed = found.changed(uuid=medium.retired_uuid(table.log.uuid), boot_id=bytes(16), live_token=bytes(8))
        offset, sector = EXTENSION_OFFSET_BYTES, changed.pack()
    return Retirement(device, offset, head[offset : offset + len(sector)], sector)


def retire(wanted: Retirement, *, undo: bool = False) -> None:
    """Take a log out of use, or undo that.

    Raises:
        DeviceError: when the device fails.
    """
    with writing.held(wanted.device) as log:
        writing.write_sector(log, wanted.offset_bytes, wanted.before if undo else wanted.after)


def restore(name: str, device: str, table: Table) -> None:
    """Take the log of a suspended mirror back into use, which ``retire`` took out of it; its bitmaps are as they were.

    Raises:
        RefusedError: when it is not the log of this table.
        DeviceError: when it cannot be read or written.
    """
    with writing.held(device) as log:
        head = log.read(0, HEAD_BYTES)
        if table.log.kind is Kind.KERNEL:
            if head.startswith(ondisk.STOPPED):
                header = Header(nr_regions=table.region_count).pack().ljust(EXTENSION_OFFSET_BYTES, b"\0")
                writing.write_sector(log, 0, header)
            _check_kernels(name, log, table)
            return
        found = ondisk.unpack_extension(head)
        if found and found.uuid == medium.retired_uuid(table.log.uuid):
            _write(log, found.changed(uuid=table.log.uuid))
        medium.check_diskulogs(name, log.read(0, HEAD_BYTES), table)


def _any_clean(log: FileSource, header: Header) -> bool:
    if header.nr_regions > MAX_REGION_COUNT:  # LVM's fresh log, of a mirror that begins in sync for all one knows
        return True
    end = min(CLEAN_OFFSET_BYTES + div_up(header.nr_regions, 8), log.size_bytes)
    return any(any(log.read(at, min(MIB, end - at))) for at in range(CLEAN_OFFSET_BYTES, end, MIB))


def _write(log: FileSource, extension: Extension) -> None:
    writing.write_extension(log, extension.pack())
