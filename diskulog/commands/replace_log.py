# SPDX-License-Identifier: LGPL-2.1-or-later
"""``diskulog replace-log``: a live mirror goes to another log device.

Lives here: its options. Does not know what replacing comes to.
"""

from typing import Annotated, Final

import typer

from diskulog.commands import console, moves, options

HELP: Final = f"""Move a live mirror to another log device.

Above all one whose log failed and whose writes are held: with the new log they go on. Of a log that failed nothing is
believed, and the whole mirror is resynced; a log that works is copied while the mirror is suspended, without flushing,
and nothing is resynced. Who keeps the log, the kernel or diskulog, stays as it is. NEWDEV must be blank, or an old log
of this mirror; --overwrite takes anything that is not in use.

The old log is taken out of use, so that no table believes it again. Where that cannot be written a warning says so: do
not activate the mirror with that device any more.

Where a step fails the old table stays. Killed at any moment, it leaves a mirror that can be resumed: say the same
command again, which goes on from there.

The table that is printed at the end is the mirror's from now on. It may name devices by numbers, which may be those of
other ones after a boot: what 'diskulog mirror save' prints is for the mirrortab, or wherever it is set up at boot.

\b
Examples:
  diskulog replace-log home /dev/vg/home_mlog2 --dry-run
  diskulog replace-log home /dev/vg/home_mlog2 --yes
{console.EXIT_CODES}"""


def replace_log(
    mirror: moves.Mirror,
    device: Annotated[str, typer.Argument(metavar="NEWDEV", show_default=False)],
    overwrite: options.Overwrite = False,
    yes: options.Yes = False,
    dry_run: options.DryRun = False,
    socket: options.Socket = None,
) -> None:
    """Move a live mirror to another log device."""
    from diskulog.moving import look
    from diskulog.moving.situation import Target

    with moves.doors_of(socket, mirror) as doors:
        found = look.situation(doors, mirror, None, device, moves.uuid_of(mirror))
        target = Target(found.table.log.kind, device, doors.number_of(device), overwrite=overwrite, failed=True)
        moves.move(doors, found, target, yes=yes, dry_run=dry_run)
