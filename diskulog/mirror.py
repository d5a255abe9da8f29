# SPDX-License-Identifier: LGPL-2.1-or-later
"""What stands on a log device: the mirror that uses it and the mirror's legs, found in sysfs.

Lives here: holders, slaves, suspended or not, flushing the legs' caches. Never asks dm: a status ioctl on a mirror
calls back into this daemon and would wait for itself.
"""

import errno
import os
from pathlib import Path
from typing import Final

from diskulog.device import node_of
from diskulog.errors import DeviceError, NotResumedError

_SYS_DEV: Final = Path("/sys/dev/block")


class SysfsMirror:
    """The mirror on one log device. Descriptors of legs are held between ``look`` and ``close``."""

    def __init__(self, number: str) -> None:
        """Take the log device's ``major:minor``."""
        self._number = number
        self._legs: dict[str, int] = {}
        self._unopened: DeviceError | None = None
        self._open = False

    def look(self) -> None:
        """Find the legs and hold a descriptor of each; during a reload both tables' legs are found.

        A leg that cannot be opened, dead perhaps, is no reason not to keep the log; the next flush fails.
        """
        self._open = True
        self._find()

    def _find(self) -> None:
        self._unopened = None
        legs = _legs_of(self._number)
        for gone in self._legs.keys() - legs:
            os.close(self._legs.pop(gone))
        for leg in sorted(legs - self._legs.keys()):
            try:
                # read-only and not exclusive: dm holds the leg; fdatasync reaches its cache all the same
                self._legs[leg] = os.open(node_of(leg), os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                self._unopened = DeviceError(f"leg {leg}", error)

    def flush_legs(self) -> None:
        """Flush the write cache of every leg.

        Raises:
            DeviceError: a leg cannot be flushed, or none is found: then nothing may be called clean.
            NotResumedError: the log is not live any more.
        """
        self._refuse_when_closed()
        self._find()
        self._refuse_when_closed()  # by the other lane, meanwhile
        if self._unopened:
            raise self._unopened
        if not self._legs:
            raise DeviceError(f"legs of the mirror on {self._number}", OSError(errno.ENODEV, "none found in sysfs"))
        for leg, fd in tuple(self._legs.items()):
            try:
                # a descriptor of our own: the legs may be closed while a flush hangs, and the number taken by others
                own = os.dup(fd)
                try:
                    os.fdatasync(own)
                finally:
                    os.close(own)
            except OSError as error:
                raise DeviceError(f"leg {leg}: cache flush", error) from error

    def _refuse_when_closed(self) -> None:
        if not self._open:
            self.close()
            raise NotResumedError(f"legs of the mirror on {self._number}: the log is not resumed")

    def suspended(self) -> bool:
        """Tell whether every mirror on the log device is suspended; True when sysfs does not say."""
        return all(_read(holder / "dm" / "suspended") != "0" for holder in _holders(self._number))

    def held(self) -> bool:
        """Tell whether a device-mapper table holds the log device; True when there is no sysfs to say."""
        return bool(_holders(self._number)) or not _SYS_DEV.exists()

    def close(self) -> None:
        """Close the legs' descriptors."""
        self._open = False
        while self._legs:
            os.close(self._legs.popitem()[1])


def stands_on_served_mirror(number: str, log_devices: frozenset[str]) -> str | None:
    """Name the mirror served here that a device stands on, at any depth; None when there is none.

    A log there would wait for itself: its msync goes through a mirror whose log is answered here.
    """
    for below in _all_below(_SYS_DEV / number):
        if any(_read(slave / "dev") in log_devices for slave in _entries(below / "slaves")):
            return below.name
    return None


def _legs_of(number: str) -> set[str]:
    log = (_SYS_DEV / number).resolve().name
    return {slave.name for holder in _holders(number) for slave in _entries(holder / "slaves")} - {log}


def _holders(number: str) -> list[Path]:
    return [path for path in _entries(_SYS_DEV / number / "holders") if (path / "dm").exists()]


def _all_below(device: Path) -> list[Path]:
    found = [device.resolve()] if device.exists() else []
    for path in found:  # grows while it is walked: every slave's slaves too
        found.extend(slave for slave in _entries(path / "slaves") if slave not in found)
        parent = path.parent
        if (path / "partition").exists() and parent not in found:
            found.append(parent)
    return found


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(path.resolve() for path in folder.iterdir())
    except OSError:
        return []


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
