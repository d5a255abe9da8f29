# SPDX-License-Identifier: LGPL-2.1-or-later
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from diskulog import attendant as module
from diskulog import process
from diskulog.attendant import Attendant
from diskulog.board import BOARD_BYTES, HEARTBEAT, Board
from diskulog.config import Config


class FakeControl:
    wait_seconds = 0.1

    def __init__(self) -> None:
        self.done: list[object] = []

    def wanted(self) -> list[tuple[int, int]]:
        return [(3, 1)]

    def turn(self, number: int, ready: int) -> None:
        self.done.append((number, ready))

    def tick(self) -> None:
        self.done.append("tick")

    def close_in_child(self) -> None:
        self.done.append("closed")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module.time, "monotonic", made.monotonic)
    return made


@pytest.fixture
def board() -> Board:
    return Board(memoryview(bytearray(BOARD_BYTES)))


@pytest.fixture
def killed(monkeypatch) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    monkeypatch.setattr(module.os, "kill", lambda pid, number: found.append((pid, number)))
    return found


def pass_time(attendant: Attendant, clock: Clock, seconds: float, step: float = 0.5) -> None:
    for _ in range(round(seconds / step)):
        clock.now += step
        attendant.tick()


def test_the_control_socket_has_its_turns(board):
    control = FakeControl()
    attendant = Attendant(board, control, 10.0, None)
    board.words[HEARTBEAT] = 1
    attendant.tick()
    assert (attendant.wanted(), attendant.wait_seconds) == ([(3, 1)], 0.1)
    control.done.clear()
    attendant.turn(3, 1)
    attendant.tick()
    attendant.leave_in_child()
    assert control.done == [(3, 1), "tick", "closed"]


def test_without_a_control_socket_there_is_nothing_to_poll(board):
    attendant = Attendant(board, None, 10.0, None)
    board.words[HEARTBEAT] = 1
    attendant.tick()
    assert (attendant.wanted(), attendant.wait_seconds) == ([], None)
    attendant.turn(3, 1)
    attendant.tick()
    attendant.leave_in_child()


def test_a_worker_that_stands_still_is_killed(board, clock, killed, caplog):
    attendant = Attendant(board, None, 10.0, None)
    attendant.begin(77)
    pass_time(attendant, clock, 9.5)
    assert killed == []
    pass_time(attendant, clock, 0.5)
    assert killed == [(77, signal.SIGKILL)]
    assert "the worker stands still for 10 s and is killed" in caplog.text
    attendant.begin(78)
    pass_time(attendant, clock, 9.5)
    assert len(killed) == 1


def test_a_worker_whose_heart_beats_is_not(board, clock, killed):
    attendant = Attendant(board, None, 10.0, None)
    attendant.begin(77)
    for _ in range(100):
        pass_time(attendant, clock, 5.0)
        board.words[HEARTBEAT] += 1
    assert killed == []


def test_a_machine_that_was_stopped_for_an_hour_kills_nobody(board, clock, killed):
    attendant = Attendant(board, None, 10.0, None)
    attendant.begin(77)
    pass_time(attendant, clock, 3600, step=3600)
    board.words[HEARTBEAT] += 1
    pass_time(attendant, clock, 9.0)
    assert killed == []


def test_between_two_workers_nobody_is_killed(board, clock, killed):
    attendant = Attendant(board, None, 10.0, None)
    attendant.begin(None)
    pass_time(attendant, clock, 60.0)
    assert killed == []


def test_a_worker_that_ended_meanwhile_is_no_matter(board, clock, monkeypatch):
    def gone(pid: int, number: int) -> None:
        raise ProcessLookupError

    monkeypatch.setattr(module.os, "kill", gone)
    attendant = Attendant(board, None, 2.0, None)
    attendant.begin(77)
    pass_time(attendant, clock, 10.0)


@pytest.fixture
def told(tmp_path, monkeypatch) -> Iterator[Callable[[], list[bytes]]]:
    """What systemd was told so far."""
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(name)
        sock.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", name)

        def messages() -> list[bytes]:
            found = []
            with suppress(BlockingIOError):
                while True:
                    found.append(sock.recv(100))
            return found

        yield messages


def test_ready_is_said_once_when_the_first_worker_answers(board, clock, told):
    attendant = Attendant(board, None, 60.0, None)
    attendant.tick()
    assert (told(), attendant.wait_seconds) == ([], 0.02)
    board.words[HEARTBEAT] = 1
    attendant.tick()
    attendant.begin(78)
    attendant.tick()
    assert told() == [b"READY=1"]


@pytest.mark.parametrize("beats", [True, False])
def test_systemd_hears_of_us_while_the_worker_lives(board, clock, killed, told, monkeypatch, beats):
    monkeypatch.setenv("WATCHDOG_USEC", "6000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    attendant = Attendant(board, None, 60.0, None)
    board.words[HEARTBEAT] = 1
    for _ in range(20):
        pass_time(attendant, clock, 0.5)
        board.words[HEARTBEAT] += beats
    assert told() == [b"READY=1"] + [b"WATCHDOG=1"] * (5 if beats else 0)


@pytest.mark.parametrize(
    ("usec", "pid", "seconds"),
    [("3000000", "", 3.0), ("3000000", "1", None), ("0", "", None), ("", "", None), ("x", "", None)],
)
def test_what_systemd_wants(monkeypatch, usec, pid, seconds):
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    monkeypatch.setenv("WATCHDOG_PID", pid)
    assert process.watchdog_seconds() == seconds


class TestReload:
    def until(self, attendant: Attendant, clock: Clock, truth) -> None:
        end = time.perf_counter() + 20
        while not truth():
            assert time.perf_counter() < end
            pass_time(attendant, clock, 0.5)
            time.sleep(0.01)

    def test_the_configuration_is_read_when_asked_for(self, board, clock):
        found = []
        wanted = Config()
        attendant = Attendant(board, None, 60.0, lambda: wanted)
        attendant.on_reload = found.append
        pass_time(attendant, clock, 2)
        assert found == []
        attendant.reload_asked = True
        self.until(attendant, clock, lambda: found)
        pass_time(attendant, clock, 2)
        assert found == [wanted]

    def test_one_that_is_wrong_changes_nothing_and_is_told(self, board, clock, caplog):
        def wrong() -> Config:
            raise ValueError("configuration /x: [clears] hold: is not a known key")

        found = []
        attendant = Attendant(board, None, 60.0, wrong)
        attendant.on_reload = found.append
        attendant.reload_asked = True
        with caplog.at_level(logging.ERROR, "diskulog.supervisor"):
            self.until(attendant, clock, lambda: caplog.records)
            pass_time(attendant, clock, 2)
        assert found == []
        assert caplog.messages == [
            "the configuration stays as it was: configuration /x: [clears] hold: is not a known key"
        ]

    def test_without_a_way_to_read_it_nothing_happens(self, board, clock):
        attendant = Attendant(board, None, 60.0, None)
        attendant.reload_asked = True
        pass_time(attendant, clock, 2)
        assert not attendant.reload_asked
