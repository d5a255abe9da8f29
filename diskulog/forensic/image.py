# SPDX-License-Identifier: LGPL-2.1-or-later
"""A log as it was found: its first 1024 bytes taken apart, and its bitmaps as they were read.

Lives here: which bytes to read in which order, and what is no log at all. Does not judge whether the bits can be
believed, and never writes.
"""

from dataclasses import dataclass, replace
from typing import Final

from diskulog import ondisk, sysfs
from diskulog.errors import BadLogError
from diskulog.forensic import bitmap
from diskulog.forensic.bitmap import Bitmap
from diskulog.forensic.source import CHUNK_BYTES, Source
from diskulog.ondisk import Dialect, Extension, Header, State
from diskulog.units import MAX_REGION_COUNT, MIB, div_up

# LVM's fresh log claims 2^64-1 regions: as many bits are read as the device holds, and not more than 2^27.
MAX_UNCOUNTED_BYTES: Final = 16 * MIB


@dataclass(frozen=True, slots=True)
class Image:
    """What was read, unjudged.

    ``bit_count`` bits of ``clean`` are regions; ``sync`` is None where there is none, or none that could lie where the
    extension says. ``same_boot`` says that diskulog keeps this log open at this moment.
    """

    name: str
    size_bytes: int | None
    head: bytes
    header: Header
    dialect: Dialect
    extension: Extension | None
    bit_count: int
    clean: Bitmap
    sync: Bitmap | None
    holders: tuple[str, ...] = ()
    same_boot: bool = False
    offset_bytes: int = 0  # where it begins in what ``name`` names

    @property
    def live(self) -> bool:
        """Whether a device is built on it now."""
        return bool(self.holders)

    @property
    def region_count(self) -> int | None:
        """The header's count; None for LVM's fresh log, which does not know it yet."""
        return None if self.header.nr_regions == ondisk.ALL_REGIONS else self.header.nr_regions


def load(source: Source) -> Image:
    """Read a log.

    Raises:
        BadLogError: blank, foreign, of a version that is not known, or cut off; the message says which.
        DeviceError: when the device fails a read.
    """
    head = source.read(0, ondisk.HEAD_BYTES)
    same_boot = bool(source.holders) and _open_in_this_boot(head)
    # A live diskulog log lives in the page cache, and reading past it would force its write-back. Whatever else is on
    # a block device may have been written past the cache, by the kernel's own log.
    if source.is_block and not same_boot:
        source.bypass_cache()
        head = source.read(0, ondisk.HEAD_BYTES)
    dialect = ondisk.dialect(head)
    _refuse(source, head, dialect)
    header = ondisk.unpack_header(head)
    if not ondisk.version_known(header):
        raise BadLogError(
            f"{source.name} is a log of version {header.version}; this diskulog knows 1 and 2", "version-not-known"
        )
    extension = ondisk.unpack_extension(head) if dialect is Dialect.DISKULOG else None
    unknown = ondisk.incompatibility(extension) if extension else None
    if unknown:
        raise BadLogError(f"{source.name} cannot be read: {unknown}; use a newer diskulog", "feature-not-known")
    clean = _clean_bitmap(source, header, extension)
    return Image(
        name=source.name,
        size_bytes=source.size_bytes,
        head=head,
        header=header,
        dialect=dialect,
        extension=extension,
        bit_count=_bit_count(header, extension, clean.size_bytes),
        clean=clean,
        sync=_sync_bitmap(source, header, extension) if extension else None,
        holders=source.holders,
        same_boot=same_boot,
    )


def assembled(
    name: str, header: Header, extension: Extension | None, bit_count: int, clean: Bitmap, sync: Bitmap | None
) -> Image:
    """Make a log of its parts, as ``load`` would find it; the checksums of a closed one are those of its bitmaps."""
    if extension is not None:
        closed = extension.state is State.CLOSED
        checksums = [_crc32(found, bit_count) if closed and found else 0 for found in (clean, sync)]
        extension = replace(extension, clean_crc32=checksums[0], sync_crc32=checksums[1])
    return Image(
        name=name,
        size_bytes=None,
        head=ondisk.head(header, extension),
        header=header,
        dialect=Dialect.DISKULOG if extension else Dialect.KERNEL,
        extension=extension,
        bit_count=bit_count,
        clean=clean,
        sync=sync,
    )


def _crc32(found: Bitmap, bit_count: int) -> int:
    return found.crc32(div_up(bit_count, 8))


def _open_in_this_boot(head: bytes) -> bool:
    if ondisk.dialect(head) is not Dialect.DISKULOG:
        return False
    extension = ondisk.unpack_extension(head)
    return extension is not None and extension.state is State.OPEN and extension.boot_id == sysfs.boot_id()


def _refuse(source: Source, head: bytes, dialect: Dialect) -> None:
    name = source.name
    if len(head) < ondisk.HEAD_BYTES:
        magic = ondisk.Header().pack()[:4]
        if head and not head.startswith(magic[: len(head)]):
            raise BadLogError(f"{name} is not a log: {len(head)} bytes, and no log's magic at their start")
        raise BadLogError(f"{name} is cut off: {len(head)} bytes, a log has at least {ondisk.HEAD_BYTES}", "cut-off")
    if dialect is Dialect.BLANK:
        if any(source.read(ondisk.HEAD_BYTES, CHUNK_BYTES - ondisk.HEAD_BYTES)):
            raise BadLogError(f"{name} is not a log: it begins with zeros, and other content follows")
        raise BadLogError(f"{name} is blank: nothing but zeros in its first {CHUNK_BYTES // MIB} MiB", "blank")
    if head.startswith(ondisk.STOPPED):
        raise BadLogError(f"{name} is a log whose writing was stopped in the middle: do it again", "stopped")
    if dialect is Dialect.FOREIGN:
        raise BadLogError(f"{name} is not a log: it begins with {head[:4].hex(' ')} and not with 72 52 69 4d")


def _counted(header: Header, extension: Extension | None) -> int | None:
    """Regions that the clean bitmap must hold; None when nobody says."""
    if header.nr_regions != ondisk.ALL_REGIONS:
        return header.nr_regions
    return extension.region_count if extension else None


def _bit_count(header: Header, extension: Extension | None, read_bytes: int) -> int:
    counted = _counted(header, extension)
    return read_bytes * 8 if counted is None else counted


def _clean_bitmap(source: Source, header: Header, extension: Extension | None) -> Bitmap:
    counted = _counted(header, extension)
    if counted is None:
        return bitmap.keep(source, ondisk.CLEAN_OFFSET_BYTES, MAX_UNCOUNTED_BYTES)
    return _bitmap(source, ondisk.CLEAN_OFFSET_BYTES, counted, "clean")


def _sync_bitmap(source: Source, header: Header, extension: Extension) -> Bitmap | None:
    count, offset = extension.region_count, extension.sync_offset_bytes
    geometry = ondisk.Geometry(count, offset, extension.sync_capacity_bytes)
    believable = ondisk.fits(geometry, offset + geometry.bitmap_bytes)
    if extension.state is State.RELEASED or header.nr_regions != count or not believable:
        return None  # the kernel's own log may have written over it
    return _bitmap(source, offset, count, "sync")


def _bitmap(source: Source, offset_bytes: int, region_count: int, which: str) -> Bitmap:
    """Read a bitmap with its padding; the size of the device bounds what is read."""
    needed = offset_bytes + div_up(region_count, 8)
    size = source.size_bytes
    if size is not None and size < needed:
        raise _cut_off(source, region_count, which, needed, size)
    if region_count > MAX_REGION_COUNT:
        raise BadLogError(
            f"{source.name} claims {region_count} regions; no mirror has more than {MAX_REGION_COUNT}",
            "too-many-regions",
        )
    kept = bitmap.keep(source, offset_bytes, ondisk.bitmap_bytes(region_count))
    if offset_bytes + kept.size_bytes < needed:
        raise _cut_off(source, region_count, which, needed, None)
    return kept


def _cut_off(source: Source, region_count: int, which: str, needed: int, size: int | None) -> BadLogError:
    held = "it ends before" if size is None else f"it has {size}"
    return BadLogError(
        f"{source.name} is cut off: the {which} bitmap of {region_count} regions ends at byte {needed}, {held}",
        "cut-off",
    )
