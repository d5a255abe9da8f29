# SPDX-License-Identifier: LGPL-2.1-or-later
"""tools/demo --forensic, with a real power cut between two boots: every step is checked by the demo itself."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernel import machines


def demo(kernel: str, directory: Path) -> subprocess.CompletedProcess[str]:
    return machines.run([sys.executable, "tools/demo_forensic.py", "vm"])


@pytest.mark.kernel
@pytest.mark.beforehand(demo, 60)
def test_a_power_cut_is_looked_into(ran: subprocess.CompletedProcess[str]) -> None:
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.endswith("every step said what it should\n")
