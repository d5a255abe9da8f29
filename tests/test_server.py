# SPDX-License-Identifier: LGPL-2.1-or-later
"""All 17 requests at the server's door: known and unknown logs, wrong payloads, versions and types; jobs and time."""

import errno
import struct

import pytest

from diskulog.clears import ClearPolicy
from diskulog.dirtylog import Phase
from diskulog.work import Lane
from tests import fake_kernel as kernel
from tests.fake_host import REGION_SIZE, REGIONS, UUID, Rig, ctr_string, io_error
from tests.fake_kernel import ALL_TYPES, NO_PAYLOAD_BACK, Answer, datagram

EINVAL, EIO, ESRCH = -errno.EINVAL, -errno.EIO, -errno.ESRCH


def u64(*values: int) -> bytes:
    return struct.pack(f"={len(values)}Q", *values)


def pair(first: int, second: int) -> bytes:
    return struct.pack("=qQ", first, second)


# a good payload for each type, and the answer of a live log whose regions are all clean
GOOD = {
    kernel.CTR: (ctr_string(), b"253:2\0"),
    kernel.DTR: (b"", b""),
    kernel.PRESUSPEND: (b"", b""),
    kernel.POSTSUSPEND: (b"", b""),
    kernel.RESUME: (b"", b""),
    kernel.GET_REGION_SIZE: (b"", u64(REGION_SIZE)),
    kernel.IS_CLEAN: (u64(1), u64(1)),
    kernel.IN_SYNC: (u64(1), u64(1)),
    kernel.FLUSH: (u64(1), b""),
    kernel.MARK: (u64(1), b""),
    kernel.CLEAR: (u64(1), b""),
    kernel.GET_RESYNC_WORK: (b"", pair(0, 0)),
    kernel.SET_REGION_SYNC: (struct.pack("=Qq", 1, 1), b""),
    kernel.GET_SYNC_COUNT: (b"", u64(REGIONS)),
    kernel.STATUS_INFO: (b"", b"3 disk 253:2 A\0"),
    kernel.STATUS_TABLE: (b"", b"disk 253:2 1024 \0"),
    kernel.IS_REMOTE_RECOVERING: (u64(1), pair(0, REGIONS)),
}

ERROR_SIZES = {6: 8, 7: 8, 8: 8, 14: 8, 12: 16, 17: 16, 15: 64, 16: 64}

# what a live log says to a payload that cannot be read: (error, payload)
HARMLESS = {
    kernel.IS_CLEAN: (ESRCH, bytes(8)),
    kernel.IN_SYNC: (ESRCH, bytes(8)),
    kernel.FLUSH: (EINVAL, b""),
    kernel.MARK: (EINVAL, b""),
    kernel.CLEAR: (0, b""),
    kernel.SET_REGION_SYNC: (0, b""),
    kernel.IS_REMOTE_RECOVERING: (0, pair(0, REGIONS - 1)),
}


@pytest.fixture
def live(rig):
    rig.disk.format()
    return rig.table()


def said(answer: Answer | None) -> tuple[int, bytes]:
    assert answer is not None, "no answer"
    return answer.error, answer.data


# -- one request of each type ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("kind", ALL_TYPES)
def test_a_live_log_answers_every_type(live, kind, version):
    data, payload = GOOD[kind]
    if kind == kernel.CTR and version == 1:
        payload = b""  # version 1 knows no device name
    answer = live.ask(kind, data, version=version)
    assert said(answer) == (0, payload)
    assert (answer.type, answer.luid, answer.uuid, answer.version) == (kind, live.luid, UUID, version)


@pytest.mark.parametrize("kind", NO_PAYLOAD_BACK)
def test_replies_that_must_be_empty_are_empty_whatever_came(live, kind):
    for data in (GOOD[kind][0], b"", b"x" * 7, u64(*range(40))):
        answer = live.kernel.ask(kind, UUID, live.luid, data)
        assert answer.data == b""


@pytest.mark.parametrize("kind", [kind for kind in ALL_TYPES if kind != kernel.CTR])
def test_an_unknown_log_makes_the_kernel_construct_it_again(rig, kind):
    answer = rig.kernel.ask(kind, UUID, 4096, GOOD[kind][0])
    if kind in (kernel.DTR, kernel.PRESUSPEND, kernel.POSTSUSPEND, kernel.RESUME):
        assert said(answer) == (0, b"")
    else:
        assert said(answer) == (ESRCH, bytes(ERROR_SIZES.get(kind, 0)))
    assert rig.world.entries == {}


@pytest.mark.parametrize("kind", [kind for kind in ALL_TYPES if kind != kernel.CTR])
def test_a_luid_under_another_uuid_is_an_unknown_log(rig, live, kind):
    answer = rig.kernel.ask(kind, b"another", live.luid, GOOD[kind][0])
    assert answer.error == (0 if kind in (2, 3, 4, 5) else ESRCH)
    assert rig.entry(live).log.phase is Phase.LIVE
    assert live.in_sync(1).value == 1


@pytest.mark.parametrize("kind", HARMLESS)
@pytest.mark.parametrize("data", [b"x", bytes(7), bytes(9), bytes(12)])
def test_a_bad_payload_gets_the_least_harmful_answer_and_changes_nothing(rig, live, kind, data):
    assert said(live.ask(kind, data)) == HARMLESS[kind]
    assert rig.disk.dirty() == []


@pytest.mark.parametrize("kind", HARMLESS)
def test_a_payload_cut_off_gets_the_same_answer(rig, live, kind):
    message = bytearray(datagram(kind, UUID, live.luid, u64(1, 2), seq=900))
    struct.pack_into("=I", message, kernel.FRAME - 4, 400)
    assert said(rig.kernel.deliver(bytes(message), 900)) == HARMLESS[kind]
    assert rig.disk.dirty() == []


@pytest.mark.parametrize("kind", [kernel.IN_SYNC, kernel.IS_CLEAN, kernel.IS_REMOTE_RECOVERING])
def test_an_empty_payload_where_a_region_belongs_is_a_bad_one(live, kind):
    assert said(live.ask(kind, b"")) == HARMLESS[kind]


@pytest.mark.parametrize("kind", [0, 18, 255])
def test_an_unknown_type_is_refused(rig, live, kind):
    assert said(live.ask(kind, u64(1))) == (EINVAL, b"")
    assert said(rig.kernel.ask(kind, b"nobody", 4096, u64(1))) == (EINVAL, b"")
    assert live.in_sync(1).value == 1


@pytest.mark.parametrize("version", [0, 4, 2**32 - 1])
@pytest.mark.parametrize("kind", ALL_TYPES)
def test_an_unknown_version_gets_the_least_harmful_answer_and_changes_nothing(rig, live, kind, version):
    # an error to IN_SYNC other than ESRCH would be taken as "not in sync": one leg written, nothing marked
    answer = live.ask(kind, GOOD[kind][0], version=version)
    expected = {
        kernel.CTR: (EINVAL, b""),
        kernel.GET_REGION_SIZE: (EINVAL, bytes(8)),
        kernel.IS_CLEAN: (ESRCH, bytes(8)),
        kernel.IN_SYNC: (ESRCH, bytes(8)),
        kernel.FLUSH: (EIO, b""),
        kernel.MARK: (EIO, b""),
        kernel.GET_RESYNC_WORK: (0, pair(0, 0)),
        kernel.GET_SYNC_COUNT: (0, u64(0)),
        kernel.STATUS_INFO: (EIO, bytes(64)),
        kernel.STATUS_TABLE: (EIO, bytes(64)),
        kernel.IS_REMOTE_RECOVERING: (0, pair(0, REGIONS - 1)),
    }
    assert said(answer) == expected.get(kind, (0, b""))
    assert answer.version == version
    assert rig.entry(live).log.phase is Phase.LIVE
    assert rig.disk.dirty() == []


def test_an_unknown_version_does_not_wake_a_log(rig):
    rig.disk.format()
    log = rig.table(resume=False)
    assert said(log.ask(kernel.IN_SYNC, u64(1), version=9)) == (ESRCH, bytes(8))
    assert rig.disk.calls["activate"] == 0


def test_a_reconnection_of_an_unknown_version_is_never_an_error(rig):
    assert said(rig.kernel.ask(kernel.CTR, UUID, 4096, ctr_string() + b"\0", version=9)) == (0, b"")


def test_reserved_bits_do_not_change_the_answer(rig, live):
    message = datagram(0xABCDEF00 | kernel.IN_SYNC, UUID, live.luid, u64(1), seq=77)
    assert said(rig.kernel.deliver(message, 77)) == (0, u64(1))


def test_what_is_no_request_is_refused_by_a_bare_message(rig, live):
    message = datagram(kernel.FLUSH, UUID, live.luid, seq=88)[:100]
    answer = rig.kernel.deliver(message, 88)
    assert (answer.type, answer.error, answer.data) == (0, EINVAL, b"")
    assert rig.server.unreadable == 1


def test_another_connector_s_message_is_not_answered(rig, live):
    message = bytearray(datagram(kernel.FLUSH, UUID, live.luid, seq=88))
    struct.pack_into("=I", message, 16, 1)
    assert rig.kernel.deliver(bytes(message), 88) is None


def test_complaints_are_one_line_a_minute(rig, live):
    def complaints() -> int:
        return sum("bad request" in line for line in rig.lines)

    for _ in range(50):
        live.ask(kernel.CLEAR, b"x")
    assert complaints() == 1
    rig.now += 60.0
    live.ask(kernel.CLEAR, b"x")
    assert complaints() == 2


# -- phases ----------------------------------------------------------------------------------------------------------

QUESTIONS = [kind for kind in ALL_TYPES if kind not in (kernel.CTR, kernel.DTR, kernel.RESUME, kernel.POSTSUSPEND)]


WAKES = [kernel.IN_SYNC, kernel.MARK, kernel.FLUSH, kernel.GET_RESYNC_WORK, kernel.SET_REGION_SYNC]


@pytest.mark.parametrize("kind", WAKES)
def test_a_question_of_a_running_table_activates_a_log_whose_resume_was_lost(rig, kind):
    rig.disk.format(dirty=[1])
    log = rig.table(resume=False)
    answers = {kernel.IN_SYNC: u64(0), kernel.GET_RESYNC_WORK: pair(1, 1)}
    assert said(log.ask(kind, GOOD[kind][0])) == (0, answers.get(kind, b""))
    assert rig.entry(log).log.phase is Phase.LIVE
    assert rig.disk.state == "open"


@pytest.mark.parametrize("kind", [kernel.FLUSH, *(kind for kind in QUESTIONS if kind not in WAKES)])
def test_any_other_question_before_the_resume_touches_nothing(rig, kind):
    rig.disk.format(dirty=[1])
    log = rig.table(resume=False)
    data = b"" if kind == kernel.FLUSH else GOOD[kind][0]
    expected = {
        kernel.GET_REGION_SIZE: u64(REGION_SIZE),
        kernel.IS_CLEAN: u64(0),
        kernel.GET_SYNC_COUNT: u64(0),
        kernel.STATUS_INFO: b"3 disk 253:2 A\0",
        kernel.STATUS_TABLE: b"disk 253:2 1024 \0",
        kernel.IS_REMOTE_RECOVERING: pair(0, REGIONS - 1),
    }
    assert said(log.ask(kind, data)) == (0, expected.get(kind, b""))
    assert rig.entry(log).log.phase is Phase.IDLE
    assert rig.disk.state == "closed"
    assert not rig.disk.calls


@pytest.mark.parametrize("kind", QUESTIONS)
def test_a_suspended_log_stores_nothing(rig, kind):
    rig.disk.format(dirty=[1])
    log = rig.table()
    log.presuspend()
    log.postsuspend()
    rig.disk.suspended = True
    bits = rig.disk.cached_clean.copy(), rig.disk.cached_sync.copy()
    answer = log.ask(kind, GOOD[kind][0])
    assert answer.error == 0
    assert (rig.disk.cached_clean, rig.disk.cached_sync) == bits
    assert rig.disk.state == "closed"


@pytest.mark.parametrize("kind", QUESTIONS)
def test_a_presuspended_log_answers_as_a_live_one(rig, kind):
    rig.disk.format()
    log = rig.table()
    assert log.presuspend().value == 0
    assert said(log.ask(kind, GOOD[kind][0])) == (0, GOOD[kind][1])


@pytest.mark.parametrize("region", [REGIONS, 2**32, 2**64 - 1])
def test_regions_out_of_range(rig, live, region):
    assert said(live.ask(kernel.IN_SYNC, u64(region))) == (0, u64(0))
    assert said(live.ask(kernel.IS_CLEAN, u64(region))) == (0, u64(0))
    assert said(live.ask(kernel.MARK, u64(1, region))) == (EINVAL, b"")
    assert said(live.ask(kernel.FLUSH, u64(1, region))) == (EINVAL, b"")
    assert said(live.ask(kernel.CLEAR, u64(1, region))) == (0, b"")
    assert said(live.ask(kernel.SET_REGION_SYNC, struct.pack("=Qq", region, 0))) == (0, b"")
    assert said(live.ask(kernel.SET_REGION_SYNC, struct.pack("=Qq", region, 1))) == (0, b"")
    assert said(live.ask(kernel.GET_SYNC_COUNT)) == (0, u64(REGIONS))
    assert rig.disk.dirty() == []
    assert rig.disk.calls["commit"] == 0


# -- status ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("string", "info", "table"),
    [
        (ctr_string(), b"3 disk 253:2 A\0", b"disk 253:2 1024 \0"),
        (ctr_string(options="sync"), b"3 disk 253:2 A\0", b"disk 253:2 1024 sync \0"),
        (
            ctr_string(options="nosync block_on_error"),
            b"3 disk 253:2 A\0",
            b"disk 253:2 1024 nosync block_on_error \0",
        ),
        (ctr_string(log_type="core"), b"1 core\0", b"core 1024 \0"),
        (ctr_string(log_type="clustered-disk"), b"3 disk 253:2 A\0", b"clustered-disk 253:2 1024 \0"),
        (ctr_string(log_type="clustered-core"), b"1 core\0", b"clustered-core 1024 \0"),
    ],
)
def test_the_status_has_the_kernel_s_words(rig, string, info, table):
    rig.clustered = True
    rig.restart()
    log = rig.table(string=string)
    assert log.device == (None if "core" in string.decode() else "253:2")
    assert said(log.ask(kernel.STATUS_INFO)) == (0, info)
    assert said(log.ask(kernel.STATUS_TABLE)) == (0, table)


def test_a_failed_log_is_dead_in_the_status(rig, live):
    rig.disk.fail("commit")
    assert live.written(1) == EIO
    assert live.status_info().value == b"3 disk 253:2 D\0"


# -- what waits ------------------------------------------------------------------------------------------------------


def test_a_flush_is_answered_when_its_msync_is_over(slow):
    log = live_on(slow)
    assert log.ask(kernel.FLUSH, u64(1), seq=500) is None
    assert said(log.ask(kernel.IN_SYNC, u64(2))) == (0, u64(1))  # others are answered past it
    slow.executor.run(Lane.DEVICE)
    assert slow.kernel.answer_to(500) is None
    slow.executor.collect()
    assert said(slow.kernel.answer_to(500)) == (0, b"")
    assert slow.disk.dirty() == [1]


def test_flushes_share_an_msync_and_later_marks_wait_for_the_next(slow):
    log = live_on(slow)
    assert log.ask(kernel.FLUSH, u64(1), seq=500) is None
    assert log.ask(kernel.FLUSH, u64(1), seq=501) is None
    slow.executor.run(Lane.DEVICE)
    assert log.ask(kernel.FLUSH, u64(2), seq=502) is None
    slow.executor.collect()
    assert said(slow.kernel.answer_to(500)) == said(slow.kernel.answer_to(501)) == (0, b"")
    assert slow.kernel.answer_to(502) is None
    assert slow.disk.dirty() == [1]
    slow.executor.run_all()
    assert said(slow.kernel.answer_to(502)) == (0, b"")
    assert slow.disk.dirty() == [1, 2]
    assert slow.disk.calls["commit"] == 2


def test_a_failed_msync_answers_everybody_who_shares_it(slow):
    log = live_on(slow)
    slow.disk.fail("commit")
    for seq in (500, 501):
        assert log.ask(kernel.FLUSH, u64(1), seq=seq) is None
    slow.executor.run_all()
    assert said(slow.kernel.answer_to(500)) == said(slow.kernel.answer_to(501)) == (EIO, b"")
    assert said(log.ask(kernel.FLUSH)) == (EIO, b"")
    assert said(log.ask(kernel.MARK, u64(3))) == (EIO, b"")
    assert said(log.ask(kernel.CLEAR, u64(3))) == (0, b"")
    assert slow.said("FAILED: its msync failed (log device: Input/output error)")


def test_requests_during_a_step_of_life_are_answered_after_it_in_order(slow):
    log = live_on(slow)
    log.ask(kernel.PRESUSPEND)
    assert log.ask(kernel.POSTSUSPEND, seq=600) is None
    held = [(kernel.STATUS_INFO, b""), (kernel.IN_SYNC, u64(1)), (kernel.RESUME, b""), (kernel.FLUSH, u64(1))]
    for number, (kind, data) in enumerate(held):
        assert log.ask(kind, data, seq=601 + number) is None
    slow.executor.run_all()
    assert [answer.seq for answer in slow.kernel.answers[-5:]] == [600, 601, 602, 603, 604]
    assert all(answer.error == 0 for answer in slow.kernel.answers[-5:])
    assert slow.disk.dirty() == [1]


def test_requests_held_by_a_destruction_are_answered_as_for_an_unknown_log(slow):
    log = live_on(slow)
    assert log.ask(kernel.DTR, seq=600) is None
    assert log.ask(kernel.GET_SYNC_COUNT, seq=601) is None
    assert log.ask(kernel.CTR, ctr_string(), seq=602) is None
    slow.executor.run_all()
    assert said(slow.kernel.answer_to(600)) == (0, b"")
    assert said(slow.kernel.answer_to(601)) == (ESRCH, bytes(8))
    assert said(slow.kernel.answer_to(602)) == (0, b"253:2\0")


def test_logs_of_different_mirrors_do_not_wait_for_each_other(slow):
    other = type(slow.disk)("253:9")
    slow.disks["/dev/other"] = other.format(b"LVM-mirror-2")
    first, second = live_on(slow), live_on(slow, b"LVM-mirror-2", "/dev/other")
    assert first.ask(kernel.FLUSH, u64(1), seq=500) is None
    assert second.ask(kernel.FLUSH, u64(2), seq=501) is None
    slow.executor.step(Lane.DEVICE, b"LVM-mirror-2")
    assert said(slow.kernel.answer_to(501)) == (0, b"")
    assert slow.kernel.answer_to(500) is None


def live_on(rig: Rig, uuid: bytes = UUID, device: str = "/dev/log"):
    """A live log of a host whose work the test turns."""
    rig.auto = True
    log = rig.table(uuid, ctr_string(device))
    rig.auto = False
    return log


# -- bugs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [kernel.FLUSH, kernel.SET_REGION_SYNC])
def test_a_bug_in_work_is_answered_with_the_least_harm(rig, live, kind):
    rig.expects_bugs = True
    rig.disk.fail("commit", ValueError("a bug"))
    data = struct.pack("=Qq", 1, 0) if kind == kernel.SET_REGION_SYNC else u64(1)
    assert said(live.ask(kind, data)) == ((EIO if kind == kernel.FLUSH else 0), b"")
    assert rig.bugs
    assert said(live.ask(kernel.FLUSH)) == (EIO, b"")
    assert live.in_sync(1).value == 1


@pytest.mark.parametrize("kind", [kernel.IN_SYNC, kernel.GET_RESYNC_WORK, kernel.CLEAR, kernel.IS_REMOTE_RECOVERING])
def test_a_bug_in_a_handler_is_answered_with_the_least_harm(rig, live, kind):
    rig.expects_bugs = True
    rig.entry(live).log.store = None
    rig.entry(live).log.region_count = None
    answer = live.ask(kind, u64(1))
    assert (answer.error, bool(answer.data)) == (ESRCH if kind == kernel.IN_SYNC else 0, kind != kernel.CLEAR)
    assert rig.bugs


@pytest.mark.parametrize("kind", [kernel.FLUSH, kernel.POSTSUSPEND, kernel.SET_REGION_SYNC])
def test_a_thread_that_cannot_be_started_leaves_nobody_waiting(rig, live, kind):
    rig.expects_bugs = True
    rig.executor.fails = RuntimeError("can't start new thread")
    data = {kernel.FLUSH: u64(1), kernel.SET_REGION_SYNC: struct.pack("=Qq", 1, 0)}.get(kind, b"")
    assert said(live.ask(kind, data)) == ((EIO if kind == kernel.FLUSH else 0), b"")
    assert rig.at_rest()
    assert said(live.ask(kernel.IN_SYNC, u64(1))) == (0, u64(1))
    assert not rig.entry(live).busy


# -- time ------------------------------------------------------------------------------------------------------------


def test_held_clears_are_stored_when_their_time_has_come(rig, live):
    assert live.written(1) == 0
    assert not rig.server.holding
    live.clear(1)
    live.flush()
    assert rig.server.holding
    rig.tick(4.9)
    assert rig.disk.dirty() == [1]
    rig.tick(0.2)
    assert rig.disk.dirty() == []
    rig.tick(10.0)
    assert not rig.server.holding
    assert rig.disk.calls["flush_legs"] == 1


@pytest.mark.parametrize("under_way", [False, True], ids=["held", "in a round"])
def test_what_is_held_when_requests_were_lost_is_never_stored(slow, under_way):
    log = live_on(slow)
    slow.auto = True
    assert log.written(1, 2) == 0
    slow.auto = False
    log.ask(kernel.CLEAR, u64(1))
    if under_way:
        slow.tick(6.0)
        assert slow.executor.pending(Lane.LEGS) == 1
    slow.server.distrust_clears()
    slow.executor.run_all()
    slow.tick(6.0)
    slow.executor.run_all()
    assert {1, 2} <= set(slow.disk.dirty())
    log.ask(kernel.CLEAR, u64(2))  # who is heard again is alive
    slow.tick(6.0)
    slow.executor.run_all()
    assert 1 in slow.disk.dirty()
    assert 2 not in slow.disk.dirty()


def test_a_full_collection_is_stored_at_the_next_tick():
    rig = Rig(ClearPolicy(max_held=2))
    rig.disk.format()
    log = rig.table()
    assert log.written(1, 2) == 0
    log.clear(1, 2)
    log.flush()
    assert rig.server.holding
    rig.tick()
    assert len(rig.disk.dirty()) == 1  # the older half
    rig.tick(5.1)
    assert rig.disk.dirty() == []
    rig.close()


def test_clears_that_came_during_a_round_get_a_round_of_their_own(slow):
    log = live_on(slow)
    slow.auto = True
    assert log.written(1, 2) == 0
    slow.auto = False
    log.ask(kernel.CLEAR, u64(1))
    slow.tick(6.0)
    assert slow.executor.pending(Lane.LEGS) == 1
    log.ask(kernel.CLEAR, u64(2))
    slow.tick(6.0)
    assert slow.executor.pending(Lane.LEGS) == 1
    slow.executor.run_all()
    assert slow.disk.dirty() == [2]
    slow.tick(6.0)
    slow.executor.run_all()
    assert slow.disk.dirty() == []


def test_a_log_that_ended_holds_no_clears_for_the_timer(rig, live):
    assert live.written(1) == 0
    live.clear(1)
    live.flush()
    live.dtr()
    assert not rig.server.holding
    rig.tick(10.0)
    assert rig.disk.calls["flush_legs"] == 0


def test_the_timer_leaves_a_log_alone_whose_clears_were_dropped(rig, live):
    assert live.written(1) == 0
    live.clear(1)
    live.flush()
    live.set_region_sync(2, 0)
    rig.tick(10.0)
    assert rig.disk.calls["flush_legs"] == 0
    assert rig.disk.dirty() == [1, 2]


def test_a_log_that_no_table_holds_is_dropped_with_a_line(rig, live):
    rig.disk.held = False
    rig.server.drop_phantoms()
    assert live.luid in rig.world.entries  # dm takes the device right after the CTR's answer
    rig.now += 6.0
    rig.server.drop_phantoms()
    rig.work()
    assert rig.world.entries == {}
    assert rig.disk.calls["release"] == 1
    assert rig.said("without a DTR")


def test_a_log_that_a_table_holds_is_no_phantom(rig, live):
    rig.now += 100.0
    rig.server.drop_phantoms()
    assert live.luid in rig.world.entries


# -- the daemon's end ------------------------------------------------------------------------------------------------


def test_settling_makes_live_logs_durable_and_leaves_them_open(slow):
    log = live_on(slow)
    slow.auto = True
    assert log.written(1, 2) == 0
    slow.auto = False
    log.ask(kernel.CLEAR, u64(1))
    log.ask(kernel.MARK, u64(3))
    assert slow.server.settle() == 1
    assert not slow.server.settled()
    slow.executor.run_all()
    assert slow.server.settled()
    assert slow.disk.dirty() == [2, 3]
    assert slow.disk.state == "open"


def test_settling_asks_nothing_of_logs_that_failed_or_are_not_live(rig, live):
    rig.disk.fail("commit")
    assert live.written(1) == EIO
    rig.table(resume=False)
    assert rig.server.settle() == 1
    rig.work()
    assert rig.server.settled()
    assert rig.disk.calls["commit_all"] == 0


def test_settling_that_fails_is_said(rig, live):
    rig.disk.fail("commit_all", io_error())
    assert rig.server.settle() == 1
    rig.work()
    assert rig.server.settled()
    assert rig.said("FAILED at the daemon's end")
