# SPDX-License-Identifier: LGPL-2.1-or-later
"""Images that are cut off or too long, and files that are hardly there.

Lives here: every length at which something begins or ends. Does not know what the bytes say.
"""

from collections.abc import Iterator
from typing import Final

from diskulog.exits import Exit
from diskulog.forensic.belief import Belief
from tools.damaging import sound
from tools.damaging.recipe import Damaged, whole

_BITS: Final = 125  # bytes that 1000 regions take, 128 in whole words
_SHORT: Final = (0, 1, 2, 3, 4, 8, 15, 16, 17, 511, 512, 513, 600, 1023)
_KERNEL: Final = (*_SHORT, 1024, 1025, 1024 + _BITS - 1, 1024 + _BITS, 1024 + 127, 1024 + 128, 4096, 65535)
_CLOSED: Final = (
    *(1024, 1024 + _BITS - 1, 1024 + _BITS, 1024 + 128, 4096, sound.SYNC - 1, sound.SYNC, sound.SYNC + 1),
    *(sound.SYNC + _BITS - 1, sound.SYNC + _BITS, sound.SYNC + 127, sound.SYNC + 128, sound.SIZE_BYTES - 1),
)
_STORY: Final = "a copy was interrupted, or its target was full"


def _cut() -> Iterator[Damaged]:
    for base, lengths, end, belief in (
        ("kernel", _KERNEL, sound.CLEAN + _BITS, Belief.KERNEL),
        ("closed", _CLOSED, sound.SYNC + _BITS, Belief.CLOSED),
    ):
        for length in lengths:
            found = (Exit.FINE, belief) if length >= end else (Exit.NOT_A_LOG, None)
            how = f"the first {length} bytes of a sound log ({base})"
            yield Damaged(f"cut-{length}-{base}", whole(sound.SOUND[base]()[:length]), how, _STORY, *found)


def _long() -> Iterator[Damaged]:
    for base, belief in (("kernel", Belief.KERNEL), ("closed", Belief.CLOSED)):
        data = sound.SOUND[base]() + b"\xff"
        how, story = f"one byte behind the end of a sound log ({base})", "an image that was padded by a tool"
        yield Damaged(f"long-{base}", whole(data), how, story, Exit.FINE, belief)


def _hardly_there() -> Iterator[Damaged]:
    for length in (1, 15, 16, 511, 512, 1023, 1024, 1025, 65536):
        for label, byte in (("zeros", b"\0"), ("ones", b"\xff")):
            story = "a disk from the factory" if length > 1024 else "a file that never became an image"
            how = f"{length} bytes of {byte.hex()}"
            yield Damaged(f"{label}-{length}", whole(byte * length), how, story, Exit.NOT_A_LOG)
    headed = sound.header(0).ljust(1024, b"\0")
    how, story = "1024 bytes: a header of no regions", "a log was cleared, and its header written anew"
    yield Damaged("header-only", whole(headed), how, story, Exit.FINE, Belief.KERNEL)
    how, story = "1024 bytes: a header of one region", "a device that is too small for any log"
    headed = sound.header(1).ljust(1024, b"\0")
    yield Damaged("header-only-1", whole(headed), how, story, Exit.NOT_A_LOG)


def lengths() -> Iterator[Damaged]:
    """Yield the images of odd lengths."""
    for family in (_cut, _long, _hardly_there):
        yield from family()
