# SPDX-License-Identifier: LGPL-2.1-or-later
"""``watch`` against a socket of a test's making; nothing here waits in real time."""

import io
import itertools
import os
import re
import shutil
import sys
import time

import pytest

from diskulog import cli
from diskulog.control import mirrors
from diskulog.exits import Exit
from tests.fake_control import answer, log, resyncing


@pytest.fixture
def naps(monkeypatch):
    """How long it slept each time; time passes only then."""
    slept = []
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0 + sum(slept))
    monkeypatch.setattr(time, "sleep", slept.append)
    return slept


@pytest.fixture
def watch(run, socket_path, naps, monkeypatch):
    monkeypatch.setattr(mirrors, "found_tables", tuple)
    return lambda *words: run("watch", "--socket", socket_path, *words)


class Terminal(io.StringIO):
    def isatty(self):
        return True

    def reconfigure(self, **_):
        pass


def plain(out):
    return [re.sub(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ", "", line) for line in out.splitlines()]


def test_lines_where_there_is_no_terminal(watch, daemon, naps):
    counts = ((0, 0.0), (100, 1.0), (200, 2.0))
    daemon.answers = [answer(resyncing(count, seconds, uuid="A"), log(uuid="B")) for count, seconds in counts]
    code, out, err = watch("--count", "3", "--interval", "1")
    assert (code, err) == (Exit.FINE, "")
    assert plain(out) == [
        "A: live, 0 of 1000 regions in sync (0.0 %), rate not known yet",
        "B: live, in sync",
        "A: live, 100 of 1000 regions in sync (10.0 %), 50.0 MiB/s, 9 s left",
        "B: live, in sync",
        "A: live, 200 of 1000 regions in sync (20.0 %), 50.0 MiB/s, 8 s left",
        "B: live, in sync",
    ]
    assert naps == [1.0, 1.0]


def test_a_look_that_takes_longer_than_the_interval(watch, daemon, naps):
    def slow(peer, request):
        naps.append(7.0)
        daemon.reply(peer, request)

    daemon.answers = [answer(log(uuid="A"))]
    daemon.answering = slow
    assert watch("--count", "4", "--interval", "3")[0] == Exit.FINE
    assert naps == [7.0, 0.0, 7.0, 0.0, 7.0, 0.0, 7.0]


def test_the_tables_are_read_when_a_log_is_new(watch, daemon, monkeypatch):
    read = []
    monkeypatch.setattr(mirrors, "found_tables", lambda: read.append(1) or ())
    logs = [(log(uuid="A"),), (log(uuid="A"),), (log(uuid="A"), log(uuid="B")), (log(uuid="B"),)]
    daemon.answers = [answer(*each) for each in logs]
    assert watch("--count", "4")[0] == Exit.FINE
    assert len(read) == 2


def test_one_mirror(watch, daemon):
    daemon.answers = [answer(resyncing(uuid="A"), log(uuid="B"))]
    assert plain(watch("--count", "1", "B")[1]) == ["B: live, in sync"]
    code, out, err = watch("C")
    assert (code, out, err.count("\n")) == (Exit.USAGE, "", 1)


def test_a_daemon_that_goes_is_waited_for_and_a_mirror_too(watch, daemon):
    count = itertools.count()
    daemon.answers = [answer(log(uuid="A")), answer(), answer(log(uuid="A"))]
    daemon.answering = lambda peer, request: None if next(count) == 1 else daemon.reply(peer, request)
    code, out, err = watch("--count", "4", "A")
    assert (code, err) == (Exit.FINE, "")
    first, gone, missing, last = plain(out)
    assert first == last == "A: live, in sync"
    assert "the daemon closed it without an answer" in gone
    assert "A: no mirror, uuid or log device that the daemon serves" in missing


def test_without_a_daemon_at_first(watch):
    code, out, err = watch("--count", "1")
    assert (code, out, err.count("\n")) == (Exit.NO_DAEMON, "", 1)


def test_ctrl_c_is_a_good_end(watch, daemon, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    daemon.answers = [answer(log(uuid="A"))]
    monkeypatch.setattr(time, "sleep", interrupt)
    code, out, err = watch()
    assert (code, plain(out), err) == (Exit.FINE, ["A: live, in sync"], "")


def drawn(monkeypatch, path, term="xterm", size=(60, 24), count=2):
    """Watch on a terminal: what it wrote."""
    terminal = Terminal()
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(shutil, "get_terminal_size", lambda *_, **__: os.terminal_size(size))
    assert cli.run(["watch", "--socket", str(path), "--count", str(count)]) == Exit.FINE
    return terminal.getvalue()


@pytest.mark.usefixtures("watch")
def test_it_is_drawn_over_what_was_drawn(daemon, monkeypatch):
    daemon.answers = [answer(resyncing(250, uuid="A"), log(uuid="B")), answer(log(uuid="A"))]
    said = drawn(monkeypatch, daemon.path)
    first, second = said.split("\x1b[3F\x1b[J")
    assert first.splitlines()[1].startswith("A  [#####...............]  25.0 %  125.0 MiB of 500.0 MiB")
    assert first.splitlines()[2] == "B  live, in sync"
    assert max(map(len, first.splitlines())) == 59
    assert second.splitlines()[1:] == ["A  live, in sync"]


@pytest.mark.usefixtures("watch")
def test_more_logs_than_lines(daemon, monkeypatch):
    daemon.answers = [answer(*[log(uuid=f"U{number:02}") for number in range(30)])]
    said = drawn(monkeypatch, daemon.path, size=(80, 6), count=1)
    assert said.splitlines()[-1] == "... and 27 more"
    assert len(said.splitlines()) == 5
    assert drawn(monkeypatch, daemon.path, size=(80, 1), count=1).splitlines() == ["... and 31 more"]


@pytest.mark.usefixtures("watch")
def test_a_terminal_that_cannot_go_back_gets_lines(daemon, monkeypatch):
    daemon.answers = [answer(log(uuid="A"))]
    assert plain(drawn(monkeypatch, daemon.path, term="dumb")) == ["A: live, in sync"] * 2


@pytest.mark.parametrize(
    "words",
    [("--count", "0"), ("--interval", "0"), ("--interval", "nan"), ("--interval", "inf"), ("--interval", "x")],
    ids=" ".join,
)
def test_usage_errors_are_one_line_and_2(watch, daemon, words):
    code, out, err = watch(*words)
    assert (code, out) == (Exit.USAGE, "")
    assert err.startswith("diskulog: ")
    assert err.count("\n") == 1
    assert daemon.requests == []
