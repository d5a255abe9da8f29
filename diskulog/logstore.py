# SPDX-License-Identifier: LGPL-2.1-or-later
"""The contract between a log and the thing that keeps its bits.

Lives here: what a store promises, and what one is opened with. Two keep it: ``store`` on a device, ``corestore``
in memory. Does not know either of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from bitarray import bitarray

from diskulog.ctr import CtrArgs
from diskulog.errors import RefusedError


class LogStore(Protocol):
    """What a log needs of the thing that keeps its bits; methods block and run on a lane, raising DiskulogError."""

    clean: bitarray
    in_sync: bitarray
    legs_failed: bool  # a leg could not be flushed since the last activation; what its cache lost stays dirty

    def commit(self, first_region: int, last_region: int) -> None:
        """Make the clean bits of these regions durable."""

    def commit_all(self) -> None:
        """Make both bitmaps durable."""

    def flush_legs(self) -> None:
        """Flush the write cache of every leg."""

    def latch_failure(self) -> None:
        """Remember beyond this process that the log failed; does not block on the device."""


class Kept(Protocol):
    """Which clears a log holds, where the next worker finds it; ``begin``, ``resume`` and ``remove`` block."""

    def begin(self) -> bitarray:
        """Forget what an earlier life held; return the bits, all zero."""

    def resume(self) -> tuple[bitarray, int]:
        """Return the bits as the last worker left them, and how many it took along by ending in a flush of the legs."""

    def flushing(self, begins: bool) -> None:
        """Note that a flush of the legs begins, or that its outcome is known."""

    def remove(self) -> None:
        """Forget everything: the log has ended, or nobody knows what became of its regions; never fails."""


class Store(LogStore, Protocol):
    """What a log's life needs of its store beyond the bits; every method blocks, and raises DiskulogError."""

    device_number: str | None  # major:minor of the log device, None for core

    def check(self) -> None:
        """Refuse what must not be used; reads, and writes nothing."""

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

    def failed_before(self) -> bool:
        """Tell whether an earlier worker of this boot saw this luid's log fail."""

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


class NoStore:
    """Stands where a device could not be opened: the log stays blind, so nobody asks for bits."""

    device_number = None
    legs_failed = False

    def latch_failure(self) -> None:
        """Do nothing: what could not be opened is asked again by every worker."""

    def __getattr__(self, name: str) -> object:
        raise RefusedError("log device", "could not be opened", "load the mirror's table again")


@dataclass(frozen=True, slots=True)
class Opening:
    """What a store is opened with: the constructor's arguments, whose log, and the log devices already served."""

    args: CtrArgs
    uuid: bytes
    luid: int
    reconnect: bool
    log_devices: frozenset[str]


OpenStore = Callable[[Opening], Store]
Keep = Callable[[Opening], Kept]
