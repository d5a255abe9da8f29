# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which devices of this host are mirrors with their log in user space, and whether a daemon answers for them.

Lives here: tables and sysfs brought together. Does not know what is planned.
"""

import errno as errnos

from diskulog import neighbours
from diskulog.errors import DeviceError
from diskulog.mirrors import devices, dm
from diskulog.mirrors.dm import Mirror


def by_number() -> dict[str, str]:
    """Return the names of the mirrors with their log in user space, by their number; none without device mapper.

    Raises:
        DeviceError: when dm does not say.
    """
    numbers = devices.mapped()
    return {numbers[each.name]: each.name for each in _mirrors() if each.userspace and each.name in numbers}


def by_uuid() -> dict[str, str]:
    """Return their names by the uuid of their log; none without device mapper.

    Raises:
        DeviceError: when dm does not say.
    """
    return dm.uuids(_mirrors())


def _mirrors() -> tuple[Mirror, ...]:
    try:
        return dm.mirrors()
    except DeviceError as cause:
        if cause.errno not in (errnos.ENOENT, errnos.ENODEV):
            raise
        return ()


def daemon_answers() -> bool:
    """Tell whether somebody answers requests: without, what changes a mirror fails, or waits and cannot be killed."""
    try:
        return neighbours.somebody_answers()
    except OSError:  # no netlink to be seen
        return False
