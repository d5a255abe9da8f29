# SPDX-License-Identifier: LGPL-2.1-or-later
"""A VM on the images whose power can be cut, and what its guest tells.

Lives here: starting tools/vm with the guest's half, its events, its end. Does not know when to cut, or what to check.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TOOLS = Path(__file__).resolve().parent
VM_SECONDS = 400
BOOTS = 3  # until one has a clock that is right
CLOCK_ERROR_SECONDS = 5


class ProvesNothingError(Exception):
    """The run, or a part of it, is no evidence for anything."""


class Machine:
    """Runs powercut_guest.py on three images."""

    def __init__(self, folder: Path, disks: list[Path], kernel: str, plan: dict[str, object]) -> None:
        shared = folder / "shared"
        shutil.rmtree(shared, ignore_errors=True)
        shared.mkdir()
        self._go = shared / "go"
        self._errors = (folder / "vm.log").open("wb")
        command = [TOOLS / "vm", "--kernel", kernel, "--cpus", "1", "--memory", "1G", "--timeout", str(VM_SECONDS)]
        command += ["--modules", "dm-delay", "--share", shared]
        command += [word for disk in disks for word in ("--disk", disk)]
        # -S: the guest's half needs no site packages, and starts faster without them
        python = TOOLS.parent / ".venv/bin/python"
        command += ["--", python, "-S", TOOLS / "powercut_guest.py", json.dumps({**plan, "go": str(self._go)})]
        self._process = subprocess.Popen(
            command,
            cwd=TOOLS.parent,  # where the guest finds diskulog
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self.events: list[str] = []

    def wait(self, event: str) -> dict[str, int]:
        """Wait for the next such event, and return its facts."""
        for line in self._lines():
            told = self._take(line)
            if told["event"] == event:
                return told
        raise ProvesNothingError(f"the VM ended before {event!r}")

    def go_on(self) -> None:
        """Let the guest write."""
        self._go.touch()

    def cut(self) -> None:
        """Kill it. At the end of its output QEMU is gone too, and what it had told until then is taken."""
        self._process.kill()
        for line in self._lines():
            if line.endswith("\n"):
                self._take(line)

    def end(self) -> None:
        """Wait until the guest ends by itself."""
        for line in self._lines():
            self._take(line)
        if code := self._process.wait():
            raise ProvesNothingError(f"the VM ended with {code}")

    def _lines(self) -> Iterator[str]:
        assert self._process.stdout is not None
        # not "for line in": that would read ahead, and an event be seen late
        return iter(self._process.stdout.readline, "")

    def _take(self, line: str) -> dict[str, int]:
        told = json.loads(line)
        self.events.append(told["event"])
        if "error" in told:
            raise ProvesNothingError(f"{told['event']}: {told['error']}")
        return told

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()


@contextmanager
def booted(folder: Path, disks: list[Path], kernel: str, plan: dict[str, object]) -> Iterator[Machine]:
    """Give a VM whose clock runs right; nothing has touched the images yet."""
    for _ in range(BOOTS):
        with Machine(folder, disks, kernel, plan) as machine:
            if machine.wait("begin")["clock_error_seconds"] < CLOCK_ERROR_SECONDS:
                yield machine
                return
    raise ProvesNothingError(f"{BOOTS} VMs in a row had a clock that runs wrong")
