# SPDX-License-Identifier: LGPL-2.1-or-later
"""The terminal, or what stands in its place: output, complaints, questions.

Lives here: writing and asking, so that a closed or full output is met the same everywhere. Does not know any command.
"""

import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from diskulog.errors import DeviceError, RefusedError
from diskulog.exits import exit_for
from diskulog.failures import sentence
from diskulog.printable import printable

EXIT_CODES: Final = """
\b
Exit codes:
  0 fine    1 a problem was found (damage, differences)    2 usage
  3 not a log, or a version that is not known    4 busy or refused
  5 I/O error    6 no daemon    7 no permission
"""


def go_on(device: str, summary: str, *, yes: bool, dry_run: bool) -> bool:
    """Tell whether to write, after saying what; False for a dry run.

    Raises:
        RefusedError: as ``ask``.
    """
    if dry_run:
        say(device, f"{summary} (dry run, nothing written)")
    elif not yes:
        ask(device, summary)
    return not dry_run


def say(device: str, sentence: str) -> None:
    """Write one line about a device to standard output."""
    emit(printable(f"{device}: {sentence}") + "\n")


@contextmanager
def json_of_failures(command: str, wanted: bool) -> Iterator[None]:
    """Print a JSON document too, where a command that was to print JSON fails; the failure goes on."""
    try:
        yield
    except (Exception, KeyboardInterrupt) as failure:
        if wanted:
            text = sentence(failure).encode("utf-8", "backslashreplace").decode()
            messages = [{"severity": "error", "text": text}]
            document = {"format_version": 1, "command": command, "exit_status": exit_for(failure), "messages": messages}
            emit(json.dumps(document) + "\n")
        raise


def ask(device: str, question: str) -> None:
    """Ask on the terminal whether to write.

    Raises:
        RefusedError: when the answer is not yes, or nobody can be asked.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        raise RefusedError(device, "nothing written, as nobody can be asked here", "say --yes to go on")
    sys.stderr.write(f"{printable(f'{device}: {question}')}\nWrite it? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise RefusedError(device, "nothing written", "answer y, or say --yes, to go on")


def emit(output: str) -> None:
    """Write to standard output, as ``stream`` does."""
    stream([output])


def stream(pieces: Iterable[str], *, at_once: bool = False) -> None:
    """Write to standard output; a reader that went away ends it and is not a failure, a full disk is.

    With ``at_once`` each piece is seen as soon as it is there.

    Raises:
        DeviceError: when standard output takes nothing.
    """
    try:
        if sys.stdout is None:
            raise OSError(9, "it is closed")
        for piece in pieces:
            sys.stdout.write(piece)
            if at_once:
                sys.stdout.flush()
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
        sys.stderr.write(f"diskulog: {printable(sentence)}\n")
        sys.stderr.flush()
