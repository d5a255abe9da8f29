# SPDX-License-Identifier: LGPL-2.1-or-later
"""The sound logs that are damaged, and the tools to damage one.

Lives here: places of fields, edits, checksums that fit again. Does not know which damage there is.
"""

import struct
import zlib
from itertools import accumulate
from typing import Final

from diskulog import ondisk
from diskulog.ondisk import State
from diskulog.units import KIB
from tests import images

SIZE_BYTES: Final = 64 * KIB
COUNT: Final = 1000
DIRTY: Final = (3, 4, 500)
OUT_OF_SYNC: Final = (4,)
CLEAN: Final = ondisk.CLEAN_OFFSET_BYTES
SYNC: Final = SIZE_BYTES // 2  # where diskulog puts the sync bitmap of a new log
EXTENSION: Final = ondisk.EXTENSION_OFFSET_BYTES
CHECKSUM: Final = EXTENSION + ondisk.EXTENSION_CHECKSUM_OFFSET_BYTES

_CODES: Final = dict(ondisk.EXTENSION_FIELDS)
_OFFSETS: Final = dict(
    zip(_CODES, accumulate((struct.calcsize("<" + code) for code in _CODES.values()), initial=EXTENSION), strict=False)
)
EXTENSION_END: Final = EXTENSION + struct.calcsize("<" + "".join(_CODES.values()))


def kernel(count: int = COUNT, size_bytes: int = SIZE_BYTES) -> bytearray:
    """A log of the kernel's own."""
    return images.kernel(count, DIRTY, size=size_bytes)


def closed(count: int = COUNT, **changes: object) -> bytearray:
    """A log that diskulog closed in order."""
    return images.diskulog(count, DIRTY, OUT_OF_SYNC, State.CLOSED, SIZE_BYTES, **changes)


def opened(count: int = COUNT, **changes: object) -> bytearray:
    """A log that diskulog was at work on."""
    return images.diskulog(count, DIRTY, OUT_OF_SYNC, State.OPEN, SIZE_BYTES, **changes)


def released(**changes: object) -> bytearray:
    """A log that diskulog handed to the kernel's own."""
    return images.diskulog(COUNT, DIRTY, OUT_OF_SYNC, State.RELEASED, SIZE_BYTES, **changes)


SOUND: Final = {"kernel": kernel, "closed": closed, "open": opened, "released": released}


def put(data: bytearray, offset_bytes: int, value: bytes) -> bytearray:
    """Overwrite some bytes; the length stays."""
    assert offset_bytes + len(value) <= len(data)
    data[offset_bytes : offset_bytes + len(value)] = value
    return data


def reverse(data: bytearray, offset_bytes: int, length_bytes: int) -> bytearray:
    """Turn some bytes around, as a number in the other order."""
    return put(data, offset_bytes, data[offset_bytes : offset_bytes + length_bytes][::-1])


def flipped(data: bytearray, offset_bytes: int, mask: int = 1) -> bytearray:
    """Flip bits of one byte."""
    data[offset_bytes] ^= mask
    return data


def flipped_region(data: bytearray, bitmap_offset_bytes: int, region: int) -> bytearray:
    """Flip the bit of a region, or one behind the last."""
    return flipped(data, bitmap_offset_bytes + region // 8, 1 << region % 8)


def put_field(data: bytearray, name: str, value: int | bytes) -> bytearray:
    """Overwrite a field of the extension, whose checksum does not fit then."""
    packed = struct.pack("<" + _CODES[name], value)
    return put(data, _OFFSETS[name], packed)


def field_offset(name: str) -> int:
    """Where a field of the extension begins on the device."""
    return _OFFSETS[name]


def mended(data: bytearray) -> bytearray:
    """Make the extension's checksum fit."""
    return put(data, CHECKSUM, struct.pack("<I", zlib.crc32(data[EXTENSION:CHECKSUM])))


def header(nr_regions: int, version: int = ondisk.VERSION) -> bytes:
    """The kernel's 16 bytes."""
    return ondisk.Header(version=version, nr_regions=nr_regions).pack()
