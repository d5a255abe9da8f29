# SPDX-License-Identifier: LGPL-2.1-or-later
"""The service that keeps the textfile: systemd finds no fault, and it runs what there is."""

import re
import shutil
import subprocess

import pytest

from tests import toolbox
from tools import commandline

UNIT = toolbox.TOP / "conf/diskulog-metrics.service"
_MOST_EXPOSED = 1.0  # of 10, as systemd-analyze counts; 0.6 with systemd 252


@pytest.fixture
def unit(tmp_path):
    """The unit with a program that is on this machine."""
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("ExecStart=/usr/bin/diskulog", f"ExecStart={shutil.which('true')}"))
    return copy


def analyze(*arguments):
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("no systemd-analyze")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


def test_systemd_finds_no_fault(unit):
    code, out, err = analyze("verify", "--man=no", str(unit))
    assert (code, out, err) == (0, "", "")


def test_systemd_would_find_one(unit):
    unit.write_text(unit.read_text().replace("DynamicUser=yes", "DynamicUsers=yes"))
    assert "DynamicUsers" in analyze("verify", "--man=no", str(unit))[2]


def test_it_may_do_little(unit):
    _, out, _ = analyze("security", "--offline=yes", "--no-pager", str(unit))
    assert float(re.search(r"Overall exposure level .*?: ([\d.]+)", out)[1]) <= _MOST_EXPOSED


def test_what_it_runs_is_there():
    words = re.search(r"^ExecStart=/usr/bin/diskulog (.*)$", UNIT.read_text(), re.MULTILINE)[1].split()
    folder = re.search(r"^RuntimeDirectory=(\S+)$", UNIT.read_text(), re.MULTILINE)[1]
    assert words[words.index("--textfile") + 1] == f"/run/{folder}/diskulog.prom"
    (command,) = (each for each in commandline.commands() if each.name == words[0])
    assert {word for word in words if word.startswith("-")} <= {option.name for option in command.options}
