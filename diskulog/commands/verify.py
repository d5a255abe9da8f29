# SPDX-License-Identifier: LGPL-2.1-or-later
"""``diskulog verify``: are the legs equal where the log says so?

Lives here: its options, and which form is printed. Does not know logs, legs or how they are compared.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from diskulog.commands import console, quantity, schema
from diskulog.exits import UsageError, exit_for
from diskulog.failures import sentence

if TYPE_CHECKING:
    from diskulog.forensic.comparison import Tally
    from diskulog.forensic.subject import Told
    from diskulog.forensic.verifyjob import Asked, Outcome

DEFAULT_LIMIT: Final = 20

HELP: Final = f"""Compare the legs of a mirror where its log calls them equal. Never writes.

Every region that is clean and in sync is read from each LEG, past the page cache, and compared. A region that differs
there would never be resynced: the log, or whoever wrote behind its back, did not tell the truth. LEG is a device or an
image file, with :SECTORS if the mirror begins later in it, as in the mirror's table.

The mirror may be in use. Which regions are clean is read once, at the start. A region that differs counts only if the
log calls it clean before and after another look that finds the same bytes; one that is being written each time is
skipped as 'written meanwhile'. So a difference that is reported was at rest. What this cannot show: regions that were
dirty, what differed once and was overwritten or resynced since, and what a leg's own write cache has not yet stored.
Regions may differ and do no harm where blocks were discarded, or where memory changed while it was written (swap,
mapped files): the log knows of neither.

With --state an interrupted run (Ctrl-C, SIGTERM) goes on where it ended, on the same log, legs and --regions; the file
is removed at the end.

\b
Examples:
  diskulog verify --mirror demo
  diskulog verify /dev/vg/log /dev/vg/leg_a /dev/vg/leg_b
  diskulog verify --region-size 1024 kernel.log a.img b.img:2048
  diskulog verify --mirror demo --rate 50M --state demo.state
  diskulog verify --mirror demo --regions 0-99 --json
{console.EXIT_CODES}"""


def verify(
    device: Annotated[str | None, typer.Argument(metavar="DEV", show_default=False)] = None,
    legs: Annotated[list[str] | None, typer.Argument(metavar="LEG", show_default=False)] = None,
    mirror: Annotated[
        str | None, typer.Option(metavar="NAME", help="Find log, legs and sizes in 'dmsetup table NAME'.")
    ] = None,
    region_size: Annotated[
        int | None, typer.Option(metavar="SECTORS", help="Region size, where the log does not know it.")
    ] = None,
    length: Annotated[
        int | None, typer.Option(metavar="SECTORS", help="Length of the mirror, where the log does not know it.")
    ] = None,
    regions: Annotated[str | None, typer.Option(metavar="A-B", help="Only these regions.")] = None,
    rate: Annotated[
        str | None, typer.Option(metavar="BYTES", help="At most so much of each leg a second: 50M.")
    ] = None,
    state: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keep here how far it came, and go on from there.")
    ] = None,
    limit: Annotated[
        int, typer.Option(metavar="N", help="Show N differing ranges; 0: all.", show_default=True)
    ] = DEFAULT_LIMIT,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
    _schema: schema.OfDocument = False,
) -> None:
    """Compare the legs of a mirror."""
    from diskulog.forensic import verifyreport
    from diskulog.forensic.subject import Told

    try:
        if limit < 0:
            raise UsageError(f"verify: --limit {limit}: must be 0 (all) or more")
        found = _run(_asked(device, legs or [], mirror, Told(region_size, length)), regions, rate, state)
    except (Exception, KeyboardInterrupt) as failure:
        if as_json:
            console.emit(verifyreport.failure(exit_for(failure), sentence(failure)))
        raise
    console.stream([verifyreport.document(found)] if as_json else verifyreport.pieces(found, limit))
    if not found.finished:
        console.complain(_interrupted(found, state))
    raise typer.Exit(found.exit_status)


def _asked(device: str | None, legs: list[str], mirror: str | None, told: "Told") -> "Asked":
    from diskulog.forensic import verifyjob
    from diskulog.forensic.legs import parse

    if mirror is not None:
        if device is not None or told.region_size_sectors is not None or told.length_sectors is not None:
            raise UsageError("verify: --mirror finds DEV, LEGs, region size and length in the table: give none of them")
        return verifyjob.of_mirror(mirror)
    if device is None or len(legs) < 2:
        raise UsageError("verify: name a log and at least two legs: DEV LEG LEG, or --mirror NAME")
    return verifyjob.Asked(device, tuple(map(parse, legs)), told)


def _run(asked: "Asked", regions: str | None, rate: str | None, state: Path | None) -> "Outcome":
    from diskulog.commands.progress import Progress
    from diskulog.forensic import verifyjob
    from diskulog.forensic.pace import Pace

    chosen = None if regions is None else quantity.span(regions, "--regions")
    pace = Pace(None if rate is None else quantity.amount(rate, "--rate", least=1))
    progress = Progress()

    def begin(total_bytes: int, tally: "Tally") -> Callable[[int], None]:
        return progress.begin(total_bytes, lambda: f"{tally.differing_count} differ")

    try:
        return verifyjob.perform(asked, verifyjob.How(begin, pace, chosen, state))
    finally:
        progress.end()


def _interrupted(found: "Outcome", state: Path | None) -> str:
    kept = "its work is lost, --state FILE would have kept it" if state is None else f"{state} keeps how far it came"
    return f"interrupted at region {found.tally.next_region}; {kept}"
