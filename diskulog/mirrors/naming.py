# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a device is called: for people to read, and in a file that is read after the next boot.

Lives here: dm names, the links of /dev/disk, the kernel's names. Does not open devices.
"""

import re
from pathlib import Path
from typing import Final

from diskulog import sysfs
from diskulog.mirrors import devices

MAPPED: Final = Path("/dev/mapper")
# the first folder with a link to the device names it; what the hardware or a partition table says stays over a boot
LINKS: Final = tuple(Path("/dev/disk") / word for word in ("by-id", "by-partuuid", "by-path"))
# sda, vdb1, nvme0n1, loop3, dm-4, 253:2: given in the order of discovery
_NUMBERED: Final = re.compile(
    r"/dev/(sd|vd|xvd|hd|nvme|mmcblk|loop|ram|sr|dm-|md|nbd|zram|bcache|rbd|pmem|dasd|drbd)[a-z0-9.]*"
    r"|/dev/(block|disk/by-diskseq)/.*"
)
# what such a link names lies on every leg and on the mirror itself
_OF_CONTENT: Final = re.compile(r"/dev/disk/(by-uuid/|by-label/|by-id/lvm-pv-uuid-).*")


def known_as(device: str) -> str:
    """Return a path for a device of a table, where there is one: a name of dm, or the kernel's."""
    number = devices.resolved(device)
    for name, mapped in devices.mapped().items():
        if mapped == number:
            return str(MAPPED / name)
    return device if device.startswith("/") else sysfs.node(number) or device


def lasting(device: str) -> str:
    """Return a path that will name the same device after the next boot; where none is found, what ``known_as`` says."""
    name = known_as(device)
    if not unstable(name):
        return name
    number = devices.resolved(device)
    for folder in LINKS:
        try:
            links = sorted(folder.iterdir(), key=lambda path: (len(path.name), path.name))
        except OSError:
            continue
        for link in links:
            if not _OF_CONTENT.fullmatch(str(link)) and devices.resolved(str(link)) == number:
                return str(link)
    return name


def unstable(name: str) -> bool:
    """Tell whether a path may name another device after a boot."""
    return not name.startswith("/") or any(each.fullmatch(name) for each in (_NUMBERED, _OF_CONTENT))
