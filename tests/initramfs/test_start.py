# SPDX-License-Identifier: LGPL-2.1-or-later
import os
import time
from pathlib import Path

import pytest

from diskulog import process
from diskulog.config import ENVIRONMENT_VARIABLE
from diskulog.initramfs import start


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    config = tmp_path / "diskulog.toml"
    config.write_text("[clears]\nhold_seconds = 7\n")
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(config))
    monkeypatch.setenv("NOTIFY_SOCKET", "to be replaced")
    return config


def test_it_returns_when_the_daemon_answers_and_leaves_it_behind(monkeypatch, tmp_path):
    told = tmp_path / "told"
    go_on, go = os.pipe()

    def serve(config):
        words = Path("/proc/self/cmdline").read_text().split("\0")
        process.notify("READY=1")
        os.read(go_on, 1)
        stdin = Path("/proc/self/fd/0").readlink()
        seen = [words[0][0], config.clears.hold_seconds, os.getsid(0) == os.getpid()]
        told.write_text(f"{seen} {stdin} {Path.cwd()}")
        return 0

    monkeypatch.setattr(start, "serve", serve)
    assert start.main([]) == 0
    os.write(go, b"!")
    assert os.wait()[1] == 0
    assert told.read_text() == "['@', 7.0, True] /dev/null /"
    assert Path("/proc/self/cmdline").read_text()[0] != "@"
    os.close(go_on)
    os.close(go)


@pytest.mark.parametrize(("ended", "code"), [(4, 4), (0, 1)])
def test_a_daemon_that_ends_before_it_answers_is_told(monkeypatch, ended, code):
    monkeypatch.setattr(start, "serve", lambda config: ended)
    assert start.main([]) == code


def test_what_else_is_said_is_not_taken_for_ready(monkeypatch):
    def serve(config):
        process.notify("STATUS=not READY=1 yet")
        return 5

    monkeypatch.setattr(start, "serve", serve)
    assert start.main([]) == 5


def test_a_daemon_that_does_not_get_ready_is_told(monkeypatch, capsys):
    def serve(config):
        time.sleep(30)
        return 0

    monkeypatch.setattr(start, "serve", serve)
    monkeypatch.setattr(start, "_READY_SECONDS", 0.05)
    monkeypatch.setattr(start.os, "fork", lambda fork=os.fork: children.append(fork()) or children[-1])
    children: list[int] = []
    assert start.main([]) == 1
    assert "not ready within" in capsys.readouterr().err
    os.kill(children[0], 9)
    os.waitpid(children[0], 0)


def test_a_bad_configuration_is_one_line(environment, capsys):
    environment.write_text("[clears]\nhold = 7\n")
    assert start.main([]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"<3>diskulog: configuration {environment}: [clears] hold: is not a known key")


def test_a_check_starts_nothing(monkeypatch):
    monkeypatch.setattr(start.os, "fork", lambda: pytest.fail("started"))
    assert start.main(["--check"]) == 0
