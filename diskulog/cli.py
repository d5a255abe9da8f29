# SPDX-License-Identifier: LGPL-2.1-or-later
"""The command line: the table of commands, exit codes; never a traceback.

Lives here: how words become a command and a failure becomes a code. Does not know what any command does.
"""

import sys
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from typing import Annotated, Final, NoReturn

import typer

from diskulog import __version__
from diskulog.commands.console import EXIT_CODES, complain, emit
from diskulog.exits import Exit, exit_for
from diskulog.failures import parser_complaint, sentence

_INTERRUPTED: Final = 130  # what typer makes of Ctrl-C; not in our table

APP_HELP: Final = f"""The dirty log of device-mapper mirrors, kept by user space on a block device.
{EXIT_CODES}"""

# each word's module in diskulog.commands, with HELP, and the function there
_COMMANDS: Final = {
    "serve": ("serve", "serve"),
    "status": ("status", "status"),
    "watch": ("watch", "watch"),
    "wait": ("wait", "wait"),
    "events": ("events", "events"),
    "metrics": ("metrics", "metrics"),
    "inspect": ("inspect", "inspect"),
    "check": ("check", "check"),
    "dump": ("dump", "dump"),
    "restore": ("restore", "restore"),
    "diff": ("diff", "diff"),
    "repair": ("repair", "repair"),
    "format": ("format", "format_log"),
    "adopt": ("adopt", "adopt"),
    "mark": ("mark", "mark"),
    "migrate": ("migrate", "migrate"),
    "replace-log": ("replace_log", "replace_log"),
    "verify": ("verify", "verify"),
    "table": ("table", "table"),
    "doctor": ("doctor", "doctor"),
    "trace": ("trace", "trace"),
    "replay": ("replay", "replay"),
}
# words that have commands of their own, COMMANDS in their module; one man page is for all of them
_GROUPS: Final = ("config", "mirror")


def _version(wanted: bool) -> None:
    if wanted:
        emit(f"diskulog {__version__}\n")
        raise typer.Exit(Exit.FINE)


def _diskulog(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None: ...


@cache
def program(word: str = "") -> Callable[..., int | None]:
    """Return the command line as click knows it, with its ``params`` and its ``commands``, by name.

    With the word of a command, that one is all it has. To import every command and to have typer read its signature
    takes longer than most commands do, and a daemon that starts is waited for by mirrors.
    """
    app = typer.Typer(
        add_completion=False,
        help=APP_HELP,
        no_args_is_help=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_diskulog)
    for name, (module, function) in _COMMANDS.items():
        if word in (name, ""):
            found = import_module(f"diskulog.commands.{module}")
            app.command(name, help=found.HELP)(getattr(found, function))
    for name in _GROUPS:
        if word in (name, ""):
            found = import_module(f"diskulog.commands.{name}")
            group = typer.Typer(help=found.HELP, no_args_is_help=False, rich_markup_mode=None)
            app.add_typer(group, name=name)
            for each, command, text in found.COMMANDS:
                group.command(each, help=text)(command)
    return typer.main.get_command(app)


def _program_for(arguments: Sequence[str]) -> Callable[..., int | None]:
    first = arguments[0] if arguments else ""
    return program(first if first in _COMMANDS or first in _GROUPS else "")


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a name may be any bytes
    try:
        code = _program_for(arguments)(list(arguments), prog_name="diskulog", standalone_mode=False)
        emit("")  # help is printed by typer: does it leave the buffer?
        if code == _INTERRUPTED:
            raise KeyboardInterrupt
    except (Exception, KeyboardInterrupt) as failure:
        complain(sentence(failure))
        return exit_for(failure) if parser_complaint(failure) is None else Exit.USAGE
    return int(code or Exit.FINE)


def main() -> NoReturn:
    """Run the command line of this process."""
    sys.exit(run(sys.argv[1:]))
