# SPDX-License-Identifier: LGPL-2.1-or-later
"""Damage to the kernel's header: every field of it, the reserved bytes, counts that cannot be.

Lives here: a table for each. Does not know extensions or bitmaps.
"""

import struct
from collections.abc import Iterator
from typing import Final

from diskulog import ondisk
from diskulog.exits import Exit
from diskulog.forensic.belief import Belief
from tools.damaging import sound
from tools.damaging.recipe import Damaged, sparse, whole

_TIB: Final = 1 << 40

_AFTER: Final = {
    "kernel": Belief.KERNEL,
    "closed": Belief.CLOSED,
    "open": Belief.OPEN,
    "released": Belief.RELEASED,
}

# label, offset, bytes, what happened
_NO_HEADER: Final = (
    ("magic-bit", 0, b"\x73", "a bit of the magic rotted on an old disk"),
    ("magic-zero", 0, bytes(4), "a tool that wipes signatures cleared the magic and nothing else"),
    ("magic-ones", 0, b"\xff" * 4, "the first bytes are those of erased flash"),
    ("version-0", 4, bytes(4), "the version was lost"),
    ("version-3", 4, b"\3\0\0\0", "a later kernel wrote a later format"),
    ("version-max", 4, b"\xff" * 4, "the version is erased flash"),
    ("version-swapped", 4, b"\0\0\0\2", "a program on a big-endian host wrote the version in its own order"),
)


def _no_header() -> Iterator[Damaged]:
    for base in ("kernel", "closed"):
        for label, offset, value, story in _NO_HEADER:
            data = sound.put(sound.SOUND[base](), offset, value)
            how = f"{value.hex(' ')} at byte {offset} of a sound log ({base})"
            yield Damaged(f"header-{label}-{base}", whole(data), how, story, Exit.NOT_A_LOG)


# label, offset, bytes, what happened: nothing that is read changes
_HARMLESS: Final = (
    ("version-1", 4, b"\1\0\0\0", "a kernel of 2005 wrote it: 1 is read as 2"),
    ("reserved-first", 16, b"\1", "a tool left a mark behind the header"),
    ("reserved-last", 511, b"\x80", "a bit rotted in bytes that nobody reads"),
    ("reserved-all", 16, b"\xff" * 496, "the log lies on erased flash, and only the header was written"),
    ("reserved-mbr", 510, b"\x55\xaa", "a boot sector's signature was left by whoever had the disk before"),
    ("reserved-text", 16, b"\x1b[2J" * 100, "somebody wrote words there that would clear a terminal"),
)


def _harmless() -> Iterator[Damaged]:
    for base, belief in _AFTER.items():
        for label, offset, value, story in _HARMLESS:
            data = sound.put(sound.SOUND[base](), offset, value)
            how = f"{len(value)} bytes at byte {offset} of a sound log ({base})"
            yield Damaged(f"header-{label}-{base}", whole(data), how, story, Exit.FINE, belief)


# nr_regions of a kernel's log of 1000: what inspect ends with, who wrote it last, what happened
_COUNTS: Final = (
    (0, Exit.FINE, Belief.KERNEL, "a tool cleared the count; nothing tells that the bits ever meant something"),
    (1, Exit.PROBLEM, Belief.KERNEL, "a table was loaded by mistake whose region size is the whole mirror"),
    (512, Exit.FINE, Belief.KERNEL, "the mirror shrank to a count that ends with a word"),
    (999, Exit.PROBLEM, Belief.KERNEL, "the count lost a region, and its bit stayed"),
    (1001, Exit.FINE, Belief.KERNEL, "the mirror grew by a region, which is dirty"),
    (2**32 - 1, Exit.NOT_A_LOG, None, "the low half of the count is erased flash"),
    (2**32, Exit.NOT_A_LOG, None, "a bit flipped above what the kernel's log can count"),
    (2**60, Exit.NOT_A_LOG, None, "a bit flipped at the count's end"),
    (2**64 - 2, Exit.NOT_A_LOG, None, "LVM's mark for a fresh log lost its lowest bit"),
    (2**64 - 1, Exit.FINE, Belief.KERNEL, "LVM wrote its fresh header over a log that was in use"),
    (1000 << 48, Exit.NOT_A_LOG, None, "a program on a big-endian host wrote the count in its own order"),
)


def _counts() -> Iterator[Damaged]:
    for count, code, belief, story in _COUNTS:
        how = f"nr_regions {count} over a kernel's log of {sound.COUNT} regions"
        data = sound.put(sound.kernel(), 0, sound.header(count))
        yield Damaged(f"count-{count}-kernel", whole(data), how, story, code, belief)
        code, belief = (Exit.PROBLEM, Belief.RESIZED) if belief else (code, None)
        for base in ("closed", "open"):
            data = sound.put(sound.SOUND[base](), 0, sound.header(count))
            how = f"nr_regions {count} over diskulog's log of {sound.COUNT} regions ({base})"
            yield Damaged(f"count-{count}-{base}", whole(data), how, story, code, belief)


# counts on a device that is large enough for most of them
_ON_A_TIB: Final = (
    (2**27, Exit.FINE, Belief.KERNEL, "a log of a very large mirror, on a device that is larger still"),
    (2**32, Exit.NOT_A_LOG, None, "a bit flipped, and the device could hold what the count claims"),
    (2**40, Exit.NOT_A_LOG, None, "a bit flipped, and the device could hold a bit for each"),
    (2**60, Exit.NOT_A_LOG, None, "a bit flipped, and no device could hold that"),
    (2**64 - 2, Exit.NOT_A_LOG, None, "LVM's mark for a fresh log lost its lowest bit"),
)


def _on_a_tib() -> Iterator[Damaged]:
    for count, code, belief, story in _ON_A_TIB:
        how = f"nr_regions {count} on a sparse TiB"
        recipe = sparse(sound.header(count), _TIB)
        yield Damaged(f"sparse-count-{count}", recipe, how, story, code, belief, heavy=code is Exit.FINE)
    most, story = 2**32 - 1, "the largest mirror that there can be was never in sync"
    recipe = sparse(sound.header(most), _TIB)
    how = f"nr_regions {most} on a sparse TiB: half a GiB of bits"
    yield Damaged(f"sparse-count-{most}", recipe, how, story, Exit.FINE, Belief.KERNEL, heavy=True)


def _big_endian() -> Iterator[Damaged]:
    story = "a driver for a big-endian machine wrote it in the machine's own order"
    swapped = struct.pack(">IIQ", ondisk.MAGIC, ondisk.VERSION, sound.COUNT)
    for base in ("kernel", "closed"):
        data = sound.put(sound.SOUND[base](), 0, swapped)
        how = f"every number of the header byte-swapped ({base})"
        yield Damaged(f"header-big-endian-{base}", whole(data), how, story, Exit.NOT_A_LOG)


# length, the sound log, what happened
_ZEROED: Final = (
    (512, "kernel", "the first sector was unreadable and the disk gave another, of zeros"),
    (512, "closed", "the first sector was unreadable, and the extension was not"),
    (1024, "closed", "wipefs, or a tool like it, cleared the first KiB"),
    (4096, "closed", "the first page was never written back"),
)


def _zeroed() -> Iterator[Damaged]:
    for length, base, story in _ZEROED:
        data = sound.put(sound.SOUND[base](), 0, bytes(length))
        how = f"the first {length} bytes of a sound log zeroed ({base})"
        yield Damaged(f"zeroed-{length}-{base}", whole(data), how, story, Exit.NOT_A_LOG)


def headers() -> Iterator[Damaged]:
    """Yield the images with a damaged header."""
    for family in (_no_header, _harmless, _counts, _on_a_tib, _big_endian, _zeroed):
        yield from family()
