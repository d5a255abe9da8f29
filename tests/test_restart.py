# SPDX-License-Identifier: LGPL-2.1-or-later
"""A daemon that ends and another that begins, lost requests and lost replies: what the kernel sees of it."""

import errno
import struct

import pytest

from diskulog.dirtylog import Phase
from diskulog.work import Lane
from tests import fake_kernel as kernel
from tests.fake_host import REGIONS, UUID, Disk, ctr_string, io_error
from tests.fake_kernel import Answer, KernelLog

EIO = -errno.EIO
LOOP = [kernel.CTR, kernel.RESUME]


@pytest.fixture
def live(rig):
    rig.disk.format(dirty=[5])
    return rig.table()


def kinds(rig, count: int) -> list[int]:
    return [kind for kind, _ in rig.kernel.sent[-count:]]


def value_after(rig, call):
    rig.kernel.settle()
    return call.value


# -- a new daemon over the same medium ---------------------------------------------------------------------------------

ASK = {
    "is_clean": ((1,), 1),
    "in_sync": ((5,), 0),
    "get_resync_work": ((), (1, 5)),
    "get_sync_count": ((), REGIONS - 1),
    "set_region_sync": ((5, 1), 0),
    "status_info": ((), b"3 disk 253:2 A\0"),
    "is_remote_recovering": ((7,), 0),
    "delayed_flush": ((), 0),
}


@pytest.mark.parametrize("name", ASK)
def test_a_new_daemon_makes_the_kernel_construct_resume_and_ask_again(rig, live, name):
    arguments, expected = ASK[name]
    rig.restart()
    call = getattr(live, name)(*arguments)
    asked = rig.kernel.sent[-1][0]
    assert value_after(rig, call) == expected
    assert kinds(rig, 3) == [*LOOP, asked]
    assert rig.openings[-1].reconnect
    assert rig.entry(live).log.phase is Phase.LIVE


@pytest.mark.parametrize("name", ASK)
def test_nobody_at_all_is_the_same_as_a_daemon_that_knows_nothing(rig, live, name):
    arguments, expected = ASK[name]
    rig.kill()
    call = getattr(live, name)(*arguments)
    assert not call.done
    rig.kernel.two_seconds()
    assert not call.done
    rig.start()
    assert value_after(rig, call) == expected


def test_marks_and_clears_are_asked_again_too(rig, live):
    rig.restart()
    live.mark(1, 2)
    call = live.flush()
    assert value_after(rig, call) == 0
    assert rig.disk.dirty() == [1, 2, 5]
    rig.restart()
    live.clear(1)
    call = live.flush()
    assert value_after(rig, call) == 0
    rig.tick(6.0)
    assert rig.disk.dirty() == [2, 5]


def test_a_reconnection_keeps_both_bitmaps_as_they_stand(rig, live):
    # demoting what is dirty to "out of sync" would make the kernel write to the first leg only
    assert live.written(1) == 0
    rig.restart()
    call = live.in_sync(1)
    assert value_after(rig, call) == 1
    assert rig.disk.dirty() == [1, 5]


def test_a_takeover_makes_every_page_durable_before_its_first_answer(rig, live):
    rig.disk.fail("commit")
    assert live.written(1) == EIO  # in the mapping, not on the medium, and no msync would write it
    assert rig.disk.clean[1]
    rig.restart()
    call = live.in_sync(1)
    assert value_after(rig, call) == 1
    assert rig.disk.dirty() == [1, 5]


def hold(rig, live, *regions: int) -> None:
    for region in regions:
        assert live.written(region) == 0
    live.clear(*regions)
    live.flush()


def meet_again(rig, live) -> None:
    rig.restart()
    call = live.status_info()
    assert value_after(rig, call) == b"3 disk 253:2 A\0"


def test_held_clears_survive_their_daemon(rig, live):
    hold(rig, live, 1, 2)
    flushes = rig.disk.calls["flush_legs"]
    meet_again(rig, live)
    assert rig.disk.dirty() == [1, 2, 5]
    rig.tick(4.9)
    assert rig.disk.dirty() == [1, 2, 5]
    rig.tick(0.2)
    assert rig.disk.dirty() == [5]
    assert rig.disk.calls["flush_legs"] == flushes + 1


def test_a_clear_whose_region_was_marked_again_is_not_held_by_the_next_daemon(rig, live):
    hold(rig, live, 1, 2)
    assert live.written(1) == 0
    meet_again(rig, live)
    rig.tick(10.0)
    assert rig.disk.dirty() == [1, 5]


def test_what_was_stored_in_a_round_is_not_held_again(rig, live):
    hold(rig, live, 1)
    rig.tick(6.0)
    assert rig.disk.dirty() == [5]
    meet_again(rig, live)
    assert rig.entry(live).log.clears.held_count == 0


def test_a_daemon_that_died_in_a_flush_of_the_legs_leaves_no_clears(rig, live):
    # the cache may have told the dead one that it lost something, and says so once
    hold(rig, live, 1)
    rig.auto = False
    rig.tick(6.0)
    rig.executor.on_work = lambda *_: None
    rig.entry(live).log.kept.flushing(True)
    rig.auto = True
    meet_again(rig, live)
    assert rig.said("1 clears that the last worker held are dropped")
    rig.tick(10.0)
    assert rig.disk.dirty() == [1, 5]
    hold(rig, live, 1)
    rig.tick(10.0)
    assert rig.disk.dirty() == [5]


def test_clears_are_not_held_again_when_the_legs_had_failed(rig, live):
    hold(rig, live, 1)
    rig.disk.legs_failed = True
    meet_again(rig, live)
    rig.tick(10.0)
    assert rig.disk.dirty() == [1, 5]


def test_clears_of_a_log_that_failed_are_not_held_again(rig, live):
    hold(rig, live, 1)
    rig.disk.latched = rig.boot, live.luid
    rig.restart()
    call = live.status_info()
    assert value_after(rig, call) == b"3 disk 253:2 D\0"
    assert rig.entry(live).log.failed
    assert rig.entry(live).log.clears.held_count == 0


def test_requests_that_were_lost_meanwhile_make_held_clears_void(rig, live):
    # the end of the log may have been among them, and another log keep its device
    hold(rig, live, 1)
    rig.restart()
    rig.server.take_over(live.luid, UUID, ctr_string() + b"\0")
    rig.server.distrust_clears()
    rig.work()
    assert live.status_info().value == b"3 disk 253:2 A\0"
    rig.tick(10.0)
    assert rig.disk.dirty() == [1, 5]


def test_clears_held_before_a_log_went_blind_are_void_for_later_workers_too(rig, live):
    # marks fail under the blind one, and a mirror without handle_errors writes all the same
    hold(rig, live, 1)
    rig.disk.fail("reconnect")
    rig.restart()
    call = live.status_info()
    assert value_after(rig, call) == b"3 disk 253:2 D\0"
    rig.disk.heal()
    meet_again(rig, live)
    rig.tick(10.0)
    assert rig.disk.dirty() == [1, 5]


def test_a_luid_that_comes_again_finds_nothing_held(rig, live):
    hold(rig, live, 1)
    assert rig.shelf.bits[UUID, live.luid].any()
    live.ctr()
    assert (UUID, live.luid) not in rig.shelf.bits


def test_lost_requests_are_remembered_until_every_log_was_taken_over(rig, live):
    rig.restart()
    rig.auto = False
    rig.server.take_over(live.luid, UUID, ctr_string() + b"\0")
    assert rig.server.taking_over
    rig.auto = True
    rig.work()
    assert not rig.server.taking_over


def test_an_activation_begins_without_held_clears(rig, live):
    hold(rig, live, 1)
    rig.restart()
    new = rig.table()
    assert rig.entry(new).log.clears.held_count == 0
    assert rig.disk.dirty() == [1, 5]


def test_plain_marks_of_the_old_daemon_are_durable_when_the_new_one_answers_their_flush(rig):
    rig.disk.format()
    log = rig.table(integrated=False)
    assert log.ask(kernel.MARK, struct.pack("=Q", 3)).error == 0
    rig.restart()
    call = log.delayed_flush()
    assert value_after(rig, call) == 0
    assert rig.disk.dirty() == [3]


def test_a_log_that_failed_stays_failed_under_the_next_daemon_until_its_resume(rig, live):
    rig.disk.fail("commit")
    live.mark(3)
    assert live.flush().value == -errno.EIO
    rig.restart()
    assert value_after(rig, live.status_info()).endswith(b"D\0")
    live.mark(4)
    assert live.flush().value == -errno.EIO
    assert rig.said("FAILED under the last worker")
    live.presuspend()
    live.postsuspend()
    assert live.resume().value == 0
    assert live.status_info().value.endswith(b"A\0")
    live.mark(4)
    assert live.flush().value == 0


def test_a_core_log_is_found_again(rig):
    log = rig.table(string=ctr_string(log_type="core", options="nosync"))
    log.set_region_sync(3, 1)
    rig.restart()
    call = log.in_sync(3)
    assert value_after(rig, call) == 1
    assert rig.entry(log).log.phase is Phase.LIVE


def test_after_a_reboot_a_log_is_activated_from_the_medium(rig, live):
    assert live.written(1) == 0
    rig.reboot()
    log = rig.table()
    assert [log.in_sync(region).value for region in (0, 1, 5)] == [1, 0, 0]
    assert log.get_sync_count().value == REGIONS - 2


def test_the_cluster_s_word_is_taken_at_a_reconnection_whatever_the_configuration_says(rig):
    rig.disk.format()
    rig.clustered = True
    rig.restart()
    log = rig.table(string=ctr_string(log_type="clustered-disk"))
    rig.clustered = False
    rig.restart()
    call = log.in_sync(1)
    assert value_after(rig, call) == 1


# -- a new worker is told what the dead one kept -----------------------------------------------------------------------


def told(rig, *logs: KernelLog) -> None:
    """A worker dies, and its supervisor tells the next one of its logs."""
    rig.kill(lose_queue=False)
    rig.start()
    for log in logs:
        rig.server.take_over(log.luid, log.uuid, log.string)


def test_a_log_that_is_taken_over_answers_without_the_kernel_s_loop(rig, live):
    assert live.written(1) == 0
    told(rig, live)
    rig.work()
    assert live.in_sync(1).value == 1
    assert kinds(rig, 2)[0] != kernel.RESUME
    assert rig.entry(live).log.phase is Phase.LIVE
    assert rig.disk.dirty() == [1, 5]
    live.presuspend()
    live.postsuspend()
    assert live.resume().value == 0
    assert rig.disk.state == "open"


def test_requests_wait_until_their_log_is_taken_over(slow):
    log = live_slowly(slow)
    log.mark(1)
    call = log.flush()
    told(slow, log)
    slow.kernel.timeout()
    slow.kernel.pump()
    assert not call.done
    slow.executor.run_all()
    assert call.value == 0
    assert slow.disk.dirty() == [1]
    assert slow.at_rest()


def test_an_inactive_table_that_is_taken_over_touches_nothing_and_its_resume_activates(rig, live):
    new = rig.table(resume=False)
    told(rig, live, new)
    rig.work()
    assert rig.entry(new).log.phase is Phase.IDLE
    assert rig.entry(live).log.phase is Phase.LIVE
    assert new.resume().value == 0
    assert rig.entry(new).log.phase is Phase.LIVE
    assert rig.entry(live).log.phase is Phase.IDLE


def test_the_failure_of_a_log_outlives_its_worker_until_resume(rig, live):
    rig.disk.fail("commit")
    assert live.written(1) == EIO
    for begin in (told, lambda rig, _: rig.restart()):
        begin(rig, live)
        rig.work()
        live.mark(2)
        call = live.flush()
        assert value_after(rig, call) == EIO
        assert live.in_sync(1).value == 1
        assert live.status_info().value == b"3 disk 253:2 D\0"
    assert rig.said("FAILED under the last worker")
    live.presuspend()
    live.postsuspend()
    assert live.resume().value == 0
    assert live.written(3) == 0
    assert rig.disk.dirty() == [1, 3, 5]
    rig.restart()
    call = live.status_info()
    assert value_after(rig, call) == b"3 disk 253:2 A\0"


# -- a log that cannot be taken over -----------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [io_error(), ValueError("a bug")])
@pytest.mark.parametrize("where", ["open", "reconnect"])
def test_a_log_that_cannot_be_taken_over_says_in_sync_and_takes_no_marks(rig, live, where, error):
    rig.restart()
    if where == "open":
        rig.open_fault = error
    else:
        rig.disk.fail(where, error)
    call = live.in_sync(5)
    assert value_after(rig, call) == 1
    assert live.written(1) == EIO
    assert live.status_info().value == b"3 disk " + (b"0:0" if where == "open" else b"253:2") + b" D\0"
    assert live.get_resync_work().value == (0, 0)
    assert live.get_sync_count().value == 0
    assert live.is_remote_recovering(0).value == 0
    live.clear(1)
    assert live.flush().value == 0
    assert live.set_region_sync(1, 0).value == 0
    assert live.set_region_sync(1, 1).value == 0
    assert live.is_clean(1).value == 0
    assert rig.said("cannot be taken over")


def test_a_string_that_cannot_be_read_at_a_reconnection_is_no_error(rig):
    log = rig.kernel.log(UUID, b"8192 disk /dev/log 1000")
    log.region_count = 8
    call = log.in_sync(7)
    assert value_after(rig, call) == 1
    assert log.written(7) == EIO
    assert log.status_info().value == b"1 core\0"


def test_a_log_without_its_device_is_suspended_resumed_and_ended(rig, live):
    rig.restart()
    rig.open_fault = io_error()
    call = live.in_sync(5)
    assert value_after(rig, call) == 1
    assert live.presuspend().value == 0
    assert live.postsuspend().value == 0
    # a mark here must not be called durable: nobody can tell whether the mirror is suspended
    assert live.written(1) == EIO
    live.postsuspend()
    assert live.resume().value == -errno.EINVAL
    assert live.written(1) == EIO
    live.dtr()
    assert rig.world.entries == {}
    assert rig.server.settle() == 0


def test_a_log_without_its_device_is_no_phantom(rig, live):
    rig.restart()
    rig.open_fault = io_error()
    value_after(rig, live.in_sync(5))
    rig.now += 100.0
    rig.server.drop_phantoms()
    assert live.luid in rig.world.entries


# -- tables that are not live ------------------------------------------------------------------------------------------


def test_an_inactive_table_s_status_after_a_restart_touches_nothing_then_a_question_activates(rig, live):
    assert live.written(1) == 0
    new = rig.table(resume=False)
    rig.restart()
    value_after(rig, live.in_sync(1))
    calls = rig.disk.calls.copy()
    call = new.status_info()
    assert value_after(rig, call) == b"3 disk 253:2 A\0"
    assert new.get_sync_count().value == 0
    assert rig.disk.calls - calls == {"reconnect": 1}
    assert rig.entry(live).log.phase is Phase.LIVE
    assert rig.disk.live == (rig.boot, live.luid)
    # dm has resumed it, while nobody listened
    assert new.in_sync(1).value == 0
    assert rig.entry(new).log.phase is Phase.LIVE
    assert rig.entry(live).log.phase is Phase.IDLE
    assert rig.disk.live == (rig.boot, new.luid)
    assert rig.said("gives way")


LOST = [[kernel.CTR], [kernel.RESUME], [kernel.RESUME] * 3, [kernel.CTR, kernel.RESUME, kernel.STATUS_INFO]]


@pytest.mark.parametrize("lost", LOST)
def test_a_status_of_an_inactive_table_touches_nothing_when_replies_are_lost(rig, live, lost):
    new = rig.table(resume=False)
    rig.restart()
    value_after(rig, live.in_sync(1))
    rig.kernel.lose_replies_of.update(lost)
    call = new.status_info()
    assert value_after(rig, call) == b"3 disk 253:2 A\0"
    assert rig.entry(new).log.phase is Phase.IDLE
    assert rig.entry(live).log.phase is Phase.LIVE
    assert rig.disk.live == (rig.boot, live.luid)


def test_two_callers_that_reconnect_an_inactive_table_touch_nothing(rig, live):
    new = rig.table(resume=False)
    rig.restart()
    value_after(rig, live.in_sync(1))
    first, second = new.status_info(), new.get_sync_count()
    assert value_after(rig, first) == b"3 disk 253:2 A\0"
    assert second.value == 0
    assert kinds(rig, 6).count(kernel.RESUME) == 2
    assert rig.entry(new).log.phase is Phase.IDLE
    assert rig.disk.live == (rig.boot, live.luid)


@pytest.mark.parametrize("lost", [*LOST, [kernel.CTR, kernel.RESUME, kernel.IN_SYNC]])
def test_replies_lost_during_a_reconnection_never_heal_or_demote(rig, live, lost):
    assert live.written(1) == 0
    rig.restart()
    rig.kernel.lose_replies_of.update(lost)
    call = live.in_sync(1)
    assert value_after(rig, call) == 1
    assert rig.disk.calls["activate"] == 1
    assert rig.disk.dirty() == [1, 5]


def test_a_worker_that_dies_between_the_two_words_of_a_reconnection_does_no_harm(rig, live):
    # an error to this RESUME would be taken as "not in sync" by the caller of IN_SYNC
    assert live.written(1) == 0
    rig.restart()
    call = live.in_sync(1)
    rig.kernel.two_seconds()
    ctr = rig.kernel.queue.popleft()
    rig.receive(ctr)
    assert ctr
    assert rig.kernel.queue  # NUL CTR is answered, RESUME is on its way
    rig.kill(lose_queue=False)
    rig.start()
    rig.kernel.pump()
    assert value_after(rig, call) == 1


def test_a_suspended_table_s_status_after_a_restart_leaves_it_closed(rig, live):
    live.presuspend()
    live.postsuspend()
    rig.disk.suspended = True
    rig.restart()
    call = live.status_info()
    assert value_after(rig, call) == b"3 disk 253:2 A\0"
    assert rig.disk.state == "closed"
    assert live.get_sync_count().value == 0
    assert live.resume().value == 0
    assert live.get_resync_work().value == (1, 5)
    assert live.get_sync_count().value == REGIONS - 1


def test_a_resume_while_nobody_listened_is_made_up_for(rig, live):
    live.presuspend()
    live.postsuspend()
    rig.kill()
    assert live.resume().value == -errno.ESRCH  # dm only warns
    rig.start()
    call = live.get_resync_work()
    assert value_after(rig, call) == (1, 5)
    assert rig.disk.state == "open"


def test_a_new_table_resumed_while_nobody_listened_is_made_up_for(rig, live):
    assert live.written(1) == 0
    new = rig.table(resume=False)
    live.presuspend()
    live.postsuspend()
    rig.kill()
    assert new.resume().value == -errno.ESRCH
    live.dtr()
    rig.start()
    call = new.in_sync(1)
    assert value_after(rig, call) == 0
    assert rig.disk.live == (rig.boot, new.luid)
    assert set(rig.world.entries) == {new.luid}


@pytest.mark.parametrize("name", ["presuspend", "postsuspend"])
def test_a_suspend_of_a_log_that_a_new_daemon_does_not_know_is_no_error(rig, live, name):
    rig.restart()
    assert getattr(live, name)().value == 0
    live.dtr()
    assert rig.world.entries == {}


def test_a_constructor_without_a_daemon_fails(rig):
    rig.kill()
    assert rig.kernel.log(UUID, ctr_string()).ctr().value == -errno.ESRCH


# -- lost on the way ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ASK)
@pytest.mark.parametrize("lost", ["lose_replies", "lose_requests"])
def test_what_was_lost_is_asked_again_and_answered_the_same(rig, live, name, lost):
    arguments, expected = ASK[name]
    setattr(rig.kernel, lost, 2)
    call = getattr(live, name)(*arguments)
    assert not call.done
    assert value_after(rig, call) == expected
    assert sum("timed out" in line for line in rig.kernel.messages) == 2


LIFE = ["ctr", "resume", "presuspend", "postsuspend", "dtr"]


@pytest.mark.parametrize("lost", ["lose_replies", "lose_requests"])
def test_a_life_whose_every_word_is_lost_once_is_the_same_life(rig, lost):
    rig.disk.format(dirty=[5])
    log = rig.kernel.log(UUID, ctr_string())
    for word in LIFE:
        setattr(rig.kernel, lost, 1)
        call = getattr(log, word)()
        assert value_after(rig, call) in (0, None)
        if word == "resume":
            assert log.in_sync(1).value == 1
            assert log.in_sync(5).value == 0
    assert rig.world.entries == {}
    assert rig.disk.state == "closed"


def test_resync_work_whose_answer_was_lost_is_the_same_region(rig, live):
    rig.kernel.lose_replies = 1
    call = live.get_resync_work()
    assert value_after(rig, call) == (1, 5)
    assert live.set_region_sync(5, 1).value == 0
    assert live.get_resync_work().value == (0, 0)


def test_a_flush_asked_again_while_its_msync_hangs_is_answered_by_it(slow):
    log = live_slowly(slow)
    log.mark(1)
    call = log.flush()
    slow.kernel.timeout()
    slow.kernel.pump()
    assert slow.executor.pending(Lane.DEVICE) == 1
    slow.executor.run_all()
    assert call.value == 0
    assert slow.disk.calls["commit"] == 1


def test_a_late_reply_is_ignored_by_the_kernel(slow):
    log = live_slowly(slow)
    log.mark(1)
    call = log.flush()
    slow.kernel.timeout()  # the resent request waits in the buffer
    slow.executor.run_all()
    assert not call.done
    slow.kernel.pump()
    assert call.value == 0


def test_a_worker_that_dies_during_an_msync_loses_no_answer(slow):
    log = live_slowly(slow)
    log.mark(1)
    call = log.flush()
    slow.executor.run(Lane.DEVICE)
    slow.restart()
    slow.auto = True
    assert value_after(slow, call) == 0
    assert slow.disk.dirty() == [1]


def test_a_suspend_asked_again_while_it_runs_is_answered_twice_and_done_once(slow):
    log = live_slowly(slow)
    call = log.postsuspend()
    slow.kernel.timeout()
    slow.kernel.pump()
    slow.executor.run_all()
    assert call.value == 0
    assert slow.disk.calls["close_log"] == 1


def test_an_activation_asked_again_while_it_runs_is_done_once(slow):
    slow.auto = True
    log = slow.table(resume=False)
    slow.auto = False
    call = log.resume()
    slow.kernel.timeout()
    slow.kernel.pump()
    slow.executor.run_all()
    assert call.value == 0
    assert slow.disk.calls["activate"] == 1
    assert slow.kernel.violations == []


def live_slowly(rig) -> KernelLog:
    rig.auto = True
    log = rig.table()
    rig.auto = False
    return log


# -- the kernel's own ways, which the tests stand on -------------------------------------------------------------------


@pytest.fixture
def answering(rig):
    """A kernel whose one request is answered by hand; gives the log, the call and how to answer."""

    def ask(name: str, *arguments, **answer):
        log = rig.kernel.log(UUID, ctr_string())
        rig.kernel.daemon = None
        rig.kernel.daemon = lambda _: None
        call = getattr(log, name)(*arguments)
        package = rig.kernel.waiting[0]
        data = answer.get("data", b"")
        ulog = kernel.ULOG.pack(
            log.luid, UUID, 3, answer.get("error", 0), package.seq, package.type, answer.get("size", len(data))
        )
        body = kernel.CN_MSG.pack(7, 1, package.seq, 0, len(ulog) + len(data), 0) + ulog + data
        rig.kernel.take_reply(kernel.NLMSGHDR.pack(16 + len(body), 3, 0, package.seq, 0) + body)
        return call

    return ask


def test_the_kernel_keeps_an_error_s_size_as_the_capacity_of_the_retry(rig, answering):
    call = answering("in_sync", 1, error=-errno.ESRCH)
    rig.kernel.daemon = None
    rig.start()
    rig.disk.format()
    rig.kernel.settle()
    assert call.value == 0  # not what the log says: the retry had no room, and that reads as "not in sync"
    assert any("Insufficient space" in line for line in rig.kernel.messages)


def test_the_kernel_takes_no_payload_where_it_has_no_room(rig, answering):
    call = answering("presuspend", data=b"12345678")
    assert call.value == -errno.ENOSPC


def test_the_fake_kernel_notices_bytes_that_were_not_sent(rig, answering):
    answering("in_sync", 1, data=bytes(8), size=9)
    assert rig.kernel.violations


def test_the_fake_kernel_notices_a_success_that_is_too_short(rig, answering):
    with pytest.raises(TypeError):
        answering("in_sync", 1, data=bytes(4))
    assert rig.kernel.violations


def test_the_fake_kernel_notices_a_second_answer(rig, live):
    answer = live.ask(kernel.GET_SYNC_COUNT, seq=1000)
    assert isinstance(answer, Answer)
    rig.kernel.ask(kernel.GET_SYNC_COUNT, b"nobody", 1, seq=1001)
    with pytest.raises(AssertionError, match="answered twice"):
        live.ask(kernel.GET_SYNC_COUNT, seq=1000)


def test_the_fake_kernel_takes_a_bare_refusal_s_ack_as_the_error(rig, live):
    rig.kernel.daemon = lambda _: None
    call = live.presuspend()
    seq = rig.kernel.waiting[0].seq
    rig.kernel.take_reply(kernel.NLMSGHDR.pack(36, 3, 0, seq, 0) + kernel.CN_MSG.pack(7, 1, seq, errno.EINVAL, 0, 0))
    assert call.value == -errno.EINVAL


def test_a_disk_forgets_what_a_failed_msync_was_to_write():
    disk = Disk().format()
    disk.cached_clean[1] = 0
    disk.lose_write_back()
    disk.cached_clean[2] = 0
    disk.write_back()
    assert [disk.clean[region] for region in (1, 2)] == [1, 0]
    assert disk.dirty() == [2]
