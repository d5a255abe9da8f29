# SPDX-License-Identifier: LGPL-2.1-or-later
"""A few power cuts on a real kernel; what the tool itself sees and counts is in tests/test_powercut.py."""

import subprocess
from pathlib import Path

import pytest

from tests.kernel import machines

_PROVES_NOTHING = 3


def cuts(kernel: str, directory: Path) -> tuple[subprocess.CompletedProcess[str], str]:
    command = ["tools/powercut", "--count", "3", "--kinds", "writes,worker,clears", "--kernel", kernel]
    # A miss is final. What proves nothing is tried again: no cut hit, or an emulated machine whose clock stood still.
    for attempt in ("first", "second"):
        images = directory / attempt
        done = machines.run([*command, "--keep", images])
        if done.returncode != _PROVES_NOTHING:
            break
    log = images / "vm.log"
    return done, log.read_text() if log.exists() else ""


@pytest.mark.kernel
@pytest.mark.beforehand(cuts, 130)
def test_the_power_is_cut_and_nothing_is_missed(ran: tuple[subprocess.CompletedProcess[str], str]) -> None:
    done, log = ran
    assert done.returncode == 0, f"{done.stdout}{done.stderr}{log}"
    assert "the planted mistake 'early' was caught" in done.stdout
