# SPDX-License-Identifier: LGPL-2.1-or-later
"""The Debian package, built here, in the hands of a real systemd: installed, upgraded under writes, kept, purged.

Too long for every run (dpkg takes a minute for each word under emulation): tools/debian --boot runs it.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernel import machines
from tests.kernel.package_guest import STEPS

_DISKS_BYTES = (8 << 20, 8 << 20, 1 << 20)

Ran = tuple[subprocess.CompletedProcess[str], dict[str, str]]


def later(package: Path, directory: Path) -> tuple[subprocess.CompletedProcess[str], Path]:
    """Make the package again under a higher version."""
    script = """
dpkg-deb -R "$1" "$2/tree"
sed -i 's/^Version: .*/&+later/' "$2/tree/DEBIAN/control"
dpkg-deb -Zgzip -b "$2/tree" "$2/later.deb"
"""
    return machines.run(["sh", "-euc", script, "sh", package, directory]), directory / "later.deb"


def package(kernel: str, directory: Path) -> Ran:
    """Build, and run the VM; return how that ended, and what was wrong with each step."""
    done = machines.run(["tools/debian", "--out", directory / "built"])
    if done.returncode:
        return done, {}
    (built,) = (directory / "built").glob("*.deb")
    done, upgrade = later(built, directory)
    if done.returncode:
        return done, {}
    policy = directory / "root/usr/sbin/policy-rc.d"  # the host, an image for containers, may forbid packages to start
    policy.parent.mkdir(parents=True)
    policy.write_text("#!/bin/sh\n")
    policy.chmod(0o755)
    disks = machines.blank_disks(directory, _DISKS_BYTES)
    command = machines.vm(kernel, 600, "--systemd", "--overlay", str(directory / "root"), disks=disks)
    done = machines.run([*command, "--", sys.executable, "-m", "tests.kernel.package_guest", str(built), str(upgrade)])
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return done, {each["step"]: each["wrong"] for each in told}


@pytest.mark.kernel
@pytest.mark.beforehand(package, 170)
@pytest.mark.parametrize("step", [step.__name__ for step in STEPS])
def test_a_step(ran: Ran, step: str) -> None:
    done, wrong = ran
    assert wrong.get(step, done.stderr + done.stdout) == ""
