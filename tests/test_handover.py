# SPDX-License-Identifier: LGPL-2.1-or-later
import pytest

from diskulog import wire
from diskulog.handover import HANDOVER_BYTES, MAX_LOGS, MAX_OWED, Handover, KeptLog
from diskulog.wire import Request
from tests.fake_kernel import CTR, DTR, FLUSH, IN_SYNC, datagram

STRING = b"1024 disk /dev/ram2 256"


@pytest.fixture
def memory() -> memoryview:
    return memoryview(bytearray(HANDOVER_BYTES))


@pytest.fixture
def worker(memory: memoryview) -> Handover:
    return Handover(memory)


def receive(worker: Handover, kind: int, seq: int, data: bytes = b"", luid: int = 7) -> Request:
    worker.make_room()
    content = datagram(kind, b"UUID", luid, data, seq=seq)
    worker.buffer[: len(content)] = content
    request = wire.unframe(worker.buffer[: len(content)])
    assert isinstance(request, Request)
    return request


def answer(worker: Handover, request: Request, payload: bytes = b"", error: int = 0) -> None:
    reply = wire.reply(request, payload, error)
    worker.answering(reply)
    worker.answered(reply)


def left(memory: memoryview) -> list[int]:
    return sorted(request.seq for request in Handover(memory).in_hand())


def test_nothing_is_in_hand_at_first(memory, worker):
    assert left(memory) == []
    assert worker.current() is None
    assert worker.logs() == []


def test_a_request_is_in_hand_until_it_is_answered(memory, worker):
    request = receive(worker, IN_SYNC, 5, bytes(8))
    assert Handover(memory).current() == request
    assert left(memory) == [5]
    answer(worker, request, bytes(8))
    assert left(memory) == []


def test_one_that_waits_stays_in_hand_while_others_come_and_go(memory, worker):
    waiting = receive(worker, FLUSH, 5, bytes(16))
    for seq in range(6, 10):
        answer(worker, receive(worker, IN_SYNC, seq, bytes(8)), bytes(8))
        assert left(memory) == [5]
    worker.make_room()
    (kept,) = Handover(memory).in_hand()
    assert kept == waiting
    answer(worker, waiting)
    assert left(memory) == []


def test_requests_that_cannot_be_kept_are_only_not_asked_for_at_once(memory, worker):
    for seq in range(1, MAX_OWED + 10):
        receive(worker, FLUSH, seq)
    worker.make_room()
    assert len(left(memory)) == MAX_OWED


def test_slots_are_used_again(memory, worker):
    for seq in range(1, 3 * MAX_OWED):
        request = receive(worker, FLUSH, seq)
        worker.make_room()
        answer(worker, request)
    assert left(memory) == []


def test_a_datagram_that_is_no_request_is_not_in_hand(memory, worker):
    worker.buffer[:40] = (40).to_bytes(4, "little") + bytes(36)
    assert left(memory) == []
    worker.make_room()
    assert left(memory) == []
    worker.answering(wire.bare_refusal(1, 22))
    worker.answered(wire.bare_refusal(1, 22))


def test_a_process_s_datagram_is_not_in_hand(memory, worker):
    receive(worker, IN_SYNC, 5, bytes(8))
    worker.forget_current()
    worker.make_room()
    assert left(memory) == []


def test_a_log_is_kept_from_its_ctr_to_its_dtr(memory, worker):
    answer(worker, receive(worker, CTR, 1, STRING), b"1:2\0")
    assert Handover(memory).logs() == [KeptLog(7, b"UUID", STRING + b"\0")]
    answer(worker, receive(worker, CTR, 2, STRING + b"\0"))
    assert Handover(memory).logs() == [KeptLog(7, b"UUID", STRING + b"\0")]
    answer(worker, receive(worker, DTR, 3))
    assert Handover(memory).logs() == []
    answer(worker, receive(worker, DTR, 4))


def test_a_ctr_that_was_answered_late_is_kept_all_the_same(memory, worker):
    request = receive(worker, CTR, 1, STRING)
    answer(worker, receive(worker, IN_SYNC, 2, bytes(8)), bytes(8))
    answer(worker, request, b"1:2\0")
    assert [log.string for log in Handover(memory).logs()] == [STRING + b"\0"]


def test_a_ctr_that_failed_or_is_not_known_keeps_nothing(memory, worker):
    answer(worker, receive(worker, CTR, 1, STRING), error=22)
    request = receive(worker, CTR, 2, STRING)
    answer(worker, request)
    answer(worker, request)  # a second reply to a request that is forgotten
    assert len(worker.logs()) == 1


def test_more_logs_than_slots_are_only_not_kept(memory, worker):
    for luid in range(1, MAX_LOGS + 5):
        answer(worker, receive(worker, CTR, luid, STRING, luid))
    assert len(worker.logs()) == MAX_LOGS


def test_the_next_worker_goes_on_with_the_slots(memory, worker):
    answer(worker, receive(worker, CTR, 1, STRING))
    waiting = receive(worker, FLUSH, 2)
    worker.make_room()
    following = Handover(memory)
    following.take_over()
    answer(following, waiting)
    assert left(memory) == []
    answer(following, receive(following, DTR, 3))
    assert following.logs() == []
    for seq in range(10, 10 + 2 * MAX_OWED):
        answer(following, receive(following, FLUSH, seq))
    assert left(memory) == []


def test_that_requests_were_lost_is_known_until_somebody_acted_on_it(memory, worker):
    assert not worker.overrun
    worker.overrun = True
    following = Handover(memory)
    following.take_over()
    assert following.overrun
    following.overrun = False
    assert not Handover(memory).overrun


def test_forgetting_what_is_not_there_does_nothing(memory, worker):
    receive(worker, IN_SYNC, 5, bytes(8))
    worker.forget(6)
    assert left(memory) == [5]
    worker.forget(5)
    assert left(memory) == []


def test_a_slot_that_was_being_filled_is_empty(memory, worker, monkeypatch):
    receive(worker, FLUSH, 5)

    class Dies(Exception):
        pass

    def dies(*_):
        raise Dies

    class Length:
        size = 4
        unpack_from = staticmethod(lambda *arguments: (len(datagram(FLUSH, b"UUID", 7)),))
        pack_into = staticmethod(dies)

    monkeypatch.setattr("diskulog.handover._LENGTH", Length)
    with pytest.raises(Dies):
        worker.make_room()
    monkeypatch.undo()
    assert left(memory) == [5]  # still in the buffer, and only there
