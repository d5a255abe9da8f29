# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a store needs of the world: a device to read and map, the mirror above it, the host that writes.

Lives here: contracts only. ``device`` and ``mirror`` keep them for real, the tests with memory that can crash.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


class Window(Protocol):
    """A mapped piece of the device. ``view`` begins at ``offset_bytes``, both rounded outwards to pages."""

    offset_bytes: int
    view: memoryview

    def sync(self, offset_bytes: int, length_bytes: int) -> None:
        """Write these bytes of the device back and flush its cache; raises DeviceError."""

    def close(self) -> None:
        """Unmap; nothing may refer to ``view`` any more."""


class Device(Protocol):
    """A log device that is open; every method raises DeviceError."""

    number: str  # major:minor
    size_bytes: int
    block_bytes: int

    def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        """Read the medium itself, past the page cache; beyond the end is zero."""

    def forget_cache(self) -> None:
        """Drop what the page cache holds, where it is clean: it may be older than the medium."""

    def map(self, offset_bytes: int, length_bytes: int) -> Window:
        """Map a piece for reading and writing."""

    def close(self) -> None:
        """Close every descriptor."""


class Mirror(Protocol):
    """What stands on the log device: the mirror and its legs."""

    def look(self) -> None:
        """Find the legs and hold a descriptor of each, so that a write error of theirs is not missed."""

    def flush_legs(self) -> None:
        """Flush the write cache of every leg; raises DeviceError, NotResumedError."""

    def suspended(self) -> bool:
        """Tell whether every mirror on the log device is suspended."""

    def held(self) -> bool:
        """Tell whether any table holds the log device."""

    def close(self) -> None:
        """Close the legs' descriptors."""


class Latch(Protocol):
    """Remembers across workers that this luid's log failed, or a leg of its mirror."""

    def set(self) -> None:
        """Remember."""

    def is_set(self) -> bool:
        """Tell whether it failed."""

    def clear(self) -> None:
        """Forget."""


@dataclass(frozen=True, slots=True)
class Host:
    """Who writes: this boot, this host, and its wall clock in seconds since 1970."""

    boot_id: bytes
    name: str
    clock: Callable[[], float]
