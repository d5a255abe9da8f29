# SPDX-License-Identifier: LGPL-2.1-or-later
"""A newcomer's hour: docs/first-hour.rst, every command as written, in a VM with systemd that has never seen diskulog.

The page's commands lie behind its mark ``.. hour begins``, and the installation's in docs/install.rst.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernel import machines
from tests.kernel.first_hour_guest import blocks

_DISKS_BYTES = (1 << 20, 512 << 20, 512 << 20, 4 << 20)  # the first stands for the system's own
_SYSTEM_PYTHON = "/usr/bin/python3"  # what a newcomer's python3 is

Ran = tuple[subprocess.CompletedProcess[str], dict[str, str]]


def wheels(directory: Path) -> list[subprocess.CompletedProcess[str]]:
    """Make our wheel, and fetch the wheels that it needs: the VM has no network. Return the commands that ran."""
    build = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", directory / "ours"]
    built = machines.run(build)
    version = subprocess.run(
        [_SYSTEM_PYTHON, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    fetch = [sys.executable, "-m", "pip", "download", "-q", "--python-version", version, "--only-binary=:all:"]
    return [built, machines.run([*fetch, "-d", directory / "wheels", *(directory / "ours").glob("*.whl")])]


def hour(kernel: str, directory: Path) -> Ran:
    """Run the VM; return how it ended, and what was wrong with each block."""
    for done in wheels(directory):
        if done.returncode:
            return done, {}
    configuration = directory / "root/etc/pip.conf"
    configuration.parent.mkdir(parents=True)
    configuration.write_text(f"[install]\nno-index = true\nfind-links = {directory}/wheels\n")
    disks = machines.blank_disks(directory, _DISKS_BYTES)
    command = machines.vm(kernel, 900, "--systemd", "--overlay", str(directory / "root"), disks=disks)
    guest = [sys.executable, "-m", "tests.kernel.first_hour_guest", str(directory / "ours")]
    done = machines.run([*command, "--", *guest])
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return done, {each["block"]: each["wrong"] for each in told}


@pytest.mark.kernel
@pytest.mark.beforehand(hour, 180)
@pytest.mark.parametrize("block", blocks(), ids=str)
def test_a_newcomer_sees_what_the_page_shows(ran: Ran, block: object) -> None:
    done, wrong = ran
    assert wrong.get(str(block), done.stdout + done.stderr) == ""
