# SPDX-License-Identifier: LGPL-2.1-or-later
"""tools/demo --forensic, with a real power cut between two boots: every step is checked by the demo itself."""

import subprocess
import sys
from pathlib import Path

import pytest

_TOP = Path(__file__).resolve().parents[2]


@pytest.mark.kernel
@pytest.mark.timeout(900)
def test_a_power_cut_is_looked_into(kernel: str) -> None:
    command = [sys.executable, "tools/demo_forensic.py", "vm"]
    done = subprocess.run(command, cwd=_TOP, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("every step said what it should\n")
