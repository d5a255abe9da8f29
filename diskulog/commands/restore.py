# SPDX-License-Identifier: LGPL-2.1-or-later
"""``diskulog restore``: a log from a dump.

Lives here: its options, what may be overwritten. Does not know what a dump looks like.
"""

from typing import Annotated, Final

import typer

from diskulog.commands import console, options
from diskulog.errors import RefusedError
from diskulog.forensic import content, image, restoring, source, undump, writing
from diskulog.forensic.report import report, resync_cost

HELP: Final = f"""Make a log of a dump again.

FILE is what 'dump' printed, with or without --json, or '-' for standard input. The bitmaps are written first and the
header last, so that a restore that is stopped leaves no log. A place that holds anything but zeros, or the log of
another mirror, is refused without --overwrite; so is a log of this mirror that calls regions dirty which the dump calls
clean: they would never be copied.

\b
Examples:
  diskulog restore home.dump /dev/vg/home_mlog
  truncate -s 4M log.img && diskulog restore --yes home.dump log.img
{console.EXIT_CODES}"""


def restore(
    file: Annotated[str, typer.Argument(metavar="FILE", show_default=False)],
    device: options.Device,
    overwrite: options.Overwrite = False,
    yes: options.Yes = False,
    dry_run: options.DryRun = False,
) -> None:
    """Make a log of a dump."""
    with source.opened(file) as dumped:
        found = undump.load(dumped)
    for doubt in restoring.doubts(found):
        console.complain(f"warning: {file}: {doubt}")
    uuid = found.extension.uuid if found.extension else None
    with writing.opened(device, write=not dry_run) as log:
        there = content.look(log, writing.places(log, found))
        if there and not overwrite:
            if uuid is None or there.uuid != uuid:
                raise RefusedError(device, f"holds {there.what}", "name another device, or say --overwrite")
            newer = restoring.newer(image.load(log), found)
            if newer:
                raise RefusedError(device, f"holds a log that {newer}", "dump it first, or say --overwrite")
        cost = resync_cost(report(found))
        summary = f"{found.bit_count} regions" + (f"; at the next activation {cost} will be resynced" if cost else "")
        if not console.go_on(device, f"becomes the log of {file}: {summary}", yes=yes, dry_run=dry_run):
            return
        writing.write_log(log, found)
    console.say(device, f"is the log of {file}: {summary}")
