# SPDX-License-Identifier: LGPL-2.1-or-later
"""``--schema``: the JSON schema of what a command prints for scripts.

Lives here: the option, and which file is whose. Does not know what a schema says.
"""

from pathlib import Path
from typing import Annotated, Final

import typer

from diskulog.commands import console
from diskulog.errors import DeviceError
from diskulog.exits import Exit

HOME: Final = Path(__file__).resolve().parent.parent / "schema"
_VERSION: Final = 1


def file_of(command: str) -> Path:
    """Return where the schema of a command's JSON lies; ``mirror list`` is a command."""
    return HOME / f"{command.replace(' ', '-')}-{_VERSION}.json"


def _print(context: typer.Context, wanted: bool) -> None:
    # the first word of the path is the program's own name
    if wanted:
        path = file_of(context.command_path.partition(" ")[2])
        try:
            text = path.read_text()
        except OSError as cause:
            raise DeviceError(f"schema {path}", cause) from cause
        console.emit(text)
        raise typer.Exit(Exit.FINE)


# met before the arguments are: none is missed
OfDocument = Annotated[
    bool, typer.Option("--schema", callback=_print, is_eager=True, help="Print the schema of the JSON and end.")
]
OfLine = Annotated[
    bool, typer.Option("--schema", callback=_print, is_eager=True, help="Print the schema of a line and end.")
]
