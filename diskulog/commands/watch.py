# SPDX-License-Identifier: LGPL-2.1-or-later
"""``diskulog watch``: resyncs as they go on, drawn in place on a terminal, line by line elsewhere.

Lives here: its options, the rhythm, drawing over what was drawn. Does not know rates or layout.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Final

import typer

from diskulog.commands import console, options
from diskulog.errors import RefusedError
from diskulog.exits import NoDaemonError, UsageError

if TYPE_CHECKING:
    from diskulog.commands.asking import Asked, Asking
    from diskulog.control.resync import Rates

_LEAST_SECONDS: Final = 0.1
_MOST: Final = 10**9

HELP: Final = f"""Watch resyncs: how far, how fast, how long still.

Drawn in place on a terminal; elsewhere a line for each log and moment. MIRROR is a mirror's name, its uuid, its device
or that of its log; without one, all logs are shown. Ends with Ctrl-C, or after --count. A daemon that ends meanwhile
is waited for.

\b
Examples:
  diskulog watch
  diskulog watch --interval 60 home >>resync.log
{console.EXIT_CODES}"""


def watch(
    mirrors: options.Mirrors = None,
    interval: Annotated[float, typer.Option(metavar="SECONDS", help="Look again after so long.")] = 1.0,
    count: Annotated[int | None, typer.Option(metavar="N", help="End after N looks.")] = None,
    socket: options.Socket = None,
) -> None:
    """Watch."""
    if not _LEAST_SECONDS <= interval <= _MOST:
        raise UsageError(f"watch: --interval {interval}: must be {_LEAST_SECONDS} or more, and {_MOST} at most")
    if count is not None and not 0 < count <= _MOST:
        raise UsageError(f"watch: --count {count}: must be more than 0, and {_MOST} at most")
    from diskulog.commands.asking import Asking, socket_path

    looks = _looks(Asking(socket_path(socket)), mirrors or [], interval, count)
    with suppress(KeyboardInterrupt):  # how it is meant to end
        console.stream(_drawn(looks) if _can_draw() else _lines(looks), at_once=True)


def _can_draw() -> bool:
    return sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def _lines(looks: Iterator[Sequence[str]]) -> Iterator[str]:
    return (f"{line}\n" for look in looks for line in look)


def _drawn(looks: Iterator[Sequence[str]]) -> Iterator[str]:
    """Draw each look over the one before; what does not fit the terminal is cut off, or the cursor would be lost."""
    before = 0
    for look in looks:
        columns, lines = shutil.get_terminal_size()
        room = max(lines - 1, 1)
        shown = list(look) if len(look) <= room else [*look[: room - 1], f"... and {len(look) - room + 1} more"]
        back = f"\x1b[{before}F\x1b[J" if before else ""
        yield back + "".join(f"{line[: columns - 1]}\n" for line in shown)
        before = len(shown)


def _looks(asking: Asking, words: list[str], interval: float, count: int | None) -> Iterator[Sequence[str]]:
    from diskulog.control.resync import Rates

    rates = Rates()
    number, due = 1, time.monotonic()
    yield _look(asking.ask(), words, rates)
    while number != count:
        number, due = number + 1, max(due + interval, time.monotonic())
        time.sleep(max(due - time.monotonic(), 0.0))
        try:
            look = _look(asking.ask(), words, rates)
        except (NoDaemonError, RefusedError, UsageError) as failure:  # may pass; at first it was not so
            look = [_complaint(failure)]
        yield look


def _complaint(failure: Exception) -> str:
    from diskulog.control import text

    return text.complaint(time.time(), str(failure))


def _look(asked: Asked, words: list[str], rates: Rates) -> Sequence[str]:
    from diskulog.control import mirrors, text, view

    now = time.time()
    chosen = view.chosen(asked.found, words, mirrors.number_of)
    true_at = time.monotonic() - (asked.answer.daemon.age_seconds or 0.0)
    shown = [(each, rates.progress(each.log, true_at, now)) for each in chosen]
    lines = text.frame(asked.answer, shown, now) if _can_draw() else text.plain(shown, now)
    return list(lines)
