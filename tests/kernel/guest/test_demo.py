# SPDX-License-Identifier: LGPL-2.1-or-later
"""tools/demo --forensic --here, on the guest's kernel: a crash in one boot, every step checked by the demo itself."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernel.guest.rig import Daemon, run

_TOP = Path(__file__).resolve().parents[3]


def devices() -> set[str]:
    return {*run("losetup", "--list", "--noheadings").split(), *run("dmsetup", "ls").split("\n")}


@pytest.mark.timeout(1000)
def test_a_crash_is_looked_into(one_daemon: Daemon) -> None:
    one_daemon.stop()  # it starts its own
    run("modprobe", "-a", "dm-delay", "loop")
    before = devices()
    command = [sys.executable, "tools/demo_forensic.py", "here"]
    done = subprocess.run(command, cwd=_TOP, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("every step said what it should\n")
    assert devices() == before
