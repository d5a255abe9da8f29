# SPDX-License-Identifier: LGPL-2.1-or-later
"""How each log stands, written on the board; what changed since it was written last is an event.

Lives here: which state of a log is shown how, and which change is worth telling. Does not know who reads the board.
"""

from collections.abc import Callable
from typing import Final

from diskulog import figures
from diskulog.board import Board, Event, Names
from diskulog.dirtylog import DirtyLog, Phase
from diskulog.figures import (
    CLEAN,
    FAILED,
    FAILED_STATE,
    HAS_BITS,
    HELD,
    IN_SYNC,
    INACTIVE,
    IS_CORE,
    LIVE,
    RECOVERING,
    REGION_COUNT,
    REGION_SIZE,
    RESYNC_STARTED_COUNT,
    RESYNC_STARTED_US,
    STATE,
    SUSPENDED,
    TARGET_LENGTH,
)
from diskulog.world import Entry

# the kinds of events, by number; "lost" is the control socket's
CREATED, RESUMED, SUSPENDED_NOW, DESTROYED, FAILED_NOW, HEALED, RECONNECTED, RESYNC_STARTED, RESYNC_DONE, RESTARTED = (
    range(10)
)
KINDS: Final = (
    "created",
    "resumed",
    "suspended",
    "destroyed",
    "failed",
    "healed",
    "reconnected",
    "resync_started",
    "resync_done",
    "worker_restarted",
)
_WENT_LIVE: Final = {"live": RESUMED, "resumed": RESUMED, "healed": HEALED, "reconnected": RECONNECTED}
_AT_A_TIME: Final = 32  # logs that are looked at between two requests


class Publisher:
    """Writes logs on the board, after each change of their life and every now and then."""

    def __init__(self, board: Board, clock: Callable[[], float]) -> None:
        """Take the board, and the clock in seconds since the epoch."""
        self._board = board
        self._clock = clock
        self._shown: dict[int, tuple[Names, memoryview]] = {}
        self._due: list[Entry] = []

    def show(self, entry: Entry) -> None:
        """Write how a log stands; tell what is new about that."""
        log = entry.log
        if log is None:
            return
        names = _names(entry, log)
        known = self._shown.get(entry.luid)
        if known is None or known[0] != names or log.words is not known[1]:
            self._attach(entry, log, names)
        words = log.words
        now_us = self._now_us()
        before, state = words[STATE], _state(log)
        count = log.region_count
        words[STATE], words[FAILED], words[HAS_BITS] = state, log.failed, not log.blind
        words[REGION_SIZE], words[REGION_COUNT] = log.args.region_size_sectors, count
        words[TARGET_LENGTH], words[IS_CORE] = log.args.target_length_sectors, log.args.log_type == "core"
        words[CLEAN], words[IN_SYNC] = log.clean_count, log.sync_count
        words[HELD] = log.clears.held_count
        words[RECOVERING] = 0 if log.recovering is None else log.recovering + 1
        if state != before:
            self._tell_state(entry, names, log, before, state)
            if state == LIVE:
                words[RESYNC_STARTED_US] = 0
        if state == LIVE and not log.blind:
            self._tell_resync(names, log, words, now_us)

    def gone(self, entry: Entry) -> None:
        """Forget a log that is known no more."""
        known = self._shown.pop(entry.luid, None)
        if known is not None:
            self._tell(DESTROYED, known[0], entry.log)
            self._board.free(entry.luid)
            if entry.log is not None:
                entry.log.words = figures.fresh()  # what is still under way for it counts for nobody

    def look(self, entries: dict[int, Entry]) -> None:
        """Write some of the logs, the others the next time; each in its turn."""
        if not self._due:
            self._due = list(entries.values())
        some, self._due = self._due[:_AT_A_TIME], self._due[_AT_A_TIME:]
        for entry in some:
            if not entry.busy and entries.get(entry.luid) is entry:
                self.show(entry)

    def _attach(self, entry: Entry, log: DirtyLog, names: Names) -> None:
        words = self._board.slot(names)
        if words is None:  # more logs than the board has places: they are counted, and not shown
            words = figures.fresh()
        new = not words[REGION_COUNT]
        for number in range(figures.REQUEST_TYPES):  # what was asked before it had a place
            words[number] += log.words[number]
        log.words = words
        self._shown[entry.luid] = (names, words)
        if new and entry.fresh:
            self._tell(CREATED, names, log)

    def _tell_state(self, entry: Entry, names: Names, log: DirtyLog, before: int, state: int) -> None:
        if state == LIVE:
            kind = HEALED if before == FAILED_STATE else _WENT_LIVE.get(log.how, RESUMED)
        elif state == INACTIVE:  # it gave way to another table, which tells
            return
        else:
            kind = {SUSPENDED: SUSPENDED_NOW, FAILED_STATE: FAILED_NOW}[state]
        self._tell(kind, names, log)

    def _tell_resync(self, names: Names, log: DirtyLog, words: memoryview, now_us: int) -> None:
        complete = log.sync_count >= log.region_count
        if complete and words[RESYNC_STARTED_US]:
            words[RESYNC_STARTED_US] = 0
            self._tell(RESYNC_DONE, names, log)
        elif not complete and not words[RESYNC_STARTED_US]:
            words[RESYNC_STARTED_US], words[RESYNC_STARTED_COUNT] = now_us, log.sync_count
            self._tell(RESYNC_STARTED, names, log)

    def _tell(self, kind: int, names: Names, log: DirtyLog | None) -> None:
        counts = (log.sync_count, log.region_count) if log is not None else (0, 0)
        self._board.tell(Event(0, self._now_us(), kind, names, *counts))

    def _now_us(self) -> int:
        return int(self._clock() * 1e6)


def _names(entry: Entry, log: DirtyLog) -> Names:
    device = entry.store.device_number if entry.store is not None else None
    return Names(entry.luid, entry.uuid, device or "", log.args.type_word)


def _state(log: DirtyLog) -> int:
    if log.phase is Phase.SUSPENDED:
        return SUSPENDED
    if not log.live:
        return INACTIVE
    return FAILED_STATE if log.failed else LIVE
