# SPDX-License-Identifier: LGPL-2.1-or-later
"""What people read of the running daemon: a block for each log, and a line for each in ``watch``.

Lives here: layout and wording, plain ASCII; whatever comes from outside is escaped. Does not judge, ask or print.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from diskulog.control import resync
from diskulog.control.model import Answer, Daemon, Latency, Message
from diskulog.control.resync import Progress
from diskulog.control.view import Shown
from diskulog.forensic.text import duration, moment, percent
from diskulog.printable import printable
from diskulog.units import SECTOR_BYTES, human_bytes

_BAR_CELLS: Final = 20
_LATENCIES: Final = ((1.0, 1.0, "s"), (1e-3, 1e3, "ms"), (0.0, 1e6, "us"))


def status(
    answer: Answer,
    found: Sequence[Shown],
    told: Iterable[Message],
    node: Callable[[str], str | None],
    now_seconds: float,
) -> Iterator[str]:
    """Yield the lines of ``status``; ``node`` gives a device's path."""
    about: dict[str | None, list[Message]] = {}
    for message in told:
        about.setdefault(message.luid, []).append(message)
    yield daemon(answer.daemon, len(answer.logs), now_seconds) + "\n"
    yield from _messages(about.get(None, []))
    for shown in found:
        yield f"\n{printable(shown.title)}: {state(shown)}\n"
        rows = _rows(shown, node, now_seconds)
        width = max(len(key) for key, _ in rows) + 2
        for key, value in rows:
            yield f"  {key + ':':<{width}}{printable(value)}\n"
        yield from _messages(about.get(shown.log.luid, []))


def _messages(told: Iterable[Message]) -> Iterator[str]:
    for message in told:
        yield f"  {message.severity}: {printable(message.text)}\n"


def daemon(known: Daemon, log_count: int, now_seconds: float) -> str:
    """Say in one line how the daemon is."""
    up = duration(max(int(now_seconds - known.started_seconds), 0))
    restarts = f"{_count(known.worker_restarts, 'worker restart')}"
    ended = f" (the last: {known.last_worker_end})" if known.last_worker_end else ""
    lost = ((known.overruns, "overrun", "overruns"), (known.unsent_replies or 0, "unsent reply", "unsent replies"))
    told = "".join(f", {number} {one if number == 1 else more}" for number, one, more in lost if number)
    return printable(
        f"diskulog {known.version}, process {known.pid}, up {up}, {restarts}{ended}{told}, {_count(log_count, 'log')}"
    )


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'s' * (number != 1)}"


def state(shown: Shown) -> str:
    """Say in a few words how a log stands."""
    log = shown.log
    if shown.failed:
        return "FAILED"
    if log.in_sync_count is None:
        return log.state
    if shown.in_sync:
        return f"{log.state}, in sync"
    return f"{log.state}, {log.in_sync_count} of {log.region_count} regions in sync"


def _rows(shown: Shown, node: Callable[[str], str | None], now_seconds: float) -> list[tuple[str, str]]:
    log, mirror = shown.log, shown.mirror
    where = _device(log.log_device, node) if log.log_device else "in memory"
    size = human_bytes(log.region_size_sectors * SECTOR_BYTES)
    progress = resync.since_start(log, now_seconds)
    tail = "" if log.recovering_region is None else f", at region {log.recovering_region}"
    return [
        ("uuid", log.uuid),
        *([("mirror", _device(mirror.device, node))] if mirror and mirror.device else []),
        *([("legs", ", ".join(_device(leg, node) for leg in mirror.legs))] if mirror else []),
        ("log", f"{where}, {log.type_word}"),
        ("regions", f"{log.region_count} of {size} ({log.region_size_sectors} sectors)"),
        ("in sync", _amount(shown, log.in_sync_count)),
        ("clean", _amount(shown, log.clean_count)),
        *([("resync", bar(progress) + tail)] if progress else []),
        ("last flush", _ago(log.last_flush_seconds, now_seconds)),
        ("flushes", _latency(log.flush_latency_seconds)),
        ("marks", f"{log.marked_regions}, clears {log.cleared_regions}, clears held {log.held_clears}"),
        ("failures", str(log.failures)),
    ]


def _device(number: str | None, node: Callable[[str], str | None]) -> str:
    path = node(number) if number else None
    return f"{path} ({number})" if path else str(number)


def _amount(shown: Shown, count: int | None) -> str:
    if count is None:
        return "not known: the log was not activated yet"
    total = shown.log.region_count
    share = percent(count, total) if total else "100.0 %"
    return f"{count} ({share}), {human_bytes(resync.span_bytes(shown.log, count))}"


def _ago(seconds: float | None, now_seconds: float) -> str:
    if seconds is None:
        return "never"
    return f"{moment(int(seconds))}, {duration(max(int(now_seconds - seconds), 0))} ago"


def _latency(known: Latency) -> str:
    if not known.count:
        return "none"
    named = (("median", known.median), ("99th percentile", known.p99), ("worst", known.worst))
    return ", ".join([str(known.count), *(f"{name} {latency(value)}" for name, value in named if value is not None)])


def latency(seconds: float) -> str:
    """Render a short time in a unit that leaves three digits or so."""
    factor, unit = next((factor, unit) for least, factor, unit in _LATENCIES if seconds >= least or least == 0.0)
    return f"{seconds * factor:.3g} {unit}"


def bar(progress: Progress) -> str:
    """Draw how far a resync has come, how fast it is, how long it takes still."""
    share = min(progress.done_bytes / progress.total_bytes, 1.0) if progress.total_bytes else 1.0
    cells = "#" * int(share * _BAR_CELLS)
    done = percent(min(progress.done_bytes, progress.total_bytes), progress.total_bytes or 1)
    amount = f"{human_bytes(progress.done_bytes)} of {human_bytes(progress.total_bytes)}"
    return f"[{cells:.<{_BAR_CELLS}}] {done:>7}  {amount}  {pace(progress)}"


def pace(progress: Progress, between: str = "  ") -> str:
    """Say how fast a resync is, and how long it takes still."""
    if progress.rate_bytes is None:
        return "rate not known yet"
    if progress.seconds_left is None:
        return "standing still"
    return f"{human_bytes(int(progress.rate_bytes))}/s{between}{duration(progress.seconds_left)} left"


def frame(answer: Answer, shown: Sequence[tuple[Shown, Progress | None]], now_seconds: float) -> Iterator[str]:
    """Yield the lines of a picture of ``watch``, without line ends."""
    yield daemon(answer.daemon, len(answer.logs), now_seconds)
    width = max((len(printable(each.title)) for each, _ in shown), default=0)
    for each, progress in shown:
        told = bar(progress) if progress and not each.failed else state(each)
        yield f"{printable(each.title):<{width}}  {told}"


def plain(shown: Sequence[tuple[Shown, Progress | None]], now_seconds: float) -> Iterator[str]:
    """Yield the lines of ``watch`` where there is no terminal, without line ends: each tells when and of what."""
    when = stamp(now_seconds)
    for each, progress in shown:
        told = state(each)
        if progress and not each.failed:
            told += f" ({percent(progress.done_bytes, progress.total_bytes or 1)}), {pace(progress, ', ')}"
        yield f"{when} {printable(each.title)}: {told}"


def complaint(now_seconds: float, sentence: str) -> str:
    """Return the line of ``watch`` for a look that saw nothing."""
    return f"{stamp(now_seconds)} {printable(sentence)}"


def stamp(now_seconds: float) -> str:
    """Render a time as ISO 8601 has it, in UTC."""
    return datetime.fromtimestamp(now_seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
