# SPDX-License-Identifier: LGPL-2.1-or-later
"""A mirror's table line, as ``dmsetup table`` prints it: its log, its legs, its length.

Lives here: taking the words apart, and refusing what has no log on a device. Asks nobody: ``dmsetup`` gets the line.
"""

from dataclasses import dataclass
from typing import Final

from diskulog.errors import RefusedError
from diskulog.mirrortable import LegName

_USERSPACE: Final = "userspace"
_FLUSH: Final = "integrated_flush"
_DISK: Final = frozenset({"disk", "clustered-disk"})
_CORE: Final = frozenset({"core", "clustered-core"})


@dataclass(frozen=True, slots=True)
class MirrorTable:
    """What a table says; ``uuid`` is None with the kernel's own log. Devices are paths or ``major:minor``."""

    length_sectors: int
    uuid: str | None
    log: str
    region_size_sectors: int
    legs: tuple[LegName, ...]


def parse(name: str, text: str) -> MirrorTable:
    """Take the table of a mirror apart.

    Raises:
        RefusedError: when it is no mirror, or not one with a log on a device.
    """
    lines = text.splitlines()
    if len(lines) != 1:
        raise RefusedError(
            name, f"its table has {len(lines)} targets, a mirror has one", "name the mirror, or DEV and its legs"
        )
    try:
        return _mirror(name, lines[0].split())
    except (ValueError, IndexError) as cause:
        raise RefusedError(name, "its table cannot be understood", "name DEV and its legs instead") from cause


def _mirror(name: str, words: list[str]) -> MirrorTable:
    start, length, target, kind, count = int(words[0]), int(words[1]), words[2], words[3:4], words[4:5]
    if target != "mirror" or start:
        raise RefusedError(name, f"is no mirror, but '{target}' from sector {start}", "name a mirror")
    arguments, rest = words[5 : 5 + int(count[0])], words[5 + int(count[0]) :]
    uuid, (disk, log, region_size, *_) = _log(name, kind[0], arguments)
    if disk not in _DISK:
        raise RefusedError(name, f"its log is of type '{disk}'", "there is nothing that can be verified")
    legs = tuple(LegName(rest[at], int(rest[at + 1])) for at in range(1, 1 + 2 * int(rest[0]), 2))
    return MirrorTable(length, uuid, log, int(region_size), legs)


def _log(name: str, kind: str, arguments: list[str]) -> tuple[str | None, list[str]]:
    """Return the mirror's uuid and the words of its log, its type first."""
    uuid = None
    if kind == _USERSPACE:
        uuid, *arguments = arguments
        kind, *arguments = arguments[1:] if arguments[0] == _FLUSH else arguments
    if kind in _CORE:
        raise RefusedError(name, "its log is in memory only ('core')", "there is no log on a device to verify")
    return uuid, [kind, *arguments]
