# SPDX-License-Identifier: LGPL-2.1-or-later
"""``diskulog mirror save`` and ``assemble``: the mirrortab, from which mirrors are made at boot.

Lives here: their options, what is printed. Does not know the file's grammar, or how a mirror is made.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from diskulog.commands import console, mirrorcreate, options
from diskulog.errors import DeviceError
from diskulog.exits import UsageError

if TYPE_CHECKING:
    from diskulog.mirrors.assembling import Outcome
    from diskulog.mirrors.tab import Entry

SAVE_HELP: Final = f"""Print the line of the mirrortab for a mirror.

Devices are named by links that stay the same from boot to boot, where there are any; a warning says where not.

\b
Examples:
  diskulog mirror save home >> /etc/diskulog/mirrortab
{console.EXIT_CODES}"""

ASSEMBLE_HELP: Final = f"""Make the mirrors that a mirrortab lists, or those that are named.

A mirror that is there already with the same table is left alone; one with another table too, and the exit code is 4.
One that cannot be made stops no other; the exit code is 1 then. While no daemon answers, those with the kernel's own
log are made all the same; where there are none of these, nothing is done, and the exit code is 6. Nothing is asked:
what a log calls clean is not copied.

\b
Examples:
  diskulog mirror assemble
  diskulog mirror assemble --wait 30 home
  diskulog mirror assemble --file new.tab --dry-run
{console.EXIT_CODES}"""

_MAX_WAIT_SECONDS: Final = 3600


def save(name: mirrorcreate.Name) -> None:
    """Print a line for the mirrortab."""
    from dataclasses import replace

    from diskulog.errors import RefusedError
    from diskulog.mirrors import dm, naming, tab
    from diskulog.mirrortable import ONCE

    mirror = dm.mirror(name)
    if len(mirror.lines) != 1:
        raise RefusedError(name, "has several targets, as LVM makes them", "a mirrortab has mirrors of one target")
    line = mirror.line
    legs = tuple(replace(leg, device=naming.lasting(leg.device)) for leg in line.legs)
    log = None if line.log is None else naming.lasting(line.log) if naming.unstable(line.log) else line.log
    for device in (*(leg.device for leg in legs), *([log] if log else [])):
        if naming.unstable(device):
            console.complain(f"warning: {device} may be another device after a boot; no link in /dev/disk leads to it")
    for word in sorted(ONCE & {*line.options}):
        console.complain(f"warning: {word!r} is left out: it speaks of a mirror that is made for the first time")
    console.emit(tab.row(name, replace(line.lasting(), legs=legs, log=log)) + "\n")


def assemble(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", show_default=False)] = None,
    file: Annotated[Path | None, typer.Option(metavar="FILE", help="Default: /etc/diskulog/mirrortab.")] = None,
    wait: Annotated[
        int, typer.Option(metavar="SECONDS", help="Wait so long for devices and the daemon.", show_default=True)
    ] = 0,
    dry_run: options.DryRun = False,
) -> None:
    """Make the mirrors of a mirrortab."""
    from diskulog.mirrors import assembling, served, tab

    if not 0 <= wait <= _MAX_WAIT_SECONDS:
        raise UsageError(f"--wait {wait}: must be from 0 to {_MAX_WAIT_SECONDS} seconds")
    path = file or tab.DEFAULT_PATH
    entries = _chosen(tab.parse(_read(path)), names or [], path)
    lines = [entry.line for entry in entries if entry.line is not None]
    answered = True
    if any(line.userspace for line in lines):
        answered = dry_run or assembling.until(served.daemon_answers, wait)
        if dry_run or all(line.userspace for line in lines):
            mirrorcreate.need_daemon(dry_run=dry_run)
    outcomes: list[Outcome] = []
    for outcome in assembling.assemble(entries, wait, dry_run=dry_run, answered=answered):
        outcomes.append(outcome)
        _tell(outcome, dry_run)
    raise typer.Exit(assembling.exit_status(outcomes))


def _chosen(entries: "Sequence[Entry]", names: Sequence[str], path: Path) -> "Sequence[Entry]":
    unknown = [name for name in names if name not in {entry.name for entry in entries}]
    if unknown:
        raise UsageError(f"{unknown[0]}: {path} has no such mirror")
    return [entry for entry in entries if not names or entry.name in names]


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8", "surrogateescape")
    except OSError as cause:
        raise DeviceError(f"mirrortab {path}", cause) from cause


def _tell(outcome: "Outcome", dry_run: bool) -> None:
    from diskulog.mirrors.assembling import State

    said = f"{outcome.state.value}: {outcome.text}" if outcome.text else outcome.state.value
    if outcome.state in (State.FAILED, State.ANOTHER):
        console.complain(f"{outcome.name}: {said}")
    else:
        dry = " (dry run, nothing done)" if dry_run and outcome.state is State.ASSEMBLED else ""
        console.say(outcome.name, f"{said}{dry}")
