# SPDX-License-Identifier: LGPL-2.1-or-later
"""``diskulog diff``: what changed between two logs.

Lives here: its options. Does not know how logs differ.
"""

from typing import Annotated, Final

import typer

from diskulog.commands import console, options, schema
from diskulog.exits import Exit, UsageError
from diskulog.forensic import difference, either, repair

HELP: Final = f"""Show what changed from one log to another.

What became dirty, clean, in sync and out of sync, as counts and ranges. Never writes.

A and B are devices, images, or dumps, in any mixture. Exit code 1: they differ in more than times, and whether
they are in use. With --since A there is one more word only: the device, which may be live.

\b
Examples:
  diskulog diff yesterday.dump /dev/vg/home_mlog
  diskulog diff --since yesterday.dump --json /dev/vg/home_mlog
{console.EXIT_CODES}"""

DEFAULT_LIMIT: Final = 20


def diff(
    names: Annotated[list[str] | None, typer.Argument(metavar="A B", show_default=False)] = None,
    since: Annotated[
        str | None, typer.Option(metavar="A", help="What to compare with, in place of a first word.")
    ] = None,
    as_json: options.AsJson = False,
    limit: options.Limit = DEFAULT_LIMIT,
    _schema: schema.OfDocument = False,
) -> None:
    """Show what changed between two logs."""
    both = [*([since] if since is not None else []), *(names or [])]
    with console.json_of_failures("diff", as_json):
        if len(both) != 2:
            raise UsageError("diff: name two of devices, images and dumps, the earlier one first")
        if both == ["-", "-"]:
            raise UsageError("diff: only one of them can be standard input")
        logs = [repair.believable(either.load(name)) for name in both]
    for name, (_, reasons) in zip(both, logs, strict=True):
        if reasons:
            console.complain(f"warning: {name}: {'; '.join(reasons)}: compared is what 'diskulog repair' makes of it")
    found = difference.Difference(logs[0][0], logs[1][0])
    status = Exit.PROBLEM if any(reasons for _, reasons in logs) else found.exit_status
    console.stream(difference.as_json(found, status) if as_json else difference.text(found, limit))
    raise typer.Exit(status)
