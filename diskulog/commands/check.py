# SPDX-License-Identifier: LGPL-2.1-or-later
"""``diskulog check``: a verdict on a log, with findings.

Lives here: its options. Does not know the rules.
"""

from typing import Annotated, Final

import typer

from diskulog.commands import console, options, schema
from diskulog.errors import BadLogError
from diskulog.exits import Exit
from diskulog.forensic import findings, image, source
from diskulog.forensic.report import report

HELP: Final = f"""Judge a log: what it breaks, what that means, what to do.

Every finding has the name of a rule, a severity, a meaning and a remedy. Never writes.

Exit code 1 says that at least one finding is an error. Warnings and notes leave it 0: a log that was not closed, say,
is sound, and its dirty regions are what a crash leaves.

\b
Examples:
  diskulog check /dev/vg/home_mlog
  diskulog check --quiet log.img || echo "look at it"
{console.EXIT_CODES}"""


def check(
    device: options.Device,
    as_json: options.AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing; the exit code says it.")] = False,
    _schema: schema.OfDocument = False,
) -> None:
    """Judge a log."""
    with console.json_of_failures("check", as_json):
        told, status = _judged(device)
    if as_json:
        console.emit(findings.as_json(device, status, told))
    elif not quiet:
        console.stream(findings.text(device, status, told))
    raise typer.Exit(status)


def _judged(device: str) -> tuple[tuple[findings.Finding, ...], Exit]:
    try:
        with source.opened(device) as log:
            told = findings.findings(report(image.load(log)))
    except BadLogError as failure:
        return (findings.unreadable(failure),), Exit.NOT_A_LOG
    return told, findings.exit_status(told)
