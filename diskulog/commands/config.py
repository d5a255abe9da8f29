# SPDX-License-Identifier: LGPL-2.1-or-later
"""``diskulog config check`` and ``show``: the daemon's configuration, judged and shown.

Lives here: their options. Does not know keys or bounds.
"""

import os
from pathlib import Path
from typing import Annotated, Final

import typer

from diskulog.commands import console, schema
from diskulog.commands.options import AsJson
from diskulog.exits import Exit

HELP: Final = f"""Look at the daemon's configuration; nothing is changed.
{console.EXIT_CODES}"""

_FILE: Final = """FILE is, where none is given, what 'diskulog serve' reads: the file that DISKULOG_CONFIG names, or
/etc/diskulog/diskulog.toml if it is there."""

CHECK_HELP: Final = f"""Say everything that is wrong with a configuration.

{_FILE}

\b
Examples:
  diskulog config check
  diskulog config check new.toml
{console.EXIT_CODES}"""

SHOW_HELP: Final = f"""Show every value in effect, its unit, and where it comes from.

{_FILE} What is printed is a configuration itself.

\b
Examples:
  diskulog config show
  diskulog config show --json new.toml
{console.EXIT_CODES}"""

_File = Annotated[Path | None, typer.Argument(metavar="FILE", show_default=False)]


def check(file: _File = None) -> None:
    """Judge it."""
    from diskulog.config import find, problems, read

    source = find(file, os.environ)
    content = read(source)
    found = [] if content is None else problems(content)
    for problem in found:
        console.say(str(source.path), problem)
    if content is None:
        console.say(str(source.path), "is not there, so that every value is the default")
    elif not found:
        console.say(str(source.path), "nothing is wrong with it")
    raise typer.Exit(Exit.PROBLEM if found else Exit.FINE)


def show(file: _File = None, as_json: AsJson = False, _schema: schema.OfDocument = False) -> None:
    """Show it."""
    from diskulog import configtext
    from diskulog.config import Config, find, parse, read

    with console.json_of_failures("config show", as_json):
        source = find(file, os.environ)
        content = read(source)
        config = Config() if content is None else parse(content, str(source.path))
        used = None if content is None else source
        console.emit(configtext.as_json(config, used) if as_json else configtext.as_toml(config, used))


COMMANDS: Final = (("check", check, CHECK_HELP), ("show", show, SHOW_HELP))
