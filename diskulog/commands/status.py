# SPDX-License-Identifier: LGPL-2.1-or-later
"""``diskulog status``: the running daemon and its logs, as text or JSON.

Lives here: its options. Does not know sockets, sysfs or layout.
"""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Final

import typer

from diskulog.commands import console, options
from diskulog.exits import Exit, exit_for
from diskulog.failures import sentence

HELP: Final = f"""Show the running daemon and its logs: how each stands, what it did, how fast.

MIRROR is a mirror's name, its uuid, its device or that of its log; without one, all logs are shown. Counts are since
the daemon's start. Asking delays no request. Whether a mirror handles errors is seen by root only.

A log that has failed makes the exit code 1.

\b
Examples:
  diskulog status
  diskulog status home
  diskulog status --json | jq '.logs[] | {{mirror, in_sync_count}}'
{console.EXIT_CODES}"""


def status(
    mirrors: options.Mirrors = None,
    as_json: options.AsJson = False,
    socket: options.Socket = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the schema of the JSON and end.")] = False,
) -> None:
    """Show."""
    from diskulog.control import model, view

    if schema:
        console.emit(model.status_schema() + "\n")
        return
    try:
        code, pieces = _status(mirrors or [], as_json, socket)
    except (Exception, KeyboardInterrupt) as failure:
        if as_json:
            console.emit(model.render(view.failure(exit_for(failure), sentence(failure))) + "\n")
        raise
    console.stream(pieces)
    raise typer.Exit(code)


def _status(words: list[str], as_json: bool, socket: Path | None) -> tuple[Exit, Iterable[str]]:
    from diskulog import sysfs
    from diskulog.commands.asking import Asking, socket_path
    from diskulog.control import mirrors, model, text, view

    answer, found = Asking(socket_path(socket)).ask()
    found = view.chosen(found, words, mirrors.number_of)
    told = view.messages(answer, found)
    if as_json:
        pieces: Iterable[str] = [model.render(view.document(answer, found, told, sysfs.node)), "\n"]
    else:
        pieces = text.status(answer, found, told, sysfs.node, time.time())
    return view.exit_status(told), pieces
