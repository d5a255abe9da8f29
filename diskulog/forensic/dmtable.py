# SPDX-License-Identifier: LGPL-2.1-or-later
"""A mirror with its log on a device, by its table: its log, its legs, its length.

Lives here: what is asked of a table for ``verify``, and the refusals. Asks nobody: ``dmsetup`` gets the table.
"""

from dataclasses import dataclass
from typing import Final

from diskulog import mirrortable
from diskulog.errors import RefusedError
from diskulog.mirrortable import Flaw, LegName

_WORDING: Final = {
    Flaw.TARGETS: ("its table has {} targets, a mirror has one", "name the mirror, or DEV and its legs"),
    Flaw.NO_MIRROR: ("is no mirror, but '{}' from sector {}", "name a mirror"),
    Flaw.LOG_TYPE: ("its log is of type '{}'", "there is nothing that can be verified"),
    Flaw.WORDS: ("its table cannot be understood", "name DEV and its legs instead"),
}


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
    line = mirrortable.whole(name, text, _WORDING)
    if line.log is None:
        raise RefusedError(
            name, f"its log is in memory only ('{line.log_type}')", "there is no log on a device to verify"
        )
    return MirrorTable(line.length_sectors, line.uuid, line.log, line.region_size_sectors, line.legs)
