# SPDX-License-Identifier: LGPL-2.1-or-later
"""A plan under way, and whether the mirror is still the one that the plan was made for.

Lives here: what every step and the way back ask. Changes nothing.
"""

from dataclasses import dataclass, field

from bitarray import bitarray

from diskulog.errors import RefusedError
from diskulog.moving import table
from diskulog.moving.logs import Retirement
from diskulog.moving.look import Doors
from diskulog.moving.plan import Plan
from diskulog.moving.table import Log, Table


@dataclass
class Job:
    """A plan under way."""

    plan: Plan
    doors: Doors
    bits: bitarray | None = None
    retirement: Retirement | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The mirror's."""
        return self.plan.name

    @property
    def old_node(self) -> str:
        """What to open for the old log."""
        return self.doors.node(self.plan.old.log.number)

    @property
    def new_node(self) -> str:
        """What to open for the new log."""
        return self.doors.node(self.plan.new.log.number)


def check_suspended(job: Job) -> None:
    """Check that the mirror waits.

    Raises:
        RefusedError: when it is not.
    """
    # of a mirror that is in use, none of its log's sectors is ours to write
    if not job.doors.mapper.info(job.name).suspended:
        raise RefusedError(job.name, "was resumed by somebody else", "try again")


def check_unchanged(job: Job) -> None:
    """Check that the mirror has the table that the plan was made for.

    Raises:
        RefusedError: when it is not.
    """
    # the plan was made before somebody was asked, and dmsetup asks nobody
    if not live(job).same_as(job.plan.old):
        raise RefusedError(
            job.name, "somebody gave it another table meanwhile", "look at 'dmsetup table' and try again"
        )


def live(job: Job) -> Table:
    """Return the table that the mirror has."""
    old, number_of = job.plan.old.log, job.doors.number_of
    # the log's path may be gone with its device
    known = {old.device: old.number}
    text = job.doors.mapper.table(job.name)
    return table.parse(job.name, text, lambda word: known.get(word) or number_of(word))


def waits(job: Job) -> Table:
    """Return the table that waits for a resume."""
    return table.parse(job.name, job.doors.mapper.table(job.name, inactive=True), job.doors.number_of)


def where(log: Log) -> str:
    """Say where a log is."""
    return "in memory" if log.in_memory else f"on {log.device}"
