# SPDX-License-Identifier: LGPL-2.1-or-later
"""The README's walk-through, every command as written."""

import os
import re
import subprocess
from pathlib import Path

from tests.kernel.guest.rig import Daemon

_TOP = Path(__file__).resolve().parents[3]


def test_the_walk_through_does_what_it_says(one_daemon: Daemon) -> None:
    one_daemon.stop()  # it starts its own
    text = (_TOP / "README.rst").read_text()
    text = text[text.index(".. walk-through begins") : text.index(".. walk-through ends")]
    commands = re.findall(r"^   \$ (.*)$", text, re.MULTILINE)
    assert len(commands) > 15
    # job control: the walk-through ends the daemon as a user would, with kill %1
    script = "set -e -m -o pipefail\n" + "\n".join(commands) + "\n"
    done = subprocess.run(
        ["bash"], input=script, cwd=_TOP, capture_output=True, text=True, timeout=300, env=os.environ, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "128/128 1 AA 3 disk 7:2 A" in done.stdout
    # how many are dirty depends on how long Python takes to start here
    assert re.search(r"^dirty: +\d+ .*\nin sync: +128 ", done.stdout, re.MULTILINE)
    assert '"state":"closed"' in done.stdout
