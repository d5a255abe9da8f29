# SPDX-License-Identifier: LGPL-2.1-or-later
"""The commands of the real program, with their options and arguments, as a table.

Lives here: how typer is asked for them. Does not know who needs the table (man pages, completion).
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args, get_type_hints

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from diskulog import cli

HELP: Final = "--help"  # every command has it, and typer does not list it


@dataclass(frozen=True, slots=True)
class Option:
    """``value`` is what stands for its value in the help, None for a flag; ``choices`` are all values, where few."""

    name: str
    value: str | None
    choices: tuple[str, ...]
    help: str
    default: str | None
    required: bool


@dataclass(frozen=True, slots=True)
class Command:
    """One command, or the program itself, whose name is empty."""

    name: str
    help: str
    options: tuple[Option, ...]
    arguments: tuple[str, ...]
    repeats: bool  # its last argument


def program() -> Command:
    """Return the program's own options."""
    return _command("", typer.main.get_command(cli.app))


def commands() -> tuple[Command, ...]:
    """Return the commands, by name."""
    group: Any = typer.main.get_command(cli.app)
    return tuple(_command(name, each) for name, each in sorted(group.commands.items()))


def _command(name: str, command: Any) -> Command:
    parameters = [each for each in command.params if not each.hidden]
    arguments = [each for each in parameters if each.param_type_name == "argument"]
    return Command(
        name,
        (command.help or "").strip().partition("\n")[0],
        tuple(option for each in parameters if each not in arguments for option in _options(command, each)),
        tuple(word for each in arguments for word in each.metavar.strip("[]").split()),
        any(each.nargs == -1 for each in arguments),
    )


def _options(command: Any, parameter: Any) -> Iterator[Option]:
    for name in (*parameter.opts, *parameter.secondary_opts):
        yield Option(
            name,
            None if parameter.is_flag else parameter.metavar,
            _choices(command, parameter.name),
            parameter.help or "",
            None if parameter.is_flag or parameter.default is None else str(parameter.default),
            parameter.required,
        )


def _choices(command: Any, name: str) -> tuple[str, ...]:
    hint = get_type_hints(command.callback)[name]
    kinds = [kind for kind in (hint, *get_args(hint)) if isinstance(kind, enum.EnumMeta)]
    return tuple(str(member.value) for kind in kinds for member in kind)
