# SPDX-License-Identifier: LGPL-2.1-or-later
"""The table line of a mirror, taken apart and put together again, with the kernel's own log or one in user space.

Lives here: the grammar of dm-raid1 and of its logs. Asks nobody: whether devices are there, and what a good line is,
others know.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final, NamedTuple

from diskulog.errors import RefusedError
from diskulog.exits import UsageError

MIN_LEGS: Final = 2
MAX_LEGS: Final = 9  # dm-raid1.c, MAX_NR_MIRRORS
HANDLE_ERRORS: Final = "handle_errors"
# at a later boot the first would copy everything again, and the second call equal what a crash left apart
ONCE: Final = frozenset({"sync", "nosync"})
_USERSPACE: Final = "userspace"
_FLUSH: Final = "integrated_flush"
_WITH_DEVICE: Final = frozenset({"disk", "clustered-disk"})
_WITHOUT: Final = frozenset({"core", "clustered-core"})


class Flaw(Enum):
    """What is wrong with a table; the sentence takes the words of the error."""

    TARGETS = "its table has {} targets, a mirror has one"
    NO_MIRROR = "is not the table line of a mirror: '<start> <length> mirror ...'"
    LOG_TYPE = "its log is of type {!r}, which is not known here"
    WORDS = "its words cannot be understood as those of a mirror"


class TableError(UsageError):
    """A table that is not understood.

    ``words`` are the count with ``TARGETS``, target and start with ``NO_MIRROR``, the type with ``LOG_TYPE``, the line
    with ``WORDS``.
    """

    def __init__(self, flaw: Flaw, *words: object) -> None:
        """Keep both, for who says it in another way."""
        super().__init__(flaw.value.format(*words))
        self.flaw = flaw
        self.words = words


@dataclass(frozen=True, slots=True)
class LegName:
    """A leg as the command line or a table names it."""

    device: str
    offset_sectors: int = 0


@dataclass(frozen=True, slots=True)
class MirrorLine:
    """What a line says; ``uuid`` is None with the kernel's own log, ``log`` with one in memory.

    Devices are paths or ``major:minor``. ``options`` follow the region size: sync, nosync, block_on_error.
    """

    length_sectors: int
    log_type: str
    log: str | None
    region_size_sectors: int
    legs: tuple[LegName, ...]
    uuid: str | None = None
    integrated_flush: bool = False
    options: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    start_sectors: int = 0

    @property
    def userspace(self) -> bool:
        """Whether a daemon keeps the log."""
        return self.uuid is not None

    @property
    def handles_errors(self) -> bool:
        """Whether the kernel holds writes when the log fails, in place of ignoring it."""
        return HANDLE_ERRORS in self.features

    def lasting(self) -> "MirrorLine":
        """Return the line as it may be written down: without what speaks of the first time."""
        return replace(self, options=tuple(word for word in self.options if word not in ONCE))

    def constructor(self) -> str:
        """Return what a daemon is told of it: the target's length, then the words of the log."""
        return f"{self.length_sectors} {' '.join(self._log_words())}"

    def text(self) -> str:
        """Return the line, as ``dmsetup`` takes it."""
        log = self._log_words()
        if self.uuid is not None:
            words = [self.uuid, *([_FLUSH] if self.integrated_flush else []), *log]
            log = [_USERSPACE, str(len(words)), *words]
        else:
            log = [log[0], str(len(log) - 1), *log[1:]]
        legs = [word for leg in self.legs for word in (leg.device, str(leg.offset_sectors))]
        features = [str(len(self.features)), *self.features] if self.features else []
        start = [str(self.start_sectors), str(self.length_sectors), "mirror"]
        return " ".join([*start, *log, str(len(self.legs)), *legs, *features])

    def _log_words(self) -> list[str]:
        device = [self.log] if self.log is not None else []
        return [self.log_type, *device, str(self.region_size_sectors), *self.options]


class Named(NamedTuple):
    """A line, and the mapped device that has it."""

    name: str
    line: MirrorLine


def parse(text: str) -> MirrorLine:
    """Take one line apart.

    Raises:
        TableError: when it is not that of a mirror.
    """
    words = text.split()
    start, _, target = [*words, "", "", ""][:3]
    if target != "mirror":
        raise TableError(Flaw.NO_MIRROR, target, start)
    try:
        return _mirror(words)
    except (ValueError, IndexError) as cause:
        raise TableError(Flaw.WORDS, text) from cause


def whole(name: str, text: str, wording: Mapping[Flaw, tuple[str, str]]) -> MirrorLine:
    """Take the whole table of a mapped device apart, which is to be one mirror.

    Raises:
        RefusedError: when it is none, with the reason and the remedy that ``wording`` has for the flaw.
    """
    try:
        return _whole(text.splitlines())
    except TableError as cause:
        reason, remedy = wording[cause.flaw]
        raise RefusedError(name, reason.format(*cause.words), remedy) from cause


def named(text: str) -> Iterator[Named]:
    """Take the lines apart that ``dmsetup table`` prints of all mapped devices; what is no mirror is passed over."""
    for row in text.splitlines():
        name, _, line = row.partition(": ")  # dmsetup escapes spaces in names
        with suppress(TableError):  # "No devices found", or a table of a later kernel
            yield Named(name, parse(line))


def _whole(lines: list[str]) -> MirrorLine:
    if len(lines) != 1:
        raise TableError(Flaw.TARGETS, len(lines))
    found = parse(lines[0])
    if found.start_sectors:
        raise TableError(Flaw.NO_MIRROR, "mirror", found.start_sectors)
    return found


def _mirror(words: list[str]) -> MirrorLine:
    start, length, _, kind, count = (int(words[0]), int(words[1]), *words[2:4], int(words[4]))
    arguments, rest = _cut(words[5:], count)
    uuid, flush = None, False
    if kind == _USERSPACE:
        uuid, kind, *arguments = arguments
        flush = kind == _FLUSH
        if flush:
            kind, *arguments = arguments
    if kind not in _WITH_DEVICE | _WITHOUT:
        raise TableError(Flaw.LOG_TYPE, kind)
    log = None
    if kind in _WITH_DEVICE:
        log, *arguments = arguments
    region_size, *options = arguments
    legs, rest = _cut(rest[1:], 2 * int(rest[0]))
    features, rest = _cut(rest[1:], int(rest[0])) if rest else ([], [])
    if rest or len(legs) < 2 * MIN_LEGS:
        raise ValueError(words)
    return MirrorLine(
        length,
        kind,
        log,
        int(region_size),
        tuple(LegName(legs[at], int(legs[at + 1])) for at in range(0, len(legs), 2)),
        uuid,
        flush,
        tuple(options),
        tuple(features),
        start,
    )


def _cut(words: list[str], count: int) -> tuple[list[str], list[str]]:
    if not 0 <= count <= len(words):
        raise ValueError(count)
    return words[:count], words[count:]
