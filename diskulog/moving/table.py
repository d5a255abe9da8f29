# SPDX-License-Identifier: LGPL-2.1-or-later
"""A mirror's whole table line: taken apart, and put together again with another log.

Lives here: the words of dm-raid1 and of its logs. Asks nobody; who knows devices gives their numbers.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from diskulog import ctr
from diskulog.errors import RefusedError
from diskulog.units import div_up

HANDLE_ERRORS: Final = "handle_errors"
_USERSPACE: Final = "userspace"
_FLUSH: Final = "integrated_flush"
_ON_A_DEVICE: Final = ("disk", "clustered-disk")
_IN_MEMORY: Final = ("core", "clustered-core")
_FEWEST_LEGS: Final = 2


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
        return self.type_word in _IN_MEMORY

    def words(self) -> list[str]:
        """Return what stands between ``mirror`` and the legs."""
        last = [self.device, str(self.region_size_sectors)]
        if self.in_memory:
            last = [*last[1:], *self.options]
        if self.kind is Kind.KERNEL:
            return [self.type_word, str(len(last)), *last]
        own = [self.uuid, _FLUSH, self.type_word, *last]
        return [_USERSPACE, str(len(own)), *own]


@dataclass(frozen=True, slots=True)
class Table:
    """A mirror's table; legs are (device, offset in sectors), a device is ``major:minor``."""

    length_sectors: int
    log: Log
    legs: tuple[tuple[str, str], ...]
    features: tuple[str, ...]

    @property
    def region_count(self) -> int:
        """Regions of the mirror."""
        return div_up(self.length_sectors, self.log.region_size_sectors)

    @property
    def handles_errors(self) -> bool:
        """Whether writes are held when the log fails; the kernel goes on without a log otherwise."""
        return HANDLE_ERRORS in self.features

    def line(self) -> str:
        """Return the line that ``dmsetup load`` takes."""
        legs = [word for leg in self.legs for word in leg]
        words = ["0", str(self.length_sectors), "mirror", *self.log.words(), str(len(self.legs)), *legs]
        return " ".join([*words, str(len(self.features)), *self.features] if self.features else words)

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
        log = table.log
        device = [] if log.in_memory else [log.device]
        string = " ".join([str(table.length_sectors), log.type_word, *device, str(log.region_size_sectors)])
        try:
            ctr.parse(string.encode("utf-8", "surrogateescape"), clustered_single_host=True)
        except RefusedError as cause:
            raise RefusedError(name, f"{cause.argument}: {cause.reason}", cause.remedy) from cause


def parse(name: str, text: str, number_of: Callable[[str], str]) -> Table:
    """Take the table of a mirror apart.

    Raises:
        RefusedError: when it is no mirror, or one with a log that is not known here.
    """
    lines = text.splitlines()
    if len(lines) != 1:
        raise RefusedError(name, f"its table has {len(lines)} targets, a mirror has one", "name a mirror")
    try:
        return _mirror(name, lines[0].split(), number_of)
    except (ValueError, IndexError) as cause:
        raise RefusedError(name, f"its table cannot be understood: {lines[0]}", "look at 'dmsetup table'") from cause


def _mirror(name: str, words: list[str], number_of: Callable[[str], str]) -> Table:
    start, length, target = int(words[0]), int(words[1]), words[2]
    if target != "mirror" or start:
        raise RefusedError(name, f"is no mirror, but '{target}' from sector {start}", "name a mirror")
    kind, count = words[3], int(words[4])
    log = _log(name, kind, words[5 : 5 + count], number_of)
    rest = words[5 + count :]
    leg_count = int(rest[0])
    legs = tuple((number_of(rest[at]), str(int(rest[at + 1]))) for at in range(1, 1 + 2 * leg_count, 2))
    features = tuple(rest[1 + 2 * leg_count :])
    if leg_count < _FEWEST_LEGS or (features and len(features) != 1 + int(features[0])):
        raise ValueError(rest)
    return Table(length, log, legs, features[1:])


def _log(name: str, kind: str, arguments: list[str], number_of: Callable[[str], str]) -> Log:
    uuid, who = "", Kind.KERNEL
    if kind == _USERSPACE:
        uuid, *arguments = arguments
        kind, *arguments = arguments[1:] if arguments[0] == _FLUSH else arguments
        who = Kind.DISKULOG
    if kind in _IN_MEMORY:
        region_size, *options = arguments
        return Log(who, "", "", int(region_size), uuid, kind, tuple(options))
    if kind not in _ON_A_DEVICE:
        raise RefusedError(name, f"its log is of type '{kind}', which is not known here", "name another mirror")
    device, region_size, *options = arguments
    return Log(who, device, number_of(device), int(region_size), uuid, kind, tuple(options))
