# SPDX-License-Identifier: LGPL-2.1-or-later
"""``events`` against a socket of a test's making."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from diskulog.control import model
from diskulog.exits import Exit
from tests import toolbox
from tests.fake_control import EVENT

LOST = {"event": "lost", "time_seconds": 1.0, "uuid": None, "luid": None, "log_device": None, "text": "", "count": 3}


@pytest.fixture
def events(run, socket_path):
    return lambda *words: run("events", "--socket", socket_path, *words)


def test_they_are_lines_of_json_until_the_daemon_goes(events, daemon):
    daemon.events = [EVENT, LOST]
    code, out, err = events("--history", "7")
    assert [json.loads(line) for line in out.splitlines()] == [EVENT, LOST]
    assert code == Exit.NO_DAEMON
    assert "the daemon went away; start it" in err
    assert err.count("\n") == 1
    assert daemon.requests == [{"do": "events", "history": 7}]


def test_it_ends_after_so_many(events, daemon):
    daemon.events = [EVENT, LOST, EVENT]
    code, out, err = events("--count", "2")
    assert (code, err, len(out.splitlines())) == (Exit.FINE, "", 2)
    assert daemon.requests == [{"do": "events", "history": 0}]


def test_what_is_no_event_ends_it(events, daemon):
    daemon.answering = lambda peer, _: peer.sendall(json.dumps(EVENT).encode() + b'\n{"what": 1}\n')
    code, out, err = events()
    assert (code, len(out.splitlines())) == (Exit.IO_ERROR, 1)
    assert "no answer of a diskulog daemon: event: Field required" in err


def test_a_refusal_and_no_daemon(events, daemon):
    daemon.answering = lambda peer, _: peer.sendall(b'{"error": "16 clients are the most"}\n')
    code, out, err = events()
    assert (code, out) == (Exit.REFUSED, "")
    assert "16 clients are the most" in err


def test_without_a_daemon(events):
    code, out, err = events()
    assert (code, out, err.count("\n")) == (Exit.NO_DAEMON, "", 1)


class Running:
    """``diskulog events`` as a process; the daemon gives one event, and then waits for what the test does."""

    def __init__(self, daemon, *words):
        self.go_on = threading.Event()

        def answering(peer, _):
            for _ in range(2):
                peer.sendall(json.dumps(EVENT).encode() + b"\n")
                self.go_on.wait(60)

        daemon.answering = answering
        command = [sys.executable, "-m", "diskulog", "events", "--socket", str(daemon.path), *words]
        buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
        self.process = subprocess.Popen(
            command, cwd=toolbox.TOP, env=buffered, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.go_on.set()
        self.process.kill()
        self.process.communicate()


def test_an_event_is_seen_when_it_happens_and_ctrl_c_is_a_good_end(daemon):
    with Running(daemon) as running:
        assert json.loads(running.process.stdout.readline()) == EVENT  # though the daemon has more to say
        os.kill(running.process.pid, signal.SIGINT)
        out, err = running.process.communicate(timeout=60)
        assert (running.process.returncode, out, err) == (0, "", "")


def test_a_reader_that_goes_away_ends_it(daemon):
    with Running(daemon) as running:
        running.process.stdout.readline()
        running.process.stdout.close()
        running.go_on.set()
        assert running.process.wait(60) == 0
        assert running.process.stderr.read() == ""


def test_the_schema_needs_no_daemon(run):
    code, out, err = run("events", "--schema")
    assert (code, err) == (Exit.FINE, "")
    assert out == (Path(model.__file__).parent.parent / "schema" / "event-1.json").read_text()


@pytest.mark.parametrize(
    "words",
    [("--count", "0"), ("--count", "x"), ("--history", "-1"), ("--history", str(2**70)), ("extra",)],
    ids=" ".join,
)
def test_usage_errors_are_one_line_and_2(events, daemon, words):
    code, out, err = events(*words)
    assert (code, out) == (Exit.USAGE, "")
    assert err.startswith("diskulog: ")
    assert err.count("\n") == 1
    assert daemon.requests == []
