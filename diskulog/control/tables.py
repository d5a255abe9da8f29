# SPDX-License-Identifier: LGPL-2.1-or-later
"""Tables of all mirrors, as ``dmsetup table`` prints them: whose log is ours, whether errors are handled.

Lives here: taking lines apart; a line that is not understood is nobody's. Asks nobody: ``dmsetup`` gets the lines.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_USERSPACE: Final = "userspace"
_HANDLES: Final = "handle_errors"


@dataclass(frozen=True, slots=True)
class Table:
    """What the table of a mirror with a log in user space says; ``legs`` are ``major:minor``."""

    name: str
    uuid: str
    legs: tuple[str, ...]
    handle_errors: bool


def parse(text: str) -> tuple[Table, ...]:
    """Take every mirror with a log in user space from dmsetup's lines; others are passed over."""
    return tuple(_tables(text))


def _tables(text: str) -> Iterator[Table]:
    for line in text.splitlines():
        name, _, words = line.partition(": ")  # dmsetup escapes spaces in names
        try:
            found = _table(name, words.split())
        except (ValueError, IndexError):
            continue
        if found is not None:
            yield found


def _table(name: str, words: list[str]) -> Table | None:
    if words[2:4] != ["mirror", _USERSPACE]:
        return None
    count = int(words[4])
    rest = words[5 + count :]
    legs_end = 1 + 2 * int(rest[0])
    legs = tuple(rest[at] for at in range(1, legs_end, 2))
    return Table(name, words[5], legs, _HANDLES in rest[legs_end:])
