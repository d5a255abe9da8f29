# SPDX-License-Identifier: LGPL-2.1-or-later
"""``diskulog migrate``: a live mirror goes from the kernel's own log to diskulog, or back.

Lives here: its options. Does not know what migrating comes to.
"""

from typing import Annotated, Final

import typer

from diskulog.commands import console, moves, options
from diskulog.exits import UsageError
from diskulog.forensic import adopt
from diskulog.moving.table import Kind

HELP: Final = f"""Move a live mirror between the kernel's own log and diskulog.

The layout on the log device is the same, and no resync is caused: what is clean stays clean, and a resync under way
goes on. The mirror is suspended, without flushing, for as long as it takes to put its log in order and load the other
table; I/O waits meanwhile and none fails. The daemon must run, in both directions. With --log the log goes to another
device at the same time, and the old one is taken out of use. A log in memory moves, too: without a resync if all is in
sync, and with everything copied anew if not.

Where a step fails the old table stays. Killed at any moment, it leaves a mirror that either log can take: say the same
command again, which goes on from there. Refused: mirrors of LVM, which would load its own table, a leg that failed, a
log that failed ('diskulog replace-log' helps).

The table that is printed at the end is the mirror's from now on. It may name devices by numbers, which may be those of
other ones after a boot: what 'diskulog mirror save' prints is for the mirrortab, or wherever it is set up at boot.

\b
Examples:
  diskulog migrate home --to diskulog --dry-run
  diskulog migrate home --to diskulog --yes
  diskulog migrate home --to kernel --yes
{console.EXIT_CODES}"""


def migrate(
    mirror: moves.Mirror,
    to: Annotated[Kind, typer.Option("--to", metavar="WHO", help="kernel or diskulog.", show_default=False)],
    log: Annotated[str | None, typer.Option("--log", metavar="DEV", help="A log device in place of its own.")] = None,
    uuid: Annotated[
        str | None,
        typer.Option(metavar="U", help="Where the log has none yet; the mirrortab's, or made up, if not given."),
    ] = None,
    overwrite: options.Overwrite = False,
    yes: options.Yes = False,
    dry_run: options.DryRun = False,
    socket: options.Socket = None,
) -> None:
    """Move a live mirror between the kernel's log and diskulog."""
    from diskulog.moving import look
    from diskulog.moving.situation import Target

    if uuid is not None:
        if to is Kind.KERNEL:
            raise UsageError("migrate: the kernel's own log has no uuid: leave out --uuid")
        adopt.check_uuid(uuid)
    with moves.doors_of(socket, mirror) as doors:
        found = look.situation(doors, mirror, to, log, moves.uuid_of(mirror))
        number = doors.number_of(log) if log else None
        target = Target(to, log, number, uuid, overwrite)
        moves.move(doors, found, target, yes=yes, dry_run=dry_run)
