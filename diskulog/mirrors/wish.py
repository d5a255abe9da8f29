# SPDX-License-Identifier: LGPL-2.1-or-later
"""The mirror that an administrator wishes for, and what can be said of it before any device is looked at.

Lives here: the wish, the words that no table can have. Does not know devices or what is on them.
"""

from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from diskulog.ctr import Sync
from diskulog.exits import UsageError
from diskulog.forensic.adopt import check_uuid
from diskulog.mirrortable import MAX_LEGS, MIN_LEGS, LegName
from diskulog.units import MAX_REGION_SIZE_SECTORS, MIN_REGION_SIZE_SECTORS, region_size_possible

# what dm takes in a name and prints as it is (libdm, DEFAULT_DM_NAME_MANGLING)
_NAME_CHARACTERS: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789#+-.:=@_")
_MAX_NAME_BYTES: Final = 127  # linux/dm-ioctl.h, DM_NAME_LEN with its NUL
_UUID_PREFIX: Final = "diskulog-"


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for; None where diskulog is to choose. ``log`` is None for one in memory."""

    legs: tuple[LegName, ...]
    log: str | None
    uuid: str | None = None
    region_size_sectors: int | None = None
    length_sectors: int | None = None
    sync: Sync = Sync.DEFAULT
    plain: bool = False
    keep_log: bool = False


def check(wish: Wish) -> None:
    """Refuse words that no mirror can have.

    Raises:
        UsageError: naming the option.
    """
    if not MIN_LEGS <= len(wish.legs) <= MAX_LEGS:
        raise UsageError(f"a mirror has {MIN_LEGS} to {MAX_LEGS} legs, and {len(wish.legs)} are named")
    if wish.uuid is not None:
        check_uuid(wish.uuid)
    size, length = wish.region_size_sectors, wish.length_sectors
    if size is not None and not region_size_possible(size):
        raise UsageError(
            f"--region-size {size}: must be a power of two from {MIN_REGION_SIZE_SECTORS} to "
            f"{MAX_REGION_SIZE_SECTORS} sectors, 1024 for example"
        )
    if length is not None and length < 1:
        raise UsageError(f"--length {length}: must be 1 sector or more")
    if wish.keep_log and wish.log is None:
        raise UsageError("--keep-log: a log in memory (--core) keeps nothing; leave one of them out")


def check_name(name: str) -> None:
    """Refuse what dm would not take for the name of a device, or would print in another way.

    Raises:
        UsageError: with the reason.
    """
    if not name or not set(name) <= _NAME_CHARACTERS or name[0] in "-." or len(name) > _MAX_NAME_BYTES:
        raise UsageError(
            f"{name!r}: the name of a mirror has 1 to {_MAX_NAME_BYTES} of the letters, the digits and #+-.:=@_, "
            "and does not begin with - or ."
        )


def new_uuid() -> str:
    """Make a uuid for a new mirror: nothing else in the world has it, and the prefix says who made it."""
    return f"{_UUID_PREFIX}{uuid4()}"
