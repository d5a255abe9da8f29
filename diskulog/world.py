# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every log that is known, and the contract with the stores that keep them.

Lives here: entries, what a store promises, what one is opened with. Does not know what a request does to them.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from diskulog.clears import ClearPolicy
from diskulog.ctr import CtrArgs
from diskulog.dirtylog import DirtyLog, LogStore
from diskulog.wire import Request


class Store(LogStore, Protocol):
    """What a log's life needs of its store beyond the bits; every method blocks, and raises DiskulogError."""

    device_number: str | None  # major:minor of the log device, None for core

    def activate(self, luid: int, fresh: bool) -> tuple[str, ...]:
        """Make the log live for ``luid`` (on-disk rules 7 to 14); return lines for the administrator.

        ``fresh`` says that this luid was constructed here: what the medium says counts. Otherwise a log that this
        luid had open or closed in this boot keeps both bitmaps as they stand.
        """

    def reconnect(self, luid: int) -> bool:
        """Take over a log that ``luid`` has open in this boot, both bitmaps as they stand; else touch nothing."""

    def reopen(self, late_marks: frozenset[int]) -> None:
        """Open a log that this process closed, both bitmaps as they stand."""

    def heal(self, luid: int, late_marks: frozenset[int]) -> tuple[str, ...]:
        """Open a log that failed here: clean is what both the medium and the mapping call clean."""

    def close_log(self) -> None:
        """Make everything durable and write the state ``closed`` with the bitmaps' checksums."""

    def detach(self) -> None:
        """Forget the mapping and the legs without storing anything; the device stays open."""

    def release(self) -> None:
        """Close every descriptor without storing anything."""

    def mirror_suspended(self) -> bool:
        """Tell whether every mirror on this log device is suspended, as far as sysfs says."""

    def held(self) -> bool:
        """Tell whether a device-mapper table still holds the log device; True when that cannot be known."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What a store is opened with: the constructor's arguments, whose log, and the log devices already served."""

    args: CtrArgs
    uuid: bytes
    luid: int
    reconnect: bool
    log_devices: frozenset[str]


OpenStore = Callable[[Opening], Store]


@dataclass(slots=True, eq=False)
class Entry:
    """One (uuid, luid) that the kernel knows. ``busy`` while its life changes: requests then wait in ``backlog``."""

    uuid: bytes
    luid: int
    log: DirtyLog | None = None
    store: Store | None = None
    fresh: bool = True  # constructed by a first CTR here, not met again after a restart
    reconnecting: bool = False  # a NUL CTR came: the next RESUME is a reconnection's
    busy: bool = False
    backlog: deque[Request] = field(default_factory=deque)
    since_seconds: float = 0.0

    @property
    def name(self) -> str:
        """The last 8 characters of the uuid, as the kernel's own messages name a log."""
        return self.uuid.decode("ascii", "replace")[-8:]


@dataclass(frozen=True, slots=True)
class World:
    """Every log that is known, and what new ones are made with."""

    entries: dict[int, Entry]
    open_store: OpenStore
    policy: ClearPolicy
    now: Callable[[], float]
    clustered_single_host: bool = False

    def others_on(self, entry: Entry) -> list[Entry]:
        """List the other logs of the same uuid or on the same device."""
        number = entry.store.device_number if entry.store else None
        return [
            other
            for other in self.entries.values()
            if other is not entry
            and (other.uuid == entry.uuid or (number and other.store and other.store.device_number == number))
        ]

    def log_devices(self) -> frozenset[str]:
        """List the log devices served here, as major:minor."""
        numbers = (entry.store.device_number for entry in self.entries.values() if entry.store)
        return frozenset(number for number in numbers if number)
