# SPDX-License-Identifier: LGPL-2.1-or-later
"""A machine that tools/rootboot boots from its disks, and what its guest says.

Lives here: QEMU's command line, the lines on the second serial port, the end. Does not know what they should be.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

BOOT_SECONDS = 1500  # emulated, and this machine may be busy
WRITES = 6  # before the power is cut


class NotSoError(Exception):
    """Something is not as it should be."""


def say(message: str) -> None:
    """Tell whoever waits."""
    print(f"tools/rootboot: {message}", flush=True)


def only(tree: Path, pattern: str) -> Path:
    """The file of a tree that a pattern means."""
    (found,) = tree.glob(pattern)
    return found


class Machine:
    """One boot: what the guest says, and its end."""

    def __init__(self, tree: Path, disks: list[Path], folder: Path, act: str, cpus: int) -> None:
        self.act = act
        self.told = folder / f"{act}.told"
        self.told.write_bytes(b"")
        parameters = (
            f"root=/dev/mapper/root ro console=ttyS0 act={act} panic=-1 mitigations=off apparmor=0 audit=0 "
            "tsc=reliable no_timer_check rcupdate.rcu_expedited=1 random.trust_cpu=on systemd.show_status=1"
        )
        command = [
            "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "Nehalem,rdrand=on", "-m", "1G",
            "-smp", str(cpus), "-nic", "none", "-kernel", only(tree, "boot/vmlinuz-*"),
            "-initrd", only(tree, "boot/initrd.img-*"), "-append", parameters,
            "-serial", f"file:{folder / act}.console", "-serial", f"file:{self.told}",
        ]  # fmt: skip
        for disk in disks:
            command += ["-drive", f"file={disk},format=raw,if=none,id={disk.name},cache=writeback"]
            command += ["-device", f"virtio-blk-pci,drive={disk.name},serial={disk.name}"]
        say(f"the {act} boot")
        self._begun = time.monotonic()
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def lines(self) -> list[str]:
        """What the guest said, line by line."""
        text = self.told.read_text(errors="replace").replace("\r", "")
        return [line.removeprefix(">> ") for line in text.splitlines() if line.startswith(">> ")]

    def first(self, word: str, which: int = 0) -> str:
        """The rest of the first line (or a later one) that begins with a word."""
        found = [line.removeprefix(word).strip() for line in self.lines() if line.split()[:1] == [word]]
        if len(found) <= which:
            raise NotSoError(f"the {self.act} boot said no {word!r}")
        return found[which]

    def _wait(self, truth: Callable[[], bool]) -> None:
        while not truth():
            if time.monotonic() > self._begun + BOOT_SECONDS:
                self.cut()
                raise NotSoError(f"the {self.act} boot came to no end in {BOOT_SECONDS} s; see {self.told.parent}")
            time.sleep(0.2)

    def wait_writing(self) -> None:
        """Wait until the guest has written for a while."""
        self._wait(lambda: self.lines().count("wrote") >= WRITES or self._process.poll() is not None)
        if self._process.poll() is not None:
            raise NotSoError(f"the {self.act} boot ended by itself; see {self.told.parent}")

    def wait_off(self) -> None:
        """Wait until the machine is switched off."""
        self._wait(lambda: self._process.poll() is not None)
        say(f"{self.act}: switched itself off after {time.monotonic() - self._begun:.0f} s")

    def cut(self) -> None:
        """Cut the power."""
        self._process.kill()
        self._process.wait()
