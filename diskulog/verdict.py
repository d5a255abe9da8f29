# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a log on a medium is believed to say, and when it is refused: on-disk rules 8, 9, 12 and 13.

Lives here: the judgement at CTR and at activation. Does not read or write anything; bytes come in.
"""

from dataclasses import dataclass

from bitarray import bitarray

from diskulog import ondisk
from diskulog.ctr import CtrArgs, Sync
from diskulog.errors import BadLogError, RefusedError
from diskulog.logstore import Opening
from diskulog.ondisk import Dialect, Extension, Geometry, State


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an activation starts from.

    ``bits`` has a bit for each region of the target: 1 = clean and in sync. The first ``known`` of them come from the
    medium; the rest are new, and become clean after all else is durable when ``new_clean``. ``extension`` is the one
    that was found and believed, ``geometry`` where the bitmaps are to lie from now on.
    """

    bits: bitarray
    known: int
    new_clean: bool
    extension: Extension | None
    geometry: Geometry
    messages: tuple[str, ...]

    @property
    def keeps_sync_place(self) -> bool:
        """Whether the sync bitmap stays where the extension says."""
        return self.extension is not None and self.extension.sync_offset_bytes == self.geometry.sync_offset_bytes


def refuse(head: bytes, uuid: bytes, args: CtrArgs, device_bytes: int, block_bytes: int) -> None:
    """Raise when this log must not be used with these arguments; a head of zeros passes (see ``blank_ranges``).

    Raises:
        RefusedError: with the argument, the reason and the way out.
    """
    needed = ondisk.needed_bytes(args.region_count, block_bytes)
    if device_bytes < needed:
        raise RefusedError(
            "log device",
            f"has {device_bytes} bytes, {args.region_count} regions need {needed}",
            "use a larger device or larger regions",
        )
    dialect = ondisk.dialect(head)
    if dialect is Dialect.BLANK:
        return
    if dialect is Dialect.FOREIGN:
        raise RefusedError(
            "log device", "holds something that is no mirror log", "name another device, or zero its start (wipefs, dd)"
        )
    header = ondisk.unpack_header(head)
    if not ondisk.version_known(header):
        raise RefusedError(
            "log device",
            f"holds a log of version {header.version}, this diskulog knows 1 and {ondisk.VERSION}",
            "use the software that wrote it",
        )
    extension = ondisk.unpack_extension(head)
    if extension is None:
        return
    unknown = ondisk.incompatibility(extension)
    if unknown:
        raise RefusedError("log device", unknown, "use a newer diskulog")
    if extension.uuid.encode("utf-8", "surrogateescape") != uuid:
        raise RefusedError(
            "uuid",
            f"the log on the device belongs to {extension.uuid!r}, not to {uuid.decode('utf-8', 'replace')!r}",
            "check the table; a log that is no longer needed is zeroed with dd",
        )
    if extension.region_size_sectors not in (0, args.region_size_sectors):
        raise RefusedError(
            "region size",
            f"the log was kept with {extension.region_size_sectors} sectors, not {args.region_size_sectors}",
            "use the old size, or zero the log with dd, which costs a full resync",
        )


def blank_ranges(args: CtrArgs, device_bytes: int, block_bytes: int) -> tuple[tuple[int, int], ...]:
    """List the (offset, length) in bytes that must be zero before a device without a log is taken for blank."""
    geometry = ondisk.choose_geometry(args.region_count, device_bytes, block_bytes)
    front = max(ondisk.BLANK_CHECK_BYTES, ondisk.CLEAN_OFFSET_BYTES + geometry.bitmap_bytes)
    return (0, min(front, device_bytes)), (geometry.sync_offset_bytes, geometry.bitmap_bytes)


def sync_range(head: bytes, device_bytes: int) -> tuple[int, int] | None:
    """Tell where the sync bitmap to believe lies, as (offset, length) in bytes; None when there is none."""
    extension = ondisk.unpack_extension(head)
    if extension is None or extension.state is State.RELEASED:
        return None
    geometry = geometry_of(extension)
    return (geometry.sync_offset_bytes, geometry.bitmap_bytes) if ondisk.fits(geometry, device_bytes) else None


def geometry_of(extension: Extension) -> Geometry:
    """Return where an extension says that its bitmaps lie."""
    return Geometry(extension.region_count, extension.sync_offset_bytes, extension.sync_capacity_bytes)


def kept_by(head: bytes, opening: Opening, boot_id: bytes, luid: int, device_bytes: int) -> Extension | None:
    """Return the extension of a log that this luid had live in this boot, as it would have it now; else None."""
    extension, args = ondisk.unpack_extension(head), opening.args
    if extension is None or ondisk.incompatibility(extension):
        return None
    unchanged = (
        extension.boot_id == boot_id
        and extension.live_token == ondisk.live_token(boot_id, luid)
        and extension.uuid.encode("utf-8", "surrogateescape") == opening.uuid
        and extension.region_size_sectors == args.region_size_sectors
        and extension.region_count == ondisk.unpack_header(head).nr_regions == args.region_count
        and ondisk.fits(geometry_of(extension), device_bytes)
    )
    return extension if unchanged else None


def judge(head: bytes, clean: bytes, sync: bytes | None, args: CtrArgs, device_bytes: int, block_bytes: int) -> Verdict:
    """Judge a log that was not refused: ``clean`` starts at byte 1024 and covers the target, ``sync`` as found.

    Whatever cannot be believed is dirty and out of sync.
    """
    extension = ondisk.unpack_extension(head)
    bits, doubt = _believed(head, clean, sync, extension, args)
    messages = [doubt] if doubt else []
    count = args.region_count
    if bits is None or args.sync is Sync.SYNC:
        # not "new" regions: nosync speaks of new ones only, and never makes clean what may be dirty
        bits = bitarray(count, endian="little")
    elif 0 < len(bits) < count:
        messages.append(f"grew from {len(bits)} to {count} regions")
    elif len(bits) > count:
        messages.append(f"shrank to {count} regions")
        del bits[count:]
    known = len(bits)
    bits.extend(bitarray(count - known, endian="little"))
    geometry = _place(extension, count, device_bytes, block_bytes)
    return Verdict(bits, known, args.sync is Sync.NOSYNC and known < count, extension, geometry, tuple(messages))


def _believed(
    head: bytes, clean: bytes, sync: bytes | None, extension: Extension | None, args: CtrArgs
) -> tuple[bitarray | None, str | None]:
    # -> the bits of the regions that the log speaks of, or None for "everything is dirty", and why
    dialect = ondisk.dialect(head)
    if dialect is Dialect.BLANK:
        return bitarray(endian="little"), None
    if dialect is Dialect.DAMAGED:
        return None, "its extension is damaged; everything is dirty"
    header = ondisk.unpack_header(head)
    # LVM's fresh logs speak of 2^64-1 regions: of as many as the target has
    spoken = args.region_count if header.nr_regions == ondisk.ALL_REGIONS else min(header.nr_regions, len(clean) * 8)
    if extension is None or extension.state is State.RELEASED:
        return ondisk.bits_from(clean, spoken), None
    adopt = f"if it was the kernel's log, 'diskulog adopt {args.device}' before activation keeps what is clean"
    if header.nr_regions != extension.region_count:
        return None, (
            f"somebody else resized it ({header.nr_regions} regions, {extension.region_count} expected); "
            f"everything is dirty ({adopt})"
        )
    if sync is None:
        return None, "its sync bitmap does not lie on the device; everything is dirty"
    if extension.state is State.CLOSED and not checksums_ok(extension, clean, sync):
        return None, f"somebody else wrote it after it was closed; everything is dirty ({adopt})"
    return ondisk.bits_from(clean, spoken) & ondisk.bits_from(sync, spoken), None


def checksums_ok(extension: Extension, clean: bytes, sync: bytes) -> bool:
    """Tell whether a closed log's bitmaps are the ones that were closed.

    A target that shrank is read shorter than its log: what was cut off cannot be checked and is not believed.
    """
    count = extension.region_count
    return (
        ondisk.bitmap_crc32(clean, count) == extension.clean_crc32
        and ondisk.bitmap_crc32(sync, count) == extension.sync_crc32
    )


def _place(extension: Extension | None, count: int, device_bytes: int, block_bytes: int) -> Geometry:
    if extension is not None:
        offset = extension.sync_offset_bytes
        capacity = min(extension.sync_capacity_bytes, max(device_bytes - offset, 0))
        kept = Geometry(count, offset, capacity)
        if ondisk.fits(kept, device_bytes):
            return kept
    try:
        return ondisk.choose_geometry(count, device_bytes, block_bytes)
    except BadLogError as error:
        raise RefusedError("log device", str(error), "use a larger device or larger regions") from error


def new_extension(opening: Opening, found: Verdict, now_seconds: int) -> Extension:
    """Make the extension of a log that was judged, closed as it is before its first life here; no checksums yet."""
    old, args = found.extension, opening.args
    return Extension(
        uuid=opening.uuid.decode("utf-8", "surrogateescape"),
        region_size_sectors=args.region_size_sectors,
        target_length_sectors=args.target_length_sectors,
        region_count=found.geometry.region_count,
        sync_offset_bytes=found.geometry.sync_offset_bytes,
        sync_capacity_bytes=found.geometry.sync_capacity_bytes,
        state=State.CLOSED,
        generation=old.changed().generation if old else 1,
        created_seconds=old.created_seconds if old else now_seconds,
        closed_seconds=old.closed_seconds if old else 0,
        compatible=old.compatible if old else 0,
    )
