# SPDX-License-Identifier: LGPL-2.1-or-later
"""The board: figures of every log and the last events, in memory that the worker writes and its supervisor reads.

Lives here: the layout of that memory. Does not know what a figure means (``figures``), processes or sockets.
"""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from diskulog import figures

MAX_LOGS: Final = 1024
MAX_EVENTS: Final = 256

# the board's own words
HEARTBEAT: Final = 0  # grows with every turn of the worker's loop
WRITTEN_US: Final = 1  # since the epoch; when figures were written last
OVERRUNS: Final = 2
FOREIGN: Final = 3
UNREADABLE: Final = 4
_NEXT_EVENT: Final = 5  # the number of the next event; the first has 1
UNSENT: Final = 6
_HEAD_WORDS: Final = 16

_NAMES: Final = struct.Struct("=Q129s32s32s15x")  # luid, uuid, device, type word; 0 as the luid: a slot that is free
_SLOT_BYTES: Final = _NAMES.size + figures.WORDS * 8
# number, time, luid, kind, two figures, uuid, device
_EVENT: Final = struct.Struct("=QQQQQQ129s32s15x")
_SLOTS_AT: Final = _HEAD_WORDS * 8
_EVENTS_AT: Final = _SLOTS_AT + MAX_LOGS * _SLOT_BYTES
BOARD_BYTES: Final = _EVENTS_AT + MAX_EVENTS * _EVENT.size


class Names(NamedTuple):
    """What tells a log from others, and does not change in its life."""

    luid: int
    uuid: bytes
    device: str  # major:minor of the log device, empty for core
    type_word: str


class Event(NamedTuple):
    """Something that happened to a log, or to the worker (luid 0); ``kind`` is a word of the events' table."""

    number: int
    time_us: int
    kind: int
    names: Names
    in_sync_count: int
    region_count: int


class Board:
    """The shared memory. One process writes it at a time: the worker, or its supervisor while there is none."""

    def __init__(self, memory: memoryview) -> None:
        """Take ``BOARD_BYTES`` of memory that is shared, zero or written by another worker."""
        self._memory = memory
        self.words = memory[: _HEAD_WORDS * 8].cast("Q")
        self._slots = {names.luid: at for at, names in self._taken()}  # as a worker, its own and its forerunner's
        if not self.words[_NEXT_EVENT]:
            self.words[_NEXT_EVENT] = 1

    def again(self) -> "Board":
        """Return the same board as it stands now, for the next worker: its slots are ours."""
        return Board(self._memory)

    # -- the worker ------------------------------------------------------------------------------------------------

    def slot(self, names: Names) -> memoryview | None:
        """Return the words of a log, those that an earlier worker wrote for it; None when there is no room."""
        at = self._slots.get(names.luid)
        if at is not None and self._names(at) != names:
            self.free(names.luid)  # a luid that came again
            at = None
        if at is None:
            used = set(self._slots.values())
            at = next((at for at in _places() if at not in used), None)
            if at is None:
                return None
            self._slots[names.luid] = at
            self._memory[at + _NAMES.size : at + _SLOT_BYTES] = bytes(figures.WORDS * 8)
            # the luid last: whoever reads meanwhile finds the slot free
            _NAMES.pack_into(self._memory, at, 0, names.uuid, names.device.encode(), names.type_word.encode())
            self._luid(at)[0] = names.luid
        return self._words(at)

    def free(self, luid: int) -> None:
        """Give up the slot of a log that has ended."""
        at = self._slots.pop(luid, None)
        if at is not None:
            self._luid(at)[0] = 0

    def tell(self, event: Event) -> None:
        """Write an event over the oldest one; its number is given here."""
        number = self.words[_NEXT_EVENT]
        at = _event_place(number)
        names = event.names
        # the number last: until then a reader takes it for the old one, which it has or has lost
        fields = event.time_us, names.luid, event.kind, event.in_sync_count, event.region_count
        _EVENT.pack_into(self._memory, at, 0, *fields, names.uuid, names.device.encode())
        self._luid(at)[0] = number
        self.words[_NEXT_EVENT] = number + 1

    # -- its supervisor --------------------------------------------------------------------------------------------

    def logs(self) -> list[tuple[Names, memoryview]]:
        """List the logs with a copy of their words, which may be of slightly different moments."""
        return [(names, memoryview(bytes(self._words(at))).cast("Q")) for at, names in self._taken()]

    @property
    def next_event(self) -> int:
        """The number that the next event will have."""
        return self.words[_NEXT_EVENT]

    def events(self, first: int) -> tuple[list[Event], int]:
        """List the events from a number on; return them and how many of those are no longer there."""
        end = self.next_event
        start = max(first, end - MAX_EVENTS, 1)
        found = []
        for number in range(start, end):
            # a copy, then a look whether it was written over meanwhile
            copy = bytes(self._memory[_event_place(number) : _event_place(number) + _EVENT.size])
            fields = _EVENT.unpack(copy)
            if fields[0] == number == self._luid(_event_place(number))[0]:
                _, time_us, luid, kind, in_sync, count, uuid, device = fields
                names = Names(luid, uuid.rstrip(b"\0"), device.rstrip(b"\0").decode(errors="replace"), "")
                found.append(Event(number, time_us, kind, names, in_sync, count))
        return found, max(end - max(first, 1) - len(found), 0)

    # -- places ----------------------------------------------------------------------------------------------------

    def _taken(self) -> Iterator[tuple[int, Names]]:
        for at in _places():
            if self._luid(at)[0]:
                yield at, self._names(at)

    def _names(self, at: int) -> Names:
        luid, uuid, device, type_word = _NAMES.unpack_from(self._memory, at)
        texts = (word.rstrip(b"\0").decode(errors="replace") for word in (device, type_word))
        return Names(luid, uuid.rstrip(b"\0"), *texts)

    def _luid(self, at: int) -> memoryview:
        return self._memory[at : at + 8].cast("Q")

    def _words(self, at: int) -> memoryview:
        return self._memory[at + _NAMES.size : at + _SLOT_BYTES].cast("Q")


def _places() -> range:
    return range(_SLOTS_AT, _EVENTS_AT, _SLOT_BYTES)


def _event_place(number: int) -> int:
    return _EVENTS_AT + number % MAX_EVENTS * _EVENT.size
