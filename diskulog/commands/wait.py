# SPDX-License-Identifier: LGPL-2.1-or-later
"""``diskulog wait --synced``: returns when mirrors are in sync.

Lives here: its options, asking until it is so, giving up. Does not know when a log is in sync.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from diskulog.commands import console, options
from diskulog.errors import RefusedError
from diskulog.exits import Exit, NoDaemonError, UsageError

if TYPE_CHECKING:
    from diskulog.commands.asking import Asked, Asking

_EVERY_SECONDS: Final = 0.5
_AWAY_SECONDS: Final = 30.0  # a daemon that is restarted is back by then
_MOST: Final = 10**9

HELP: Final = f"""Wait until mirrors are in sync.

MIRROR is a mirror's name, its uuid, its device or that of its log; without one, all logs are waited for, and where
there are none there is nothing to wait for.

Ends with 1 when a log fails or goes away, or when the time is up, and says which. A daemon that is restarted meanwhile
is waited for, 30 seconds at most.

\b
Examples:
  diskulog wait --synced
  diskulog wait --synced --timeout 3600 home swap || echo "not yet"
{console.EXIT_CODES}"""


def wait(
    mirrors: options.Mirrors = None,
    synced: Annotated[bool, typer.Option("--synced", help="What to wait for. Must be given.")] = False,
    timeout: Annotated[float | None, typer.Option(metavar="SECONDS", help="Give up after so long.")] = None,
    socket: options.Socket = None,
) -> None:
    """Wait."""
    if not synced:
        raise UsageError("wait: say what to wait for: --synced")
    if timeout is not None and not 0 <= timeout <= _MOST:
        raise UsageError(f"wait: --timeout {timeout}: must be 0 or more, and {_MOST} at most")
    from diskulog.commands.asking import Asking, socket_path

    deadline = time.monotonic() + (math.inf if timeout is None else timeout)
    raise typer.Exit(_wait(Asking(socket_path(socket)), mirrors or [], deadline, timeout))


def _wait(asking: Asking, words: list[str], deadline: float, timeout: float | None) -> Exit:
    from diskulog.control import mirrors, view
    from diskulog.control.waiting import Waiting

    answer, found = asking.ask(_patience(deadline))
    waited_for = view.chosen(found, words, mirrors.number_of)
    uuids = {shown.log.uuid for shown in waited_for} if words else None
    waiting = Waiting()
    while True:
        verdict = waiting.look(answer.daemon, [each for each in found if uuids is None or each.log.uuid in uuids])
        if verdict.failed:
            console.complain(f"never in sync: {'; '.join(verdict.failed)}")
            return Exit.PROBLEM
        if not verdict.waiting:
            return Exit.FINE
        again = _asked_again(asking, deadline)
        if again is None:
            console.complain(f"not in sync after {timeout:g} s: {', '.join(verdict.waiting)}")
            return Exit.PROBLEM
        answer, found = again


def _asked_again(asking: Asking, deadline: float) -> Asked | None:
    """Ask after a while, and until a daemon answers; None when the time is up."""
    give_up = time.monotonic() + _AWAY_SECONDS
    while (left := deadline - time.monotonic()) > 0:
        time.sleep(min(left, _EVERY_SECONDS))
        try:
            return asking.ask(_patience(deadline))
        except (NoDaemonError, RefusedError):
            if time.monotonic() > give_up:
                raise
    return None


def _patience(deadline: float) -> float:
    """Return how long a daemon that hangs is waited for; one that does not has answered by then."""
    return max(deadline - time.monotonic(), _EVERY_SECONDS)
