# SPDX-License-Identifier: LGPL-2.1-or-later
"""``diskulog events``: what happens to logs, as lines of JSON, as it happens.

Lives here: its options, when it ends. Does not know sockets or the shape of an event.
"""

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Annotated, Final

import typer

from diskulog.commands import console, options
from diskulog.exits import UsageError

_MOST: Final = 10**9

HELP: Final = f"""Print what happens to the daemon's logs, a line of JSON each, as it happens.

The field 'event' is one of created, resumed, suspended, destroyed, failed, healed, reconnected, resync_started,
resync_done, worker_restarted, or lost: so many ('count') were not read in time. 'text' says it in a sentence.

Ends with Ctrl-C, or after --count. The daemon keeps the last 256 events; --history shows those first. When the daemon
ends, so does this, with 6.

\b
Examples:
  diskulog events
  diskulog events --history 256 | jq -r .text
{console.EXIT_CODES}"""


def events(
    history: Annotated[int, typer.Option(metavar="N", help="Begin with up to N events that were.")] = 0,
    count: Annotated[int | None, typer.Option(metavar="N", help="End after N events.")] = None,
    socket: options.Socket = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the schema of a line and end.")] = False,
) -> None:
    """Print events."""
    from diskulog.control import model

    if schema:
        console.emit(model.event_schema() + "\n")
        return
    if not 0 <= history <= _MOST:
        raise UsageError(f"events: --history {history}: must be 0 or more, and {_MOST} at most")
    if count is not None and not 0 < count <= _MOST:
        raise UsageError(f"events: --count {count}: must be more than 0, and {_MOST} at most")
    from diskulog.commands.asking import socket_path

    with suppress(KeyboardInterrupt):  # how it is meant to end
        console.stream(islice(_lines(socket_path(socket), history), count), at_once=True)


def _lines(path: Path, history: int) -> Iterator[str]:
    from diskulog.control import client, model

    for line in client.events(path, history):
        yield model.render(model.event(line)) + "\n"
