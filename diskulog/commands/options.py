# SPDX-License-Identifier: LGPL-2.1-or-later
"""Options that more than one command has, and what they mean everywhere.

Lives here: their names and their help. Does not know the commands.
"""

from pathlib import Path
from typing import Annotated

import typer

Device = Annotated[str, typer.Argument(metavar="DEV", show_default=False)]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Whatever lies there now is lost.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Limit = Annotated[int, typer.Option(metavar="N", min=0, help="Show N ranges of each kind; 0: all.")]
Socket = Annotated[
    Path | None,
    typer.Option("--socket", metavar="PATH", help="The daemon's control socket, in place of run_directory's."),
]
Mirrors = Annotated[list[str] | None, typer.Argument(metavar="MIRROR", show_default=False)]
