# SPDX-License-Identifier: LGPL-2.1-or-later
"""Damage to the bitmaps: flipped bits, bits behind the last region, sectors lost, bytes in another order.

Lives here: a table for each. Does not know headers or extensions, which stay as they were.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from diskulog.exits import Exit
from diskulog.forensic.belief import Belief
from diskulog.units import div_up
from tools.damaging import sound
from tools.damaging.recipe import Damaged, whole

_PLACES: Final = {"clean": sound.CLEAN, "sync": sound.SYNC}
_FLIPS: Final = {
    0: "a region that was clean is dirty",
    3: "a region that was dirty is clean, and would not be copied",
    4: "a region that was out of sync is not",
    999: "the last region changed",
}
# what a log with a flipped bit is taken for: bits of a log that is closed are covered, of others not
_FLIPPED: Final = {
    "closed": (Exit.PROBLEM, Belief.CHANGED),
    "open": (Exit.FINE, Belief.OPEN),
    "released": (Exit.FINE, Belief.RELEASED),
}


def _flips() -> Iterator[Damaged]:
    for base, (code, belief) in _FLIPPED.items():
        for which, offset in _PLACES.items():
            for region, story in _FLIPS.items():
                data = sound.flipped_region(sound.SOUND[base](), offset, region)
                how = f"bit {region} of the {which} bitmap flipped ({base})"
                yield Damaged(f"bit-{which}-{region}-{base}", whole(data), how, story, code, belief)


# regions, the bit, whether it is a finding; and in a closed log, whether the checksum's bytes have it
_STRAY: Final = (
    (1000, 1000, True, False),
    (1000, 1023, True, False),
    (1000, 1024, False, False),
    (1003, 1003, True, True),
    (1003, 1007, True, True),
    (1003, 1008, True, False),
    (1024, 1024, False, False),
)


def _strays() -> Iterator[Damaged]:
    story = "a program wrote whole bytes and did not know where the log ends"
    for count, bit, found, covered in _STRAY:
        code = Exit.PROBLEM if found else Exit.FINE
        how = f"bit {bit} of the clean bitmap of {count} regions"
        data = sound.flipped_region(sound.kernel(count), sound.CLEAN, bit)
        yield Damaged(f"stray-{count}-{bit}-kernel", whole(data), how, story, code, Belief.KERNEL)
        belief = Belief.CHANGED if covered else Belief.CLOSED
        for which, offset in _PLACES.items():
            data = sound.flipped_region(sound.closed(count), offset, bit)
            how = f"bit {bit} of the {which} bitmap of {count} regions, closed"
            yield Damaged(f"stray-{count}-{bit}-{which}", whole(data), how, story, code, belief)


def _filled(byte: int, length: int, data: bytearray, offset: int) -> bytearray:
    return sound.put(data, offset, bytes([byte]) * length)


def _reordered(size: int, data: bytearray, offset: int) -> bytearray:
    bits = data[offset : offset + 128]
    return sound.put(data, offset, b"".join(bits[at : at + size][::-1] for at in range(0, len(bits), size)))


def _mirrored(data: bytearray, offset: int) -> bytearray:
    return sound.put(data, offset, bytes(int(f"{byte:08b}"[::-1], 2) for byte in data[offset : offset + 128]))


def _shifted(by: int, data: bytearray, offset: int) -> bytearray:
    return sound.put(data, offset, bytes(by) + data[offset : offset + 128 - by])


def _text(data: bytearray, offset: int) -> bytearray:
    return sound.put(data, offset, b"\x1b[31mnot a bitmap\r\n" * 6)


def _other(data: bytearray, offset: int) -> bytearray:
    there = next(place for place in _PLACES.values() if place != offset)
    return sound.put(data, offset, data[there : there + 128])


_WAYS: Final[tuple[tuple[str, Callable[[bytearray, int], bytearray], str], ...]] = (
    ("zeroed", partial(_filled, 0, 512), "its sector was unreadable and the disk gave another, of zeros"),
    ("ones", partial(_filled, 0xFF, 512), "its sector was erased, as flash is"),
    ("torn", partial(_filled, 0, 64), "half of its sector was written"),
    ("big-endian-32", partial(_reordered, 4), "a big-endian machine wrote words of 32 bits"),
    ("big-endian-64", partial(_reordered, 8), "a big-endian machine wrote words of 64 bits"),
    ("bits-mirrored", _mirrored, "a program counts the bits of a byte from the other end"),
    ("shifted", partial(_shifted, 1), "a program was one byte off"),
    ("text", _text, "somebody echoed into the wrong place"),
    ("of-the-other", _other, "one bitmap was written over the other"),
)


def _lost() -> Iterator[Damaged]:
    for label, change, story in _WAYS:
        for which, offset in _PLACES.items():
            data = change(sound.closed(), offset)
            how = f"the {which} bitmap of a closed log: {label}"
            yield Damaged(f"bitmap-{which}-{label}", whole(data), how, story, Exit.PROBLEM, Belief.CHANGED)


# of a kernel's log of 1024 regions, which ends with a word: nothing tells
def _unnoticed() -> Iterator[Damaged]:
    for label, change, story in _WAYS[:-1]:
        data = change(sound.kernel(1024), sound.CLEAN)
        how = f"the clean bitmap of a kernel's log of 1024 regions: {label}; nothing can tell"
        yield Damaged(f"bitmap-kernel-{label}", whole(data), how, story, Exit.FINE, Belief.KERNEL)
    data = _reordered(8, sound.kernel(), sound.CLEAN)
    how, story = "the clean bitmap of 1000 regions, byte-swapped", "a big-endian machine wrote words of 64 bits"
    yield Damaged("bitmap-kernel-swapped-1000", whole(data), how, story, Exit.PROBLEM, Belief.KERNEL)


def _extremes() -> Iterator[Damaged]:
    story = "every other region was written when the power went"
    size_bytes = sound.SIZE_BYTES // 8  # every region is a range in what is printed of it
    count = (size_bytes - sound.CLEAN) * 8
    data = sound.put(bytearray(b"\x55" * size_bytes), 0, sound.header(count).ljust(sound.CLEAN, b"\0"))
    how = f"a kernel's log of {count} regions that fills its device, every other one dirty"
    yield Damaged("bitmap-alternating", whole(data), how, story, Exit.FINE, Belief.KERNEL)
    data = sound.opened()
    for offset in _PLACES.values():
        data = _filled(0, div_up(sound.COUNT, 8), data, offset)
    how, story = "an open log of zeros", "the host died right after a mirror was made"
    yield Damaged("bitmap-all-dirty", whole(data), how, story, Exit.FINE, Belief.OPEN)


def bitmaps() -> Iterator[Damaged]:
    """Yield the images with damaged bitmaps."""
    for family in (_flips, _strays, _lost, _unnoticed, _extremes):
        yield from family()
