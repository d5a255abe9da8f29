# SPDX-License-Identifier: LGPL-2.1-or-later
import pytest

from diskulog import figures
from diskulog.board import BOARD_BYTES, MAX_EVENTS, MAX_LOGS, Board, Event, Names

ONE = Names(0xFFFF888012345678, b"uuid-one", "253:2", "disk")
TWO = Names(2, b"u" * 128, "259:123456", "clustered-disk")


@pytest.fixture
def memory() -> memoryview:
    return memoryview(bytearray(BOARD_BYTES))


def event(kind: int = 1, names: Names = ONE) -> Event:
    return Event(0, 1_700_000_000_000_000, kind, names, 3, 8)


def test_an_empty_board_has_nothing(memory):
    assert Board(memory).logs() == []
    assert Board(memory).events(0) == ([], 0)


def test_what_a_worker_writes_is_read(memory):
    worker, reader = Board(memory), Board(memory)
    worker.slot(ONE)[figures.CLEAN] = 7
    worker.slot(TWO)[figures.CLEAN] = 2**64 - 1
    assert [(names, words[figures.CLEAN]) for names, words in reader.logs()] == [(ONE, 7), (TWO, 2**64 - 1)]


def test_the_next_worker_goes_on_with_the_figures(memory):
    Board(memory).slot(ONE)[figures.MARKED] = 5
    assert Board(memory).slot(ONE)[figures.MARKED] == 5


@pytest.mark.parametrize(
    "other", [ONE._replace(uuid=b"other"), ONE._replace(device="253:3"), ONE._replace(type_word="core")]
)
def test_a_luid_that_comes_again_begins_anew(memory, other):
    board = Board(memory)
    board.slot(ONE)[figures.MARKED] = 5
    assert board.slot(other)[figures.MARKED] == 0
    assert [names for names, _ in board.logs()] == [other]


def test_a_slot_that_was_given_up_is_used_again(memory):
    board = Board(memory)
    board.slot(ONE)[figures.MARKED] = 5
    board.free(ONE.luid)
    board.free(ONE.luid)
    assert board.logs() == []
    assert board.slot(TWO)[figures.MARKED] == 0


def test_more_logs_than_places(memory):
    board = Board(memory)
    for luid in range(1, MAX_LOGS + 1):
        assert board.slot(ONE._replace(luid=luid)) is not None
    assert board.slot(ONE) is None
    assert len(Board(memory).logs()) == MAX_LOGS


def test_a_copy_does_not_change_under_the_reader(memory):
    board = Board(memory)
    ((_, words),) = [(board.slot(ONE), board.logs()[0][1])]
    board.slot(ONE)[figures.MARKED] = 5
    assert words[figures.MARKED] == 0


def test_events_come_in_order_with_their_numbers(memory):
    writer, reader = Board(memory), Board(memory)
    for kind in range(5):
        writer.tell(event(kind))
    found, lost = reader.events(3)
    names = ONE._replace(type_word="")
    assert (found, lost) == ([event(kind, names)._replace(number=kind + 1) for kind in (2, 3, 4)], 0)
    assert reader.next_event == 6
    assert reader.events(6) == ([], 0)


def test_events_that_were_written_over_are_counted(memory):
    board = Board(memory)
    for _ in range(MAX_EVENTS + 10):
        board.tell(event())
    found, lost = board.events(1)
    assert (len(found), lost) == (MAX_EVENTS, 10)
    assert [each.number for each in found] == list(range(11, MAX_EVENTS + 11))


def test_an_event_that_is_being_written_is_not_read(memory):
    board = Board(memory)
    board.tell(event())
    at = board.events.__globals__["_event_place"](1)
    memory[at : at + 8] = bytes(8)
    assert board.events(1) == ([], 1)


def test_the_next_worker_goes_on_with_the_events(memory):
    Board(memory).tell(event())
    Board(memory).tell(event(2))
    assert [(each.number, each.kind) for each in Board(memory).events(1)[0]] == [(1, 1), (2, 2)]
