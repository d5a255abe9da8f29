# SPDX-License-Identifier: LGPL-2.1-or-later
"""The command line: parsing, printing, asking, exit codes; never a traceback.

Lives here: what a command's words mean and where its output goes. Does not know bytes, bitmaps or requests.
"""

import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

from diskulog import __version__
from diskulog.errors import DeviceError, RefusedError
from diskulog.exits import Exit, UsageError, exit_for
from diskulog.forensic import adopt as adoption
from diskulog.forensic import image, source, text
from diskulog.forensic.report import report

# pydantic (config, model) and pyroute2 (daemon) are imported where they are needed: `inspect` should start at once

DEFAULT_LIMIT: Final = 20
_INTERRUPTED: Final = 130  # what typer makes of Ctrl-C; not in our table

EXIT_CODES: Final = """
\b
Exit codes:
  0 fine    1 a problem was found (damage, differences)    2 usage
  3 not a log, or a version that is not known    4 busy or refused
  5 I/O error    6 no daemon    7 no permission
"""

APP_HELP: Final = f"""The dirty log of device-mapper mirrors, kept by user space on a block device.
{EXIT_CODES}"""

SERVE_HELP: Final = f"""Answer the kernel's log requests, in the foreground.

Logs to standard error; a line with the word "ready" says that requests are answered. SIGTERM ends it with code 0.

\b
Example:
  diskulog serve --config /etc/diskulog/diskulog.toml
{EXIT_CODES}"""

INSPECT_HELP: Final = f"""Show what a log says: which regions are clean, dirty, in sync. Never writes.

DEV is a device, a partition, an image file, or '-' for standard input. It reads logs of diskulog and of the kernel's
own 'disk' log (LVM's _mlog volumes too). A log that is live is read while it changes.

A log of more than 2^27 regions is kept in a temporary file meanwhile (TMPDIR says where), of 1 GiB at most.

\b
Examples:
  diskulog inspect /dev/vg/home_mlog
  diskulog inspect --map --limit 0 log.img
  dd if=/dev/sdb1 | diskulog inspect --json - | jq .log.dirty_count
{EXIT_CODES}"""

ADOPT_HELP: Final = f"""Take a log back from the kernel's own 'disk' log, before activation.

Where the kernel's log wrote a log after diskulog closed it, diskulog cannot believe the bitmaps, and the next
activation resyncs everything. Adopting says that it was the kernel's log: its clean regions stay clean. Adopt
nothing else: a region that is wrongly clean is never resynced. One sector is written.

\b
Examples:
  diskulog adopt --dry-run /dev/vg/home_mlog
  diskulog adopt --yes /dev/vg/home_mlog
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


@app.command(help=SERVE_HELP)
def serve(
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Default: DISKULOG_CONFIG, /etc/diskulog/diskulog.toml.")
    ] = None,
) -> None:
    """Run the daemon."""
    from diskulog.config import load

    loaded = load(config, os.environ)
    from diskulog.supervisor import serve as run_daemon

    raise typer.Exit(run_daemon(loaded))


@app.command(help=INSPECT_HELP)
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

        emit(model.schema() + "\n")
        return
    try:
        status, pieces = _inspect(device, as_json, limit, show_map)
    except (Exception, KeyboardInterrupt) as failure:
        if as_json:
            from diskulog.forensic import model

            emit(model.render(model.failure(exit_for(failure), _sentence(failure))) + "\n")
        raise
    stream(pieces)  # what fails here leaves a document that is cut off, and does not begin another
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


@app.command(help=ADOPT_HELP)
def adopt(
    device: Annotated[str, typer.Argument(metavar="DEV", show_default=False)],
    uuid: Annotated[str | None, typer.Option(metavar="NEW", help="The uuid in the mirror's table from now on.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
) -> None:
    """Take a log back from the kernel's own."""
    with adoption.opened(device, write=not dry_run) as log:
        plan = adoption.plan(image.load(log), uuid, log.block_bytes)
        if plan.warning:
            complain(f"warning: {plan.warning}")
        if plan.sector is None or dry_run:
            emit(
                text.printable(f"{device}: {plan.summary}{' (dry run, nothing written)' if plan.sector else ''}") + "\n"
            )
            return
        if not yes:
            _ask(device, plan.summary)
        adoption.write_extension(log, plan.sector)
    emit(text.printable(f"{device}: {plan.summary}") + "\n")


def _ask(device: str, question: str) -> None:
    if sys.stdin is None or not sys.stdin.isatty():
        raise RefusedError(device, "nothing written, as nobody can be asked here", "say --yes to go on")
    sys.stderr.write(f"{text.printable(f'{device}: {question}')}\nWrite it? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise RefusedError(device, "nothing written", "answer y, or say --yes, to go on")


def emit(output: str) -> None:
    """Write to standard output, as ``stream`` does."""
    stream([output])


def stream(pieces: Iterable[str]) -> None:
    """Write to standard output; a reader that went away ends it and is not a failure, a full disk is.

    Raises:
        DeviceError: when standard output takes nothing.
    """
    try:
        if sys.stdout is None:
            raise OSError(9, "it is closed")
        sys.stdout.writelines(pieces)
        sys.stdout.flush()
    except OSError as cause:
        _discard_output()
        if not isinstance(cause, BrokenPipeError):
            raise DeviceError("cannot write to standard output", cause) from cause


def _discard_output() -> None:
    """Point standard output nowhere: what is left in its buffer would fail again at exit, with a traceback."""
    if sys.stdout is not None:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


def complain(sentence: str) -> None:
    """Write one line to standard error, if there is one."""
    if sys.stderr is not None:
        sys.stderr.write(f"diskulog: {text.printable(sentence)}\n")
        sys.stderr.flush()


def _parser_complaint(failure: BaseException) -> str | None:
    # the class of these is click's in typer < 0.26 and private to typer since; both have this method
    message = getattr(failure, "format_message", None)
    return str(message()) if message else None


def _sentence(failure: BaseException) -> str:
    complaint = _parser_complaint(failure)
    if complaint is not None:
        return f"{complaint} (see 'diskulog --help')"
    if isinstance(failure, (KeyboardInterrupt, typer.Abort)):
        return "interrupted"
    if isinstance(failure, MemoryError):
        return "not enough memory"
    known = isinstance(failure, OSError) or type(failure).__module__.startswith("diskulog.")
    return str(failure) if known else f"internal error, please report it: {type(failure).__name__}: {failure}"


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a name may be any bytes
    try:
        status = app(list(arguments), prog_name="diskulog", standalone_mode=False)
        emit("")  # help is printed by typer: does it leave the buffer?
        if status == _INTERRUPTED:
            raise KeyboardInterrupt
    except (Exception, KeyboardInterrupt) as failure:
        complain(_sentence(failure))
        return exit_for(failure) if _parser_complaint(failure) is None else Exit.USAGE
    return int(status or Exit.FINE)


def main() -> NoReturn:
    """Run the command line of this process."""
    sys.exit(run(sys.argv[1:]))
