# SPDX-License-Identifier: LGPL-2.1-or-later
"""``diskulog mark``: calls regions dirty by hand.

Lives here: its options. Does not know what marking comes to.
"""

from typing import Annotated, Final

import typer

from diskulog import ondisk
from diskulog.commands import console, elsewhere, options, quantity
from diskulog.exits import UsageError
from diskulog.forensic import image, marking, writing
from diskulog.units import SECTOR_BYTES

HELP: Final = f"""Mark regions dirty by hand.

They are copied at the next activation. For somebody who knows that the legs differ there: a leg was written behind
the mirror's back, or 'verify' found it. Ranges are first-last, with commas between; of --regions, --sectors, --bytes
and --all one is said. The mirror must not be active. Nothing becomes clean by this.

\b
Examples:
  diskulog mark /dev/vg/home_mlog --regions 5-9,17
  diskulog mark /dev/vg/home_mlog --bytes 0-1048575 --dry-run
{console.EXIT_CODES}"""

_UNITS: Final = {"--regions": None, "--sectors": SECTOR_BYTES, "--bytes": 1}


def mark(
    device: options.Device,
    regions: Annotated[str | None, typer.Option(metavar="RANGES", help="Regions.")] = None,
    sectors: Annotated[str | None, typer.Option(metavar="RANGES", help="Sectors of the mirror.")] = None,
    bytes_: Annotated[str | None, typer.Option("--bytes", metavar="RANGES", help="Bytes of the mirror.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="The whole mirror.")] = False,
    yes: options.Yes = False,
    dry_run: options.DryRun = False,
) -> None:
    """Mark regions dirty."""
    said = dict(zip(_UNITS, (regions, sectors, bytes_), strict=True))
    named = [(option, words) for option, words in said.items() if words is not None]
    if len(named) + everything != 1:
        raise UsageError("mark: say one of --regions, --sectors, --bytes and --all")
    spans = [(option, quantity.spans(words, option)) for option, words in named]
    with writing.opened(device, write=not dry_run) as log:
        found = image.load(log)
        elsewhere.warn_of_another_host(found)
        ranges = [(0, found.bit_count - 1)] if everything and found.bit_count else []
        for option, each in spans:
            ranges += marking.regions_of(found, each, _UNITS[option])
        plan = marking.plan(found, ranges)
        if plan.clean is not None:
            if not console.go_on(device, plan.summary, yes=yes, dry_run=dry_run):
                return
            if plan.during is not None:
                writing.write_extension(log, plan.during.pack())
            writing.write_bits(log, ondisk.CLEAN_OFFSET_BYTES, plan.clean, found.bit_count)
            if plan.extension is not None:
                writing.write_extension(log, plan.extension.pack())
    console.say(device, plan.summary)
