# SPDX-License-Identifier: LGPL-2.1-or-later
import json
from typing import Any

import pytest

from diskulog import __version__, figures, publish, status
from diskulog.board import (
    BOARD_BYTES,
    FOREIGN,
    MAX_EVENTS,
    OVERRUNS,
    UNREADABLE,
    UNSENT,
    WRITTEN_US,
    Board,
    Event,
    Names,
)
from diskulog.status import About, Answers

ONE = Names(0xFFFF888012345678, b"uuid\xff", "253:2", "disk")
CLOCK = 1_700_000_000.5


@pytest.fixture
def board() -> Board:
    return Board(memoryview(bytearray(BOARD_BYTES)))


@pytest.fixture
def answers(board) -> Answers:
    return Answers(board, About(10, CLOCK - 60, 4711, 11), lambda: CLOCK, lambda: 100.0)


def asked(answers: Answers) -> dict[str, Any]:
    line = answers.status()
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    return json.loads(line)


def log(answers: Answers, board: Board, **its: int) -> dict[str, Any]:
    words = board.slot(ONE)
    for name, value in its.items():
        words[getattr(figures, name)] = value
    (found,) = asked(answers)["logs"]
    return found


def test_the_daemon(answers, board):
    board.words[WRITTEN_US] = int((CLOCK - 0.25) * 1e6)
    board.words[OVERRUNS], board.words[FOREIGN], board.words[UNREADABLE], board.words[UNSENT] = 1, 2, 3, 5
    answers.about.worker_restarts, answers.about.last_worker_end = 4, "signal 9"
    found = asked(answers)
    assert found == {"format_version": 1, "daemon": found["daemon"], "logs": []}
    assert found["daemon"] == {
        "version": __version__,
        "pid": 10,
        "worker_pid": 11,
        "started_seconds": CLOCK - 60,
        "worker_restarts": 4,
        "last_worker_end": "signal 9",
        "age_seconds": 0.25,
        "turns": 0,
        "overruns": 1,
        "unsent_replies": 5,
        "foreign_datagrams": 2,
        "unreadable_requests": 3,
        "netlink_port": 4711,
    }


def test_before_the_worker_wrote_anything_there_is_no_age(answers):
    assert asked(answers)["daemon"]["age_seconds"] is None


def test_a_log_that_was_never_live_has_no_counts(answers, board):
    found = log(answers, board, REGION_SIZE=1024, REGION_COUNT=8, TARGET_LENGTH=8192)
    assert (found["uuid"], found["luid"], found["log_device"]) == ("uuid\ufffd", "0xffff888012345678", "253:2")
    assert (found["log_type"], found["type_word"], found["state"], found["health"]) == ("disk", "disk", "inactive", "A")
    assert (found["region_size_sectors"], found["region_count"], found["target_length_sectors"]) == (1024, 8, 8192)
    assert (found["clean_count"], found["in_sync_count"], found["resync"]) == (None, None, None)
    assert (found["last_flush_seconds"], found["recovering_region"]) == (None, None)
    latency = found["flush_latency_seconds"]
    assert (latency["count"], latency["median"], latency["p99"], latency["worst"]) == (0, None, None, None)


def test_a_live_log_in_the_middle_of_a_resync(answers, board):
    found = log(
        answers,
        board,
        STATE=figures.LIVE,
        HAS_BITS=1,
        REGION_COUNT=8,
        CLEAN=5,
        IN_SYNC=6,
        RECOVERING=1,
        RESYNC_STARTED_US=1_700_000_000_000_000,
        RESYNC_STARTED_COUNT=4,
        LAST_FLUSH_US=90_000_000,
        HELD=2,
        MARKED=9,
        CLEARED=3,
    )
    assert (found["state"], found["clean_count"], found["in_sync_count"]) == ("live", 5, 6)
    assert found["recovering_region"] == 0
    assert found["resync"] == {"started_seconds": 1_700_000_000.0, "started_in_sync_count": 4}
    assert found["last_flush_seconds"] == CLOCK - 10
    assert (found["held_clears"], found["marked_regions"], found["cleared_regions"]) == (2, 9, 3)
    assert set(found["requests"]) >= {"CTR", "IN_SYNC", "FLUSH", "IS_REMOTE_RECOVERING"}


def test_a_log_that_is_in_sync_has_no_resync(answers, board):
    assert log(answers, board, STATE=figures.LIVE, HAS_BITS=1, REGION_COUNT=8, IN_SYNC=8)["resync"] is None


def test_a_failed_log(answers, board):
    found = log(answers, board, STATE=figures.FAILED_STATE, FAILED=1, FAILURES=1, IS_CORE=1)
    assert (found["state"], found["health"], found["failures"], found["log_type"]) == ("failed", "D", 1, "core")


def test_the_latency_of_flushes(answers, board):
    for _ in range(99):
        figures.count_flush(board.slot(ONE), 1_000_000, 1)
    figures.count_flush(board.slot(ONE), 2_000_000_000, 1)
    latency = log(answers, board)["flush_latency_seconds"]
    assert (latency["count"], latency["worst"]) == (100, 2.0)
    assert latency["sum"] == pytest.approx(2.099)
    assert 0.001 <= latency["median"] <= 0.00126
    assert 0.001 <= latency["p99"] <= 0.00126
    assert latency["buckets"][-1][1] == 100


@pytest.mark.parametrize("kind", range(len(publish.KINDS)))
def test_every_event_has_a_sentence(answers, board, kind):
    names = ONE if kind != publish.RESTARTED else Names(0, b"", "", "")
    board.tell(Event(0, 1_700_000_000_250_000, kind, names, 3, 8))
    (line,), following = answers.events(1)
    found = json.loads(line)
    assert (found["event"], found["time_seconds"], following) == (publish.KINDS[kind], 1_700_000_000.25, 2)
    assert found["text"]
    assert "{" not in found["text"]
    if kind == publish.RESTARTED:
        assert (found["uuid"], found["luid"], found["log_device"]) == (None, None, None)
        assert found["text"] == "the worker ended (signal 3), a new one serves"
    else:
        assert (found["uuid"], found["luid"], found["log_device"]) == ("uuid\ufffd", "0xffff888012345678", "253:2")


def test_lost_events_are_told_first(answers, board):
    for _ in range(MAX_EVENTS + 5):
        board.tell(Event(0, 0, publish.CREATED, ONE, 3, 8))
    lines, following = answers.events(1)
    assert following == MAX_EVENTS + 6
    first = json.loads(lines[0])
    assert (first["event"], first["count"], len(lines)) == ("lost", 5, MAX_EVENTS + 1)


@pytest.mark.parametrize(("history", "first"), [(0, 4), (1, 3), (3, 1), (10**9, 1)])
def test_kept_events(answers, board, history, first):
    for _ in range(3):
        board.tell(Event(0, 0, publish.CREATED, ONE, 3, 8))
    assert answers.kept(history) == first
    assert answers.events(4) == ([], 4)


def test_an_error_is_a_line():
    assert json.loads(status.error('say "what"')) == {"error": 'say "what"'}


@pytest.mark.parametrize(("how", "text"), [((9, 0), "signal 9"), ((0, 5), "code 5")])
def test_how_a_process_ended(how, text):
    assert status.how_it_ended(*how) == text
