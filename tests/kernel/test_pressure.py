# SPDX-License-Identifier: LGPL-2.1-or-later
"""Memory runs out while a file system on a mirror is written to: the daemon waits for no page, and grows by none."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernel import machines

_DISKS_BYTES = (128 << 20, 128 << 20, 1 << 20)


def pressure(kernel: str, directory: Path) -> subprocess.CompletedProcess[str]:
    disks = machines.blank_disks(directory, _DISKS_BYTES)
    command = machines.vm(kernel, 600, "--memory", "400M", disks=disks)
    return machines.run([*command, "--", sys.executable, "-m", "tests.kernel.pressure"])


@pytest.mark.kernel
@pytest.mark.beforehand(pressure, 60)
def test_a_file_system_is_written_to_when_memory_has_run_out(ran: subprocess.CompletedProcess[str]) -> None:
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.endswith(": well\n")
