# SPDX-License-Identifier: LGPL-2.1-or-later
import io
import os
import shutil
import sys

import pytest

from diskulog.commands.progress import Progress, line
from diskulog.units import MIB


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """A function that puts a terminal in the place of standard error; pytest does so itself after the fixtures."""

    def make() -> Terminal:
        monkeypatch.setenv("TERM", "xterm")
        made = Terminal()
        monkeypatch.setattr(sys, "stderr", made)
        return made

    return make


def drawn(terminal):
    return terminal.getvalue().replace("\x1b[K", "").split("\r")[1:]


def test_the_line():
    assert line(0, 100 * MIB, 0.0, "0 differ") == (
        "[....................]   0.0 %  0 bytes of 100.0 MiB  0 bytes/s  0:00:00 left  0 differ"
    )
    assert line(25 * MIB, 100 * MIB, 10.0, "3 differ") == (
        "[#####...............]  25.0 %  25.0 MiB of 100.0 MiB  2.5 MiB/s  0:00:30 left  3 differ"
    )
    assert "[####################] 100.0 %" in line(101, 100, 1.0, "")
    assert "100.0 %" in line(0, 0, 1.0, "")


def test_it_is_drawn_now_and_then_in_its_place_and_cleared(terminal, monkeypatch):
    terminal = terminal()
    monkeypatch.setattr(shutil, "get_terminal_size", lambda *_, **__: os.terminal_size((60, 24)))
    times = iter([0.0, 0.0, 0.1, 0.25, 0.3, 0.5])
    progress = Progress(lambda: next(times))
    advance = progress.begin(4 * MIB, lambda: "1 differ")
    for _ in range(4):
        advance(MIB)
    progress.end()
    first, second, last = drawn(terminal)
    assert "50.0 %" in first
    assert "100.0 %" in second
    assert len(first) == 59
    assert last == ""
    assert "\n" not in terminal.getvalue()


@pytest.mark.parametrize("term", ["dumb", None])
def test_a_terminal_that_cannot_go_back_gets_nothing(terminal, monkeypatch, term):
    terminal = terminal()
    if term is None:
        monkeypatch.delenv("TERM")
    else:
        monkeypatch.setenv("TERM", term)
    check_silence()
    assert terminal.getvalue() == ""


def test_what_is_no_terminal_gets_nothing(monkeypatch, capsys):
    monkeypatch.setenv("TERM", "xterm")
    check_silence()
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(sys, "stderr", None)
    check_silence()


def check_silence():
    times = iter([0.0, 0.0, 5.0])
    progress = Progress(lambda: next(times))
    progress.begin(10, str)(10)
    progress.end()
