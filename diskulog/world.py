# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every log that is known: its entry, its neighbours on a device or under a uuid.

Lives here: the table of logs, and what new ones are made with. Does not know what a request does to them.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from diskulog import wire
from diskulog.clears import ClearPolicy
from diskulog.dirtylog import DirtyLog
from diskulog.logstore import Keep, Kept, OpenStore, Store
from diskulog.wire import Request


@dataclass(slots=True, eq=False)
class Entry:
    """One (uuid, luid) that the kernel knows. ``busy`` while its life changes: requests then wait in ``backlog``."""

    uuid: bytes
    luid: int
    log: DirtyLog | None = None
    store: Store | None = None
    kept: Kept | None = None
    fresh: bool = True  # constructed by a first CTR here, not met again after a restart
    reconnecting: bool = False  # a NUL CTR came: the next RESUME is a reconnection's
    unresumed: bool = False  # met again by a NUL CTR whose RESUME is on its way: what it holds is not known yet
    busy: bool = False
    backlog: deque[Request] = field(default_factory=deque)
    since_seconds: float = 0.0
    taking_over: bool = False  # from a dead worker, under way
    distrusted: bool = False  # requests were lost since it was met: what the last worker held may be void

    @property
    def name(self) -> str:
        """The uuid, as messages show it."""
        return wire.shown(self.uuid)


class Shown(Protocol):
    """Where it is written how logs stand."""

    def show(self, entry: Entry) -> None:
        """Write how a log stands, after a change of its life."""

    def gone(self, entry: Entry) -> None:
        """Forget a log that is known no more."""


class Unseen:
    """Nobody looks."""

    def show(self, entry: Entry) -> None:
        """Do nothing."""

    def gone(self, entry: Entry) -> None:
        """Do nothing."""


@dataclass(slots=True)
class World:
    """Every log that is known, and what new ones are made with; a reload changes ``policy`` and ``clustered...``.

    ``known`` is the same table by the bytes that tell a log in a request, for each version of the protocol.
    """

    entries: dict[int, Entry]
    open_store: OpenStore
    keep: Keep
    policy: ClearPolicy
    now: Callable[[], float]
    clustered_single_host: bool = False
    known: dict[bytes, Entry] = field(default_factory=dict)
    shown: Shown = field(default_factory=Unseen)

    def add(self, entry: Entry) -> None:
        """Know a log from now on, in the place of one of the same luid."""
        self.entries[entry.luid] = entry
        for version in wire.VERSIONS:
            self.known[wire.whose(entry.luid, entry.uuid, version)] = entry

    def remove(self, entry: Entry) -> None:
        """Know a log no more."""
        del self.entries[entry.luid]
        for version in wire.VERSIONS:
            del self.known[wire.whose(entry.luid, entry.uuid, version)]
        self.shown.gone(entry)

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
