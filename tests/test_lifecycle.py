# SPDX-License-Identifier: LGPL-2.1-or-later
"""CTR to DTR as the kernel's own functions ask: activation, reconnection, suspend, reload, and what gets lost."""

import errno
import struct

import pytest

from diskulog import ctr, lifecycle
from diskulog.dirtylog import DirtyLog, Phase
from diskulog.errors import DeviceError, RefusedError
from diskulog.work import Lane
from diskulog.world import Entry
from tests import fake_kernel as kernel
from tests.fake_host import REGIONS, UUID, Disk, ctr_string, io_error
from tests.fake_kept import FakeKept
from tests.fake_kernel import KernelLog

EIO, EINVAL = -errno.EIO, -errno.EINVAL
OTHER = b"LVM-mirror-2"


@pytest.fixture
def live(rig):
    rig.disk.format(dirty=[5])
    return rig.table()


def phase(rig, log: KernelLog) -> Phase:
    return rig.entry(log).log.phase


def reconnect(log: KernelLog) -> tuple[int, int]:
    """What the kernel sends when it finds nobody, or a full buffer: NUL CTR and RESUME."""
    first = log.ask(kernel.CTR, log.string + b"\0")
    second = log.ask(kernel.RESUME)
    assert first.data == second.data == b""
    return first.error, second.error


# -- CTR -------------------------------------------------------------------------------------------------------------


def test_a_constructor_touches_nothing_and_names_the_device(rig):
    log = rig.table(resume=False)
    assert (log.device, log.region_size, log.region_count) == ("253:2", 1024, REGIONS)
    assert rig.disk.state == "blank"
    assert not rig.disk.calls
    opening = rig.openings[0]
    assert (opening.uuid, opening.luid, opening.reconnect, opening.log_devices) == (UUID, log.luid, False, frozenset())


def test_a_core_log_names_no_device(rig):
    log = rig.table(string=ctr_string(log_type="core"))
    assert log.device is None
    assert log.status_info().value == b"1 core\0"


@pytest.mark.parametrize(
    "string",
    [
        ctr_string() + b" what",
        b"8192 disk /dev/log 1000",
        b"8192 clustered-disk /dev/log 1024",
        b"8192 disk /dev/" + b"x" * 318 + b" 1024",
    ],
)
def test_a_bad_constructor_string_is_refused_and_nothing_is_known(rig, string):
    assert rig.kernel.log(UUID, string[:332]).ctr().value == EINVAL
    assert rig.world.entries == {}
    assert rig.openings == []
    assert rig.said("refused")


def test_an_empty_uuid_is_refused(rig):
    assert rig.kernel.log(b"", ctr_string()).ctr().value == EINVAL


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EAGAIN, errno.ESRCH, errno.EBUSY])
def test_a_device_that_cannot_be_opened_is_an_i_o_error(rig, number):
    # EAGAIN would come again for ever, ESRCH would say that there is no daemon
    rig.open_fault = DeviceError("log device", OSError(number, "no"))
    assert rig.kernel.log(UUID, ctr_string()).ctr().value == EIO
    assert rig.world.entries == {}


def test_a_log_of_another_mirror_is_refused(rig):
    rig.disk.format(uuid=OTHER)
    assert rig.kernel.log(UUID, ctr_string()).ctr().value == EINVAL
    assert rig.said("the log belongs to another mirror")


def test_a_first_constructor_on_a_known_log_replaces_it(rig, live):
    # a failed CTR inside the kernel is followed by no DTR, and the address comes again
    again = rig.kernel.log(UUID, ctr_string(), luid=live.luid)
    assert again.ctr().value == 0
    assert rig.disk.calls["release"] == 1
    assert phase(rig, again) is Phase.IDLE
    assert rig.said("constructed anew without a DTR")
    assert again.resume().value == 0
    assert rig.disk.calls["activate"] == 2


def test_a_constructor_for_another_mirror_under_a_known_luid_replaces_too(rig, live):
    rig.disks["/dev/other"] = Disk("253:9").format(OTHER)
    other = rig.kernel.log(OTHER, ctr_string("/dev/other"), luid=live.luid)
    assert other.ctr().value == 0
    assert rig.world.entries[live.luid].uuid == OTHER
    assert rig.disk.calls["release"] == 1


def test_a_reconnection_under_another_mirror_s_luid_replaces_too(rig, live):
    rig.disks["/dev/other"] = Disk("253:9").format(OTHER)
    other = rig.kernel.log(OTHER, ctr_string("/dev/other"), luid=live.luid)
    assert reconnect(other) == (0, 0)
    assert rig.world.entries[live.luid].uuid == OTHER
    assert rig.disk.calls["release"] == 1


def test_a_refused_constructor_on_a_known_log_leaves_nothing(rig, live):
    again = rig.kernel.log(UUID, b"8192 disk /dev/log 1000", luid=live.luid)
    assert again.ctr().value == EINVAL
    assert rig.world.entries == {}


def test_a_constructor_knows_the_log_devices_that_are_served(rig, live):
    rig.disks["/dev/other"] = Disk("253:9").format(OTHER)
    rig.table(OTHER, ctr_string("/dev/other"))
    assert rig.openings[-1].log_devices == frozenset({"253:2"})


def test_requests_while_a_constructor_runs_wait_for_it(slow):
    log = slow.kernel.log(UUID, ctr_string())
    assert log.ask(kernel.CTR, log.string, seq=300) is None
    assert log.ask(kernel.GET_REGION_SIZE, seq=301) is None
    assert log.ask(kernel.CTR, log.string, seq=302) is None
    slow.executor.run_all()
    assert [answer.seq for answer in slow.kernel.answers] == [300, 301, 302]
    assert all(answer.error == 0 for answer in slow.kernel.answers)


# -- activation ------------------------------------------------------------------------------------------------------


def test_an_activation_believes_the_medium(rig):
    rig.disk.format(dirty=[2, 3])
    log = rig.table()
    assert [log.in_sync(region).value for region in range(4)] == [1, 1, 0, 0]
    assert log.get_sync_count().value == 6
    assert rig.disk.state == "open"


def test_a_blank_log_is_all_out_of_sync(rig):
    log = rig.table()
    assert log.get_sync_count().value == 0
    assert log.get_resync_work().value == (1, 0)


def test_the_sync_count_before_the_first_resume_is_zero(rig):
    rig.disk.format()
    log = rig.table(resume=False)
    assert log.get_sync_count().value == 0
    assert log.in_sync_hint == 0
    log.resume()
    assert log.get_sync_count().value == REGIONS


def test_a_resync_to_its_end(rig):
    log = rig.table()
    for region in range(REGIONS):
        assert log.is_remote_recovering(0).value == 0
        assert log.in_sync_hint == REGIONS - 1
        assert log.get_resync_work().value == (1, region)
        log.clear(region)
        assert log.set_region_sync(region, 1).value == 0
        assert log.flush().value == 0
    assert log.get_resync_work().value == (0, 0)
    assert log.get_sync_count().value == REGIONS
    assert log.in_sync_hint == REGIONS
    rig.tick(6.0)
    assert rig.disk.dirty() == []


def test_forty_marks_travel_in_two_flushes(rig):
    rig.disk.format(regions=64)
    log = rig.table(string=ctr_string(regions=64))
    assert log.written(*range(40)) == 0
    assert rig.disk.dirty() == list(range(40))
    assert [kind for kind, _ in rig.kernel.sent].count(kernel.FLUSH) == 2
    log.clear(*range(40))
    assert log.flush().value == 0
    assert [kind for kind, _ in rig.kernel.sent].count(kernel.CLEAR) == 2
    assert log.flush_scheduled
    assert log.delayed_flush().value == 0


def test_plain_marks_and_their_flush(rig):
    rig.disk.format(regions=64)
    log = rig.table(string=ctr_string(regions=64), integrated=False)
    assert log.written(*range(33)) == 0
    assert rig.disk.dirty() == list(range(33))
    sent = [kind for kind, _ in rig.kernel.sent]
    assert (sent.count(kernel.MARK), sent.count(kernel.FLUSH)) == (2, 1)


@pytest.mark.parametrize("resumes", [True, False])
def test_a_table_that_is_refused_at_its_resume_fences_nobody(rig, live, resumes):
    new = rig.table(resume=False)
    rig.disk.fail("check")
    if resumes:
        assert new.resume().value == EIO
    assert new.in_sync(1).value == 1
    assert new.written(1) == EIO
    assert phase(rig, live) is Phase.LIVE
    assert live.written(1) == 0
    assert rig.disk.dirty() == [1, 5]


@pytest.mark.parametrize("error", [io_error(), ValueError("a bug")])
def test_a_log_that_cannot_be_activated_takes_no_marks_and_says_in_sync(rig, error):
    # on-disk rule 14; a failing RESUME is only a warning for dm, what is asked next decides
    rig.expects_bugs = isinstance(error, ValueError)
    rig.disk.format(dirty=[1])
    log = rig.table(resume=False)
    rig.disk.fail("activate", error)
    assert log.resume().value == (0 if rig.expects_bugs else EIO)
    assert log.in_sync(1).value == 1
    assert log.written(1) == EIO
    assert log.get_resync_work().value == (0, 0)
    assert log.get_sync_count().value == 0
    assert log.status_info().value == b"3 disk 253:2 D\0"
    assert log.is_remote_recovering(7).value == 0
    log.clear(1)
    assert log.flush().value == 0
    assert log.set_region_sync(1, 0).value == 0
    assert rig.said("FAILED at its activation")


@pytest.mark.parametrize("error", [io_error(), ValueError("a bug")])
def test_a_question_that_wakes_a_log_in_vain_is_answered_once(rig, error):
    rig.expects_bugs = isinstance(error, ValueError)
    rig.disk.format(dirty=[1])
    log = rig.table(resume=False)
    rig.disk.fail("activate", error, times=50)
    assert log.in_sync(1).value == 1
    assert log.written(1) == EIO
    assert rig.disk.calls["activate"] == 1


def test_a_blind_log_is_activated_by_the_next_resume(rig):
    rig.disk.format(dirty=[1])
    log = rig.table(resume=False)
    rig.disk.fail("activate")
    assert log.resume().value == EIO
    log.presuspend()
    log.postsuspend()
    assert log.resume().value == 0
    assert log.in_sync(1).value == 0
    assert log.status_info().value == b"3 disk 253:2 A\0"


# -- NUL CTR and RESUME on a log that is known -------------------------------------------------------------------------


def test_a_reconnection_of_a_live_log_changes_nothing(rig, live):
    # the full buffer of a daemon that is alive looks like no daemon
    assert live.written(1) == 0
    live.clear(1)
    live.flush()
    assert live.get_resync_work().value == (1, 5)
    before = rig.disk.calls.copy()
    assert reconnect(live) == (0, 0)
    assert rig.disk.calls == before
    assert rig.entry(live).log.clears.holds(1)
    assert live.get_resync_work().value == (1, 5)
    assert live.get_sync_count().value == REGIONS - 1


def test_a_reconnection_of_a_live_log_goes_through_the_kernel_s_loop(rig, live):
    rig.kernel.full_buffer = 1
    call = live.in_sync(5)
    rig.kernel.settle()
    assert call.value == 0
    assert [kind for kind, _ in rig.kernel.sent[-3:]] == [kernel.CTR, kernel.RESUME, kernel.IN_SYNC]


@pytest.mark.parametrize("again", [1, 3])
def test_a_reconnection_of_a_failed_log_is_no_healing_however_often_it_comes(rig, live, again):
    rig.disk.fail("commit")
    assert live.written(1) == EIO
    assert live.ask(kernel.CTR, live.string + b"\0").error == 0
    for _ in range(again):
        assert live.ask(kernel.RESUME).error == 0
    assert rig.disk.calls["heal"] == 0
    assert live.written(2) == EIO


def test_a_reconnection_of_a_suspended_log_leaves_it_suspended(rig, live):
    live.presuspend()
    live.postsuspend()
    rig.disk.suspended = True
    assert reconnect(live) == (0, 0)
    assert phase(rig, live) is Phase.SUSPENDED
    assert rig.disk.state == "closed"
    assert live.resume().value == 0
    assert phase(rig, live) is Phase.LIVE


@pytest.mark.parametrize("again", [1, 3])
def test_a_reconnection_of_a_log_that_was_never_live_leaves_the_live_one_alone(rig, live, again):
    # a status of the inactive table; the RESUME comes again when its answer was lost, or two callers waited
    new = rig.table(resume=False)
    assert new.ask(kernel.CTR, new.string + b"\0").error == 0
    for _ in range(again):
        assert new.ask(kernel.RESUME).error == 0
    assert new.get_sync_count().value == 0
    assert phase(rig, new) is Phase.IDLE
    assert phase(rig, live) is Phase.LIVE
    assert rig.disk.live == (rig.boot, live.luid)


def test_a_log_that_was_reconnected_before_its_first_resume_still_goes_live(rig, live):
    new = rig.table(resume=False)
    assert reconnect(new) == (0, 0)
    live.presuspend()
    live.postsuspend()
    assert new.resume().value == 0
    assert new.get_resync_work().value == (1, 5)
    assert phase(rig, new) is Phase.LIVE
    assert rig.disk.live == (rig.boot, new.luid)


def test_a_suspend_ends_a_reconnection(rig, live):
    assert live.ask(kernel.CTR, live.string + b"\0").error == 0  # its RESUME never arrives
    live.presuspend()
    live.postsuspend()
    assert live.resume().value == 0
    assert phase(rig, live) is Phase.LIVE
    assert rig.disk.state == "open"


@pytest.mark.parametrize("suspended", [True, False])
def test_a_life_cannot_go_on_where_nothing_was_constructed(rig, suspended):
    entry = Entry(UUID, 4096)
    if suspended:
        entry.log = DirtyLog(ctr.parse(ctr_string()), None, FakeKept(), rig.policy, lambda: 0.0)
        entry.log.phase = Phase.SUSPENDED
    with pytest.raises(RefusedError, match="load the table again"):
        next(lifecycle.resume(rig.world, entry))


def test_an_entry_without_a_log_is_an_unknown_log(rig):
    rig.world.entries[4096] = Entry(UUID, 4096)
    assert rig.kernel.ask(kernel.GET_SYNC_COUNT, UUID, 4096).error == -errno.ESRCH


# -- suspend and resume ----------------------------------------------------------------------------------------------


def test_a_suspend_closes_and_a_resume_opens_with_both_bitmaps_as_they_stand(rig, live):
    assert live.written(1) == 0
    assert live.presuspend().value == 0
    assert live.postsuspend().value == 0
    assert rig.disk.state == "closed"
    assert live.resume().value == 0
    assert rig.disk.state == "open"
    assert live.in_sync(1).value == 1
    assert live.in_sync(5).value == 0
    assert rig.disk.dirty() == [1, 5]


def test_a_suspend_stores_the_held_clears(rig, live):
    assert live.written(1) == 0
    live.clear(1)
    assert live.flush().value == 0
    live.presuspend()
    assert live.postsuspend().value == 0
    assert rig.disk.dirty() == [5]
    assert rig.disk.calls["flush_legs"] == 1


def test_a_suspend_does_not_wait_for_a_leg_for_ever(slow):
    log = live_with_clear(slow)
    slow.executor.held = {Lane.LEGS}
    call = log.postsuspend()
    slow.executor.run_all()
    assert not call.done
    slow.executor.time_out()
    slow.executor.run_all()
    assert call.value == 0
    assert slow.disk.state == "closed"
    assert slow.disk.dirty() == [1]


def test_a_leg_that_cannot_be_flushed_leaves_its_regions_dirty_at_the_suspend(rig, live):
    assert live.written(1) == 0
    live.clear(1)
    live.flush()
    rig.disk.fail("flush_legs")
    assert live.postsuspend().value == 0
    assert rig.disk.state == "closed"
    assert rig.disk.dirty() == [1, 5]


def test_a_suspend_during_a_round_of_clears_covers_it(slow):
    log = live_with_clear(slow)
    slow.tick(6.0)
    assert slow.executor.pending(Lane.LEGS) == 1
    call = log.postsuspend()
    assert slow.executor.pending(Lane.LEGS) == 2
    slow.executor.step(Lane.LEGS)
    assert slow.disk.cached_clean[1] == 0  # what the first flush covered is the second's now
    slow.executor.run_all()
    assert call.value == 0
    assert slow.disk.dirty() == []
    assert slow.disk.state == "closed"
    assert slow.at_rest()


def test_a_round_that_ends_after_the_suspend_stores_nothing(slow):
    log = live_with_clear(slow)
    slow.tick(6.0)
    slow.executor.held = {Lane.LEGS}
    call = log.postsuspend()
    work = slow.executor.queues[UUID, Lane.LEGS][0]
    slow.executor.time_out()
    slow.executor.run_all()
    assert call.value == 0
    closed = slow.disk.cached_clean.copy()
    work.finish(None, None)
    slow.executor.run_all()
    assert slow.disk.cached_clean == closed
    assert slow.disk.dirty() == [1]


def live_with_clear(rig) -> KernelLog:
    """A live log that holds a clear of region 1."""
    rig.auto = True
    log = rig.table()
    assert log.written(1) == 0
    log.clear(1)
    assert log.flush().value == 0
    rig.kernel.ask(kernel.FLUSH, UUID, log.luid)
    log.flush_scheduled = False
    rig.auto = False
    return log


def test_after_a_suspend_clears_and_the_delayed_flush_are_answered_and_forgotten(rig, live):
    live.presuspend()
    live.postsuspend()
    rig.disk.suspended = True
    closed = rig.disk.cached_clean.copy()
    live.clear(5)
    assert live.flush().value == 0
    assert live.delayed_flush().value == 0
    assert rig.disk.cached_clean == closed
    assert rig.disk.state == "closed"


def test_marks_after_a_suspend_are_dirty_after_the_resume(rig, live):
    live.postsuspend()
    rig.disk.suspended = True
    assert live.written(2) == 0
    assert rig.disk.dirty() == [5]
    assert live.resume().value == 0
    assert rig.disk.dirty() == [2, 5]


def test_a_question_wakes_a_suspended_log_whose_resume_was_lost(rig, live):
    live.postsuspend()
    rig.disk.suspended = False
    assert live.in_sync(1).value == 1
    assert phase(rig, live) is Phase.LIVE
    assert rig.disk.state == "open"
    assert rig.said("its RESUME was lost")


def test_a_suspend_that_cannot_close_is_a_failure_until_resume(rig, live):
    rig.disk.fail("close_log")
    assert live.postsuspend().value == 0
    assert rig.disk.state == "open"
    assert live.status_info().value == b"3 disk 253:2 D\0"
    assert live.resume().value == 0
    assert live.status_info().value == b"3 disk 253:2 A\0"
    assert rig.disk.calls["heal"] == 1


def test_a_log_that_fails_during_its_suspend_is_not_closed(slow):
    log = live_with_clear(slow)
    slow.disk.fail("commit")
    assert log.ask(kernel.FLUSH, struct.pack("=Q", 3), seq=700) is None
    call = log.postsuspend()
    slow.executor.run_all()
    assert slow.kernel.answer_to(700).error == EIO
    assert call.value == 0
    assert slow.disk.state == "open"
    assert slow.disk.calls["close_log"] == 0


def test_a_second_suspend_does_nothing(rig, live):
    live.postsuspend()
    assert live.postsuspend().value == 0
    assert rig.disk.calls["close_log"] == 1


@pytest.mark.parametrize("presuspend", [True, False])
def test_a_resume_without_its_suspend_offers_the_failed_regions_again(rig, live, presuspend):
    if presuspend:
        live.presuspend()  # and POSTSUSPEND is lost
    assert live.get_resync_work().value == (1, 5)
    live.set_region_sync(5, 0)
    assert live.get_resync_work().value == (0, 0)
    assert live.resume().value == 0
    assert phase(rig, live) is Phase.LIVE
    assert live.get_resync_work().value == (1, 5)


@pytest.mark.parametrize("error", [io_error(), ValueError("a bug")])
def test_a_resume_that_cannot_open_leaves_a_failed_log(rig, live, error):
    rig.expects_bugs = isinstance(error, ValueError)
    live.postsuspend()
    rig.disk.suspended = True
    assert live.written(2) == 0
    rig.disk.fail("reopen", error)
    assert live.resume().value == (0 if rig.expects_bugs else EIO)
    assert live.written(3) == EIO
    assert live.in_sync(3).value == 1
    # the marks that came late are not forgotten: the next resume has them
    live.postsuspend()
    assert live.resume().value == 0
    assert rig.disk.dirty() == [2, 5]


@pytest.mark.parametrize("name", ["reopen", "detach"])
@pytest.mark.parametrize("error", [io_error(), ValueError("a bug")])
def test_a_question_that_wakes_a_suspended_log_in_vain_is_answered_once(rig, live, name, error):
    rig.expects_bugs = isinstance(error, ValueError)
    live.postsuspend()
    new = rig.table(resume=False)
    rig.entry(new).log.phase = Phase.SUSPENDED  # so that there is something to fence
    rig.disk.fail(name, error, times=50)
    assert live.written(3) == EIO
    assert rig.disk.calls[name] == 1


# -- failure and healing ---------------------------------------------------------------------------------------------


def test_a_failed_msync_is_final_until_resume(rig, live):
    rig.disk.fail("commit")
    assert live.written(1) == EIO
    assert live.written(2) == EIO
    assert live.ask(kernel.FLUSH).error == EIO
    assert rig.disk.calls["commit"] == 1
    assert live.in_sync(1).value == 1
    assert live.in_sync(5).value == 0
    assert live.get_resync_work().value[0] == 0


def test_a_resume_heals_with_what_medium_and_mapping_both_call_clean(rig, live):
    rig.disk.fail("commit")
    assert live.written(1) == EIO  # memory dirty, disk clean
    live.presuspend()
    live.postsuspend()
    assert rig.disk.state == "open"  # a failed log is not closed
    rig.disk.suspended = True
    assert live.written(2) == 0
    assert live.resume().value == 0
    assert rig.disk.dirty() == [1, 2, 5]
    assert live.in_sync(1).value == 0
    assert live.written(3) == 0
    assert rig.said("seemed clean")


@pytest.mark.parametrize("error", [io_error(), ValueError("a bug")])
@pytest.mark.parametrize("suspend", [True, False])
def test_a_log_that_cannot_be_healed_stays_failed(rig, live, error, suspend):
    rig.expects_bugs = isinstance(error, ValueError)
    rig.disk.fail("commit")
    assert live.written(1) == EIO
    if suspend:
        live.postsuspend()
    rig.disk.fail("heal", error)
    assert live.resume().value == (0 if rig.expects_bugs else EIO)
    assert live.written(1) == EIO
    assert live.in_sync(1).value == 1
    assert live.status_info().value == b"3 disk 253:2 D\0"
    assert rig.disk.calls["heal"] == 1


def test_a_failed_suspended_log_that_cannot_be_woken_answers_once(rig, live):
    rig.disk.fail("commit")
    assert live.written(1) == EIO
    live.postsuspend()
    rig.disk.fail("heal", times=50)
    assert live.written(1) == EIO
    assert rig.disk.calls["heal"] == 1


# -- reload ----------------------------------------------------------------------------------------------------------


def test_a_reload_hands_the_log_over(rig, live):
    assert live.written(1) == 0
    new = rig.table(resume=False)
    assert rig.disk.live == (rig.boot, live.luid)
    assert rig.disk.calls["activate"] == 1
    live.presuspend()
    live.postsuspend()
    assert new.resume().value == 0
    live.dtr()
    assert rig.disk.live == (rig.boot, new.luid)
    assert [new.in_sync(region).value for region in (0, 1, 5)] == [1, 0, 0]
    assert set(rig.world.entries) == {new.luid}
    assert new.written(2) == 0
    assert rig.disk.dirty() == [1, 2, 5]


def test_a_reload_whose_suspends_were_lost_fences_the_old_table(rig, live):
    assert live.written(1) == 0
    live.clear(1)
    live.flush()
    new = rig.table()
    assert rig.said("gives way to another table")
    assert phase(rig, live) is Phase.IDLE
    assert rig.disk.calls["detach"] == 1
    rig.tick(10.0)
    assert rig.disk.calls["flush_legs"] == 0
    assert rig.disk.dirty() == [1, 5]
    live.postsuspend()
    live.dtr()
    assert new.written(2) == 0
    assert rig.disk.dirty() == [1, 2, 5]


def test_a_round_under_way_is_fenced_with_its_log(slow):
    log = live_with_clear(slow)
    slow.tick(6.0)
    slow.executor.held = {Lane.LEGS}
    new = slow.kernel.log(UUID, ctr_string())
    slow.kernel.call(new.ctr_steps())
    slow.executor.run_all()
    slow.kernel.pump()
    slow.kernel.call(new.resume_steps())
    slow.executor.run_all()
    slow.executor.held = set()
    slow.executor.run_all()
    assert slow.disk.dirty() == [1]
    assert phase(slow, log) is Phase.IDLE
    assert slow.at_rest()


def test_a_leg_flush_that_waited_while_its_log_ended_is_not_made(slow):
    # it would open the legs again, and nobody would close them
    log = live_with_clear(slow)
    slow.tick(6.0)
    slow.executor.held = {Lane.LEGS}
    call = log.dtr()
    slow.executor.run_all()
    assert call.done
    slow.executor.held = set()
    slow.executor.run_all()
    assert slow.disk.calls["flush_legs"] == 0
    assert slow.at_rest()


def test_a_fenced_table_that_goes_on_after_all_fences_the_other(rig, live):
    new = rig.table()
    assert phase(rig, live) is Phase.IDLE
    assert live.in_sync(5).value == 0
    assert phase(rig, live) is Phase.LIVE
    assert phase(rig, new) is Phase.IDLE


def test_the_old_table_s_end_writes_nothing_and_closes_before_its_reply(slow):
    slow.auto = True
    log, new = slow.table(), slow.table()
    slow.auto = False
    bits = slow.disk.cached_clean.copy(), slow.disk.clean.copy()
    call = log.dtr()
    assert not call.done
    slow.executor.run(Lane.DEVICE)
    assert slow.disk.calls["release"] == 1
    assert not call.done
    slow.executor.collect()
    assert call.done
    assert (slow.disk.cached_clean, slow.disk.clean) == bits
    assert slow.disk.live == (slow.boot, new.luid)


def test_a_device_that_cannot_be_closed_still_ends_its_log(rig, live):
    rig.disk.fail("release")
    assert live.dtr().done
    assert rig.world.entries == {}


def test_a_live_log_of_another_mirror_on_the_same_device_is_silenced(rig, live):
    rig.disk.uuid = None  # say that the log was handed over
    other = rig.table(OTHER)
    assert phase(rig, live) is Phase.IDLE
    assert phase(rig, other) is Phase.LIVE
    assert rig.disk.calls["detach"] == 0  # its own lane may be using it


def test_of_two_tables_that_go_live_at_the_same_time_one_is_live(slow):
    slow.auto = True
    first, second = slow.table(resume=False), slow.table(resume=False)
    slow.auto = False
    calls = first.resume(), second.resume()
    slow.executor.run_all()
    assert [call.value for call in calls] == [0, 0]
    assert {phase(slow, first), phase(slow, second)} == {Phase.LIVE, Phase.IDLE}
    (live,) = (log for log in (first, second) if phase(slow, log) is Phase.LIVE)
    assert slow.disk.live == (slow.boot, live.luid)


def test_two_mirrors_on_two_devices_do_not_meet(rig, live):
    rig.disks["/dev/other"] = Disk("253:9").format(OTHER)
    other = rig.table(OTHER, ctr_string("/dev/other"))
    assert phase(rig, live) is phase(rig, other) is Phase.LIVE


def test_two_core_logs_do_not_meet(rig):
    first = rig.table(string=ctr_string(log_type="core"))
    second = rig.table(OTHER, ctr_string(log_type="core"))
    assert phase(rig, first) is phase(rig, second) is Phase.LIVE


# -- lost words ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", ["presuspend", "postsuspend", "dtr"])
def test_a_lost_word_of_the_old_table_harms_nothing(rig, live, lost):
    assert live.written(1) == 0
    new = rig.table(resume=False)
    for step in ("presuspend", "postsuspend"):
        if step != lost:
            getattr(live, step)()
    assert new.resume().value == 0
    if lost != "dtr":
        live.dtr()
    assert new.in_sync(1).value == 0
    assert new.written(2) == 0
    assert rig.disk.dirty() == [1, 2, 5]


def test_a_suspend_that_nobody_heard_is_an_error_of_the_kernel_s_only(rig, live):
    rig.kernel.full_buffer = 1
    assert live.presuspend().value == -errno.ESRCH
    assert live.postsuspend().value == 0
    assert rig.disk.state == "closed"


def test_the_kernel_s_request_limit_is_its_own(rig, live):
    assert rig.kernel.log(UUID, b"x" * 333).ctr().value == EINVAL
    assert rig.kernel.sent[-1][0] == kernel.RESUME  # nothing was sent


def test_the_lanes_of_a_uuid_are_retired_with_its_last_log(rig):
    first = rig.table()
    second = rig.table(resume=False)
    first.presuspend()
    first.postsuspend()
    first.dtr()
    assert rig.retired == []
    second.dtr()
    assert rig.retired == [UUID]


def test_the_lanes_of_a_table_that_was_refused_are_retired(rig):
    log = rig.kernel.log(UUID, b"1 disk /dev/log 3")
    assert log.ctr().value < 0
    assert rig.retired == [UUID]


def test_a_region_that_fails_under_a_table_whose_resume_was_lost_is_not_forgotten(rig):
    log = rig.table(resume=False)
    assert log.set_region_sync(3, 0).value == 0
    assert rig.entry(log).log.phase is Phase.LIVE
    assert log.in_sync(3).value == 0


def test_a_log_that_gave_way_while_it_was_suspended_has_no_bits_to_answer_from_when_it_is_resumed(rig, live):
    live.presuspend()
    live.postsuspend()
    rig.entry(live).store.detach()  # another table's activation, meanwhile
    live.resume()
    assert rig.entry(live).log.failed
    assert live.in_sync(5).value == 1
    assert live.status_info().value == b"3 disk 253:2 D\0"


# -- between the NUL CTR of one caller and its RESUME -----------------------------------------------------------------


def test_a_count_that_is_asked_in_the_middle_of_anothers_reconnection_waits_for_its_own(rig, live):
    rig.restart()
    assert live.ask(kernel.CTR, live.string + b"\0").error == 0
    answer = live.ask(kernel.GET_SYNC_COUNT)
    assert (answer.error, answer.data) == (-errno.ESRCH, bytes(8))
    assert live.ask(kernel.RESUME).error == 0
    assert live.get_sync_count().value == REGIONS - 1


def test_an_inactive_table_is_answered_after_its_own_reconnection(rig, live):
    inactive = rig.table(resume=False)
    rig.restart()
    first, other = (rig.kernel.start(log.get_sync_count_steps()) for log in (inactive, live))
    rig.kernel.settle()
    assert (first.result, other.result) == (0, REGIONS - 1)
    assert inactive.get_sync_count().value == 0
