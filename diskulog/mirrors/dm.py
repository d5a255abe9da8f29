# SPDX-License-Identifier: LGPL-2.1-or-later
"""The mirrors that dm has: listed by their tables and names, created and removed.

Lives here: what ``dmsetup`` is asked for and told, the words of its refusals. Does not know how it is run, or what
should be created.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from diskulog import dmsetup, mirrortable
from diskulog.dmsetup import AnsweredNoError
from diskulog.errors import RefusedError
from diskulog.exits import UsageError
from diskulog.mirrortable import MirrorLine


@dataclass(frozen=True, slots=True)
class Mirror:
    """A mapped device whose table is one line, that of a mirror; ``lines`` has more where LVM made it of pieces."""

    name: str
    lines: tuple[MirrorLine, ...]

    @property
    def line(self) -> MirrorLine:
        """Return the first, which is the only one of what is not LVM's."""
        return self.lines[0]

    @property
    def userspace(self) -> bool:
        """Whether a daemon keeps one of its logs."""
        return any(each.userspace for each in self.lines)


def mirrors() -> tuple[Mirror, ...]:
    """List the mapped devices that have a mirror in their live table, by name.

    Raises:
        DeviceError: when dm cannot be asked.
    """
    found: dict[str, list[MirrorLine]] = {}
    for name, line in mirrortable.named(dmsetup.mirror_tables()):
        found.setdefault(name, []).append(line)
    return tuple(Mirror(name, tuple(lines)) for name, lines in sorted(found.items()))


def uuids(found: Iterable[Mirror]) -> dict[str, str]:
    """Return the name of a mirror for each uuid that a log in user space has."""
    return {line.uuid: each.name for each in found for line in each.lines if line.uuid is not None}


def mirror(name: str) -> Mirror:
    """Return one of them.

    Raises:
        UsageError: when there is no mirror of this name.
        DeviceError: when dm cannot be asked.
    """
    for each in mirrors():
        if each.name == name:
            return each
    raise UsageError(f"{name}: there is no mirror of this name ('diskulog mirror list' shows them)")


def names() -> frozenset[str]:
    """Return the names of all mapped devices.

    Raises:
        DeviceError: when dm cannot be asked.
    """
    return frozenset(_words(dmsetup.ask("info", "-c", "--noheadings", "-o", "name")))


def open_count(name: str) -> int:
    """Tell how many have a mapped device open.

    Raises:
        DeviceError: when dm cannot be asked.
    """
    words = list(_words(dmsetup.ask("info", "-c", "--noheadings", "-o", "open", name)))
    return int(words[0]) if words and words[0].isdigit() else 0


def _words(text: str) -> Iterator[str]:
    return (word.strip() for word in text.splitlines() if word.strip() and word.strip() != "No devices found")


def create_words(name: str, table: str) -> list[str]:
    """Return the command that creates a mapped device."""
    return ["dmsetup", "create", name, "--table", table]


def remove_words(name: str) -> list[str]:
    """Return the command that removes one; udev may have it open for a moment."""
    return ["dmsetup", "remove", "--retry", name]


def create(name: str, table: str) -> None:
    """Create a mapped device.

    Raises:
        RefusedError: when one of its devices is in use, or the kernel or the daemon does not want the table.
        DeviceError: when dm cannot be asked.
    """
    _act(name, create_words(name, table))


def remove(name: str) -> None:
    """Remove a mapped device.

    Raises:
        RefusedError: when it is in use.
        DeviceError: when dm cannot be asked.
    """
    _act(name, remove_words(name))


def _act(name: str, command: list[str]) -> None:
    try:
        dmsetup.act(*command[1:])
    except AnsweredNoError as cause:
        if cause.busy:
            reason = f"it, or a device of its table, is in use (dmsetup: {cause.reason})"
            raise RefusedError(name, reason, "see who holds it") from cause
        remedy = "dmesg, and the daemon's log (journalctl -u diskulog), say why"
        raise RefusedError(name, f"dmsetup: {cause.reason}", remedy) from cause
