# SPDX-License-Identifier: LGPL-2.1-or-later
"""The command line: the table of commands, exit codes; never a traceback.

Lives here: how words become a command and a failure becomes a code. Does not know what any command does.
"""

import sys
from collections.abc import Callable, Sequence
from functools import cache
from typing import Annotated, Final, NoReturn

import typer

from diskulog import __version__
from diskulog.commands import (
    adopt,
    check,
    config,
    diff,
    doctor,
    dump,
    events,
    format,
    inspect,
    mark,
    metrics,
    migrate,
    mirror,
    repair,
    replace_log,
    replay,
    restore,
    serve,
    status,
    table,
    trace,
    verify,
    wait,
    watch,
)
from diskulog.commands.console import EXIT_CODES, complain, emit
from diskulog.exits import Exit, exit_for
from diskulog.failures import parser_complaint, sentence

_INTERRUPTED: Final = 130  # what typer makes of Ctrl-C; not in our table

APP_HELP: Final = f"""The dirty log of device-mapper mirrors, kept by user space on a block device.
{EXIT_CODES}"""

app = typer.Typer(
    add_completion=False, help=APP_HELP, no_args_is_help=False, pretty_exceptions_enable=False, rich_markup_mode=None
)


def _version(wanted: bool) -> None:
    if wanted:
        emit(f"diskulog {__version__}\n")
        raise typer.Exit(Exit.FINE)


@app.callback()
def _diskulog(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None: ...


for _name, _command, _help in (
    ("serve", serve.serve, serve.HELP),
    ("status", status.status, status.HELP),
    ("watch", watch.watch, watch.HELP),
    ("wait", wait.wait, wait.HELP),
    ("events", events.events, events.HELP),
    ("metrics", metrics.metrics, metrics.HELP),
    ("inspect", inspect.inspect, inspect.HELP),
    ("check", check.check, check.HELP),
    ("dump", dump.dump, dump.HELP),
    ("restore", restore.restore, restore.HELP),
    ("diff", diff.diff, diff.HELP),
    ("repair", repair.repair, repair.HELP),
    ("format", format.format_log, format.HELP),
    ("adopt", adopt.adopt, adopt.HELP),
    ("mark", mark.mark, mark.HELP),
    ("migrate", migrate.migrate, migrate.HELP),
    ("replace-log", replace_log.replace_log, replace_log.HELP),
    ("verify", verify.verify, verify.HELP),
    ("table", table.table, table.HELP),
    ("doctor", doctor.doctor, doctor.HELP),
    ("trace", trace.trace, trace.HELP),
    ("replay", replay.replay, replay.HELP),
):
    app.command(_name, help=_help)(_command)

# a word that has commands of its own; one man page is for all of them
for _group, _about, _commands in (
    ("config", config.HELP, config.COMMANDS),
    ("mirror", mirror.HELP, mirror.COMMANDS),
):
    _words = typer.Typer(help=_about, no_args_is_help=False, rich_markup_mode=None)
    app.add_typer(_words, name=_group)
    for _name, _word, _help in _commands:
        _words.command(_name, help=_help)(_word)


@cache
def program() -> Callable[..., int | None]:
    """Return the whole command line as click knows it, with its ``params`` and its ``commands``, by name."""
    # typer reads the signature of every command for this, longer than most of them take: once in a process
    return typer.main.get_command(app)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a name may be any bytes
    try:
        code = program()(list(arguments), prog_name="diskulog", standalone_mode=False)
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
