# SPDX-License-Identifier: LGPL-2.1-or-later
"""``diskulog repair``: a new log from a damaged one.

Lives here: its options; that nothing is written unless told. Does not know what is in doubt.
"""

from typing import Annotated, Final

import typer

from diskulog.commands import console, elsewhere, options
from diskulog.errors import RefusedError
from diskulog.exits import Exit
from diskulog.forensic import content, writing
from diskulog.forensic import repair as repairing
from diskulog.forensic.report import report, resync_cost

HELP: Final = f"""Make a new log from a damaged one, dirty wherever in doubt.

Without --write it only says what it would do, and what that costs.

What is proved stays: clean regions whose checksum fits, though the header or the other bitmap is gone. Everything else
becomes dirty, and is copied at the next activation; bytes that cannot be read count as dirty and are written anew.
Where the extension is gone, --uuid puts the log back in its mirror's hands; without, it becomes a kernel log that any
table may take. Where nothing says that there was a log, 'diskulog format' makes one.

\b
Examples:
  diskulog repair /dev/vg/home_mlog
  diskulog repair --write /dev/vg/home_mlog
{console.EXIT_CODES}"""


def repair(
    device: options.Device,
    uuid: Annotated[str | None, typer.Option(metavar="U", help="The uuid in the mirror's table.")] = None,
    write: Annotated[bool, typer.Option("--write", help="Do it, after asking.")] = False,
    overwrite: options.Overwrite = False,
    yes: options.Yes = False,
) -> None:
    """Make a new log from a damaged one."""
    with writing.opened(device, write=write) as log:
        found = repairing.load(log)
        plan = repairing.plan(found, uuid)
        if plan.image is None:
            more = "" if uuid is None else " ('diskulog adopt --uuid' gives a sound log another uuid)"
            console.say(device, f"nothing to repair{more}")
            return
        there = content.look(log) if found.header_lost else None
        if there and there.foreign and not overwrite:
            raise RefusedError(device, f"holds {there.what}", "if it may go, say --overwrite")
        elsewhere.warn_of_another_host(found.image)
        cost = resync_cost(report(plan.image)) or "what is dirty"
        summary = f"{'; '.join(plan.reasons)}; repaired, {cost} will be resynced at the next activation"
        if not console.go_on(device, summary, yes=yes, dry_run=not write):
            raise typer.Exit(Exit.PROBLEM)
        writing.write_log(log, plan.image)
    console.say(device, summary)
