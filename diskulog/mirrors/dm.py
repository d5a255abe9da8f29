# SPDX-License-Identifier: LGPL-2.1-or-later
"""The door to dm: ``dmsetup``, asked for tables and names, told to create and remove.

Lives here: running it, the words of its failures. Never asks for a status: that of a mirror whose daemon is away hangs
and cannot be killed. Does not know what should be created.
"""

import errno as errnos
import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from diskulog import mirrortable
from diskulog.errors import DeviceError, RefusedError
from diskulog.exits import UsageError
from diskulog.mirrortable import MirrorLine

ASK_SECONDS: Final = 20.0
_DEATH_SECONDS: Final = 2.0
ACT_SECONDS: Final = 120.0  # the kernel asks the daemon again after 15 s


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
    for name, line in mirrortable.named(_run("table", "--target", "mirror", seconds=ASK_SECONDS)):
        found.setdefault(name, []).append(line)
    return tuple(Mirror(name, tuple(lines)) for name, lines in sorted(found.items()))


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
    return frozenset(_words(_run("info", "-c", "--noheadings", "-o", "name", seconds=ASK_SECONDS)))


def open_count(name: str) -> int:
    """Tell how many have a mapped device open.

    Raises:
        DeviceError: when dm cannot be asked.
    """
    words = list(_words(_run("info", "-c", "--noheadings", "-o", "open", name, seconds=ASK_SECONDS)))
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
    _run(*create_words(name, table)[1:], seconds=ACT_SECONDS, changes=name)


def remove(name: str) -> None:
    """Remove a mapped device.

    Raises:
        RefusedError: when it is in use.
        DeviceError: when dm cannot be asked.
    """
    _run(*remove_words(name)[1:], seconds=ACT_SECONDS, changes=name)


def _run(*words: str, seconds: float, changes: str | None = None) -> str:
    try:
        process = subprocess.Popen(
            ["dmsetup", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "LC_ALL": "C"},
        )
    except FileNotFoundError as cause:
        raise DeviceError("cannot ask dm: dmsetup is not installed", cause) from cause
    except (OSError, ValueError) as cause:
        failure = cause if isinstance(cause, OSError) else OSError(errnos.EINVAL, str(cause))
        raise DeviceError("cannot run dmsetup", failure) from cause
    try:
        out, said = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired as cause:
        process.kill()
        with suppress(subprocess.TimeoutExpired):  # what waits for the kernel cannot be killed, nor waited for
            process.communicate(timeout=_DEATH_SECONDS)
        text = f"no answer within {seconds:.0f} s; process {process.pid} waits for the kernel"
        raise DeviceError(f"dmsetup {words[0]}", OSError(errnos.ETIMEDOUT, text)) from cause
    if process.returncode:
        raise _failure(words[0], os.fsdecode(said), changes)
    return os.fsdecode(out)


_KINDS: Final = (
    ("Permission denied", errnos.EACCES),
    ("Operation not permitted", errnos.EPERM),
    ("/dev/mapper/control", errnos.ENODEV),  # no device mapper in this kernel
)
_BUSY: Final = "Device or resource busy"


def _failure(verb: str, said: str, changes: str | None) -> DeviceError | RefusedError:
    lines = [each.strip() for each in said.splitlines() if each.strip() and each.strip() != "Command failed."]
    first = lines[0] if lines else "it does not say why"
    for text, number in _KINDS:
        if text in said:
            return DeviceError("cannot ask dm", OSError(number, first))
    if changes is None:
        return DeviceError(f"dmsetup {verb}", OSError(errnos.EIO, first))
    if _BUSY in said:
        return RefusedError(changes, f"it, or a device of its table, is in use (dmsetup: {first})", "see who holds it")
    return RefusedError(changes, f"dmsetup: {first}", "dmesg, and the daemon's log (journalctl -u diskulog), say why")
