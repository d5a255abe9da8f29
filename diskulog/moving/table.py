# SPDX-License-Identifier: LGPL-2.1-or-later
"""A mirror's whole table: with whose log, and with another one.

Lives here: what a new table keeps of the old one, and the refusals. Asks nobody; who knows devices gives their numbers.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from diskulog import ctr, mirrortable
from diskulog.errors import RefusedError
from diskulog.mirrortable import HANDLE_ERRORS, Flaw, LegName, MirrorLine
from diskulog.units import div_up

_WORDING: Final = {
    Flaw.TARGETS: ("its table has {} targets, a mirror has one", "name a mirror"),
    Flaw.NO_MIRROR: ("is no mirror, but '{}' from sector {}", "name a mirror"),
    Flaw.LOG_TYPE: ("its log is of type '{}', which is not known here", "name another mirror"),
    Flaw.WORDS: ("its table cannot be understood: {}", "look at 'dmsetup table'"),
}


class Kind(StrEnum):
    """Who keeps a log."""

    KERNEL = "kernel"
    DISKULOG = "diskulog"


WHO: Final = {Kind.KERNEL: "the kernel's own log", Kind.DISKULOG: "diskulog"}


@dataclass(frozen=True, slots=True)
class Log:
    """The log of a table. ``device`` is the table's word, ``number`` its ``major:minor``; the kernel's has no uuid.

    A log in memory has neither. ``options`` are what the table says of new regions and of errors; a new table never
    says it again, but for a log in memory that begins where another one ends.
    """

    kind: Kind
    device: str
    number: str
    region_size_sectors: int
    uuid: str = ""
    type_word: str = "disk"
    options: tuple[str, ...] = ()

    @property
    def in_memory(self) -> bool:
        """Whether it ends with the table."""
        return not self.device


@dataclass(frozen=True, slots=True)
class Table:
    """A mirror's table; the devices of its legs are ``major:minor``."""

    length_sectors: int
    log: Log
    legs: tuple[LegName, ...]
    features: tuple[str, ...]

    @property
    def region_count(self) -> int:
        """Regions of the mirror."""
        return div_up(self.length_sectors, self.log.region_size_sectors)

    @property
    def handles_errors(self) -> bool:
        """Whether writes are held when the log fails; the kernel goes on without a log otherwise."""
        return HANDLE_ERRORS in self.features

    @property
    def line(self) -> MirrorLine:
        """Return the line to load."""
        log, ours = self.log, self.log.kind is Kind.DISKULOG
        return MirrorLine(
            self.length_sectors,
            log.type_word,
            log.device or None,
            log.region_size_sectors,
            self.legs,
            uuid=log.uuid if ours else None,
            integrated_flush=ours,
            options=log.options if log.in_memory else (),
            features=self.features,
        )

    def lasting(self) -> "Table":
        """Return the table as it may be written down: what was true of the legs once may not be at the next boot."""
        return replace(self, log=replace(self.log, options=()))

    def with_log(self, log: Log) -> "Table":
        """Return the table with another log, and with errors handled."""
        features = self.features if self.handles_errors else (HANDLE_ERRORS, *self.features)
        return replace(self, log=log, features=features)

    def same_as(self, other: "Table") -> bool:
        """Tell whether two tables make the same mirror, whatever they call the log device."""
        mine, its = replace(self.log, device="", options=()), replace(other.log, device="", options=())
        return replace(self, log=mine) == replace(other, log=its)


def check(name: str, table: Table) -> None:
    """Refuse a table with which diskulog could not go on after a restart.

    Raises:
        RefusedError: with the reason.
    """
    if table.log.kind is Kind.DISKULOG:
        try:
            ctr.parse(table.line.constructor().encode("utf-8", "surrogateescape"), clustered_single_host=True)
        except RefusedError as cause:
            raise RefusedError(name, f"{cause.argument}: {cause.reason}", cause.remedy) from cause


def parse(name: str, text: str, number_of: Callable[[str], str]) -> Table:
    """Take the table of a mirror apart.

    Raises:
        RefusedError: when it is no mirror, or one with a log that is not known here.
    """
    line = mirrortable.whole(name, text, _WORDING)
    log = Log(
        Kind.DISKULOG if line.userspace else Kind.KERNEL,
        line.log or "",
        number_of(line.log) if line.log else "",
        line.region_size_sectors,
        line.uuid or "",
        line.log_type,
        line.options,
    )
    legs = tuple(replace(leg, device=number_of(leg.device)) for leg in line.legs)
    return Table(line.length_sectors, log, legs, line.features)
