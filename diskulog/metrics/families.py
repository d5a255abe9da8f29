# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon's answer as families of metrics, named after Prometheus' conventions: base units, ``_total`` for counters.

Lives here: every name, its help, which figure it is. Pure; does not know how a family is written or the answer got.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Literal, NamedTuple

from diskulog.control.model import Answer, Daemon, Latency, Log
from diskulog.units import SECTOR_BYTES

Labels = tuple[tuple[str, str], ...]
Kind = Literal["counter", "gauge", "histogram"]


class Sample(NamedTuple):
    """One line; ``suffix`` is what a histogram's series have behind the family's name."""

    suffix: str
    labels: Labels
    value: float


class Family(NamedTuple):
    """Series of one name."""

    name: str
    kind: Kind
    help: str
    samples: tuple[Sample, ...]


def of_answer(answer: Answer, mirror_name: Callable[[Log], str | None], now_seconds: float) -> tuple[Family, ...]:
    """Return every metric; ``mirror_name`` knows the mirror of a log, ``now_seconds`` is when the answer was got."""
    named = {_labels(log, mirror_name(log)): log for log in sorted(answer.logs, key=_rank)}
    return (
        _up(1),
        _collected(now_seconds),
        *_daemon(answer.daemon),
        *(family for family in _logs(tuple(sorted(named.items(), key=lambda item: item[0]))) if family.samples),
    )


def of_nobody(now_seconds: float) -> tuple[Family, ...]:
    """Return what is to be said while no daemon answers."""
    return (_up(0), _collected(now_seconds))


def _up(value: int) -> Family:
    return _single("diskulog_up", "gauge", "Whether the daemon answered at its control socket.", value)


def _collected(now_seconds: float) -> Family:
    text = "When the daemon was asked for these figures, in seconds since 1970."
    return _single("diskulog_collected_timestamp_seconds", "gauge", text, now_seconds)


def _single(name: str, kind: Kind, text: str, value: float, labels: Labels = ()) -> Family:
    return Family(name, kind, text, (Sample("", labels, value),))


_DAEMON: Final[tuple[tuple[str, Kind, str, Callable[[Daemon], float | None]], ...]] = (
    (
        "diskulog_start_time_seconds",
        "gauge",
        "When the daemon started, in seconds since 1970.",
        lambda daemon: daemon.started_seconds,
    ),
    (
        "diskulog_worker_restarts_total",
        "counter",
        "Workers that died and were replaced.",
        lambda daemon: daemon.worker_restarts,
    ),
    (
        "diskulog_status_age_seconds",
        "gauge",
        "How old the worker's figures were. Much more than a second: it is busy, or it hangs.",
        lambda daemon: daemon.age_seconds,
    ),
    (
        "diskulog_overruns_total",
        "counter",
        "Times that the buffer of the socket to the kernel was full.",
        lambda daemon: daemon.overruns,
    ),
    (
        "diskulog_unsent_replies_total",
        "counter",
        "Replies that could not be sent to the kernel, which asks again.",
        lambda daemon: daemon.unsent_replies,
    ),
    (
        "diskulog_foreign_datagrams_total",
        "counter",
        "Datagrams that another process than the kernel sent, and that were dropped.",
        lambda daemon: daemon.foreign_datagrams,
    ),
    (
        "diskulog_unreadable_requests_total",
        "counter",
        "Requests of the kernel that could not be read.",
        lambda daemon: daemon.unreadable_requests,
    ),
)


def _daemon(daemon: Daemon) -> Iterator[Family]:
    text = "The version of the daemon; always 1."
    yield _single("diskulog_build_info", "gauge", text, 1, (("version", daemon.version),))
    for name, kind, text, value in _DAEMON:
        if (known := value(daemon)) is not None:
            yield _single(name, kind, text, known)


# the bits of a log are not known before its first RESUME here: its series are left out then
_LOG: Final[tuple[tuple[str, Kind, str, Callable[[Log], float | None]], ...]] = (
    (
        "diskulog_log_failed",
        "gauge",
        "Whether the log has failed: nothing can be marked in it.",
        lambda log: int(_failed(log)),
    ),
    (
        "diskulog_log_target_size_bytes",
        "gauge",
        "Size of the mirror.",
        lambda log: log.target_length_sectors * SECTOR_BYTES,
    ),
    (
        "diskulog_log_region_size_bytes",
        "gauge",
        "Size of a region.",
        lambda log: log.region_size_sectors * SECTOR_BYTES,
    ),
    ("diskulog_log_regions", "gauge", "Regions of the mirror.", lambda log: log.region_count),
    (
        "diskulog_log_clean_regions",
        "gauge",
        "Regions that are clean: a crash now would not resync them.",
        lambda log: log.clean_count,
    ),
    (
        "diskulog_log_in_sync_regions",
        "gauge",
        "Regions that are in sync: they have been copied, and no write to a leg failed.",
        lambda log: log.in_sync_count,
    ),
    (
        "diskulog_log_recovering",
        "gauge",
        "Whether a region is being copied just now.",
        lambda log: int(log.recovering_region is not None),
    ),
    (
        "diskulog_log_resync_start_timestamp_seconds",
        "gauge",
        "When the resync under way began, in seconds since 1970.",
        lambda log: log.resync.started_seconds if log.resync else None,
    ),
    (
        "diskulog_log_last_flush_timestamp_seconds",
        "gauge",
        "When something was last made durable, in seconds since 1970.",
        lambda log: log.last_flush_seconds,
    ),
    (
        "diskulog_log_flush_latency_worst_seconds",
        "gauge",
        "The longest time from a flush request to its answer since the daemon started.",
        lambda log: log.flush_latency_seconds.worst,
    ),
    (
        "diskulog_log_marked_regions_total",
        "counter",
        "Regions that were marked dirty.",
        lambda log: log.marked_regions,
    ),
    (
        "diskulog_log_cleared_regions_total",
        "counter",
        "Regions that the kernel called idle again.",
        lambda log: log.cleared_regions,
    ),
    (
        "diskulog_log_held_clears",
        "gauge",
        "Regions that are idle and not yet clean in the log.",
        lambda log: log.held_clears,
    ),
    ("diskulog_log_failures_total", "counter", "Failures of the log device.", lambda log: log.failures),
)
_STATES: Final = ("inactive", "suspended", "live", "failed")  # of two that one label set fits, the last is shown

_Named = Sequence[tuple[Labels, Log]]


def _rank(log: Log) -> tuple[int, str]:
    return (len(_STATES) if _failed(log) else _STATES.index(log.state), log.luid)


def _failed(log: Log) -> bool:
    return log.state == "failed" or log.health == "D"


def _labels(log: Log, mirror: str | None) -> Labels:
    return (("uuid", log.uuid), ("mirror", mirror or ""), ("log_device", log.log_device or ""))


def _logs(named: _Named) -> Iterator[Family]:
    yield _many("diskulog_log_info", "gauge", "The type of the log; always 1.", named, _info)
    yield _many("diskulog_log_state", "gauge", "The state that a log is in has 1, the others 0.", named, _state)
    for name, kind, text, value in _LOG:
        found = ((labels, value(log)) for labels, log in named)
        yield Family(name, kind, text, tuple(Sample("", labels, each) for labels, each in found if each is not None))
    text = "Requests of the kernel that were answered."
    yield _many("diskulog_log_requests_total", "counter", text, named, _requests)
    text = "Time from a flush request that had something to make durable to its answer."
    yield _many("diskulog_log_flush_latency_seconds", "histogram", text, named, _latency)


def _many(name: str, kind: Kind, text: str, named: _Named, samples: Callable[[Log], Iterable[Sample]]) -> Family:
    every = (each._replace(labels=(*labels, *each.labels)) for labels, log in named for each in samples(log))
    return Family(name, kind, text, tuple(every))


def _info(log: Log) -> Iterator[Sample]:
    yield Sample("", (("log_type", log.log_type), ("type_word", log.type_word)), 1)


def _state(log: Log) -> Iterator[Sample]:
    for state in _STATES:
        yield Sample("", (("state", state),), int(state == log.state))


def _requests(log: Log) -> Iterator[Sample]:
    for name, count in sorted(log.requests.items()):
        yield Sample("", (("request", name),), count)


def _latency(log: Log) -> Iterator[Sample]:
    known: Latency = log.flush_latency_seconds
    # the figures are read while they change: the series must never fall from one bucket to the next
    total = max([known.count, *(count for _, count in known.buckets)])
    reached = 0
    for bound, count in sorted(known.buckets):
        reached = max(reached, count)
        yield Sample("_bucket", (("le", repr(bound)),), reached)
    yield Sample("_bucket", (("le", "+Inf"),), total)
    yield Sample("_sum", (), known.sum)
    yield Sample("_count", (), total)
