# SPDX-License-Identifier: LGPL-2.1-or-later
"""Plays a trace: each request goes to the daemon's own server over a medium in memory, at the trace's own times.

Lives here: putting server, stores and medium together, the clock, and what changed with each request. Does not know
files, or how a step is shown.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from diskulog import ondisk, wire
from diskulog.clears import ClearPolicy
from diskulog.dirtylog import DirtyLog
from diskulog.errors import RefusedError
from diskulog.logstore import Opening, Store
from diskulog.media import Host
from diskulog.replay.beginning import Beginning, opened_by
from diskulog.replay.bits import NO_BITS, Bits, Change, changes, on_medium
from diskulog.replay.medium import Medium, MemoryDevice, head_of
from diskulog.replay.stage import PlayedKept, PlayedLanes, PlayedLatch, PlayedMirror
from diskulog.server import Server
from diskulog.store import DiskStore
from diskulog.trace import record
from diskulog.trace.record import Header
from diskulog.wire import Request
from diskulog.wire import RequestType as _T
from diskulog.world import World

TICK_SECONDS: Final = 0.1  # as often as the daemon looks at its timers
_QUESTIONS: Final = frozenset(
    {
        _T.GET_REGION_SIZE,
        _T.IS_CLEAN,
        _T.IN_SYNC,
        _T.GET_RESYNC_WORK,
        _T.GET_SYNC_COUNT,
        _T.STATUS_INFO,
        _T.STATUS_TABLE,
        _T.IS_REMOTE_RECOVERING,
    }
)


@dataclass(frozen=True, slots=True)
class Step:
    """One request, its answer, and what changed with it; without ``request``, what time alone changed."""

    at_seconds: float
    request: bytes | None
    answers: tuple[bytes, ...]
    mapping: tuple[Change, ...]
    medium: tuple[Change, ...]
    msyncs: int
    said: tuple[str, ...]


class Player:
    """One log at work in memory. A context manager: meanwhile it listens to what the daemon's code logs."""

    def __init__(self, medium: Medium, header: Header, policy: ClearPolicy, clustered_single_host: bool) -> None:
        """Take the medium, whose trace it is, and what of the configuration matters."""
        self.medium = medium
        self.now = 0.0
        self._host = Host(header.boot_id, header.host, lambda: header.start_seconds + self.now)
        self._lanes = PlayedLanes()
        self._mirrors: list[PlayedMirror] = []
        self._answers: list[bytes] = []
        self._world = World({}, self._open, self._keep, policy, lambda: self.now, clustered_single_host)
        self._server = Server(self._world, lambda reply: self._answers.append(bytes(reply)), self._lanes.submit)
        self._said = _Said()
        self._mapped = self._on_medium = on_medium(medium)
        self._msyncs = 0

    def __enter__(self) -> "Player":
        """Hear what is logged."""
        self._said.begin()
        return self

    def __exit__(self, *_: object) -> None:
        """Hear no more."""
        self._said.end()

    def begin(self, first: Beginning, uuid: bytes) -> Step:
        """Play what was before the trace; the log that was live is live again, with the image's bits as they stand."""
        if first.live is not None:
            sector = opened_by(head_of(self.medium), self._host.boot_id, first.live)
            self.medium.patch(ondisk.EXTENSION_OFFSET_BYTES, sector)
            self._server.take_over(first.live, uuid, first.string + b"\0")
            self._lanes.run()
        for luid in first.loaded:
            self._server.receive(record.datagram(luid, uuid, _T.CTR, first.string))
            self._lanes.run()
        self._answers.clear()
        return self._step(None)

    def step(self, at_seconds: float, request: bytes) -> Iterator[Step]:
        """Play what time changes until then, and the request."""
        yield from self.wait(at_seconds)
        self._server.receive(request)
        self._lanes.run()
        happened = self.medium.msyncs != self._msyncs or self._said
        yield self._step(request) if happened or not _only_asks(request) else self._told(request)

    def wait(self, at_seconds: float) -> Iterator[Step]:
        """Let time pass; yield a step for each moment at which something changed."""
        while self._server.holding and self.now + TICK_SECONDS < at_seconds:
            self.now += TICK_SECONDS
            self._server.tick()
            self._lanes.run()
            if self.medium.msyncs != self._msyncs or self._said:
                yield self._step(None)
        self.now = max(self.now, at_seconds)

    def lose(self) -> None:
        """Know that requests were not heard: one of them may have been a RESUME."""
        for mirror in self._mirrors:
            mirror.unheard = True

    # -- looking -----------------------------------------------------------------------------------------------------

    def log(self) -> DirtyLog | None:
        """Return the log that is live, or was last."""
        logs = [entry.log for entry in self._world.entries.values() if entry.log is not None]
        return next((log for log in logs if log.live), logs[-1] if logs else None)

    def _step(self, request: bytes | None) -> Step:
        mapped, before = self._bits(), self._mapped
        mapping = changes(before, mapped) if mapped is not NO_BITS else ()
        if mapped is not NO_BITS:  # otherwise what was mapped last is still in the page cache
            self._mapped = mapped
        msyncs, self._msyncs = self.medium.msyncs - self._msyncs, self.medium.msyncs
        reached: tuple[Change, ...] = ()
        if msyncs:
            found = on_medium(self.medium)
            reached, self._on_medium = changes(self._on_medium, found), found
        return replace(self._told(request), mapping=mapping, medium=reached, msyncs=msyncs)

    def _told(self, request: bytes | None) -> Step:
        answers, self._answers = tuple(self._answers), []
        return Step(self.now, request, answers, (), (), 0, self._said.take())

    def _bits(self) -> Bits:
        for entry in self._world.entries.values():
            log, store = entry.log, entry.store
            if log is not None and store is not None and store.clean:
                count = log.region_count
                return Bits(store.clean[:count], store.in_sync[:count])
        return NO_BITS

    # -- the daemon's world --------------------------------------------------------------------------------------------

    def _open(self, opening: Opening) -> Store:
        if opening.args.log_type == "core":
            raise RefusedError("log type", "core logs have no image", "replay the log of a disk")
        mirror = PlayedMirror()
        device = MemoryDevice(self.medium, _number(opening.args.device or ""))
        store = DiskStore(device, mirror, opening, self._host, PlayedLatch(), PlayedLatch())
        if not opening.reconnect:
            store.check()
        self._mirrors.append(mirror)
        return store

    def _keep(self, opening: Opening) -> PlayedKept:
        return PlayedKept(opening.args.region_count)


def _only_asks(datagram: bytes) -> bool:
    """Tell whether a request changes no bit: large bitmaps need not be compared then."""
    request = wire.unframe(datagram)
    return isinstance(request, Request) and request.type in _QUESTIONS


def _number(device: str) -> str:
    major, _, minor = device.partition(":")
    return device if major.isdecimal() and minor.isdecimal() else "0:0"


class _Said(logging.Handler):
    """What the daemon's code logs, a line each."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._logger = logging.getLogger("diskulog")
        self._level = self._logger.level
        self._lines: list[str] = []

    def begin(self) -> None:
        self._level = self._logger.level
        self._logger.setLevel(logging.INFO)
        self._logger.addHandler(self)

    def end(self) -> None:
        self._logger.removeHandler(self)
        self._logger.setLevel(self._level)

    def emit(self, entry: logging.LogRecord) -> None:
        bug = f": {entry.exc_info[1]!r}" if entry.exc_info else ""
        self._lines.append(f"{entry.getMessage()}{bug}")

    def __bool__(self) -> bool:
        return bool(self._lines)

    def take(self) -> tuple[str, ...]:
        lines, self._lines = tuple(self._lines), []
        return lines
