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
    try:
        name = (path / "dm" / "name").read_text(errors="replace").strip()
    except OSError:
        return path.name
    return f"{path.name} ({name})"


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


def boot_id() -> bytes:
    """Return this boot's id, 16 bytes; zeros when the kernel does not tell."""
    try:
        return bytes.fromhex(BOOT_ID.read_text().strip().replace("-", ""))
    except (OSError, ValueError):
        return bytes(16)
