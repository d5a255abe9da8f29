# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon's side of the control socket and the client's, over a real socket: what one says, the other reads."""

import select
import threading
import time

import pytest

from diskulog import publish
from diskulog.commands import events
from diskulog.control import client, model
from diskulog.controlsocket import ControlSocket
from diskulog.status import About, Answers, error
from tests.fake_host import EPOCH_SECONDS, REGIONS
from tests.toolbox import TOP

DAEMON_PID = 10


@pytest.fixture
def answers(rig):
    """What is said of a host in memory."""
    board = rig.publisher._board
    return Answers(board, About(DAEMON_PID, EPOCH_SECONDS, 171), time.time, time.monotonic)


@pytest.fixture
def socket_path(tmp_path, answers):
    """Answer there as the supervisor does, while a test runs."""
    path = tmp_path / "control.sock"
    control, ended = ControlSocket(path, answers), threading.Event()

    def serve():
        while not ended.is_set():
            poll = select.poll()
            for number, wanted in control.wanted():
                poll.register(number, wanted)
            for number, ready in poll.poll(20):
                control.turn(number, ready)
            control.tick()

    thread = threading.Thread(target=serve)
    thread.start()
    yield path
    ended.set()
    thread.join()
    control.close()


def asked(path):
    return model.answer(client.status(path))


def test_a_daemon_without_logs_that_has_no_worker_yet(socket_path):
    found = asked(socket_path)
    assert (found.daemon.pid, found.daemon.worker_pid, found.daemon.age_seconds) == (DAEMON_PID, None, None)
    assert found.logs == []


def test_a_log_through_its_life(socket_path, rig):
    table = rig.table(resume=False)
    (log,) = asked(socket_path).logs
    assert (log.state, log.health, log.in_sync_count, log.region_count) == ("inactive", "A", None, REGIONS)
    assert int(log.luid, 16) == table.luid
    rig.disk.format(dirty=[5])
    table = rig.table()
    log = next(log for log in asked(socket_path).logs if int(log.luid, 16) == table.luid)
    assert (log.state, log.in_sync_count, log.resync.started_in_sync_count) == ("live", REGIONS - 1, REGIONS - 1)
    table.written(1, 2)
    rig.publisher.look(rig.world.entries)
    log = next(log for log in asked(socket_path).logs if int(log.luid, 16) == table.luid)
    assert (log.marked_regions, log.clean_count) == (2, REGIONS - 3)
    assert log.flush_latency_seconds.count >= 1
    assert log.requests["FLUSH"] >= 1


def test_events_that_were_and_one_that_comes(socket_path, rig):
    rig.disk.format(dirty=[5])
    rig.table()
    told = client.events(socket_path, 256)
    first = [model.event(next(told)) for _ in range(3)]
    assert [event.event for event in first] == ["created", "resumed", "resync_started"]
    rig.table(resume=False)
    assert model.event(next(told)).event == "created"
    told.close()


def test_every_kind_of_event_is_in_the_help_and_the_man_page():
    page = (TOP / "docs/man/diskulog-events.8.rst").read_text()
    for kind in (*publish.KINDS, "lost"):
        assert kind in events.HELP
        assert kind in page


def test_a_refusal_is_read_as_one():
    with pytest.raises(Exception, match="the daemon refuses: no; try again"):
        model.answer(error("no").rstrip(b"\n"))
