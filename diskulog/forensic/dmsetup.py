# SPDX-License-Identifier: LGPL-2.1-or-later
"""Asks dm for the table of a mirror, or of all, by ``dmsetup``.

Lives here: running it, and what its failures mean. Does not know what is in a table. Only the table is asked for: the
status of a mirror whose daemon is away would hang.
"""

import errno as errnos
import os
import subprocess

from diskulog import sysfs
from diskulog.errors import DeviceError, RefusedError
from diskulog.exits import UsageError


def table(name: str) -> str:
    """Return the live table of a mapped device.

    Raises:
        UsageError: when there is no such device.
        DeviceError: when dm cannot be asked.
    """
    try:
        done = _dmsetup("table", "--", name)
    except FileNotFoundError as cause:
        raise UsageError("--mirror needs dmsetup, which is not installed: name DEV and its legs instead") from cause
    except (OSError, ValueError) as cause:
        failure = cause if isinstance(cause, OSError) else OSError(errnos.EINVAL, str(cause))
        raise DeviceError(f"--mirror {name}: cannot run dmsetup", failure) from cause
    if done.returncode:
        raise _failure(name, os.fsdecode(done.stderr))
    return os.fsdecode(done.stdout)


def mirrors() -> str:
    """Return the live tables of all mirrors, a line each: ``NAME: TABLE``; other targets' lines may be among them.

    Raises:
        DeviceError: when dm cannot be asked.
    """
    try:
        done = _dmsetup("table", "--target", "mirror")
    except OSError as cause:
        raise DeviceError("cannot run dmsetup", cause) from cause
    if done.returncode:
        raise DeviceError("dmsetup table", OSError(errnos.EACCES, os.fsdecode(done.stderr).strip()))
    return done.stdout.decode("utf-8", "replace")  # as the daemon spells a uuid in JSON


def _dmsetup(*words: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "LC_ALL": "C"}
    command = ["dmsetup", *words]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, env=environment)


def _failure(name: str, said: str) -> DeviceError | UsageError:
    lines = [line.strip() for line in said.splitlines() if line.strip() and line.strip() != "Command failed."]
    first = lines[0] if lines else "it does not say why"
    if "Permission denied" in said or "/dev/mapper/control" in said:
        number = errnos.EACCES if "Permission denied" in said else errnos.ENODEV  # no device mapper in this kernel
        return DeviceError(f"--mirror {name}: cannot ask dm", OSError(number, first))
    return UsageError(f"--mirror {name}: there is no such mirror ('dmsetup ls' lists them); dmsetup: {first}")


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
