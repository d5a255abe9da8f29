# SPDX-License-Identifier: LGPL-2.1-or-later
import json
import os
import select
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from diskulog import controlsocket as module
from diskulog.controlsocket import MAX_CLIENTS, ControlSocket


class FakeAnswers:
    def __init__(self) -> None:
        self.line = b'{"all":"well"}\n'
        self.told: list[bytes] = []
        self.broken = False

    def status(self) -> bytes:
        if self.broken:
            raise ZeroDivisionError
        return self.line

    def events(self, first: int) -> tuple[list[bytes], int]:
        return self.told[first:], len(self.told)

    def kept(self, history: int) -> int:
        return max(len(self.told) - history, 0)


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder) / "control.sock"


@pytest.fixture
def answers() -> FakeAnswers:
    return FakeAnswers()


@pytest.fixture
def control(path, answers) -> Iterator[ControlSocket]:
    made = ControlSocket(path, answers)
    yield made
    made.close()


def turn(control: ControlSocket, rounds: int = 5) -> int:
    """What the supervisor does; returns how many descriptors were ready in all."""
    turns = 0
    for _ in range(rounds):
        poll = select.poll()
        for number, events in control.wanted():
            poll.register(number, events)
        ready = poll.poll(10)
        turns += len(ready)
        for number, events in ready:
            control.turn(number, events)
        control.tick()
    return turns


def client(path: Path, request: bytes = b"") -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.settimeout(5)
    made.connect(str(path))
    made.sendall(request)
    return made


def everything(sock: socket.socket) -> bytes:
    found = b""
    while data := sock.recv(65536):
        found += data
    sock.close()
    return found


def test_it_is_for_root_and_the_group(path, control):
    assert path.stat().st_mode & 0o7777 == 0o660


def test_the_group_gets_it_where_there_is_one(path, answers, monkeypatch):
    given = []
    monkeypatch.setattr(module.shutil, "chown", lambda which, group: given.append((which, group)))
    ControlSocket(path, answers).close()
    assert given == [(path, "diskulog")]


def test_a_question_is_answered_and_the_connection_closed(path, control):
    with client(path, b'{"do": "status"}\n') as sock:
        turn(control)
        assert everything(sock) == b'{"all":"well"}\n'
    assert len(control.wanted()) == 1
    assert control.wait_seconds is None


def test_a_question_may_come_in_pieces_and_its_sender_say_no_more(path, control):
    with client(path, b'{"do": ') as sock:
        turn(control)
        sock.sendall(b'"status"}\n')
        sock.shutdown(socket.SHUT_WR)
        turn(control)
        assert everything(sock) == b'{"all":"well"}\n'


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (b"\n", "a request is a line of JSON"),
        (b"status\n", "a request is a line of JSON"),
        (b"[1]\n", "a request is a line of JSON"),
        (b'{"do": "what"}\n', "a request is a line of JSON"),
        (b'{"do": ["status"]}\n', "a request is a line of JSON"),
        (b"[" * 1000 + b"\n", "a request is a line of JSON"),
        (b"\xff\xfe\n", "a request is a line of JSON"),
        (b"x" * 1024, "a request has at most 1024 bytes"),
        (b'{"do": "events", "history": -1}\n', "history is a number"),
        (b'{"do": "events", "history": true}\n', "history is a number"),
        (b'{"do": "events", "history": "all"}\n', "history is a number"),
    ],
)
def test_what_is_no_request_is_told_so(path, control, request_, says):
    with client(path, request_) as sock:
        turn(control)
        assert json.loads(everything(sock))["error"].startswith(says)
    assert len(control.wanted()) == 1


def test_whoever_goes_away_is_forgotten(path, control):
    client(path).close()
    client(path, b'{"do": "events"}\n').close()
    client(path, b'{"do"').close()
    turn(control, 10)
    assert len(control.wanted()) == 1


def test_events_come_as_they_happen(path, control, answers):
    answers.told = [b"1\n", b"2\n", b"3\n"]
    with client(path, b'{"do": "events", "history": 2}\n') as sock:
        turn(control)
        assert sock.recv(100) == b"2\n3\n"
        assert control.wait_seconds is not None
        answers.told.append(b"4\n")
        turn(control)
        assert sock.recv(100) == b"4\n"
        assert turn(control) == 0, "nobody polls in vain"
    turn(control)
    assert control.wait_seconds is None


def test_whoever_has_asked_may_close_its_half(path, control, answers):
    with client(path, b'{"do": "events"}\n') as sock:
        sock.shutdown(socket.SHUT_WR)
        turn(control)
        answers.told.append(b"1\n")
        turn(control)
        assert sock.recv(100) == b"1\n"
        assert turn(control) == 0


def test_whoever_does_not_read_costs_no_memory_and_goes_on_later(path, control, answers):
    with client(path, b'{"do": "events"}\n') as sock:
        turn(control)
        for number in range(100):
            answers.told.append(b"%d %s\n" % (number, b"x" * 65536))
            turn(control, 1)
        (kept,) = control._clients.values()
        assert len(kept.unsent) < 2 * module._MAX_UNSENT_BYTES
        found = b""
        while found.count(b"\n") < 100:
            turn(control, 1)
            found += sock.recv(1 << 20)
    assert [line.split()[0] for line in found.splitlines()] == [b"%d" % number for number in range(100)]


def test_a_large_answer_waits_for_its_reader(path, control, answers):
    answers.line = b"x" * 5_000_000 + b"\n"
    with client(path, b'{"do": "status"}\n') as sock:
        turn(control)
        found = b""
        while len(found) < len(answers.line):
            turn(control, 1)
            found += sock.recv(1 << 20)
    assert found == answers.line
    turn(control)
    assert len(control.wanted()) == 1


def test_more_clients_than_places_wait(path, control):
    socks = [client(path) for _ in range(MAX_CLIENTS + 2)]
    turn(control, MAX_CLIENTS + 5)
    assert len(control.wanted()) == MAX_CLIENTS
    for sock in socks[:MAX_CLIENTS]:
        sock.close()
    turn(control, 10)
    socks[-1].sendall(b'{"do": "status"}\n')
    turn(control, 10)
    assert everything(socks[-1]) == b'{"all":"well"}\n'
    socks[-2].close()


def test_a_bug_costs_a_connection_and_no_daemon(path, control, answers, caplog):
    answers.broken = True
    with client(path, b'{"do": "status"}\n') as sock:
        turn(control)
        assert everything(sock) == b""
    assert "bug: the control socket" in caplog.text
    answers.broken = False
    with client(path, b'{"do": "status"}\n') as sock:
        turn(control)
        assert everything(sock) == answers.line


def test_a_descriptor_that_is_not_ours_is_left_alone(control):
    control.turn(99999, select.POLLIN)


def test_a_dead_daemons_socket_is_replaced_and_ours_goes_with_us(path, answers):
    first = ControlSocket(path, answers)
    first.close_in_child()
    assert path.is_socket()
    second = ControlSocket(path, answers)
    with client(path, b'{"do": "status"}\n') as sock:
        turn(second)
        assert everything(sock) == answers.line
    second.close()
    assert not path.exists()


def test_a_child_lets_go_of_every_connection(path, control):
    with client(path, b'{"do": "events"}\n') as sock:
        turn(control)
        child = os.fork()
        if not child:
            control.close_in_child()
            select.select([], [], [], 60)
            os._exit(0)
        control.close()
        assert everything(sock) == b""
        os.kill(child, 9)
        os.waitpid(child, 0)


test_a_child_lets_go_of_every_connection = pytest.mark.filterwarnings("ignore::DeprecationWarning")(
    test_a_child_lets_go_of_every_connection
)


def test_a_path_that_is_too_long_is_an_error(tmp_path, answers):
    with pytest.raises(OSError, match="too long"):
        ControlSocket(tmp_path / ("x" * 120), answers)
