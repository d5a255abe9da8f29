# SPDX-License-Identifier: LGPL-2.1-or-later
"""``diskulog adopt``: takes a log back from the kernel's own.

Lives here: its options, the question before it writes. Does not know what adopting comes to.
"""

from typing import Annotated, Final

import typer

from diskulog.commands import console
from diskulog.forensic import adopt as adoption
from diskulog.forensic import image, writing
from diskulog.forensic.text import printable

HELP: Final = f"""Take a log back from the kernel's own 'disk' log, before activation.

Where the kernel's log wrote a log after diskulog closed it, diskulog cannot believe the bitmaps, and the next
activation resyncs everything. Adopting says that it was the kernel's log: its clean regions stay clean. Adopt
nothing else: a region that is wrongly clean is never resynced. One sector is written.

\b
Examples:
  diskulog adopt --dry-run /dev/vg/home_mlog
  diskulog adopt --yes /dev/vg/home_mlog
{console.EXIT_CODES}"""


def adopt(
    device: Annotated[str, typer.Argument(metavar="DEV", show_default=False)],
    uuid: Annotated[str | None, typer.Option(metavar="NEW", help="The uuid in the mirror's table from now on.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
) -> None:
    """Take a log back from the kernel's own."""
    with writing.opened(device, write=not dry_run) as log:
        plan = adoption.plan(image.load(log), uuid, log.block_bytes)
        if plan.warning:
            console.complain(f"warning: {plan.warning}")
        if plan.sector is None or dry_run:
            console.emit(
                printable(f"{device}: {plan.summary}{' (dry run, nothing written)' if plan.sector else ''}") + "\n"
            )
            return
        if not yes:
            console.ask(device, plan.summary)
        writing.write_extension(log, plan.sector)
    console.emit(printable(f"{device}: {plan.summary}") + "\n")
