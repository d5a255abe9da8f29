# SPDX-License-Identifier: LGPL-2.1-or-later
"""``diskulog serve``: the daemon, in the foreground.

Lives here: its options. Does not know what the daemon does.
"""

import os
from pathlib import Path
from typing import Annotated, Final

import typer

from diskulog.commands import console

HELP: Final = f"""Answer the kernel's log requests, in the foreground.

Logs to standard error; a line with the word "ready" says that requests are answered. SIGTERM ends it with code 0,
SIGHUP reads the configuration again.

\b
Example:
  diskulog serve --config /etc/diskulog/diskulog.toml
{console.EXIT_CODES}"""


def serve(
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Default: DISKULOG_CONFIG, /etc/diskulog/diskulog.toml.")
    ] = None,
) -> None:
    """Run the daemon."""
    from diskulog.config import Config, load

    def read() -> Config:
        return load(config, os.environ)

    loaded = read()
    from diskulog.supervisor import serve as run_daemon

    raise typer.Exit(run_daemon(loaded, read))
