# SPDX-License-Identifier: LGPL-2.1-or-later
"""``diskulog adopt``: takes a log back from the kernel's own.

Lives here: its options, the question before it writes. Does not know what adopting comes to.
"""

from typing import Annotated, Final

import typer

from diskulog.commands import console, elsewhere, options
from diskulog.forensic import adopt as adoption
from diskulog.forensic import image, writing

HELP: Final = f"""Take a log back from the kernel's own 'disk' log.

For a mirror that is not active. Where the kernel's log wrote a log after diskulog closed it, diskulog cannot believe
the bitmaps, and the next activation resyncs everything. Adopting says that it was the kernel's log: its clean regions
stay clean. Adopt nothing else: a region that is wrongly clean is never resynced. One sector is written.

\b
Examples:
  diskulog adopt --dry-run /dev/vg/home_mlog
  diskulog adopt --yes /dev/vg/home_mlog
{console.EXIT_CODES}"""


def adopt(
    device: options.Device,
    uuid: Annotated[str | None, typer.Option(metavar="NEW", help="The uuid in the mirror's table from now on.")] = None,
    yes: options.Yes = False,
    dry_run: options.DryRun = False,
) -> None:
    """Take a log back from the kernel's own."""
    with writing.opened(device, write=not dry_run) as log:
        found = image.load(log)
        elsewhere.warn_of_another_host(found)
        plan = adoption.plan(found, uuid, log.block_bytes)
        if plan.warning:
            console.complain(f"warning: {plan.warning}")
        if plan.sector is not None:
            if not console.go_on(device, plan.summary, yes=yes, dry_run=dry_run):
                return
            writing.write_extension(log, plan.sector)
    console.say(device, plan.summary)
