# SPDX-License-Identifier: LGPL-2.1-or-later
import errno
import os
import signal

import pytest

from diskulog import neighbours, process, transport
from diskulog.exits import Exit
from diskulog.trace import reader, tracer
from diskulog.trace.record import End
from tests.traces import heard


class Listener:
    """Hears three requests, then SIGTERM comes."""

    def __init__(self):
        self.script = [heard(9, seq=seq).datagram for seq in (1, 2, 5)]
        self.closed = False

    def recvfrom(self, size, flags):
        if self.script:
            return self.script.pop(0), (0, 0)
        os.kill(os.getpid(), signal.SIGTERM)
        raise BlockingIOError(errno.EAGAIN, "nothing")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.closed = True


@pytest.fixture
def steps(monkeypatch):
    """What it does before it listens, in order; a daemon answers."""
    seen = []

    def listener(buffer_bytes, wait_seconds):
        assert (buffer_bytes, wait_seconds) == (tracer.BUFFER_BYTES, tracer.WAIT_SECONDS)
        seen.append(Listener())
        return seen[-1]

    monkeypatch.setattr(neighbours, "somebody_answers", lambda: True)
    monkeypatch.setattr(transport, "listener", listener)
    monkeypatch.setattr(os, "nice", lambda by: seen.append(by))
    monkeypatch.setattr(process, "give_up_answering", lambda: seen.append("gave up"))
    return seen


def records(path):
    with reader.opened(str(path)) as trace:
        return list(trace.records()), trace.header


@pytest.mark.parametrize("options", [(), ("--ring", "100")], ids=["file", "ring"])
def test_it_writes_what_it_hears_until_a_signal(run, steps, tmp_path, options):
    status, out, err = run("trace", "--out", tmp_path / "t", *options)
    assert (status, out) == (Exit.FINE, "")
    assert err == "diskulog: listening\ndiskulog: 3 requests, 2 lost\n"
    found, header = records(tmp_path / "t")
    assert [type(record).__name__ for record in found] == ["Heard", "Heard", "Lost", "Heard", "End"]
    assert header.ring == (100 if options else None)
    assert steps[0] == "gave up"  # before a daemon could see it
    assert steps[1].closed
    assert steps[2] == tracer.NICE


def test_one_log_or_some_requests(run, steps, tmp_path):
    assert run("trace", "--out", tmp_path / "t", "--uuid", "other")[0] == Exit.FINE
    found, header = records(tmp_path / "t")
    assert (found[-1].requests, header.uuid) == (0, "other")
    assert run("trace", "--out", tmp_path / "u", "--count", "2", "--seconds", "99.5")[0] == Exit.FINE
    assert isinstance(records(tmp_path / "u")[0][2], End)


def test_without_a_daemon_nothing_listens_unless_told(run, steps, tmp_path, monkeypatch):
    monkeypatch.setattr(neighbours, "somebody_answers", lambda: False)
    status, _, err = run("trace", "--out", tmp_path / "t")
    assert status == Exit.NO_DAEMON
    assert err.startswith("diskulog: no daemon answers, and requests would wait")
    assert err.count("\n") == 1
    assert (steps, list(tmp_path.iterdir())) == ([], [])
    assert run("trace", "--out", tmp_path / "t", "--alone")[0] == Exit.FINE


def test_a_missing_capability_is_7(run, steps, tmp_path, monkeypatch):
    def fails(*_):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(transport, "listener", fails)
    status, _, err = run("trace", "--out", tmp_path / "t")
    assert status == Exit.NO_PERMISSION
    assert err == (
        "diskulog: cannot listen to the kernel's requests (CAP_NET_ADMIN is needed): Operation not permitted\n"
    )


def test_a_file_that_is_there_is_4_and_a_folder_that_is_not_2(run, steps, tmp_path):
    (tmp_path / "t").write_text("mine")
    assert run("trace", "--out", tmp_path / "t")[0] == Exit.REFUSED
    assert (tmp_path / "t").read_text() == "mine"
    assert run("trace", "--out", tmp_path / "no" / "where")[0] == Exit.USAGE
    assert steps[1].closed


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--ring", "5"),
        ("--out", "t", "--ring", "0"),
        ("--out", "t", "--count", "-1"),
        ("--out", "t", "--seconds", "0"),
        ("--out", "t", "--seconds", "nan"),
        ("--out", "t", "--seconds", "inf"),
        ("--out", "t", "--count", "x"),
        ("--out", "t", "--ring", str(2**70)),
        ("--out", "t", "extra"),
    ],
    ids=" ".join,
)
def test_usage_errors_are_one_line_and_2(run, steps, arguments):
    status, _, err = run("trace", *arguments)
    assert status == Exit.USAGE
    assert err.startswith("diskulog: ")
    assert err.count("\n") == 1
    assert steps == []
