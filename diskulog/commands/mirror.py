# SPDX-License-Identifier: LGPL-2.1-or-later
"""``diskulog mirror``: the group of its commands; ``list`` and ``remove``.

Lives here: their options, and what a list looks like. Does not know how dm is asked.
"""

import json
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from diskulog.commands import console, mirrorboot, mirrorcreate, options, schema
from diskulog.exits import Exit, UsageError
from diskulog.printable import printable
from diskulog.units import SECTOR_BYTES, div_up, human_bytes

if TYPE_CHECKING:
    from diskulog.mirrors.dm import Mirror
    from diskulog.mirrortable import MirrorLine

HELP: Final = f"""Make, list, save, assemble and remove mirrors.
{console.EXIT_CODES}"""

LIST_HELP: Final = f"""List the mirrors of this host: their logs, their legs, and whether errors are handled.

Only tables are asked for. That needs no daemon, and waits for none.

\b
Examples:
  diskulog mirror list
  diskulog mirror list --json
{console.EXIT_CODES}"""

REMOVE_HELP: Final = f"""Remove a mirror that nobody uses; its log and what is on its legs stay.

The daemon closes the log, so that nothing needs to be copied when the mirror is made again. With --all, every mirror
whose log is in user space, those that stand on others first; exit code 1 says that some are in use.

\b
Examples:
  diskulog mirror remove home
  diskulog mirror remove --all
{console.EXIT_CODES}"""


def list_mirrors(as_json: options.AsJson = False, _schema: schema.OfDocument = False) -> None:
    """List the mirrors."""
    from diskulog.mirrors import dm

    with console.json_of_failures("mirror list", as_json):
        found = dm.mirrors()
    if as_json:
        document = {"format_version": 1, "command": "mirror list", "exit_status": Exit.FINE}
        rows = [_fields(mirror.name, line) for mirror in found for line in mirror.lines]
        console.emit(json.dumps({**document, "mirrors": rows}, indent=1) + "\n")
        return
    console.stream(piece for mirror in found for piece in _text(mirror))
    if not found:
        console.complain("there are no mirrors")


def _fields(name: str, line: "MirrorLine") -> dict[str, Any]:
    from diskulog.mirrors import naming

    return {
        "name": name,
        "kept_by": "daemon" if line.userspace else "kernel",
        "uuid": line.uuid,
        "log_type": line.log_type,
        "log": line.log and naming.known_as(line.log),
        "region_size_sectors": line.region_size_sectors,
        "length_sectors": line.length_sectors,
        "legs": [{"device": naming.known_as(leg.device), "offset_sectors": leg.offset_sectors} for leg in line.legs],
        "integrated_flush": line.integrated_flush,
        "handle_errors": line.handles_errors,
    }


def _text(mirror: "Mirror") -> Iterator[str]:
    from diskulog.mirrors import naming

    for line in mirror.lines:
        count = div_up(line.length_sectors, line.region_size_sectors)
        size = human_bytes(line.region_size_sectors * SECTOR_BYTES)
        legs = [
            naming.known_as(leg.device) + (f" from sector {leg.offset_sectors}" if leg.offset_sectors else "")
            for leg in line.legs
        ]
        rows = {
            "uuid": line.uuid or "",
            "log": f"{line.log_type} {naming.known_as(line.log) if line.log else 'in memory'}"
            f", kept by {'a daemon' if line.userspace else 'the kernel'}",
            "length": f"{human_bytes(line.length_sectors * SECTOR_BYTES)}, {count} regions of {size}",
            "legs": ", ".join(legs),
            "errors": "handled"
            if line.handles_errors
            else "NOT HANDLED: when the log fails, writes go on without it (no handle_errors in the table)",
        }
        yield printable(mirror.name) + "\n"
        yield from (f"  {word + ':':8}{printable(value)}\n" for word, value in rows.items() if value)


def remove(
    name: Annotated[str | None, typer.Argument(metavar="NAME", show_default=False)] = None,
    every: Annotated[bool, typer.Option("--all", help="Every mirror with its log in user space.")] = False,
    dry_run: options.DryRun = False,
) -> None:
    """Remove a mirror."""
    from diskulog.mirrors import dm, removing

    if (name is None) != every:
        raise UsageError("mirror remove: name a mirror, or say --all")
    if every:
        _remove_all(dry_run)
        return
    assert name is not None
    mirror = dm.mirror(name)
    removing.check(mirror)
    mirrorcreate.need_daemon(dry_run=dry_run)
    if dry_run:
        console.emit(f"{shlex.join(dm.remove_words(name))}\n")
        return
    dm.remove(name)
    console.say(name, "removed")


def _remove_all(dry_run: bool) -> None:
    from diskulog.mirrors import dm, removing

    if not any(mirror.userspace for mirror in dm.mirrors()):
        return
    mirrorcreate.need_daemon(dry_run=dry_run)
    kept = 0
    for name, why in removing.remove_all(dry_run=dry_run):
        if why is None:
            console.say(name, "would be removed (dry run)" if dry_run else "removed")
        else:
            kept += 1
            console.complain(why)
    raise typer.Exit(Exit.PROBLEM if kept else Exit.FINE)


COMMANDS: Final = (
    ("create", mirrorcreate.create, mirrorcreate.HELP),
    ("list", list_mirrors, LIST_HELP),
    ("save", mirrorboot.save, mirrorboot.SAVE_HELP),
    ("assemble", mirrorboot.assemble, mirrorboot.ASSEMBLE_HELP),
    ("remove", remove, REMOVE_HELP),
)
