# SPDX-License-Identifier: LGPL-2.1-or-later
"""The table line of a mirror, taken apart and put together again, with the kernel's own log or one in user space.

Lives here: the grammar. Asks nobody: whether devices are there, and what a good line is, others know.
"""

from dataclasses import dataclass, replace
from typing import Final

from diskulog.exits import UsageError
from diskulog.forensic.legs import LegName

MAX_LEGS: Final = 9  # dm-raid1.c, MAX_NR_MIRRORS
HANDLE_ERRORS: Final = "handle_errors"
# at a later boot the first would copy everything again, and the second call equal what a crash left apart
ONCE: Final = frozenset({"sync", "nosync"})
_USERSPACE: Final = "userspace"
_FLUSH: Final = "integrated_flush"
_WITH_DEVICE: Final = frozenset({"disk", "clustered-disk"})
_WITHOUT: Final = frozenset({"core", "clustered-core"})


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


def parse(text: str) -> MirrorLine:
    """Take one line apart.

    Raises:
        UsageError: when it is not that of a mirror.
    """
    words = text.split()
    if len(words) < 3 or words[2] != "mirror":
        raise UsageError("is not the table line of a mirror: '<start> <length> mirror ...'")
    try:
        return _mirror(words)
    except (ValueError, IndexError) as cause:
        raise UsageError("its words cannot be understood as those of a mirror") from cause


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
        raise UsageError(f"its log is of type {kind!r}, which is not known here")
    log = None
    if kind in _WITH_DEVICE:
        log, *arguments = arguments
    region_size, *options = arguments
    legs, rest = _cut(rest[1:], 2 * int(rest[0]))
    features, rest = _cut(rest[1:], int(rest[0])) if rest else ([], [])
    if rest:
        raise ValueError(rest)
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
