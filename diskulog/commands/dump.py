# SPDX-License-Identifier: LGPL-2.1-or-later
"""``diskulog dump``: a log as canonical text or JSON.

Lives here: its options. Does not know what a dump looks like.
"""

from typing import Final

import typer

from diskulog.commands import console, options, schema
from diskulog.exits import Exit
from diskulog.forensic import dump as dumping
from diskulog.forensic import image, repair, source

HELP: Final = f"""Print a log as text, for version control, and for 'restore'.

Never writes. Dumps of equal logs are equal: ranges in order, one a line, and nothing of the device or the boot. A log
that cannot be believed is dumped as 'repair' would make it, dirty wherever in doubt, with a warning and exit code 1.

\b
Examples:
  diskulog dump /dev/vg/home_mlog > home.dump
  diskulog dump --json log.img | jq .log.uuid
{console.EXIT_CODES}"""


def dump(device: options.Device, as_json: options.AsJson = False, _schema: schema.OfDocument = False) -> None:
    """Print a log as text."""
    with console.json_of_failures("dump", as_json), source.opened(device) as log:
        found = image.load(log)
        found, reasons = repair.believable(found)
    if reasons:
        console.complain(f"warning: {device}: {'; '.join(reasons)}: dumped is what 'diskulog repair' makes of it")
    status = Exit.PROBLEM if reasons else Exit.FINE
    console.stream(dumping.as_json(found, status) if as_json else dumping.text(found))
    raise typer.Exit(status)
