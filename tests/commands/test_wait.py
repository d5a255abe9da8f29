# SPDX-License-Identifier: LGPL-2.1-or-later
"""``wait --synced`` against a socket of a test's making; nothing here waits in real time."""

import itertools
import json
import time

import pytest

from diskulog.control import client, mirrors
from diskulog.exits import Exit, NoDaemonError
from tests.fake_control import answer, log, resyncing


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only while somebody sleeps."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: now.append(now.pop() + seconds))
    return now


@pytest.fixture
def wait(run, socket_path, clock, monkeypatch):
    monkeypatch.setattr(mirrors, "found_tables", tuple)
    return lambda *words: run("wait", "--synced", "--socket", socket_path, *words)


def test_what_is_in_sync_is_not_waited_for(wait, daemon):
    for logs in ((), (log(uuid="A"),), (log(uuid="A", state="suspended"), log(uuid="B"))):
        daemon.answers = [answer(*logs)]
        assert wait("--timeout", "0") == (Exit.FINE, "", "")


def test_it_ends_when_the_last_one_is_in_sync(wait, daemon, clock):
    parts = [answer(resyncing(count, uuid="A"), resyncing(999, uuid="B")) for count in range(0, 1000, 100)]
    daemon.answers = [*parts, answer(resyncing(999, uuid="A"), log(uuid="B")), answer(log(uuid="A"), log(uuid="B"))]
    assert wait() == (Exit.FINE, "", "")
    assert len(daemon.requests) == 12
    assert clock[0] == 1000.0 + 11 * 0.5


def test_the_time_is_up(wait, daemon, clock):
    daemon.answers = [
        answer(resyncing(250, uuid="A"), log(uuid="B"), log(uuid="C", state="inactive", in_sync_count=None))
    ]
    code, out, err = wait("--timeout", "5.25")
    assert (code, out) == (Exit.PROBLEM, "")
    assert err == "diskulog: not in sync after 5.25 s: A (250 of 1000 regions, 25.0 %), C (inactive)\n"
    assert clock[0] == 1000.0 + 5.25


def test_those_that_are_named_are_waited_for(wait, daemon):
    daemon.answers = [
        answer(resyncing(uuid="A"), log(uuid="B", log_device="8:1"), resyncing(uuid="C", log_device="8:2"))
    ]
    assert wait("--timeout", "0", "B") == (Exit.FINE, "", "")
    assert wait("--timeout", "0", "8:1", "8:2")[2].startswith("diskulog: not in sync after 0 s: C (250 of")
    code, _, err = wait("Z")
    assert code == Exit.USAGE
    assert "Z: no mirror, uuid or log device" in err


def test_a_log_that_fails_ends_it(wait, daemon):
    daemon.answers = [
        answer(resyncing(uuid="A"), resyncing(uuid="B")),
        answer(resyncing(uuid="A"), log(uuid="B", state="failed")),
    ]
    assert wait() == (Exit.PROBLEM, "", "diskulog: never in sync: B: its log has failed\n")


def test_a_mirror_that_goes_away_ends_it(wait, daemon):
    daemon.answers = [answer(resyncing(uuid="A")), answer()]
    assert wait("A") == (Exit.PROBLEM, "", "diskulog: never in sync: A: went away\n")


def test_without_a_daemon(wait, clock):
    code, out, err = wait("--timeout", "1000")
    assert (code, out, err.count("\n")) == (Exit.NO_DAEMON, "", 1)
    assert clock[0] == 1000.0


def test_a_daemon_that_is_restarted_is_waited_for(wait, daemon):
    count = itertools.count()
    daemon.answers = [answer(resyncing(uuid="A")), answer(pid=9), answer(log(uuid="A"), pid=9)]

    def answering(peer, request):
        if 0 < (number := next(count)) < 5:
            return  # closed without a word
        if number == 5:
            peer.sendall(b'{"error": "16 clients are the most"}\n')
            return
        daemon.reply(peer, request)

    daemon.answering = answering
    assert wait("A") == (Exit.FINE, "", "")
    assert next(count) == 8


def test_a_daemon_that_does_not_come_back_is_6(wait, daemon, clock):
    count = itertools.count()
    daemon.answers = [answer(resyncing(uuid="A"))]
    daemon.answering = lambda peer, request: None if next(count) else daemon.reply(peer, request)
    code, _, err = wait()
    assert (code, err.count("\n")) == (Exit.NO_DAEMON, 1)
    assert 1030 < clock[0] < 1032


def test_a_daemon_that_does_not_come_back_in_time_is_1(wait, daemon):
    count = itertools.count()
    daemon.answers = [answer(resyncing(uuid="A"))]
    daemon.answering = lambda peer, request: None if next(count) else daemon.reply(peer, request)
    code, _, err = wait("--timeout", "3")
    assert (code, err) == (Exit.PROBLEM, "diskulog: not in sync after 3 s: A (250 of 1000 regions, 25.0 %)\n")


def test_a_daemon_that_hangs_is_not_waited_for_longer_than_was_said(wait, daemon, monkeypatch):
    waited = []

    def status(path, seconds):
        waited.append(seconds)
        if len(waited) == 3:
            raise NoDaemonError("no answer in time")
        return json.dumps(answer(resyncing(uuid="A"))).encode()

    monkeypatch.setattr(client, "status", status)
    assert wait("--timeout", "2.0")[0] == Exit.PROBLEM
    assert waited == [2.0, 1.5, 1.0, 0.5, 0.5]
    waited.clear()
    wait("--timeout", "100")
    assert max(waited) == client.ANSWER_SECONDS


def test_ctrl_c_is_no_success(wait, daemon, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    daemon.answers = [answer(resyncing(uuid="A"))]
    monkeypatch.setattr(time, "sleep", interrupt)
    assert wait() == (Exit.REFUSED, "", "diskulog: interrupted\n")


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--synced", "--timeout", "-1"),
        ("--synced", "--timeout", "nan"),
        ("--synced", "--timeout", "inf"),
        ("--synced", "--timeout", "soon"),
    ],
    ids=" ".join,
)
def test_usage_errors_are_one_line_and_2(run, daemon, words):
    code, out, err = run("wait", "--socket", daemon.path, *words)
    assert (code, out) == (Exit.USAGE, "")
    assert err.startswith("diskulog: ")
    assert err.count("\n") == 1
    assert daemon.requests == []
