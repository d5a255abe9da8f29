# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is answered in place is what the server would have answered, to the byte and the bit; all else is left alone."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskulog import handlers, wire
from diskulog.clears import ClearPolicy
from diskulog.hotpath import HotPath
from tests import fake_kernel as kernel
from tests.fake_host import REGIONS, UUID, Rig

REGION = struct.Struct("=Q")
KINDS = (
    kernel.IN_SYNC,
    kernel.FLUSH,
    kernel.MARK,
    kernel.CLEAR,
    kernel.GET_RESYNC_WORK,
    kernel.SET_REGION_SYNC,
    kernel.IS_REMOTE_RECOVERING,
)


def u64(*values: int) -> bytes:
    return struct.pack(f"={len(values)}Q", *values)


class Desk:
    """A host with one live log, and the hot path over its table of logs."""

    def __init__(self, dirty: tuple[int, ...] = (5,)) -> None:
        self.rig = Rig(ClearPolicy(max_held=64))
        self.rig.disk.format(dirty=dirty)
        self.log = self.rig.table()
        self.buffer = memoryview(bytearray(4096))
        self.hot = HotPath(self.rig.world.known, self.rig.server.holding, self.buffer)

    def ask(self, kind: int, data: bytes = b"", **changes: object) -> bytes | None:
        """Answer in place: the reply, None when the request was left as it came."""
        return self.put(kernel.datagram(kind, changes.pop("uuid", UUID), self.log.luid, data, **changes))

    def put(self, datagram: bytes) -> bytes | None:
        self.buffer[:] = bytes(len(self.buffer))
        self.buffer[: len(datagram)] = datagram
        reply = self.hot.answer(len(datagram))
        assert reply is not None or self.buffer[: len(datagram)] == datagram
        return None if reply is None else bytes(reply)

    @property
    def state(self) -> tuple[object, ...]:
        log = self.rig.entry(self.log).log
        bits = bytes(log.store.clean), bytes(log.store.in_sync)
        return (*bits, log.sync_count, log.recovering, sorted(log.clears.waiting), log.marks.pending)

    def served(self, datagram: bytes) -> bytes:
        """What the server answers."""
        replies: list[bytes] = []
        plain, self.rig.server._send = self.rig.server._send, lambda reply: replies.append(bytes(reply))
        self.rig.server.receive(datagram)
        self.rig.work()
        self.rig.server._send = plain
        (reply,) = replies
        return reply


@pytest.fixture
def desk():
    made = Desk()
    yield made
    made.rig.close()


PAYLOADS = st.one_of(
    st.binary(max_size=40),
    st.lists(st.integers(0, REGIONS + 1), max_size=41).map(lambda regions: u64(*regions)),
    st.tuples(st.integers(0, REGIONS), st.integers(0, 2)).map(lambda pair: u64(*pair)),
)


@given(st.lists(st.tuples(st.sampled_from([*KINDS, kernel.GET_SYNC_COUNT]), PAYLOADS), max_size=30))
def test_a_history_answered_in_place_is_the_history_that_the_server_answers(history):
    ours, theirs = Desk((2, 5)), Desk((2, 5))
    entry = theirs.rig.entry(theirs.log)
    theirs.rig.world.remove(entry)
    entry.luid = theirs.log.luid = ours.log.luid
    theirs.rig.world.add(entry)
    for seq, (kind, data) in enumerate(history):
        datagram = kernel.datagram(kind, UUID, ours.log.luid, data, seq=seq)
        expected = theirs.served(datagram)
        found = ours.put(datagram)
        assert (ours.served(datagram) if found is None else found) == expected
        assert ours.state == theirs.state
    ours.rig.close()
    theirs.rig.close()


@pytest.mark.parametrize("region", range(REGIONS))
def test_in_sync_is_exactly_the_bit(desk, region):
    reply = kernel.parse_reply(desk.ask(kernel.IN_SYNC, u64(region)))
    assert (reply.error, reply.data) == (0, u64(region != 5))


def test_a_flush_of_regions_that_are_dirty_already_needs_nobody(desk):
    desk.ask(kernel.MARK, u64(1, 2))
    desk.served(kernel.datagram(kernel.FLUSH, UUID, desk.log.luid))
    assert not desk.rig.entry(desk.log).log.marks.pending
    commits = desk.rig.disk.calls["commit"]
    for regions in ((), (1,), (1, 2, 5)):
        reply = kernel.parse_reply(desk.ask(kernel.FLUSH, u64(*regions)))
        assert (reply.error, reply.data) == (0, b"")
    assert desk.rig.disk.calls["commit"] == commits


def test_a_flush_whose_mark_is_not_durable_is_left(desk):
    assert desk.ask(kernel.FLUSH, u64(1)) is None
    assert desk.ask(kernel.FLUSH, u64(5, 1)) is None
    assert desk.ask(kernel.MARK, u64(1)) is not None
    assert desk.ask(kernel.FLUSH) is None  # an msync is owed
    assert desk.ask(kernel.FLUSH, u64(5)) is None


def test_a_mark_in_a_flush_drops_the_held_clear(desk):
    assert desk.log.written(1) == 0
    desk.log.clear(1)
    desk.log.flush()
    clears = desk.rig.entry(desk.log).log.clears
    assert clears.holds(1)
    assert desk.ask(kernel.FLUSH, u64(1)) is not None
    assert not clears.holds(1)


def test_the_first_clear_is_left_to_whoever_winds_up_the_timer(desk):
    assert desk.log.written(1, 2) == 0
    assert desk.ask(kernel.CLEAR, u64(1)) is None
    desk.log.clear(1)
    desk.log.flush()
    assert desk.ask(kernel.CLEAR, u64(2)) is not None
    desk.rig.tick(6.0)
    assert desk.rig.disk.dirty() == [5]


def test_out_of_sync_is_left_for_it_must_be_durable(desk):
    assert desk.ask(kernel.SET_REGION_SYNC, u64(1, 0)) is None
    assert desk.ask(kernel.SET_REGION_SYNC, u64(5, 1)) is not None
    assert desk.rig.entry(desk.log).log.sync_count == REGIONS


@pytest.mark.parametrize("kind", sorted(set(wire.RequestType) - set(KINDS)))
def test_other_requests_are_left(desk, kind):
    assert desk.ask(kind, u64(1)) is None


def patched(at: int, value: int, form: str = "=I") -> bytes:
    frame = bytearray(kernel.datagram(kernel.IN_SYNC, UUID, 0, u64(1)))
    struct.pack_into(form, frame, at, value)
    return bytes(frame)


@pytest.mark.parametrize(
    ("at", "value", "form"),
    [
        (0, 203, "=I"),  # nlmsg_len
        (4, 4, "=H"),  # nlmsg_type
        (16, 1, "=I"),  # idx
        (20, 2, "=I"),  # val
        (32, 100, "=H"),  # cn_msg.len
        (176, 0, "=I"),  # version
        (176, 4, "=I"),
        (180, -3, "=i"),  # error
        (188, 8 | 1 << 8, "=I"),  # reserved bits of the type
        (192, 9, "=I"),  # data_size
        (60, 1, "=B"),  # the uuid
    ],
)
def test_what_is_not_plain_is_left(desk, at, value, form):
    frame = bytearray(patched(at, value, form))
    struct.pack_into("=Q", frame, wire.CN_HEADER_BYTES, desk.log.luid)
    assert desk.put(bytes(frame)) is None


@pytest.mark.parametrize("size", [0, 35, 36, 195, 196, 203])
def test_what_is_cut_off_is_left(desk, size):
    assert desk.put(kernel.datagram(kernel.IN_SYNC, UUID, desk.log.luid, u64(1))[:size]) is None


def test_a_log_that_is_unknown_busy_failed_or_not_live_is_left(desk):
    entry = desk.rig.entry(desk.log)
    assert desk.ask(kernel.IN_SYNC, u64(1)) is not None
    entry.busy = True
    assert desk.ask(kernel.IN_SYNC, u64(1)) is None
    entry.busy = False
    assert desk.ask(kernel.IN_SYNC, u64(1), uuid=b"other") is None
    entry.log.fail()
    assert desk.ask(kernel.IN_SYNC, u64(1)) is None
    desk.log.presuspend()
    desk.log.postsuspend()
    assert desk.ask(kernel.FLUSH) is None
    new = desk.rig.table(resume=False)
    assert desk.put(kernel.datagram(kernel.IN_SYNC, UUID, new.luid, u64(1))) is None
    entry.log, log = None, entry.log
    assert desk.ask(kernel.IN_SYNC, u64(1)) is None
    entry.log = log
    desk.log.luid += 1
    assert desk.ask(kernel.IN_SYNC, u64(1)) is None


def test_a_mistake_in_it_is_left_to_the_server(desk, monkeypatch):
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(desk.rig.entry(desk.log).log, "mark", broken)
    assert desk.ask(kernel.MARK, u64(1)) is None


def test_it_answers_only_what_has_a_handler_too():
    shapes = HotPath({}, set(), memoryview(bytearray(4096)))._shapes
    assert {struct.unpack("=II", what)[0] for what in shapes} == set(KINDS) <= set(handlers.HANDLERS)
