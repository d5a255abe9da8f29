# SPDX-License-Identifier: LGPL-2.1-or-later
"""``diskulog format``: a fresh log.

Lives here: its options, what may be overwritten. Does not know what a fresh log says.
"""

import time
from typing import Annotated, Final

import typer

from diskulog.commands import console, options
from diskulog.errors import RefusedError
from diskulog.forensic import content, fresh, writing
from diskulog.forensic.report import report, resync_cost

HELP: Final = f"""Make a fresh log, of which every region is dirty.

The first activation copies everything. A mirror on a blank device does this by itself. A device that is in use is
refused, and one that holds anything but zeros, unless --overwrite is said. --in-sync says that the legs are equal
already, byte by byte: a region that is wrongly called so is never copied.

\b
Examples:
  diskulog format /dev/vg/mlog --uuid home --region-size 1024 --regions 20480
  diskulog format --dry-run a.img --uuid u --region-size 1024 --regions 20480
{console.EXIT_CODES}"""


def format_log(
    device: options.Device,
    uuid: Annotated[str, typer.Option(metavar="U", help="The uuid in the mirror's table.", show_default=False)],
    region_size: Annotated[
        int, typer.Option(metavar="SECTORS", help="Of 512 bytes; a power of two.", show_default=False)
    ],
    regions: Annotated[int, typer.Option(metavar="N", help="How many the mirror has.", show_default=False)],
    in_sync: Annotated[bool, typer.Option("--in-sync", help="The legs are equal already; nothing is copied.")] = False,
    overwrite: options.Overwrite = False,
    yes: options.Yes = False,
    dry_run: options.DryRun = False,
) -> None:
    """Make a fresh log."""
    made = fresh.log(uuid, region_size, regions, in_sync=in_sync, now_seconds=int(time.time()))
    with writing.opened(device, write=not dry_run) as log:
        there = content.look(log, writing.places(log, made))
        if there and not overwrite:
            raise RefusedError(device, f"holds {there.what}", "name another device, or say --overwrite")
        summary = f"a fresh log of mirror {uuid}; at the next activation {resync_cost(report(made))} will be resynced"
        if console.go_on(device, summary, yes=yes, dry_run=dry_run):
            writing.write_log(log, made)
            console.say(device, summary)
