# SPDX-License-Identifier: LGPL-2.1-or-later
"""``diskulog doctor``: is this host fit for its mirrors, and are they well?

Lives here: its options, and how the daemon is asked. Does not know the rules.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from diskulog.commands import console, options, schema
from diskulog.errors import DiskulogError
from diskulog.forensic import findings

if TYPE_CHECKING:
    from diskulog.config import Config

HELP: Final = f"""Look at this host: what diskulog needs of it, and its mirrors.

Modules, privileges, who listens to the kernel's requests, the daemon's process and socket, device mapper, and every
mirror with its log in user space. Every finding has a severity, a meaning and a remedy, as those of 'check'. Nothing is
changed, and nothing is asked that could wait for a mirror. Exit code 1 says that at least one finding is an error.

\b
Examples:
  diskulog doctor
  diskulog doctor --json
{console.EXIT_CODES}"""


def doctor(
    as_json: options.AsJson = False,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The daemon's configuration, where it is not the usual one.")
    ] = None,
    _schema: schema.OfDocument = False,
) -> None:
    """Look at this host."""
    with console.json_of_failures("doctor", as_json):
        from diskulog.doctor import host, report, rules

        loaded, problem = _configuration(config)
        found = rules.judge(host.collect(loaded, problem, _ask))
    status = findings.exit_status(found)
    console.stream([report.as_json(status, found)] if as_json else report.text(status, found))
    raise typer.Exit(status)


def _configuration(path: Path | None) -> "tuple[Config, str | None]":
    from diskulog.config import Config, load

    try:
        return load(path, os.environ), None
    except DiskulogError as failure:
        return Config(), str(failure)


def _ask(control: Path) -> Mapping[str, object]:
    import json

    from diskulog.control import client

    found = json.loads(client.status(control))
    return found if isinstance(found, dict) else {}
