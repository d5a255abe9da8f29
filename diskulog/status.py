# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the control socket answers: the board's figures and events as lines of JSON.

Lives here: the names of fields. Does not know sockets, or anything that is not on the board.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from diskulog import __version__, figures
from diskulog.board import (
    FOREIGN,
    HEARTBEAT,
    MAX_EVENTS,
    OVERRUNS,
    UNREADABLE,
    UNSENT,
    WRITTEN_US,
    Board,
    Event,
    Names,
)
from diskulog.publish import KINDS, RESTARTED
from diskulog.wire import RequestType

FORMAT_VERSION: Final = 1
_SECOND_US: Final = 1e6
_HEALTHS: Final = ("A", "D")
_TEXTS: Final = {
    "created": "constructed, {count} regions",
    "resumed": "resumed, {in_sync} of {count} regions in sync",
    "suspended": "suspended, {in_sync} of {count} regions in sync",
    "destroyed": "destroyed",
    "failed": "its log device failed; nothing is durable until it is resumed or has another one",
    "healed": "works again, {in_sync} of {count} regions in sync",
    "reconnected": "met again after a restart, {in_sync} of {count} regions in sync",
    "resync_started": "resync started, {in_sync} of {count} regions in sync",
    "resync_done": "resync done, all {count} regions in sync",
    "worker_restarted": "the worker ended ({how}), a new one serves",
    "lost": "{count} events are missing here: they were not read fast enough",
}


@dataclass(slots=True)
class About:
    """What is known of the daemon beyond the board."""

    pid: int
    started_seconds: float
    port: int
    worker_pid: int | None = None
    worker_restarts: int = 0
    last_worker_end: str | None = None


@dataclass(frozen=True, slots=True)
class Answers:
    """Makes the lines; ``clock`` is the time since the epoch, ``now`` the monotonic one, both in seconds."""

    board: Board
    about: About
    clock: Callable[[], float]
    now: Callable[[], float]

    def status(self) -> bytes:
        """Tell how the daemon and every log stand, in one line."""
        about, words, clock = self.about, self.board.words, self.clock()
        written = words[WRITTEN_US]
        daemon = {
            "version": __version__,
            "pid": about.pid,
            "worker_pid": about.worker_pid,
            "started_seconds": round(about.started_seconds, 3),
            "worker_restarts": about.worker_restarts,
            "last_worker_end": about.last_worker_end,
            "age_seconds": round(max(clock - written / _SECOND_US, 0.0), 3) if written else None,
            "turns": words[HEARTBEAT],
            "overruns": words[OVERRUNS],
            "unsent_replies": words[UNSENT],
            "foreign_datagrams": words[FOREIGN],
            "unreadable_requests": words[UNREADABLE],
            "netlink_port": about.port,
        }
        offset = clock - self.now()
        logs = [_log(names, its, offset) for names, its in self.board.logs()]
        return _line({"format_version": FORMAT_VERSION, "daemon": daemon, "logs": logs})

    def events(self, first: int) -> tuple[list[bytes], int]:
        """List the events from a number on; return them and the number of the next one."""
        found, lost = self.board.events(first)
        lines = [_event(event) for event in found]
        if lost:
            fields = _event_fields("lost", self.clock(), None, None, None, {"count": lost})
            lines.insert(0, _line(fields | {"count": lost}))
        return lines, max(self.board.next_event, first)

    def kept(self, history: int) -> int:
        """Return the number of the first of so many events that are kept."""
        end = self.board.next_event
        return max(end - min(history, MAX_EVENTS - 1), 1)


def error(text: str) -> bytes:
    """Say why there is no answer."""
    return _line({"error": text})


def _log(names: Names, words: memoryview, offset_seconds: float) -> dict[str, Any]:
    has_bits, state = bool(words[figures.HAS_BITS]), words[figures.STATE]
    count, started = words[figures.REGION_COUNT], words[figures.RESYNC_STARTED_US]
    syncs = has_bits and state == figures.LIVE and started and words[figures.IN_SYNC] < count
    last = words[figures.LAST_FLUSH_US]
    return {
        "uuid": names.uuid.decode(errors="replace"),
        "luid": f"{names.luid:#x}",
        "log_type": "core" if words[figures.IS_CORE] else "disk",
        "type_word": names.type_word,
        "log_device": names.device or None,
        "region_size_sectors": words[figures.REGION_SIZE],
        "region_count": count,
        "target_length_sectors": words[figures.TARGET_LENGTH],
        "clean_count": words[figures.CLEAN] if has_bits else None,
        "in_sync_count": words[figures.IN_SYNC] if has_bits else None,
        "state": figures.STATES[state],
        "health": _HEALTHS[bool(words[figures.FAILED])],
        "recovering_region": words[figures.RECOVERING] - 1 if words[figures.RECOVERING] else None,
        "resync": {
            "started_seconds": started / _SECOND_US,
            "started_in_sync_count": words[figures.RESYNC_STARTED_COUNT],
        }
        if syncs
        else None,
        "last_flush_seconds": round(last / _SECOND_US + offset_seconds, 3) if last else None,
        "flush_latency_seconds": {
            "count": words[figures.FLUSHES],
            "sum": words[figures.FLUSH_SUM_NS] / 1e9,
            "median": figures.quantile_seconds(words, 0.5),
            "p99": figures.quantile_seconds(words, 0.99),
            "worst": words[figures.FLUSH_WORST_NS] / 1e9 if words[figures.FLUSHES] else None,
            "buckets": figures.octaves(words),
        },
        "requests": {kind.name: words[kind] for kind in RequestType},
        "marked_regions": words[figures.MARKED],
        "cleared_regions": words[figures.CLEARED],
        "held_clears": words[figures.HELD],
        "failures": words[figures.FAILURES],
    }


def _event(event: Event) -> bytes:
    kind = KINDS[event.kind]
    texts: dict[str, Any] = {"in_sync": event.in_sync_count, "count": event.region_count}
    names = event.names
    if event.kind == RESTARTED:
        texts["how"] = how_it_ended(event.in_sync_count, event.region_count)
    uuid = names.uuid.decode(errors="replace") if names.luid else None
    luid = f"{names.luid:#x}" if names.luid else None
    return _line(_event_fields(kind, event.time_us / _SECOND_US, uuid, luid, names.device or None, texts))


def _event_fields(
    kind: str, seconds: float, uuid: str | None, luid: str | None, device: str | None, texts: dict[str, Any]
) -> dict[str, Any]:
    return {
        "event": kind,
        "time_seconds": round(seconds, 6),
        "uuid": uuid,
        "luid": luid,
        "log_device": device,
        "text": _TEXTS[kind].format(**texts),
    }


def how_it_ended(signal_number: int, code: int) -> str:
    """Say how a process ended."""
    return f"signal {signal_number}" if signal_number else f"code {code}"


def _line(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"
