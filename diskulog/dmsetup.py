# SPDX-License-Identifier: LGPL-2.1-or-later
"""The door to ``dmsetup``: starts it, reads what it prints, tells its failures apart.

Lives here: running it so that nobody waits for ever. Does not know what its words and its tables say. Nobody asks it
for a status: that of a mirror whose daemon is away hangs and cannot be killed.
"""

import errno as errnos
import os
import subprocess
from contextlib import suppress
from typing import Final

from diskulog.errors import DeviceError

ASK_SECONDS: Final = 20.0
ACT_SECONDS: Final = 120.0  # the kernel asks the daemon again after 15 s
_DEATH_SECONDS: Final = 2.0
# where dm is not to be had at all: any other "Permission denied" is of a device that a table names
_NOT_TO_BE_HAD: Final = ("/dev/mapper/control", "version ioctl")
_RIGHTS: Final = (("Permission denied", errnos.EACCES), ("Operation not permitted", errnos.EPERM))
_BUSY: Final = "Device or resource busy"


class NotInstalledError(DeviceError):
    """There is no dmsetup on this host."""


class AnsweredNoError(DeviceError):
    """Dm could be asked, and dmsetup failed; ``reason`` is what it says first."""

    def __init__(self, verb: str, said: str) -> None:
        """Take all that it said."""
        self.reason = _first(said)
        self.busy = _BUSY in said
        super().__init__(f"dmsetup {verb}", OSError(errnos.EIO, self.reason))


def ask(*words: str) -> str:
    """Return what dmsetup prints.

    Raises:
        NotInstalledError: when there is none.
        AnsweredNoError: when it fails.
        DeviceError: when dm cannot be asked.
    """
    return _run(words, ASK_SECONDS)


def act(*words: str) -> None:
    """Have dmsetup change something; raises as ``ask``."""
    _run(words, ACT_SECONDS)


def mirror_tables() -> str:
    """Return the live tables of all mirrors, ``NAME: LINE`` each; raises as ``ask``."""
    return ask("table", "--target", "mirror")


def _run(words: tuple[str, ...], seconds: float) -> str:
    try:
        process = subprocess.Popen(
            ["dmsetup", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "LC_ALL": "C"},
        )
    except FileNotFoundError as cause:
        raise NotInstalledError("cannot ask dm: dmsetup is not installed", cause) from cause
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
        raise _failure(words[0], os.fsdecode(said))
    return os.fsdecode(out)


def _failure(verb: str, said: str) -> DeviceError:
    if any(text in said for text in _NOT_TO_BE_HAD):
        number = next((number for text, number in _RIGHTS if text in said), errnos.ENODEV)
        return DeviceError("cannot ask dm", OSError(number, _first(said)))
    return AnsweredNoError(verb, said)


def _first(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip() and line.strip() != "Command failed."]
    return lines[0] if lines else "it does not say why"
