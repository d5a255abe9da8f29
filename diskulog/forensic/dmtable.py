# SPDX-License-Identifier: LGPL-2.1-or-later
"""A mirror with its log on a device, by its name: its table, and what to open for the devices in that.

Lives here: what ``verify`` asks of a table, and its refusals. Does not know how dm is asked, or what a line looks like.
"""

from dataclasses import dataclass
from typing import Final

from diskulog import dmsetup, mirrortable, sysfs
from diskulog.dmsetup import AnsweredNoError, NotInstalledError
from diskulog.errors import DeviceError, RefusedError
from diskulog.exits import UsageError
from diskulog.mirrortable import Flaw, LegName

_WORDING: Final = {
    Flaw.TARGETS: ("its table has {} targets, a mirror has one", "name the mirror, or DEV and its legs"),
    Flaw.NO_MIRROR: ("is no mirror, but '{}' from sector {}", "name a mirror"),
    Flaw.LOG_TYPE: ("its log is of type '{}'", "there is nothing that can be verified"),
    Flaw.WORDS: ("its table cannot be understood", "name DEV and its legs instead"),
}


@dataclass(frozen=True, slots=True)
class MirrorTable:
    """What a table says; ``uuid`` is None with the kernel's own log. Devices are paths or ``major:minor``."""

    length_sectors: int
    uuid: str | None
    log: str
    region_size_sectors: int
    legs: tuple[LegName, ...]


def table(name: str) -> str:
    """Return the live table of a mapped device.

    Raises:
        UsageError: when there is no such device.
        DeviceError: when dm cannot be asked.
    """
    try:
        return dmsetup.ask("table", "--", name)
    except NotInstalledError as cause:
        raise UsageError("--mirror needs dmsetup, which is not installed: name DEV and its legs instead") from cause
    except AnsweredNoError as cause:
        raise UsageError(
            f"--mirror {name}: there is no such mirror ('dmsetup ls' lists them); dmsetup: {cause.reason}"
        ) from cause
    except DeviceError as cause:
        raise DeviceError(f"--mirror {name}", OSError(cause.errno, str(cause))) from cause


def parse(name: str, text: str) -> MirrorTable:
    """Take the table of a mirror apart.

    Raises:
        RefusedError: when it is no mirror, or not one with a log on a device.
    """
    line = mirrortable.whole(name, text, _WORDING)
    if line.log is None:
        raise RefusedError(
            name, f"its log is in memory only ('{line.log_type}')", "there is no log on a device to verify"
        )
    return MirrorTable(line.length_sectors, line.uuid, line.log, line.region_size_sectors, line.legs)


def node(name: str, device: str) -> str:
    """Return what to open for a device of a mirror's table, which is a path or ``major:minor``.

    Raises:
        RefusedError: when no device has that number.
    """
    if device.startswith("/"):
        return device
    found = sysfs.node(device)
    if found is None:
        raise RefusedError(name, f"its device {device} is not there", "look at 'dmsetup table'")
    return found
