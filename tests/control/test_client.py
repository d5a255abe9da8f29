# SPDX-License-Identifier: LGPL-2.1-or-later
"""The door to the control socket, with servers that do what they should not."""

import errno
import json
import os
import socket
from pathlib import Path

import pytest

from diskulog.control import client
from diskulog.errors import DeviceError, RefusedError
from diskulog.exits import Exit, NoDaemonError, UsageError, exit_for
from tests import fake_control


def test_status_is_one_line_of_one_request(daemon, socket_path):
    assert json.loads(client.status(socket_path)) == daemon.answers[0]
    assert daemon.requests == [{"do": "status"}]


def test_an_answer_that_comes_in_pieces(daemon, socket_path):
    def pieces(peer, _):
        for piece in (b"{", b"}", b"\nmore"):
            peer.sendall(piece)

    daemon.answering = pieces
    assert client.status(socket_path) == b"{}"


def test_events_come_one_by_one_and_end_with_the_daemon(daemon, socket_path):
    daemon.events = [{"event": "created"}, {"event": "resumed"}]
    told = client.events(socket_path, 7)
    assert [json.loads(next(told)) for _ in range(2)] == daemon.events
    with pytest.raises(NoDaemonError, match="the daemon went away; start it"):
        next(told)
    assert daemon.requests == [{"do": "events", "history": 7}]


def test_events_that_lie_across_pieces(daemon, socket_path, monkeypatch):
    monkeypatch.setattr(client, "_CHUNK_BYTES", 4)
    daemon.answering = lambda peer, _: peer.sendall(b"123456\n78\n9abcdef\n")
    told = client.events(socket_path)
    assert [next(told) for _ in range(3)] == [b"123456", b"78", b"9abcdef"]


def test_events_that_share_a_piece(daemon, socket_path):
    daemon.answering = lambda peer, _: peer.sendall(b"1\n2\n3")
    told = client.events(socket_path)
    assert [next(told), next(told)] == [b"1", b"2"]
    with pytest.raises(NoDaemonError, match="in the middle of an answer"):
        next(told)


def test_no_socket_no_directory_and_nobody_behind_it(socket_path):
    for path in (socket_path, socket_path / "below" / "it", Path(__file__) / "below"):
        with pytest.raises(NoDaemonError, match=r"no daemon: there is no control socket .*; start it .* --socket"):
            client.status(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left_behind:
        left_behind.bind(str(socket_path))
    with pytest.raises(NoDaemonError, match="nobody listens at control socket") as failed:
        client.status(socket_path)
    assert exit_for(failed.value) == Exit.NO_DAEMON


def test_a_name_that_cannot_be():
    with pytest.raises(UsageError, match="too long: give another name with --socket"):
        client.status(Path("/tmp") / ("x" * 200))


def test_a_socket_of_another_kind(socket_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(socket_path))
        with pytest.raises(DeviceError, match="wrong type") as failed:
            client.status(socket_path)
    assert failed.value.errno == errno.EPROTOTYPE


def test_without_permission(daemon, socket_path):
    socket_path.chmod(0)
    if os.geteuid() == 0:
        os.seteuid(65534)
    try:
        with pytest.raises(DeviceError, match="permission denied: be root, or in the socket's group") as failed:
            client.status(socket_path)
    finally:
        if os.getuid() == 0:
            os.seteuid(0)
    assert exit_for(failed.value) == Exit.NO_PERMISSION


def test_a_daemon_that_dies_in_the_middle(daemon, socket_path):
    daemon.answering = lambda peer, _: peer.sendall(b'{"format_version": 1, "dae')
    with pytest.raises(NoDaemonError, match="went away in the middle of an answer") as failed:
        client.status(socket_path)
    assert exit_for(failed.value) == Exit.NO_DAEMON


def test_a_daemon_that_dies_before_it_says_a_word(daemon, socket_path):
    daemon.answering = lambda peer, _: None
    with pytest.raises(NoDaemonError, match="closed it without an answer; try again"):
        client.status(socket_path)


def test_a_daemon_that_resets_the_connection(daemon, socket_path, monkeypatch):
    def reset(*_):
        raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")

    class Broken(socket.socket):
        recv = reset

    monkeypatch.setattr(client.socket, "socket", Broken)
    with pytest.raises(NoDaemonError, match="closed it without an answer"):
        client.status(socket_path)


def test_a_daemon_that_refuses_before_it_reads_is_heard(daemon, socket_path, monkeypatch):
    broken = [BrokenPipeError(errno.EPIPE, "Broken pipe")]

    class Refused(socket.socket):
        def sendall(self, data):
            super().sendall(data)
            if broken:  # once, in the client
                raise broken.pop()

    monkeypatch.setattr(client.socket, "socket", Refused)
    assert json.loads(client.status(socket_path)) == daemon.answers[0]


def test_a_daemon_that_says_nothing(socket_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(socket_path))
        listening.listen()  # the kernel accepts, nobody answers
        with pytest.raises(NoDaemonError, match="no answer in time") as failed:
            client.status(socket_path, 0.05)
    assert exit_for(failed.value) == Exit.NO_DAEMON


def test_a_daemon_that_drips_is_not_waited_for_at_each_drop(daemon, socket_path):
    def drips(peer, _):
        peer.settimeout(5)
        while True:
            peer.sendall(b" ")

    daemon.answering = drips
    with pytest.raises(NoDaemonError, match="no answer in time"):
        client.status(socket_path, 0.05)


def test_a_daemon_whose_queue_of_callers_is_full(socket_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(socket_path))
        listening.listen(0)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as first:
            first.connect(str(socket_path))
            with pytest.raises(RefusedError, match="queue of callers is full; try again") as failed:
                client.status(socket_path, 5)
    assert exit_for(failed.value) == Exit.REFUSED


def test_a_huge_answer_is_not_read_to_its_end(daemon, socket_path, monkeypatch):
    monkeypatch.setattr(client, "MAX_LINE_BYTES", 1 << 20)
    sent = []

    def endless(peer, _):
        while True:
            sent.append(peer.send(bytes(1 << 16)))

    daemon.answering = endless
    with pytest.raises(DeviceError, match="no diskulog daemon: its answer is longer than 1048576 bytes") as failed:
        client.status(socket_path)
    assert exit_for(failed.value) == Exit.IO_ERROR
    assert sum(sent) < 4 << 20


def test_a_large_answer_is_read(daemon, socket_path):
    daemon.answers = [fake_control.answer(*[fake_control.log(uuid=f"U{number}") for number in range(1024)])]
    assert len(json.loads(client.status(socket_path))["logs"]) == 1024
