# SPDX-License-Identifier: LGPL-2.1-or-later
"""A newcomer's hour: docs/first-hour.rst, every command as written, in a VM with systemd that has never seen diskulog.

The page's commands lie behind its mark ``.. hour begins``, and the installation's in docs/install.rst. The VM's files
are this machine's, or with DISKULOG_DEBIAN those below that directory (tools/firsthour).
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernel import machines
from tests.kernel.first_hour_guest import blocks

_DISKS_BYTES = (1 << 20, 512 << 20, 512 << 20, 4 << 20)  # the first stands for the system's own
_ROOT = Path(os.environ.get("DISKULOG_DEBIAN") or "/")
_PYTHON = "/usr/bin/python3"  # what a newcomer's python3 is; all that is typed goes through it, too

Ran = tuple[subprocess.CompletedProcess[str], dict[str, str]]


def wheels(directory: Path) -> list[subprocess.CompletedProcess[str]]:
    """Make our wheel, and fetch the wheels that it needs: the VM has no network. Return the commands that ran."""
    build = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", directory / "ours"]
    built = machines.run(build)
    version = (_ROOT / _PYTHON.lstrip("/")).readlink().name.removeprefix("python")
    fetch = [sys.executable, "-m", "pip", "download", "-q", "--python-version", version, "--only-binary=:all:"]
    return [built, machines.run([*fetch, "-d", directory / "wheels", *(directory / "ours").glob("*.whl")])]


def hour(kernel: str, directory: Path) -> Ran:
    """Run the VM; return how it ended, and what was wrong with each block."""
    for done in wheels(directory):
        if done.returncode:
            return done, {}
    disks = machines.blank_disks(directory, _DISKS_BYTES)
    command = machines.vm(kernel, 900, "--systemd", "--root", str(_ROOT), disks=disks)
    command += ["--share", str(machines.TOP), "--share", str(directory), "--env", "PYTHONDONTWRITEBYTECODE=1"]
    guest = [_PYTHON, "-m", "tests.kernel.first_hour_guest", str(directory / "ours"), str(directory / "wheels")]
    done = machines.run([*command, "--", *guest])
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return done, {each["block"]: each["wrong"] for each in told}


@pytest.mark.kernel
@pytest.mark.beforehand(hour, 180)
@pytest.mark.parametrize("block", blocks(), ids=str)
def test_a_newcomer_sees_what_the_page_shows(ran: Ran, block: object) -> None:
    done, wrong = ran
    assert wrong.get(str(block), done.stdout + done.stderr) == ""
