# SPDX-License-Identifier: LGPL-2.1-or-later
"""What ``migrate`` and ``replace-log`` have in common: look, say, ask, do, say.

Lives here: what is printed, and when. Does not know what a move comes to.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diskulog.commands import console

if TYPE_CHECKING:
    from diskulog.moving.look import Doors
    from diskulog.moving.plan import Plan
    from diskulog.moving.situation import Situation, Target

Mirror = Annotated[str, typer.Argument(metavar="MIRROR", show_default=False)]


@contextmanager
def doors_of(socket: Path | None, mirror: str) -> Iterator["Doors"]:
    """Lend whoever is to be asked, dm and the daemon at its socket, while no other command of ours moves the mirror."""
    from diskulog import dm
    from diskulog.commands.asking import socket_path
    from diskulog.moving import logs, look

    path = socket_path(socket)
    name = mirror.removeprefix(dm.PREFIX)
    with dm.opened() as mapper, dm.alone(name, logs.node(mapper.info(name).number)):
        yield look.Doors(mapper, lambda: look.served(path))


def uuid_of(mirror: str) -> str:
    """Return the uuid for a log that has none: the mirrortab's, with which the mirror is made at boot, or a new one."""
    from diskulog import dm
    from diskulog.mirrors import tab

    listed = None
    with suppress(OSError):  # most hosts have no mirrortab
        text = tab.DEFAULT_PATH.read_bytes().decode("utf-8", "surrogateescape")
        listed = tab.uuid_of(mirror.removeprefix(dm.PREFIX), text)
    return listed or f"diskulog-{uuid.uuid4()}"


def move(doors: "Doors", found: "Situation", target: "Target", *, yes: bool, dry_run: bool) -> None:
    """Plan a move, ask, and carry it out."""
    from diskulog.moving import logs, plan, run

    made = plan.plan(found, target)
    for note in made.notes if made.steps else ():
        console.complain(f"warning: {made.name}: {note}")
    if made.steps and found.new and not found.new.holders:
        logs.check_free(found.new.node)
    if not made.steps:
        console.say(made.name, made.summary)
        return
    if dry_run:
        console.say(made.name, f"{made.summary} (dry run, nothing changed)")
        console.emit("".join(f"  {line}\n" for line in _steps(made)))
        return
    if not yes:
        console.ask(made.name, made.summary)
    for note in run.perform(made, doors):
        console.complain(f"warning: {made.name}: {note}")
    # with numbers for devices, which may be other ones after a boot
    saved = f"'diskulog mirror save {made.name}' prints its line for the mirrortab"
    console.say(made.name, f"done: {made.summary}; {saved}; from now on its table is")
    console.say(made.name, made.new.lasting().line.text())


def _steps(made: "Plan") -> list[str]:
    from diskulog.printable import printable

    steps = [f"{number}. {step.value}" for number, step in enumerate(made.steps, 1)]
    return [*steps, printable(f"new table: {made.new.lasting().line.text()}")]
