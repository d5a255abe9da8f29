# SPDX-License-Identifier: LGPL-2.1-or-later
"""The block devices that a mirror is to be made of: their size, who uses them, what they stand on.

Lives here: looking, by sysfs, mountinfo and an exclusive open that writes nothing. Does not judge what it finds.
"""

import errno as errnos
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from diskulog import sysfs
from diskulog.errors import DeviceError, RefusedError
from diskulog.exits import UsageError
from diskulog.forensic import source
from diskulog.forensic.source import FileSource
from diskulog.units import SECTOR_BYTES

MOUNTS: Final = Path("/proc/self/mountinfo")
SWAPS: Final = Path("/proc/swaps")
BLOCKS: Final = Path("/sys/block")


@dataclass(frozen=True, slots=True)
class Device:
    """A block device that is there and in nobody's use; ``name`` as it was given, ``number`` is ``major:minor``.

    ``below`` are the numbers of the devices that it stands on, at any depth, a partition's disk among them.
    """

    name: str
    number: str
    size_sectors: int
    block_bytes: int
    below: frozenset[str]
    disks: frozenset[str]  # names of what is at the bottom


@contextmanager
def opened(name: str) -> Iterator[tuple[Device, FileSource]]:
    """Open a device for ourselves alone, which nobody who uses it lets us do, and read-only.

    Raises:
        UsageError: when it is not a block device.
        RefusedError: when it is in use, with who uses it.
        DeviceError: when it cannot be opened.
    """
    if any(char.isspace() for char in name) or not name.startswith("/"):
        raise UsageError(f"{name!r}: a table needs the path of a device from / on, without blanks")
    try:
        with source.opened(name, os.O_EXCL) as file:
            assert isinstance(file, FileSource)  # only standard input is a stream
            if not file.is_block:
                raise UsageError(f"{name}: is not a block device; losetup makes one of a file")
            file.bypass_cache()  # the kernel's own log writes past it
            number = number_of(os.fstat(file.fd).st_rdev)
            yield _looked_at(name, number, file), file
    except DeviceError as cause:
        if cause.errno != errnos.EBUSY:
            raise
        raise RefusedError(name, f"is in use: {', '.join(users(name))}", "free it first, or name another") from cause


def _looked_at(name: str, number: str, file: FileSource) -> Device:
    below = stands_on(number)
    bottoms = {path.name for path in below if not _folders(path)} or {(sysfs.SYS_BLOCK / number).resolve().name}
    numbers = frozenset(map(number_in, below))
    return Device(name, number, file.size_bytes // SECTOR_BYTES, file.block_bytes, numbers, frozenset(bottoms))


def number_of(device_number: int) -> str:
    """Return a device number as sysfs and dm write it."""
    return f"{os.major(device_number)}:{os.minor(device_number)}"


def resolved(name: str) -> str:
    """Return the number of a device that a table names; the name itself where there is no such device."""
    if not name.startswith("/"):
        return name
    try:
        return number_of(Path(name).stat().st_rdev)
    except (OSError, ValueError):
        return name


def users(name: str) -> list[str]:
    """Say who uses a device that somebody uses, as far as can be seen."""
    return users_of(resolved(name)) or ["opened by a program for itself, or a part of it is in use"]


def users_of(number: str) -> list[str]:
    """Say who mounted, holds or swaps to a device; empty when nobody is seen to."""
    found = [f"mounted on {place}" for place in mounted_on(number)]
    found += [f"held by {holder}" for holder in sysfs.holders(_device_number(number))]
    return found + (["swap space"] if number in _swaps() else [])


def _device_number(number: str) -> int:
    major, _, minor = number.partition(":")
    return os.makedev(int(major), int(minor)) if major.isdigit() and minor.isdigit() else 0


def mounted_on(number: str) -> list[str]:
    """List where a block device is mounted."""
    found = []
    for row in _lines(MOUNTS):
        words = row.split()
        # id, parent, major:minor, root, mount point ... - type, source; btrfs has a number of its own in the third
        mounted_from = words[words.index("-") + 2] if "-" in words[:-2] else ""
        if words[2] == number or (mounted_from.startswith("/") and resolved(mounted_from) == number):
            found.append(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), words[4]))
    return found


def _swaps() -> set[str]:
    return {resolved(row.split()[0]) for row in _lines(SWAPS)[1:] if row.split()}


def stands_on(number: str) -> list[Path]:
    """List what a device stands on, at any depth, as folders of sysfs; for a partition its disk too."""
    start = sysfs.SYS_BLOCK / number
    found = _folders(start.resolve()) if start.exists() else []
    for path in found:  # grows while it is walked
        found.extend(each for each in _folders(path) if each not in found)
    return found


def number_in(folder: Path) -> str:
    """Return the number of a device by its folder of sysfs."""
    return _read(folder / "dev")


def is_suspended(number: str) -> bool:
    """Tell whether a mapped device is suspended, as far as sysfs says."""
    return _read(sysfs.SYS_BLOCK / number / "dm" / "suspended") == "1"


def mapped() -> dict[str, str]:
    """Return the numbers of all mapped devices, by their names as ``dmsetup`` prints them."""
    return {_read(path / "dm" / "name"): _read(path / "dev") for path in sorted(BLOCKS.glob("dm-*"))}


def _folders(path: Path) -> list[Path]:
    parent = [path.parent] if (path / "partition").exists() else []
    try:
        return parent + sorted(each.resolve() for each in (path / "slaves").iterdir())
    except OSError:
        return parent


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return []
