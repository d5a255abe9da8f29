# SPDX-License-Identifier: LGPL-2.1-or-later
"""conf/diskulog-assemble.service: its command is one that there is, between the daemon and the file systems."""

import shlex
from collections import defaultdict

from diskulog import cli
from diskulog.mirrors import tab
from tests.toolbox import TOP


def settings():
    found = defaultdict(list)
    for line in (TOP / "conf/diskulog-assemble.service").read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found[name].append(value)
    return found


def test_its_command_is_one_that_there_is(capsys):
    program, *words = shlex.split(settings()["ExecStart"][0])
    assert program == "/usr/bin/diskulog"
    assert cli.run([*words, "--help"]) == 0
    assert words[:2] == ["mirror", "assemble"]
    assert settings()["ConditionPathExists"] == [str(tab.DEFAULT_PATH)]
    seconds = int(words[words.index("--wait") + 1])
    assert 0 < seconds < 300  # TimeoutStartSec
    assert settings()["TimeoutStartSec"] == ["5min"]


def test_it_runs_after_the_daemon_and_before_file_systems():
    unit = settings()
    assert "diskulog.service" in unit["After"][0].split()
    assert {"local-fs-pre.target", "shutdown.target"} <= set(unit["Before"][0].split())
    assert {"diskulog.service", "local-fs-pre.target"} <= set(unit["Wants"])
    assert unit["DefaultDependencies"] == ["no"]
