# SPDX-License-Identifier: LGPL-2.1-or-later
"""``diskulog replay``: prints a trace, or runs it against the image of a log.

Lives here: its options, the pause between steps. Does not know requests or bits.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from diskulog.commands import console, schema
from diskulog.exits import Exit, UsageError, exit_for
from diskulog.failures import sentence

if TYPE_CHECKING:
    from diskulog.clears import ClearPolicy
    from diskulog.replay.run import Replay
    from diskulog.trace.reader import Trace

HELP: Final = f"""Show what a trace holds, or run it against an image of the log.

Without IMAGE each request is printed: time, uuid, type, regions. With it, the requests of one log go to the daemon's
own code, over a copy of the image in memory: each one's answer is shown, and which bits it changed in the mapping and
on the medium. At the end comes what 'inspect' would say. The image is never changed.

The answers are computed, not recorded. What the daemon met besides requests is not in a trace: its own death, a
device that failed, a slow flush of the legs. A trace that begins in the middle of a log's life is started with what
the image says; take the image right before the trace.

\b
Examples:
  diskulog replay home.trace
  diskulog replay --step home.trace log.img
  diskulog replay --json home.trace log.img | jq -c 'select(.error > 0)'
{console.EXIT_CODES}"""


def replay(
    trace: Annotated[str | None, typer.Argument(metavar="TRACE", show_default=False)] = None,
    image: Annotated[str | None, typer.Argument(metavar="[IMAGE]", show_default=False)] = None,
    uuid: Annotated[str | None, typer.Option(metavar="U", help="Only the log with this uuid.")] = None,
    step: Annotated[bool, typer.Option("--step", help="Wait for Enter after each request; q ends.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, a line for each request.")] = False,
    limit: Annotated[int | None, typer.Option(metavar="N", help="Stop after N requests.")] = None,
    out_image: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the result to this new file.")] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="The daemon's; without it, defaults.")] = None,
    _schema: schema.OfLine = False,
) -> None:
    """Show or run a trace."""
    wanted = _Wanted(uuid, step, as_json, limit, out_image, config)
    try:
        status = _replay(trace, image, wanted)
    except (Exception, KeyboardInterrupt) as failure:
        if as_json:
            from diskulog.replay import show

            console.emit(show.failure_json(exit_for(failure), sentence(failure)))
        raise
    raise typer.Exit(status)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The options."""

    uuid: str | None
    step: bool
    as_json: bool
    limit: int | None
    out_image: Path | None
    config: Path | None


def _replay(name: str | None, image: str | None, wanted: _Wanted) -> Exit:
    if name is None:
        raise UsageError("replay: TRACE is missing: name a file that 'diskulog trace --out' wrote")
    _refuse(image, wanted)
    from diskulog.trace import reader

    with reader.opened(name) as trace:
        if image is None:
            console.stream(_printed(trace, wanted))
        else:
            _run(trace, image, wanted)
        if trace.damage is not None:
            console.complain(trace.damage)
            return Exit.PROBLEM
    return Exit.FINE


def _refuse(image: str | None, wanted: _Wanted) -> None:
    if image is None and (wanted.step or wanted.as_json or wanted.out_image or wanted.config):
        raise UsageError("replay: --step, --json, --out-image and --config need an IMAGE (a trace is JSON already)")
    if wanted.step and wanted.as_json:
        raise UsageError("replay: --step is for people, --json for scripts; name one of them")
    if wanted.step and (sys.stdin is None or not sys.stdin.isatty()):
        raise UsageError("replay: --step needs a terminal on standard input")
    if wanted.limit is not None and wanted.limit < 1:
        raise UsageError(f"replay: --limit {wanted.limit}: must be 1 or more")


def _printed(trace: "Trace", wanted: _Wanted) -> Iterator[str]:
    from diskulog.trace import text
    from diskulog.trace.record import Heard

    uuid = None if wanted.uuid is None else wanted.uuid.encode("utf-8", "surrogateescape")
    yield text.title(trace.header)
    shown = 0
    for record in trace.records():
        if isinstance(record, Heard):
            if uuid not in (None, text.uuid_of(record.datagram)):
                continue
            shown += 1
        yield text.line(trace.header, record)
        if shown == wanted.limit:
            return
    if not trace.ended and trace.damage is None:
        yield "the trace has no end: it is still being written, or its tracer was killed\n"


def _policy(config: Path | None) -> "tuple[ClearPolicy, bool]":
    from diskulog.clears import ClearPolicy

    if config is None:
        return ClearPolicy(), False
    from diskulog.config import load

    loaded = load(config, os.environ)
    clears = loaded.clears
    policy = ClearPolicy(clears.hold_seconds, clears.max_held, clears.leg_flush_timeout_seconds)
    return policy, loaded.compat.clustered_single_host


def _run(trace: "Trace", image: str, wanted: _Wanted) -> None:
    from diskulog.replay import beginning, medium, run
    from diskulog.replay.player import Player

    policy = _policy(wanted.config)
    with ExitStack() as until_end:
        found = until_end.enter_context(medium.opened(image))
        head = medium.head_of(found)
        logs = beginning.survey(trace)
        uuid = beginning.choose(logs, wanted.uuid, head)
        first = beginning.beginning(logs[uuid], head, trace.header.boot_id)
        new_image = None if wanted.out_image is None else until_end.enter_context(run.NewImage(wanted.out_image))
        player = until_end.enter_context(Player(found, trace.header, *policy))
        playing = run.Replay(trace, player, uuid, first, wanted.limit)
        if wanted.step:
            _stepped(trace, playing)
        else:
            console.stream(_as_json(trace, playing, uuid) if wanted.as_json else _as_text(trace, playing))
        if new_image is not None:
            new_image.fill(found)


def _as_text(trace: "Trace", playing: "Replay") -> Iterator[str]:
    from diskulog.replay import show
    from diskulog.trace import text

    yield text.title(trace.header) + show.LEGEND
    for event in playing.events():
        yield show.step_text(trace.header, event)
    yield from show.result_text(playing.result())


def _stepped(trace: "Trace", playing: "Replay") -> None:
    from diskulog.replay import show
    from diskulog.replay.player import Step

    for event in playing.events():
        console.emit(show.step_text(trace.header, event))
        if isinstance(event, Step) and event.request is not None and not _goes_on():
            break
    console.stream(show.result_text(playing.result()))


def _goes_on() -> bool:
    line = sys.stdin.readline()
    return bool(line) and line.strip().lower() not in ("q", "quit")


def _as_json(trace: "Trace", playing: "Replay", uuid: bytes) -> Iterator[str]:
    from diskulog.replay import show

    yield show.title_json(trace.header, uuid)
    for event in playing.events():
        yield show.step_json(event)
    status, messages = (Exit.PROBLEM, [trace.damage]) if trace.damage else (Exit.FINE, [])
    yield from show.result_json(playing.result(), status, messages)
