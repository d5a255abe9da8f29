# SPDX-License-Identifier: LGPL-2.1-or-later
"""The on-disk format: the kernel's header, diskulog's extension, and where the two bitmaps lie.

Lives here: bytes to records and back, geometry, checksums. Has no opinion what to believe, and opens nothing.
"""

import hashlib
import struct
import zlib
from dataclasses import dataclass, fields, replace
from enum import Enum, IntEnum
from typing import Any, Final

from bitarray import bitarray

from diskulog.errors import BadLogError
from diskulog.units import MAX_REGION_COUNT, div_up, round_down, round_up

# The kernel's header, dm-log.c struct log_header_disk: magic, version, nr_regions, little-endian.
HEADER: Final = struct.Struct("<IIQ")
MAGIC: Final = 0x4D695272
VERSION: Final = 2  # 1 is read as 2, dm-log.c read_header
ALL_REGIONS: Final = 2**64 - 1  # nr_regions of LVM's fresh logs
_LAST_GENERATION: Final = 2**64 - 1

EXTENSION_OFFSET_BYTES: Final = 512
EXTENSION_BYTES: Final = 512
CLEAN_OFFSET_BYTES: Final = 1024
HEAD_BYTES: Final = CLEAN_OFFSET_BYTES  # header, reserved, extension
SYNC_ALIGN_BYTES: Final = 4096
# the first bytes of a device while a command writes a log there: no header of anybody's, and not blank
STOPPED: Final = b"diskulog was writing a log here and did not come to its end\n"
BLANK_CHECK_BYTES: Final = 1024 * 1024

EXTENSION_MAGIC: Final = b"diskulog"
EXTENSION_VERSION: Final = 1
KNOWN_INCOMPATIBLE: Final = 0  # no incompatible feature exists yet

# name, struct code; in this order, without gaps; the README's table is compared with it by a test
EXTENSION_FIELDS: Final = (
    ("magic", "8s"),
    ("version", "I"),
    ("compatible", "I"),
    ("incompatible", "I"),
    ("state", "I"),
    ("uuid", "128s"),
    ("region_size_sectors", "Q"),
    ("target_length_sectors", "Q"),
    ("region_count", "Q"),
    ("sync_offset_bytes", "Q"),
    ("sync_capacity_bytes", "Q"),
    ("generation", "Q"),
    ("created_seconds", "Q"),
    ("resumed_seconds", "Q"),
    ("closed_seconds", "Q"),
    ("boot_id", "16s"),
    ("live_token", "8s"),
    ("host_name", "64s"),
    ("clean_crc32", "I"),
    ("sync_crc32", "I"),
)
_EXTENSION: Final = struct.Struct("<" + "".join(code for _, code in EXTENSION_FIELDS))
_CHECKSUM: Final = struct.Struct("<I")
EXTENSION_CHECKSUM_OFFSET_BYTES: Final = EXTENSION_BYTES - _CHECKSUM.size


class State(IntEnum):
    """Who may have changed the bitmaps since the extension was written."""

    OPEN = 1  # diskulog is at work, or was when the host died: no checksum covers the bitmaps
    CLOSED = 2  # suspended in order: the checksums hold, unless somebody else wrote
    RELEASED = 3  # handed to the kernel's own log: its clean bitmap is the truth


class Dialect(Enum):
    """What the first 1024 bytes look like."""

    BLANK = "blank"
    KERNEL = "kernel"
    DISKULOG = "diskulog"
    DAMAGED = "damaged"  # the kernel's header with an extension that is there and cannot be believed
    FOREIGN = "foreign"


@dataclass(frozen=True, slots=True)
class Header:
    """The kernel's header as it stands; ``nr_regions`` may be 2^64-1 (LVM)."""

    magic: int = MAGIC
    version: int = VERSION
    nr_regions: int = 0

    def pack(self) -> bytes:
        """Return the 16 bytes."""
        return HEADER.pack(self.magic, self.version, self.nr_regions)


@dataclass(frozen=True, slots=True)
class Extension:
    """diskulog's sector, unpacked; sizes in the units of the names, times in seconds since 1970."""

    uuid: str
    region_size_sectors: int
    target_length_sectors: int
    region_count: int
    sync_offset_bytes: int
    sync_capacity_bytes: int
    state: State
    generation: int = 1
    created_seconds: int = 0
    resumed_seconds: int = 0
    closed_seconds: int = 0
    boot_id: bytes = bytes(16)
    live_token: bytes = bytes(8)
    host_name: str = ""
    clean_crc32: int = 0
    sync_crc32: int = 0
    compatible: int = 0
    incompatible: int = 0
    version: int = EXTENSION_VERSION

    def changed(self, **changes: Any) -> "Extension":
        """Return it with these changes, one generation on; the last generation stays the last."""
        return replace(self, generation=min(self.generation + 1, _LAST_GENERATION), **changes)

    def pack(self) -> bytes:
        """Return the 512 bytes, checksum included."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values |= {
            "magic": EXTENSION_MAGIC,
            "uuid": self.uuid.encode("utf-8", "surrogateescape"),
            "host_name": self.host_name.encode("utf-8", "replace")[:64],
        }
        body = _EXTENSION.pack(*(values[name] for name, _ in EXTENSION_FIELDS))
        body = body.ljust(EXTENSION_CHECKSUM_OFFSET_BYTES, b"\0")
        return body + _CHECKSUM.pack(zlib.crc32(body))


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where the bitmaps of a log lie on its device, in bytes."""

    region_count: int
    sync_offset_bytes: int
    sync_capacity_bytes: int

    @property
    def bitmap_bytes(self) -> int:
        """Bytes that hold one bit a region, in whole 64-bit words as the kernel's buffer does."""
        return bitmap_bytes(self.region_count)


def unpack_header(head: bytes) -> Header:
    """Read the kernel's header from the first bytes of a log; judges nothing but the length.

    Raises:
        BadLogError: when there are fewer than 16 bytes.
    """
    if len(head) < HEADER.size:
        raise BadLogError(f"{len(head)} bytes are too short for a log's header of {HEADER.size}")
    return Header(*HEADER.unpack_from(head))


def extension_checksum_ok(sector: bytes) -> bool:
    """Tell whether the extension's own checksum fits its bytes."""
    body, stored = sector[:EXTENSION_CHECKSUM_OFFSET_BYTES], sector[EXTENSION_CHECKSUM_OFFSET_BYTES:EXTENSION_BYTES]
    return len(stored) == _CHECKSUM.size and _CHECKSUM.pack(zlib.crc32(body)) == stored


def unpack_extension(head: bytes) -> Extension | None:
    """Read the extension from a log's first 1024 bytes; None when it is absent or cannot be believed.

    A version or an incompatible feature that is not known is returned as it stands, for the caller to refuse.
    """
    sector = head[EXTENSION_OFFSET_BYTES : EXTENSION_OFFSET_BYTES + EXTENSION_BYTES]
    if len(sector) < EXTENSION_BYTES or not extension_checksum_ok(sector):
        return None
    values = dict(zip((name for name, _ in EXTENSION_FIELDS), _EXTENSION.unpack_from(sector), strict=True))
    if values.pop("magic") != EXTENSION_MAGIC:
        return None
    try:
        values["state"] = State(values["state"])
    except ValueError:
        if values["version"] == EXTENSION_VERSION and not values["incompatible"] & ~KNOWN_INCOMPATIBLE:
            return None
        values["state"] = State.OPEN  # a later format's own state; the caller refuses the format
    values["uuid"] = values["uuid"].rstrip(b"\0").decode("utf-8", "surrogateescape")
    values["host_name"] = values["host_name"].rstrip(b"\0").decode("utf-8", "replace")
    return Extension(**values)


def head(header: Header, extension: Extension | None) -> bytes:
    """Return a log's first 1024 bytes."""
    reserved = bytes(EXTENSION_OFFSET_BYTES - HEADER.size)
    return header.pack() + reserved + (extension.pack() if extension else bytes(EXTENSION_BYTES))


def dialect(head: bytes) -> Dialect:
    """Name what a log's first 1024 bytes are; BLANK only says that these bytes are zero."""
    if not any(head):
        return Dialect.BLANK
    if len(head) < HEAD_BYTES or unpack_header(head).magic != MAGIC:
        return Dialect.FOREIGN
    sector = head[EXTENSION_OFFSET_BYTES : EXTENSION_OFFSET_BYTES + EXTENSION_BYTES]
    # LVM fills a log that starts in sync with ones (lib/metadata/mirror.c); the kernel carries either fill along
    if sector in (bytes(EXTENSION_BYTES), b"\xff" * EXTENSION_BYTES):
        return Dialect.KERNEL
    return Dialect.DISKULOG if unpack_extension(head) is not None else Dialect.DAMAGED


def version_known(header: Header) -> bool:
    """Tell whether the kernel's part has a version that can be read; 1 and 2 differ in nothing on little-endian."""
    return header.version in (1, VERSION)


def incompatibility(extension: Extension) -> str | None:
    """Say what of the extension this version cannot know; None when it knows everything."""
    if extension.version != EXTENSION_VERSION:
        return f"its extension has version {extension.version}, this diskulog knows {EXTENSION_VERSION}"
    unknown = extension.incompatible & ~KNOWN_INCOMPATIBLE
    return f"it uses features that this diskulog does not know (bits {unknown:#x})" if unknown else None


def bitmap_bytes(region_count: int) -> int:
    """Bytes of a bitmap in whole 64-bit words (dm-log.c, create_log_context)."""
    return round_up(region_count, 64) // 8


def needed_bytes(region_count: int, block_bytes: int) -> int:
    """Bytes that a device must have to hold both bitmaps; ``block_bytes`` is its logical block size."""
    align = max(SYNC_ALIGN_BYTES, block_bytes)
    bitmap = bitmap_bytes(region_count)
    return round_up(CLEAN_OFFSET_BYTES + bitmap, align) + round_up(bitmap, block_bytes)


def choose_geometry(region_count: int, device_bytes: int, block_bytes: int) -> Geometry:
    """Place the sync bitmap of a new log at the middle of its device, so that the clean bitmap can grow in front.

    Raises:
        BadLogError: when the device is smaller than ``needed_bytes``.
    """
    needed = needed_bytes(region_count, block_bytes)
    if device_bytes < needed:
        raise BadLogError(f"has {device_bytes} bytes, {region_count} regions need {needed}")
    align = max(SYNC_ALIGN_BYTES, block_bytes)
    bitmap = bitmap_bytes(region_count)
    lowest = round_up(CLEAN_OFFSET_BYTES + bitmap, align)
    highest = round_down(device_bytes - round_up(bitmap, block_bytes), align)
    offset = max(lowest, min(round_down(device_bytes // 2, align), highest))
    return Geometry(region_count, offset, device_bytes - offset)


def fits(geometry: Geometry, device_bytes: int) -> bool:
    """Tell whether both bitmaps lie on the device, apart from each other, at an offset that may be mapped."""
    bitmap = geometry.bitmap_bytes
    return (
        geometry.region_count <= MAX_REGION_COUNT
        and CLEAN_OFFSET_BYTES + bitmap <= geometry.sync_offset_bytes
        and geometry.sync_offset_bytes % SYNC_ALIGN_BYTES == 0
        and bitmap <= geometry.sync_capacity_bytes
        and geometry.sync_offset_bytes + bitmap <= device_bytes
    )


def bitmap_crc32(bits: bytes | memoryview, region_count: int) -> int:
    """Checksum a bitmap's bytes that hold regions; the bits beyond the last region are zero in a sound log."""
    return zlib.crc32(bits[: div_up(region_count, 8)])


def bits_from(data: bytes | memoryview, region_count: int) -> bitarray:
    """Copy the first ``region_count`` bits of a bitmap; missing bytes read as zero, which is dirty."""
    bits = bitarray(endian="little")
    bits.frombytes(bytes(data[: div_up(region_count, 8)]))
    if len(bits) < region_count:
        bits.extend(bitarray(region_count - len(bits), endian="little"))
    del bits[region_count:]
    return bits


def bits_to_bytes(bits: bitarray) -> bytes:
    """Return a bitmap's bytes, padded with zeros to whole 64-bit words."""
    return bits.tobytes().ljust(bitmap_bytes(len(bits)), b"\0")


def live_token(boot_id: bytes, luid: int) -> bytes:
    """Name the live luid of this boot on disk without writing a kernel address there."""
    return hashlib.blake2b(luid.to_bytes(8, "little"), digest_size=8, key=boot_id, person=b"diskulog-luid").digest()
