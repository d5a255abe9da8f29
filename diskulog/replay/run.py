# SPDX-License-Identifier: LGPL-2.1-or-later
"""One replay from its first request to its result.

Lives here: which records of a trace are played, and what is known at the end. Does not know how it is shown.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from diskulog import wire
from diskulog.errors import BadLogError, DeviceError, RefusedError
from diskulog.forensic import image
from diskulog.forensic.report import Report, report
from diskulog.replay.beginning import Beginning
from diskulog.replay.medium import Medium
from diskulog.replay.player import Player, Step
from diskulog.trace.reader import Trace
from diskulog.trace.record import End, Heard, Lost, Record
from diskulog.wire import Request

_LIVE: Final = (
    "the trace begins in the middle of this log's life (no CTR): it starts resumed, constructed as the image says "
    "({string}), with the image's bits as they stand"
)
_LOADED: Final = "{count} tables were loaded before the trace: constructed as the image says ({string}), not resumed"


@dataclass(frozen=True, slots=True)
class Result:
    """What is known at the end; ``log`` is None where no log lies on the medium, and ``nothing`` says so."""

    requests: int
    lost: int
    live: bool
    failed: bool
    held_clears: int
    log: Report | None
    nothing: str = ""


class Replay:
    """A trace, played for one log. ``requests`` and ``lost`` count as it goes."""

    def __init__(self, trace: Trace, player: Player, uuid: bytes, first: Beginning, limit: int | None) -> None:
        """Take what is played, on what, and after how many requests to stop."""
        self._trace = trace
        self._player = player
        self._uuid = uuid
        self._first = first
        self._limit = limit
        self.requests = 0
        self.lost = 0

    def events(self) -> Iterator[Step | Lost]:
        """Play, and yield each step."""
        if self._first.in_the_middle:
            step = self._player.begin(self._first, self._uuid)
            yield replace(step, said=(*_explain(self._first), *step.said))
        for record in self._trace.records():
            yield from self._play(record)
            if self.requests == self._limit:
                return

    def _play(self, record: Record) -> Iterator[Step | Lost]:
        if isinstance(record, Heard):
            request = wire.unframe(record.datagram)
            if isinstance(request, Request) and request.uuid == self._uuid:
                self.requests += 1
                yield from self._player.step(record.at_seconds, record.datagram)
        elif isinstance(record, Lost):
            self.lost += record.requests or 0
            self._player.lose()
            yield record
        elif isinstance(record, End):
            yield from self._player.wait(record.at_seconds)

    def result(self) -> Result:
        """Say how it ended, with what ``inspect`` would find."""
        log = self._player.log()
        found, nothing = None, ""
        try:
            found = report(image.load(self._player.medium))
        except BadLogError as reason:
            nothing = str(reason)
        live, failed = (log.live, log.failed) if log else (False, False)
        return Result(self.requests, self.lost, live, failed, log.clears.held_count if log else 0, found, nothing)


def _explain(first: Beginning) -> Iterator[str]:
    string = first.string.decode()
    if first.live is not None:
        yield _LIVE.format(string=string)
    if first.loaded:
        yield _LOADED.format(string=string, count=len(first.loaded))


class NewImage:
    """The file that the resulting image is written to: made at the start, so that a bad name is met before the work."""

    def __init__(self, path: Path) -> None:
        """Make it.

        Raises:
            RefusedError: there is one of this name.
            DeviceError: it cannot be made.
        """
        self._path = path
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except FileExistsError:
            raise RefusedError(str(path), "exists", "name a new file, or remove it") from None
        except (OSError, ValueError) as cause:  # ValueError: a NUL in the name
            failure = cause if isinstance(cause, OSError) else OSError(2, str(cause))
            raise DeviceError(f"cannot make {path}", failure) from cause

    def fill(self, medium: Medium) -> None:
        """Write all bytes as a reader of the device would find them; zeros stay holes.

        Raises:
            DeviceError: it cannot be written.
        """
        try:
            os.truncate(self._fd, medium.size_bytes)
            at = 0
            for piece in medium.pieces():
                if any(piece):
                    _write_at(self._fd, piece, at)
                at += len(piece)
        except OSError as cause:
            raise DeviceError(f"cannot write {self._path}", cause) from cause

    def __enter__(self) -> "NewImage":
        """Give itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        os.close(self._fd)


def _write_at(fd: int, piece: bytes, at: int) -> None:
    left = memoryview(piece)
    while left:
        done = os.pwrite(fd, left, at)
        left, at = left[done:], at + done
