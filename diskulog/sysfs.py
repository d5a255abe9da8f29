# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the running kernel says of a block device and of itself, read from files.

Lives here: holders, their names, a device's node, this boot's id. Does not open devices and never asks dm (a status
ioctl may hang).
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

SYS_BLOCK: Final = Path("/sys/dev/block")
LOOPS: Final = Path("/sys/block")
BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def holders(device_number: int) -> tuple[str, ...]:
    """Name the devices that are built on a block device: ``dm-3``, or ``dm-3 (vg-home)`` where dm knows a name."""
    folder = SYS_BLOCK / f"{os.major(device_number)}:{os.minor(device_number)}" / "holders"
    try:
        found = sorted(folder.iterdir())
    except OSError:  # no sysfs, or a device that has gone: nobody holds it as far as can be seen
        return ()
    return tuple(_with_dm_name(path) for path in found)


def _with_dm_name(path: Path) -> str:
    name = _dm_name(path)
    return path.name if name is None else f"{path.name} ({name})"


def _dm_name(path: Path) -> str | None:
    try:
        return (path / "dm" / "name").read_text(errors="replace").strip()
    except OSError:
        return None


def loops() -> tuple[tuple[str, str], ...]:
    """List the loop devices that have a backing file, as (``loop3``, the file's name as the kernel tells it)."""
    found = []
    for device in sorted(LOOPS.glob("loop*")):
        with suppress(OSError):  # not attached
            found.append((device.name, (device / "loop" / "backing_file").read_text(errors="replace").rstrip("\n")))
    return tuple(found)


def node(number: str) -> str | None:
    """Return the device node of ``major:minor``; None where there is no such device. /dev/block would need udev."""
    folder = SYS_BLOCK / number
    return f"/dev/{folder.resolve().name.replace('!', '/')}" if folder.exists() else None


def below(device_number: int) -> frozenset[str]:
    """Name everything that a block device stands on, at any depth: mapped devices by dm's name, others as the kernel's.

    A partition stands on its disk.
    """
    found = [(SYS_BLOCK / f"{os.major(device_number)}:{os.minor(device_number)}").resolve()]
    for path in found:  # grows while it is walked
        with suppress(OSError):
            found += [each for each in map(Path.resolve, (path / "slaves").iterdir()) if each not in found]
        if (path / "partition").exists() and path.parent not in found:
            found.append(path.parent)
    return frozenset(_dm_name(path) or path.name for path in found[1:])


def dm_holders(device_number: int) -> tuple[str, ...]:
    """Name the devices that are built on a block device: mapped ones by dm's name, others as the kernel's."""
    folder = SYS_BLOCK / f"{os.major(device_number)}:{os.minor(device_number)}" / "holders"
    try:
        return tuple(_dm_name(path) or path.name for path in sorted(folder.iterdir()))
    except OSError:
        return ()


def boot_id() -> bytes:
    """Return this boot's id, 16 bytes; zeros when the kernel does not tell."""
    try:
        return bytes.fromhex(BOOT_ID.read_text().strip().replace("-", ""))
    except (OSError, ValueError):
        return bytes(16)
