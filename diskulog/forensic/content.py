# SPDX-License-Identifier: LGPL-2.1-or-later
"""What else lies on a device that is to become a log: named, so that nobody overwrites it unknowingly.

Lives here: signatures of what administrators keep on devices, and what is blank. Does not know whether to go on.
"""

from dataclasses import dataclass
from typing import Final

from diskulog import ondisk
from diskulog.forensic.source import CHUNK_BYTES, Source
from diskulog.ondisk import Dialect
from diskulog.printable import printable

# where, what, name; the first that is found names the whole, so what may lie inside of another comes later
_SIGNATURES: Final = (
    (0, b"LUKS\xba\xbe", "a LUKS volume"),
    (0, b"XFSB", "an XFS file system"),
    (0, b"hsqs", "a squashfs file system"),
    (0, b"integrt\0", "a dm-integrity volume"),
    (0, b"dmvdo001", "a VDO volume"),
    (0, b"\xfc\x4e\x2b\xa9", "a member of an md array"),
    (3, b"NTFS    ", "an NTFS file system"),
    (512, b"LABELONE", "an LVM physical volume"),
    (0, b"LABELONE", "an LVM physical volume"),
    (512, b"EFI PART", "a GPT partition table"),
    (1024, b"\x10\x20\xf5\xf2", "an F2FS file system"),
    (1080, b"\x53\xef", "an ext2, ext3 or ext4 file system"),
    (4086, b"SWAPSPACE2", "swap space"),
    (4096, b"\xfc\x4e\x2b\xa9", "a member of an md array"),
    (4120, bytes.fromhex("c68573f64e1a45ca8265f57f48ba6d81"), "a bcache device"),
    (32769, b"CD001", "an ISO 9660 file system"),
    (65600, b"_BHRfS_M", "a btrfs file system"),
    (54, b"FAT1", "a FAT file system"),
    (82, b"FAT32", "a FAT file system"),
    (510, b"\x55\xaa", "a partition table"),
)


@dataclass(frozen=True, slots=True)
class Content:
    """What lies on a device; ``uuid`` is that of the mirror whose log it is, ``foreign`` that it is no log at all."""

    what: str
    uuid: str | None = None
    foreign: bool = False


def look(source: Source, more: tuple[tuple[int, int], ...] = ()) -> Content | None:
    """Name what lies in the first 1 MiB, and in ``more`` places as (offset, length) in bytes; None: nothing but zeros.

    Raises:
        DeviceError: when the device fails a read.
    """
    start = source.read(0, CHUNK_BYTES)
    if start.startswith(ondisk.STOPPED):
        return Content("a log whose writing was stopped in the middle")
    found = ondisk.dialect(start[: ondisk.HEAD_BYTES])
    if found is Dialect.DISKULOG:
        extension = ondisk.unpack_extension(start)
        assert extension is not None  # which made it the dialect that it is
        what = f"the log of mirror {printable(extension.uuid)}"
        unknown = ondisk.incompatibility(extension)
        if unknown:
            return Content(f"{what}, of a newer diskulog ({unknown})")
        return Content(what, extension.uuid or None)
    if found is Dialect.KERNEL:
        return Content("a mirror log that the kernel or LVM wrote")
    if found is Dialect.DAMAGED:
        return Content("a damaged mirror log")
    for offset, signature, what in _SIGNATURES:
        if start[offset : offset + len(signature)] == signature:
            return Content(what, foreign=True)
    if any(start):
        return Content(f"something that is not known here (it begins with {start[:8].hex(' ')})")
    return Content("something behind its first MiB") if any(_holds(source, *place) for place in more) else None


def _holds(source: Source, offset_bytes: int, length_bytes: int) -> bool:
    steps = range(offset_bytes, offset_bytes + length_bytes, CHUNK_BYTES)
    return any(any(source.read(at, min(CHUNK_BYTES, offset_bytes + length_bytes - at))) for at in steps)
