# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is no log and may be named by mistake, logs at the wrong place, and LVM's fresh logs.

Lives here: how the starts of other formats look, as far as a log's reader sees them. Does not know damage.
"""

import random
import struct
from collections.abc import Iterator
from typing import Final

from diskulog import ondisk
from diskulog.exits import Exit
from diskulog.forensic.belief import Belief
from diskulog.units import MIB
from tests import images
from tools.damaging import sound
from tools.damaging.recipe import Damaged, sparse, whole

# name, (offset, bytes) each, what happened
_FORMATS: Final = (
    ("ext4", ((1024 + 56, b"\x53\xef"), (1024, b"\0\x80\0\0" * 8)), "the file system beside the log was named"),
    ("xfs", ((0, b"XFSB\0\0\x10\0"),), "the file system beside the log was named"),
    ("btrfs", ((65536 - 512 + 64, b"_BHRfS_M"),), "the file system beside the log was named"),
    ("swap", ((4086, b"SWAPSPACE2"),), "the swap device was named"),
    ("lvm-pv", ((512, b"LABELONE\1\0\0\0"), (536, b"LVM2 001")), "the physical volume below the log was named"),
    ("mbr", ((446, b"\0\0\2\0\x83" + b"\x20" * 11), (510, b"\x55\xaa")), "the disk was named, and not its partition"),
    ("gpt", ((450, b"\xee"), (510, b"\x55\xaa"), (512, b"EFI PART\0\0\1\0")), "the disk, and not its partition"),
    ("luks", ((0, b"LUKS\xba\xbe\0\2"),), "the encrypted device was named, and not what it opens to"),
    ("md", ((4096, struct.pack("<II", 0xA92B4EFC, 1)),), "a member of a RAID was named"),
    ("dm-raid", ((0, b"DmRd"), (512, b"\xff" * 16)), "a RAID volume's metadata was named"),
    ("dm-integrity", ((0, b"integrt\0"),), "an integrity device was named"),
    ("dm-cow", ((0, b"SnAp\1\0\0\0"),), "a snapshot's store was named"),
    ("gzip", ((0, b"\x1f\x8b\x08\0\0\0\0\0\0\3"),), "an image was packed and not unpacked"),
    ("elf", ((0, b"\x7fELF\2\1\1"),), "a program was named"),
    ("text", ((0, b"\x1b[31mdear diary\x07\r\n" * 100),), "a text was named"),
    ("hex-dump", ((0, b"00000000  72 52 69 4d 02 00 00 00\n" * 40),), "a dump of a log was named"),
)


def _formats() -> Iterator[Damaged]:
    for name, pieces, story in _FORMATS:
        data = bytearray(sound.SIZE_BYTES)
        for offset, piece in pieces:
            data = sound.put(data, offset, piece)
        how = "zeros, and " + ", ".join(f"{piece[:8]!r} at byte {offset}" for offset, piece in pieces)
        yield Damaged(f"alien-{name}", whole(data), how, story, Exit.NOT_A_LOG)
    noise = random.Random(20261125).randbytes(sound.SIZE_BYTES)
    story = "an encrypted device was named, or one that was wiped with care"
    yield Damaged("alien-noise", whole(noise), "random bytes of a fixed seed", story, Exit.NOT_A_LOG)


_OFFSETS: Final = (
    (1, "one byte was inserted"),
    (512, "the log begins one sector later"),
    (63 * 512, "the disk was named, and the log is its first partition, of an old layout"),
    (MIB, "the disk was named, and the log is its first partition"),
)


def _moved() -> Iterator[Damaged]:
    for offset, story in _OFFSETS:
        for base in ("kernel", "closed"):
            how = f"a sound log behind {offset} bytes of zeros ({base})"
            data = bytes(offset) + sound.SOUND[base]()
            yield Damaged(f"moved-{offset}-{base}", whole(data), how, story, Exit.NOT_A_LOG)


# label, fill, size in bytes, what happened
_FRESH: Final = (
    ("zeros", 0x00, sound.SIZE_BYTES, "lvcreate --type mirror, and the mirror was never active"),
    ("ones", 0xFF, sound.SIZE_BYTES, "lvcreate --type mirror --nosync, and the mirror was never active"),
    ("zeros-4m", 0x00, 4 * MIB, "lvcreate --type mirror with extents of 4 MiB"),
    ("zeros-no-bits", 0x00, 1024, "a log volume that was cut off behind its head"),
    ("ones-no-bits", 0xFF, 1024, "a log volume that was cut off behind its head"),
)


def _fresh() -> Iterator[Damaged]:
    for label, fill, size, story in _FRESH:
        how = f"LVM's header of 2^64-1 regions, then {size} bytes of {fill:02x} in all"
        yield Damaged(f"lvm-{label}", whole(images.lvm_fresh(fill, size)), how, story, Exit.FINE, Belief.KERNEL)
    how, story = "LVM's header on a sparse TiB", "a disk was given to LVM, which made a log of all of it"
    recipe = sparse(sound.header(ondisk.ALL_REGIONS), 1 << 40)
    yield Damaged("lvm-sparse", recipe, how, story, Exit.FINE, Belief.KERNEL, heavy=True)
    data = sound.put(images.lvm_fresh(0xFF, sound.SIZE_BYTES), 512, bytes(256))
    how, story = "LVM's ones with half of a sector of zeros at byte 512", "filling a log volume was interrupted"
    yield Damaged("lvm-torn", whole(data), how, story, Exit.PROBLEM, Belief.DAMAGED)
    data = sound.put(images.lvm_fresh(0x00, sound.SIZE_BYTES), 4, b"\1\0\0\0")
    how, story = "LVM's fresh log of version 1", "an LVM of the first kernels with mirrors"
    yield Damaged("lvm-version-1", whole(data), how, story, Exit.FINE, Belief.KERNEL)
    data = sound.put(sound.released(), 0, sound.header(ondisk.ALL_REGIONS))
    how, story = "LVM's header over a log that was released", "LVM made its log anew where diskulog's had been"
    yield Damaged("lvm-over-released", whole(data), how, story, Exit.FINE, Belief.RELEASED)


def strangers() -> Iterator[Damaged]:
    """Yield what is no log, and what is one at the wrong place or too early."""
    for family in (_formats, _moved, _fresh):
        yield from family()
