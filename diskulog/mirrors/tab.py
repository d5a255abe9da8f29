# SPDX-License-Identifier: LGPL-2.1-or-later
"""The mirrortab: the mirrors of a host in a file, one a line, the name and then the table line.

Lives here: its grammar, and what is to be said of a line that can be loaded. A line that cannot be understood spoils no
other. Does not know what is done with it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from diskulog import mirrortable
from diskulog.exits import UsageError
from diskulog.mirrors import naming, wish
from diskulog.mirrortable import MirrorLine

DEFAULT_PATH: Final = Path("/etc/diskulog/mirrortab")


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the file; ``line`` is None where ``problem`` says why."""

    number: int
    name: str
    line: MirrorLine | None
    problem: str = ""


def parse(text: str) -> tuple[Entry, ...]:
    """Read the file; empty lines and those that begin with # say nothing."""
    entries: list[Entry] = []
    for number, row in enumerate(text.split("\n"), start=1):
        words = row.strip()
        if words and not words.startswith("#"):
            entry = _entry(number, words)
            if any(entry.name == other.name for other in entries):
                entry = Entry(number, entry.name, None, "the name is there twice; the first line counts")
            first = _of_its_uuid(entry, entries)
            if first is not None:
                problem = f"its uuid is that of {first.name} in line {first.number}, and each log has its own"
                entry = Entry(number, entry.name, None, problem)
            entries.append(entry)
    return tuple(entries)


def _of_its_uuid(entry: Entry, others: Iterable[Entry]) -> Entry | None:
    uuid = entry.line.uuid if entry.line else None
    return next((each for each in others if uuid is not None and each.line and each.line.uuid == uuid), None)


def _entry(number: int, words: str) -> Entry:
    name, *table = words.split(maxsplit=1)
    try:
        wish.check_name(name)
        found = mirrortable.parse("".join(table))
    except UsageError as cause:
        return Entry(number, name, None, str(cause))
    if found.start_sectors:
        return Entry(number, name, None, "begins at another sector than 0")
    return Entry(number, name, found)


def cautions(line: MirrorLine) -> tuple[str, ...]:
    """Say what is better not written down, though a mirror can be made of it."""
    named = [*(leg.device for leg in line.legs), *([line.log] if line.log else [])]
    return (
        *(["without handle_errors"] if not line.handles_errors else []),
        *(["with nosync: after a crash, legs that differ may be called equal"] if "nosync" in line.options else []),
        *(["with sync: everything is copied at each boot"] if "sync" in line.options else []),
        *(f"{device} may be another device after a boot" for device in named if naming.unstable(device)),
    )


def row(name: str, saved: MirrorLine) -> str:
    """Return the line of the file for a mirror."""
    return f"{name} {saved.text()}"


def uuid_of(name: str, text: str) -> str | None:
    """Return the uuid that the file gives a mirror's log; None where it says nothing of one."""
    return next((entry.line.uuid for entry in parse(text) if entry.name == name and entry.line), None)
