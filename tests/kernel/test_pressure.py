# SPDX-License-Identifier: LGPL-2.1-or-later
"""Memory runs out while a file system on a mirror is written to: the daemon waits for no page, and grows by none."""

import subprocess
import sys
from pathlib import Path

import pytest

_TOP = Path(__file__).resolve().parents[2]
_DISK_BYTES = (128 << 20, 128 << 20, 1 << 20)


@pytest.mark.kernel
@pytest.mark.timeout(400)
def test_a_file_system_is_written_to_when_memory_has_run_out(kernel: str, tmp_path: Path) -> None:
    command = [str(_TOP / "tools/vm"), "--kernel", kernel, "--memory", "400M", "--cpus", "1", "--timeout", "300"]
    for number, size in enumerate(_DISK_BYTES):
        disk = tmp_path / f"disk{number}"
        with disk.open("wb") as file:
            file.truncate(size)
        command += ["--disk", str(disk)]
    command += ["--", sys.executable, "-m", "tests.kernel.pressure"]
    done = subprocess.run(command, cwd=_TOP, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith(": well\n")
