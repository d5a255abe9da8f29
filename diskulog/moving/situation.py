# SPDX-License-Identifier: LGPL-2.1-or-later
"""A mirror as it stands before it moves, and where it is to go.

Lives here: the facts that every decision is made from. Decides nothing.
"""

from dataclasses import dataclass
from typing import Final

from diskulog.moving.medium import Medium
from diskulog.moving.table import Kind, Table

GOOD: Final = "A"  # of a leg or a log, in the kernel's status


@dataclass(frozen=True, slots=True)
class Served:
    """A log as the daemon knows it."""

    uuid: str
    number: str | None
    state: str
    health: str

    @property
    def failed(self) -> bool:
        """Whether it answers as a failed one."""
        return self.state == "failed" or self.health != GOOD


@dataclass(frozen=True, slots=True)
class Situation:
    """A mirror as it stands.

    ``waiting`` is the table that waits for a resume, ``strange`` whether one waits that is no such mirror's. ``legs``
    has a letter for each leg and ``log_letter`` one for the log, as the kernel's status has them. ``served`` are the
    daemon's logs. ``old`` is what lies on the log device, None where that cannot be read or the log is in memory;
    ``new`` is what lies on the device to move to, None for the same. ``fresh_uuid`` is for a log that has none: the
    mirrortab's, or one that nobody has.
    ``all_in_sync``: every region is.
    """

    name: str
    dm_uuid: str
    suspended: bool
    read_only: bool
    table: Table
    waiting: Table | None
    strange: bool
    legs: str
    log_letter: str
    served: tuple[Served, ...]
    old: Medium | None
    fresh_uuid: str
    all_in_sync: bool = False
    new: Medium | None = None

    @property
    def entry(self) -> Served | None:
        """The live log at the daemon."""
        log = self.table.log
        found = (log.uuid, log.number or None)
        return next(
            (each for each in self.served if (each.uuid, each.number) == found and each.state != "inactive"), None
        )

    @property
    def failed(self) -> bool:
        """Whether the log failed."""
        return self.log_letter != GOOD or (self.entry is not None and self.entry.failed)


@dataclass(frozen=True, slots=True)
class Target:
    """Where to go.

    ``device`` and ``number`` of None mean the log device that the mirror has. ``overwrite``: whatever lies on the new
    device may go. ``failed``: a log that failed may be left behind.
    """

    kind: Kind
    device: str | None = None
    number: str | None = None
    uuid: str | None = None
    overwrite: bool = False
    failed: bool = False
