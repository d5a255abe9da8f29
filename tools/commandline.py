# SPDX-License-Identifier: LGPL-2.1-or-later
"""The commands of the real program, with their options and arguments, as a table.

Lives here: how the command line is asked for them. Does not know who needs the table (man pages, completion).
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args, get_type_hints

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
    """One command, or the program itself, whose name is empty; ``config show`` is one of the group ``config``."""

    name: str
    help: str
    options: tuple[Option, ...]
    arguments: tuple[str, ...]
    repeats: bool  # its last argument

    @property
    def word(self) -> str:
        """Return the word behind ``diskulog``, which names the man page too."""
        return self.name.partition(" ")[0]


@dataclass(frozen=True, slots=True)
class Group:
    """A word with commands of its own."""

    name: str
    help: str
    commands: tuple[Command, ...]


def program() -> Command:
    """Return the program's own options."""
    return _command("", cli.program())


def commands() -> tuple[Command, ...]:
    """Return the commands, by name, those of the groups among them."""
    found = [_command(name, each) for name, each in _words() if not _is_group(each)]
    return tuple(sorted((*found, *(each for group in groups() for each in group.commands)), key=lambda each: each.name))


def groups() -> tuple[Group, ...]:
    """Return the groups, by name."""
    return tuple(
        Group(
            name,
            _first_line(group.help),
            tuple(_command(f"{name} {word}", each) for word, each in sorted(group.commands.items())),
        )
        for name, group in _words()
        if _is_group(group)
    )


def _words() -> list[tuple[str, Any]]:
    found: Any = cli.program()
    return sorted(found.commands.items())


def _is_group(command: Any) -> bool:
    return hasattr(command, "commands")


def _first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0]


def _command(name: str, command: Any) -> Command:
    parameters = [each for each in command.params if not each.hidden]
    arguments = [each for each in parameters if each.param_type_name == "argument"]
    return Command(
        name,
        _first_line(command.help),
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
