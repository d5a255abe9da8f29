# SPDX-License-Identifier: LGPL-2.1-or-later
"""What lies on a log device, and what its sectors become while a mirror moves.

Lives here: the extension that hands a log over, the one that takes it out of use, a log of which all is dirty. Opens
nothing.
"""

from dataclasses import dataclass, replace
from typing import Final

from bitarray import bitarray

from diskulog import ondisk
from diskulog.errors import RefusedError
from diskulog.forensic import bitmap, image
from diskulog.forensic.image import Image
from diskulog.moving.table import Kind, Table
from diskulog.ondisk import Dialect, Extension, Geometry, Header, State

MAX_UUID_BYTES: Final = 128
_REPLACED: Final = "-replaced"


@dataclass(frozen=True, slots=True)
class Medium:
    """What was found on a device; ``what`` is None where nothing but zeros was.

    ``nothing_clean``: it is a log of the kernel's own that calls every region dirty, which is as good as no log.
    ``holders`` are the mapped devices that use it, ``below`` all that it stands on itself, by name.
    """

    node: str
    size_bytes: int
    block_bytes: int
    dialect: Dialect
    extension: Extension | None = None
    unknown: str | None = None
    what: str | None = None
    stopped: bool = False
    nothing_clean: bool = False
    holders: tuple[str, ...] = ()
    below: frozenset[str] = frozenset()


def retired_uuid(uuid: str) -> str:
    """Return the uuid that a log gets when its mirror has another one: no table of the mirror takes it any more."""
    room = MAX_UUID_BYTES - len(_REPLACED)
    return uuid.encode("utf-8", "surrogateescape")[:room].decode("utf-8", "surrogateescape") + _REPLACED


def is_retired(found: Medium, table: Table) -> bool:
    """Tell whether a log was taken out of use for this table."""
    if table.log.kind is Kind.KERNEL:
        return found.stopped
    return found.extension is not None and found.extension.uuid == retired_uuid(table.log.uuid)


def is_for(extension: Extension, table: Table) -> bool:
    """Tell whether a log has the regions of a table."""
    mine = (table.log.region_size_sectors, table.length_sectors, table.region_count)
    return mine == (extension.region_size_sectors, extension.target_length_sectors, extension.region_count)


def needed_bytes(table: Table, block_bytes: int) -> int:
    """Bytes that the log of a table takes."""
    if table.log.kind is Kind.DISKULOG:
        return ondisk.needed_bytes(table.region_count, block_bytes)
    return ondisk.CLEAN_OFFSET_BYTES + ondisk.bitmap_bytes(table.region_count)


def released(found: Medium, table: Table) -> Extension:
    """Return the extension of a log whose clean bitmap is the whole truth, for this table of diskulog's or before it.

    ``table`` is the one that has a uuid.
    """
    old, count = found.extension, table.region_count
    geometry = Geometry(count, old.sync_offset_bytes, old.sync_capacity_bytes) if old else None
    if geometry is None or not ondisk.fits(geometry, found.size_bytes):
        geometry = ondisk.choose_geometry(count, found.size_bytes, found.block_bytes)
    made = Extension(
        uuid=table.log.uuid,
        region_size_sectors=table.log.region_size_sectors,
        target_length_sectors=table.length_sectors,
        region_count=count,
        sync_offset_bytes=geometry.sync_offset_bytes,
        sync_capacity_bytes=geometry.sync_capacity_bytes,
        state=State.RELEASED,
    )
    if old is None:
        return made
    # no luid is live in it any more, and no checksum holds: those fields stay at nothing
    return replace(
        made,
        generation=old.changed().generation,
        created_seconds=old.created_seconds,
        resumed_seconds=old.resumed_seconds,
        closed_seconds=old.closed_seconds,
        host_name=old.host_name,
        compatible=old.compatible,
    )


def all_dirty(table: Table, now_seconds: int) -> Image:
    """Make the log of a table as it is before its first life: everything is dirty."""
    count = table.region_count
    bits = bitmap.made("a new log", count, [(0, count)])
    if table.log.kind is Kind.KERNEL:
        return image.assembled("a new log", Header(nr_regions=count), None, count, bits, None)
    geometry = ondisk.choose_geometry(count, ondisk.needed_bytes(count, 1), 1)
    extension = Extension(
        uuid=table.log.uuid,
        region_size_sectors=table.log.region_size_sectors,
        target_length_sectors=table.length_sectors,
        region_count=count,
        sync_offset_bytes=geometry.sync_offset_bytes,
        sync_capacity_bytes=geometry.sync_capacity_bytes,
        state=State.CLOSED,
        created_seconds=now_seconds,
    )
    return image.assembled("a new log", Header(nr_regions=count), extension, count, bits, bits)


def check_diskulogs(name: str, head: bytes, table: Table) -> Extension:
    """Return the extension of a log that belongs to this table of diskulog's.

    Raises:
        RefusedError: when it does not.
    """
    extension = ondisk.unpack_extension(head)
    reason = None
    if extension is None or ondisk.dialect(head) is not Dialect.DISKULOG or ondisk.incompatibility(extension):
        reason = "does not look like diskulog's"
    elif extension.uuid != table.log.uuid:
        reason = f"belongs to {extension.uuid!r}, not to {table.log.uuid!r}"
    elif extension.region_size_sectors != table.log.region_size_sectors:
        reason = f"has regions of {extension.region_size_sectors} sectors, not {table.log.region_size_sectors}"
    elif not extension.region_count == ondisk.unpack_header(head).nr_regions == table.region_count:
        reason = f"has {ondisk.unpack_header(head).nr_regions} regions, not {table.region_count}"
    if reason or extension is None:
        raise RefusedError(name, f"its log on {table.log.device} {reason}", "look at it with 'diskulog check'")
    return extension


def believed(name: str, extension: Extension, clean: bytes, sync: bytes) -> bitarray:
    """Return the regions that a log, closed in order, calls clean.

    Raises:
        RefusedError: when it was not closed, or somebody wrote it since.
    """
    count = extension.region_count
    remedy = "the daemon's log says why; look at the device with 'diskulog check'"
    bits, in_sync = ondisk.bits_from(clean, count), ondisk.bits_from(sync, count)
    if extension.state is State.RELEASED:  # by an earlier try: its clean bitmap is the truth
        return bits
    if extension.state is not State.CLOSED:
        raise RefusedError(name, "its log was not closed at the suspend", remedy)
    fits = (ondisk.bitmap_crc32(clean, count), ondisk.bitmap_crc32(sync, count))
    if fits != (extension.clean_crc32, extension.sync_crc32):
        raise RefusedError(name, "its log does not hold what was there at the suspend", remedy)
    if (bits & ~in_sync).any():
        raise RefusedError(name, "its log calls regions clean that are out of sync", remedy)
    return bits
