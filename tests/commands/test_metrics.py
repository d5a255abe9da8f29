# SPDX-License-Identifier: LGPL-2.1-or-later
"""``diskulog metrics``: the text, the file, what it refuses; the server has its place in tests/metrics."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from diskulog import metrics
from diskulog.exits import Exit
from tests import fake_control
from tests.fake_control import log

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def serving(daemon):
    """The daemon with one log."""
    daemon.answers = [fake_control.answer(log())]
    return daemon


@contextmanager
def process(*arguments):
    """Run it beside the test; its end is asked for by SIGTERM, and must be a good one."""
    command = [sys.executable, "-m", "diskulog", "metrics", *map(str, arguments)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as made:
        try:
            yield made
        finally:
            made.send_signal(signal.SIGTERM)
            assert made.wait(20) == Exit.FINE


def wait_for(path, text):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if path.exists() and text in (found := path.read_text()):
            return found
        time.sleep(0.02)
    raise AssertionError(path.read_text() if path.exists() else "no file")


def test_the_text(run, serving, socket_path):
    status, out, err = run("metrics", "--socket", socket_path)
    assert (status, err) == (Exit.FINE, "")
    assert "\ndiskulog_up 1\n" in out
    assert 'diskulog_log_regions{uuid="UUID-1",mirror="",log_device="253:2"} 1000\n' in out


def test_the_socket_is_found_by_the_configuration(run, serving, socket_path, path, monkeypatch):
    path.write_text(f'daemon.run_directory = "{socket_path.parent}"')
    monkeypatch.setenv("DISKULOG_CONFIG", str(path))
    assert "\ndiskulog_up 1\n" in run("metrics")[1]


def test_no_daemon_is_a_metric_and_a_failure(run, socket_path, path):
    status, out, err = run("metrics", "--socket", socket_path)
    assert status == Exit.NO_DAEMON
    assert "\ndiskulog_up 0\n" in out
    assert str(socket_path) in err
    assert err.count("\n") == 1
    path.write_text("diskulog_up 1\n")  # what it said before must not stay
    status, out, err = run("metrics", "--socket", socket_path, "--textfile", path)
    assert (status, out) == (Exit.NO_DAEMON, "")
    assert "\ndiskulog_up 0\n" in path.read_text()


def test_a_daemon_of_another_version(run, serving, socket_path):
    serving.answers = [fake_control.answer() | {"format_version": 2}]
    status, out, err = run("metrics", "--socket", socket_path)
    assert status == Exit.NOT_A_LOG
    assert "\ndiskulog_up 0\n" in out
    assert err.count("\n") == 1


def test_the_file_is_whole_and_for_all(run, serving, socket_path, path):
    before = os.umask(0o022)
    try:
        assert run("metrics", "--socket", socket_path, "--textfile", path) == (Exit.FINE, "", "")
    finally:
        os.umask(before)
    assert path.read_text().endswith("\n")
    assert path.stat().st_mode & 0o777 == 0o644
    assert {found.name for found in path.parent.iterdir()} == {path.name, socket_path.name}


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("--interval", "5"), Exit.USAGE, "--interval is for --textfile FILE"),
        (("--textfile", "F", "--interval", "0"), Exit.USAGE, "--interval 0.0: must be more than 0"),
        (("--textfile", "F", "--interval", "nan"), Exit.USAGE, "--interval nan: must be more than 0"),
        (("--textfile", "F", "--interval", "1e9"), Exit.USAGE, "86400 seconds at most"),
        (("--textfile", "F", "--listen", "127.0.0.1:0"), Exit.USAGE, "give one of them"),
        (("--yes-it-is-public",), Exit.USAGE, "is for --listen"),
        (("--listen", "9750"), Exit.USAGE, "write HOST:PORT"),
        (("--listen", "0.0.0.0:0"), Exit.REFUSED, "say --yes-it-is-public"),
        (("--listen", "[::]:0"), Exit.REFUSED, "say --yes-it-is-public"),
        (("--textfile", "/no/such/directory/f"), Exit.USAGE, "No such file"),
        (("--textfile", "/"), Exit.USAGE, "is no regular file"),
        (("--textfile", "/dev/null", "--interval", "1"), Exit.USAGE, "is no regular file"),
    ],
)
def test_what_it_refuses(run, serving, socket_path, arguments, status, said):
    found, out, err = run("metrics", "--socket", socket_path, *arguments)
    assert (found, out) == (status, "")
    assert said in err
    assert err.count("\n") == 1


def test_the_server_needs_a_package(run, monkeypatch):
    monkeypatch.delitem(sys.modules, "diskulog.metrics.web", raising=False)
    monkeypatch.delattr(metrics, "web", raising=False)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    status, _, err = run("metrics", "--listen", "127.0.0.1:0")
    assert status == Exit.USAGE
    assert "the package prometheus_client is not installed" in err


def test_it_keeps_writing_whatever_becomes_of_the_daemon(socket_path, path):
    with process("--socket", socket_path, "--textfile", path, "--interval", "0.05") as made:
        wait_for(path, "diskulog_up 0\n")
        with fake_control.serving(socket_path) as daemon:
            daemon.answers = [fake_control.answer(log(marked_regions=1)), fake_control.answer(log(marked_regions=2))]
            assert "diskulog_up 1\n" in wait_for(path, 'log_device="253:2"} 2\n')
        wait_for(path, "diskulog_up 0\n")
        made.send_signal(signal.SIGTERM)
        lines = made.stderr.read().splitlines()
    assert [line for line in lines if "the daemon answers at" in line] == lines[1:2]
    assert {found.name for found in path.parent.iterdir()} == {path.name}


def test_it_serves_until_it_is_ended(serving, socket_path):
    with process("--socket", socket_path, "--listen", "127.0.0.1:0") as made:
        line = made.stderr.readline()
        assert line.startswith("diskulog: listening at http://127.0.0.1:")
        with urllib.request.urlopen(line.split()[-1], timeout=20) as answer:
            assert b"\ndiskulog_up 1.0\n" in answer.read()
        made.send_signal(signal.SIGINT)
        assert made.wait(20) == Exit.FINE
