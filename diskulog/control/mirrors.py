# SPDX-License-Identifier: LGPL-2.1-or-later
"""What this host says of the mirrors that stand on the daemon's logs: names, devices, legs.

Lives here: sysfs, and dmsetup's tables where one may ask for them. Never asks dm for a status, which would call back
into the daemon; does not know how a log stands.
"""

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from diskulog import dmsetup, mirrortable, sysfs
from diskulog.errors import DiskulogError
from diskulog.mirrortable import Named

_LEAST_LEGS: Final = 2


@dataclass(frozen=True, slots=True)
class Mirror:
    """A mirror; devices are ``major:minor``. ``handle_errors`` is None where its table may not be seen."""

    name: str
    device: str | None
    legs: tuple[str, ...]
    handle_errors: bool | None


def found_tables() -> tuple[Named, ...]:
    """Return the tables of all mirrors; none where dm may not be asked (root only)."""
    try:
        text = dmsetup.mirror_tables()
    except DiskulogError:
        return ()
    # as the daemon spells a uuid in JSON
    return tuple(mirrortable.named(os.fsencode(text).decode("utf-8", "replace")))


def mirror_of(uuid: str, log_device: str | None, known: Iterable[Named]) -> Mirror | None:
    """Find the mirror of a log: by its device in sysfs, that of a core log by its uuid in a table."""
    by_table = [table for table in known if table.line.uuid == uuid]
    if log_device is None:
        return _without_log_device(by_table)
    for folder in _entries(sysfs.SYS_BLOCK / log_device / "holders"):
        name = _read(folder / "dm" / "name")
        slaves = [_read(slave / "dev") for slave in _entries(folder / "slaves")]
        legs = tuple(number for number in slaves if number and number != log_device)
        table = next((table for table in by_table if table.name == name), None)
        if name and (table or len(legs) >= _LEAST_LEGS):  # what else stands on a log's device is no mirror
            own = _legs(table) if table and set(_legs(table)) <= set(legs) else legs  # in the table's order
            return Mirror(name, _read(folder / "dev") or None, own, table.line.handles_errors if table else None)
    return None


def _legs(table: Named) -> tuple[str, ...]:
    return tuple(leg.device for leg in table.line.legs)


def _without_log_device(by_table: list[Named]) -> Mirror | None:
    if len(by_table) != 1:
        return None
    (table,) = by_table
    return Mirror(table.name, _device_named(table.name), _legs(table), table.line.handles_errors)


def _device_named(name: str) -> str | None:
    for folder in _entries(sysfs.LOOPS):
        if _read(folder / "dm" / "name") == name:
            return _read(folder / "dev") or None
    return None


def number_of(word: str) -> str | None:
    """Return ``major:minor`` of a block device's node; None of what is none."""
    try:
        found = os.stat(word)  # noqa: PTH116 - a device name
    except (OSError, ValueError):
        return None
    return f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}" if stat.S_ISBLK(found.st_mode) else None


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(path.resolve() for path in folder.iterdir())
    except OSError:
        return []


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
