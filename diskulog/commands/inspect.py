# SPDX-License-Identifier: LGPL-2.1-or-later
"""``diskulog inspect``: what a log says, as text or JSON.

Lives here: its options and which form is printed. Does not know bytes or bitmaps.
"""

import shutil
from collections.abc import Iterable
from itertools import chain
from typing import Annotated, Final

import typer

from diskulog.commands import console
from diskulog.exits import Exit, UsageError, exit_for
from diskulog.failures import sentence
from diskulog.forensic import image, source, text
from diskulog.forensic.report import report

# pydantic (model) is imported where it is needed: `inspect` should start at once

DEFAULT_LIMIT: Final = 20

HELP: Final = f"""Show what a log says: which regions are clean, dirty, in sync. Never writes.

DEV is a device, a partition, an image file, or '-' for standard input. It reads logs of diskulog and of the kernel's
own 'disk' log (LVM's _mlog volumes too). A log that is live is read while it changes.

A log of more than 2^27 regions is kept in a temporary file meanwhile (TMPDIR says where), of 1 GiB at most.

\b
Examples:
  diskulog inspect /dev/vg/home_mlog
  diskulog inspect --map --limit 0 log.img
  dd if=/dev/sdb1 | diskulog inspect --json - | jq .log.dirty_count
{console.EXIT_CODES}"""


def inspect(
    device: Annotated[str | None, typer.Argument(metavar="DEV", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
    limit: Annotated[
        int | None, typer.Option(metavar="N", help=f"Show N ranges of each kind; 0: all. Default {DEFAULT_LIMIT}.")
    ] = None,
    show_map: Annotated[bool, typer.Option("--map", help="Draw where the dirty regions are.")] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the schema of the JSON and end.")] = False,
) -> None:
    """Show a log."""
    if schema:
        from diskulog.forensic import model

        console.emit(model.schema() + "\n")
        return
    try:
        status, pieces = _inspect(device, as_json, limit, show_map)
    except (Exception, KeyboardInterrupt) as failure:
        if as_json:
            from diskulog.forensic import model

            console.emit(model.render(model.failure(exit_for(failure), sentence(failure))) + "\n")
        raise
    console.stream(pieces)  # what fails here leaves a document that is cut off, and does not begin another
    raise typer.Exit(status)


def _inspect(device: str | None, as_json: bool, limit: int | None, show_map: bool) -> tuple[Exit, Iterable[str]]:
    if device is None:
        raise UsageError("inspect: DEV is missing: name a device, an image file, or '-'")
    if as_json and (limit is not None or show_map):
        raise UsageError("inspect: --limit and --map are for text; --json always holds all ranges")
    if limit is not None and limit < 0:
        raise UsageError(f"inspect: --limit {limit}: must be 0 (all) or more")
    with source.opened(device) as log:
        found = report(image.load(log))
    if as_json:
        from diskulog.forensic import model

        return found.exit_status, chain(model.pieces(model.document(found)), ["\n"])
    columns = shutil.get_terminal_size().columns if show_map else None
    return found.exit_status, text.pieces(found, DEFAULT_LIMIT if limit is None else limit, columns)
