# SPDX-License-Identifier: LGPL-2.1-or-later
"""One log's bits under every request, in every phase."""

import errno
from collections.abc import Iterable
from typing import Any

import pytest

from diskulog import ctr
from diskulog.clears import ClearPolicy
from diskulog.dirtylog import DirtyLog, Phase
from diskulog.errors import BadRequestError, LogFailedError, NotResumedError
from diskulog.logstore import Opening
from diskulog.rounds import store_clears
from diskulog.work import Lane, Steps, wait
from tests.fake_host import UUID, Disk, Executor, MemoryStore, ctr_string, io_error
from tests.fake_kept import FakeKept

REGIONS = 8


class Bench:
    """A log over a disk, and an executor that the test turns."""

    def __init__(self, dirty: Iterable[int] = (), out_of_sync: Iterable[int] = (), live: bool = True) -> None:
        self.now = 100.0
        self.disk = Disk().format(dirty=set(dirty) | set(out_of_sync))
        args = ctr.parse(ctr_string())
        self.store = MemoryStore(self.disk, Opening(args, UUID, 1, False, frozenset()), 1)
        self.log = DirtyLog(args, self.store, FakeKept(), ClearPolicy(max_held=4), lambda: self.now)
        self.executor = Executor()
        if live:
            self.store.activate(1, True)
            for region in dirty:
                self.store.in_sync[region] = 1
            self.disk.rewrite()
            self.log.go_live()
            self.log.keep_clears(self.log.kept.begin())

    def run(self, answer: bytes | Steps) -> dict[str, Any]:
        """Begin what a request does; "result" is there when it has ended."""
        outcome: dict[str, Any] = {}
        if isinstance(answer, bytes):
            return {"result": answer}

        def advance(value: Any, error: BaseException | None) -> None:
            try:
                work = answer.send(value) if error is None else answer.throw(error)
            except StopIteration as end:
                outcome["result"] = end.value
            except Exception as failure:
                outcome["result"] = failure
            else:
                wait(self.executor.submit, UUID, work, advance)

        advance(None, None)
        return outcome

    def finish(self, answer: bytes | Steps) -> Any:
        outcome = self.run(answer)
        self.executor.run_all()
        return outcome["result"]

    def mark_and_flush(self, *regions: int) -> None:
        self.log.mark(regions)
        assert self.finish(self.log.flush()) == b""

    def enter(self, phase: Phase) -> None:
        """Go to a phase the way that requests do."""
        if phase is Phase.SUSPENDED:
            self.disk.close_state()
        if phase is Phase.IDLE:
            self.log.go_idle()
            self.store.detach()
        else:
            self.log.phase = phase


@pytest.fixture
def bench() -> Bench:
    return Bench()


LIVE_PHASES = (Phase.LIVE, Phase.PRESUSPENDED)
STILL_PHASES = (Phase.IDLE, Phase.SUSPENDED)

# -- phase x call ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", LIVE_PHASES)
class TestWhileLive:
    def test_a_mark_and_its_flush_are_on_the_medium(self, bench, phase):
        bench.enter(phase)
        bench.mark_and_flush(3, 5)
        assert bench.disk.dirty() == [3, 5]

    def test_a_clear_is_held_and_stored_by_its_round(self, bench, phase):
        bench.mark_and_flush(3)
        bench.enter(phase)
        bench.log.clear([3])
        assert bench.log.is_clean(3)
        assert bench.disk.dirty() == [3]
        assert bench.finish(store_clears(bench.log)) == b""
        assert bench.disk.dirty() == []

    def test_the_resync_goes_through_what_is_out_of_sync(self, phase):
        bench = Bench(out_of_sync=[2, 6])
        bench.enter(phase)
        assert bench.log.resync_work() == 2
        bench.log.set_in_sync(2)
        assert bench.log.in_sync_count() == 7
        assert bench.log.resync_work() == 6
        bench.log.set_in_sync(6)
        assert bench.log.resync_work() is None
        assert bench.log.in_sync_count() == 8

    def test_a_failed_region_is_out_of_sync_and_dirty(self, bench, phase):
        bench.enter(phase)
        assert bench.finish(bench.log.set_out_of_sync(4)) == b""
        assert not bench.log.region_in_sync(4)
        assert bench.disk.dirty() == [4]
        assert bench.log.in_sync_count() == 7


@pytest.mark.parametrize("phase", STILL_PHASES)
class TestWhileNothingMayBeStored:
    def test_a_flush_is_answered_at_once(self, bench, phase):
        bench.enter(phase)
        assert bench.log.flush() == b""

    def test_a_clear_is_forgotten(self, phase):
        bench = Bench(dirty=[3])
        bench.enter(phase)
        bench.log.clear([3])
        assert bench.log.clears.held_count == 0

    def test_there_is_no_resync_work(self, phase):
        bench = Bench(out_of_sync=[3])
        bench.enter(phase)
        assert bench.log.resync_work() is None

    def test_a_region_s_state_is_not_stored(self, phase):
        bench = Bench(out_of_sync=[3])
        bench.enter(phase)
        before = bench.disk.cached_sync.copy()
        bench.log.set_in_sync(3)
        assert bench.finish(bench.log.set_out_of_sync(4)) == b""
        assert bench.disk.cached_sync == before

    def test_a_round_stores_nothing(self, phase):
        bench = Bench(dirty=[3])
        bench.log.clear([3])
        outcome = bench.run(store_clears(bench.log))
        bench.enter(phase)
        bench.executor.run_all()
        assert outcome == {"result": b""}
        assert bench.disk.dirty() == [3]

    def test_the_hint_keeps_the_recovery_possible(self, bench, phase):
        bench.enter(phase)
        assert bench.log.in_sync_hint() == REGIONS - 1


def test_a_late_mark_is_kept_for_the_resume_and_stored_nowhere(bench):
    bench.enter(Phase.SUSPENDED)
    bench.log.mark((3,))
    assert bench.log.late_marks == {3}
    assert bench.disk.cached_clean[3]
    bench.log.go_live()
    assert bench.log.late_marks == set()


def test_a_late_mark_out_of_range_is_refused(bench):
    bench.enter(Phase.SUSPENDED)
    with pytest.raises(BadRequestError):
        bench.log.mark((REGIONS,))
    assert bench.log.late_marks == set()


def test_before_its_first_resume_a_log_is_blind_and_counts_nothing():
    log = Bench(live=False).log
    assert log.phase is Phase.IDLE
    assert log.in_sync_count() == 0
    assert not log.is_clean(0)
    assert log.resync_work() is None


def test_a_suspended_log_still_answers_from_its_bits():
    bench = Bench(out_of_sync=[2])
    bench.enter(Phase.SUSPENDED)
    assert not bench.log.region_in_sync(2)
    assert bench.log.region_in_sync(3)
    assert bench.log.in_sync_count() == 7


# -- range -----------------------------------------------------------------------------------------------------------

BEYOND = [REGIONS, 63, 2**32, 2**64 - 1]


@pytest.mark.parametrize("region", BEYOND)
def test_a_mark_with_one_region_out_of_range_changes_nothing(bench, region):
    with pytest.raises(BadRequestError) as caught:
        bench.log.mark((1, region))
    assert caught.value.errno == errno.EINVAL
    assert bench.disk.cached_clean[1]
    assert bench.log.flush() == b""


@pytest.mark.parametrize("region", BEYOND)
def test_a_clear_out_of_range_is_counted_and_the_others_held(region):
    bench = Bench(dirty=[1])
    bench.log.clear((region, 1))
    assert bench.log.ignored_clears == 1
    assert set(bench.log.clears.waiting) == {1}


@pytest.mark.parametrize("region", BEYOND)
def test_out_of_range_is_neither_clean_nor_in_sync_and_cannot_be_made_so(bench, region):
    assert not bench.log.is_clean(region)
    assert not bench.log.region_in_sync(region)
    bench.log.set_in_sync(region)
    assert bench.finish(bench.log.set_out_of_sync(region)) == b""
    assert bench.log.in_sync_count() == REGIONS
    assert not bench.disk.cached_sync[REGIONS:].any()


# -- marks and flush -------------------------------------------------------------------------------------------------


def test_a_flush_without_marks_needs_no_msync(bench):
    assert bench.log.flush() == b""


def test_a_mark_of_a_region_that_is_dirty_on_the_medium_needs_no_msync():
    bench = Bench(dirty=[3])
    bench.log.mark((3,))
    assert bench.log.flush() == b""


def test_a_mark_drops_its_held_clear():
    bench = Bench(dirty=[3])
    bench.log.clear([3])
    bench.log.mark((3,))
    assert not bench.log.is_clean(3)
    assert bench.log.flush() == b""


def test_a_region_marked_after_its_clear_was_stored_needs_an_msync_again():
    bench = Bench(dirty=[3])
    bench.log.clear([3])
    bench.finish(store_clears(bench.log))
    assert bench.disk.dirty() == []
    bench.mark_and_flush(3)
    assert bench.disk.dirty() == [3]


def test_a_flush_waits_for_marks_of_others_that_are_not_durable_yet(bench):
    bench.log.mark((1,))
    first = bench.run(bench.log.flush())
    second = bench.run(bench.log.flush())
    assert first == second == {}
    bench.executor.run_all()
    assert first == second == {"result": b""}
    assert bench.disk.calls["commit"] == 1


def test_a_mark_during_an_msync_is_not_answered_by_it(bench):
    bench.log.mark((1,))
    first = bench.run(bench.log.flush())
    bench.executor.run(Lane.DEVICE)
    bench.log.mark((6,))
    second = bench.run(bench.log.flush())
    bench.executor.collect()
    assert first == {"result": b""}
    assert second == {}
    assert bench.disk.dirty() == [1]
    bench.executor.run_all()
    assert second == {"result": b""}
    assert bench.disk.dirty() == [1, 6]


def test_flush_after_failed_commit_stays_failed(bench):
    bench.disk.fail("commit")
    bench.log.mark((1,))
    assert isinstance(bench.finish(bench.log.flush()), LogFailedError)
    assert bench.log.failed
    for call in (bench.log.flush, lambda: bench.log.mark((2,))):
        with pytest.raises(LogFailedError) as caught:
            call()
        assert caught.value.errno == errno.EIO
    assert bench.disk.calls["commit"] == 1
    assert bench.disk.cached_clean[2]


def test_a_failed_log_s_in_sync_and_clean_stay_what_the_bits_say():
    bench = Bench(out_of_sync=[5])
    bench.log.fail()
    assert bench.log.region_in_sync(4)
    assert not bench.log.region_in_sync(5)
    assert bench.log.resync_work() is None


def test_a_failed_log_holds_no_clears():
    bench = Bench(dirty=[3])
    bench.log.clear([3])
    bench.log.fail()
    bench.log.clear([3])
    assert not bench.log.is_clean(3)


def test_a_failure_while_a_round_is_flushing_stores_nothing():
    bench = Bench(dirty=[3])
    bench.log.clear([3])
    outcome = bench.run(store_clears(bench.log))
    bench.log.fail()
    bench.executor.run_all()
    assert outcome == {"result": b""}
    assert bench.disk.dirty() == [3]


# -- clears ----------------------------------------------------------------------------------------------------------


def test_a_clear_of_a_region_that_is_out_of_sync_changes_nothing():
    bench = Bench(out_of_sync=[3])
    bench.log.clear([3])
    assert not bench.log.is_clean(3)
    assert bench.finish(store_clears(bench.log)) == b""
    assert bench.disk.calls["flush_legs"] == 0


def test_a_clear_of_a_clean_region_is_not_held(bench):
    bench.log.clear([3])
    assert set(bench.log.clears.waiting) == set()
    assert bench.log.is_clean(3)


def test_a_clear_is_not_in_the_mapping_before_the_legs_were_flushed():
    bench = Bench(dirty=[3])
    bench.log.clear([3])
    bench.run(store_clears(bench.log))
    bench.disk.write_back()
    assert bench.disk.dirty() == [3]
    bench.executor.run(Lane.LEGS)
    bench.disk.write_back()
    assert bench.disk.dirty() == [3]
    bench.executor.collect()
    bench.disk.write_back()
    assert bench.disk.dirty() == []


def test_clear_flush_begins_mark_clear_flush_ends_does_not_store_the_second_clear():
    bench = Bench(dirty=[3, 4])
    bench.log.clear([3, 4])
    outcome = bench.run(store_clears(bench.log))
    bench.executor.run(Lane.LEGS)
    bench.mark_and_flush(3)
    bench.log.clear([3])
    bench.executor.run_all()
    assert outcome == {"result": b""}
    assert bench.disk.dirty() == [3]
    assert set(bench.log.clears.waiting) == {3}


def test_a_region_that_lost_its_sync_during_the_leg_flush_is_not_stored():
    bench = Bench(dirty=[3, 4])
    bench.log.clear([3, 4])
    outcome = bench.run(store_clears(bench.log))
    assert bench.finish(bench.log.set_out_of_sync(3)) == b""
    bench.executor.run_all()
    assert outcome == {"result": b""}
    assert bench.disk.dirty() == [3, 4]


def test_a_failed_leg_flush_stores_no_clear_until_an_activation():
    bench = Bench(dirty=[3, 4])
    bench.disk.fail("flush_legs")
    bench.log.clear([3])
    assert bench.finish(store_clears(bench.log)) == b""
    bench.log.clear([4])
    assert bench.finish(store_clears(bench.log)) == b""
    assert bench.disk.dirty() == [3, 4]
    assert not bench.log.failed
    bench.mark_and_flush(5)
    bench.log.go_live()  # a plain resume: what the leg lost before it is still lost
    bench.log.clear([5])
    bench.finish(store_clears(bench.log))
    assert bench.disk.dirty() == [3, 4, 5]
    bench.disk.legs_failed = False  # as an activation does, which resyncs what is dirty
    bench.log.go_live()
    bench.log.clear([5])
    bench.finish(store_clears(bench.log))
    assert bench.disk.dirty() == [3, 4]


def test_a_log_that_is_not_resumed_any_more_says_nothing_of_its_legs():
    bench = Bench(dirty=[3, 4])
    bench.disk.fail("flush_legs", NotResumedError("legs"))
    bench.log.clear([3])
    bench.finish(store_clears(bench.log))
    bench.log.clear([4])
    bench.finish(store_clears(bench.log))
    assert bench.disk.dirty() == [3]


def test_a_leg_flush_that_takes_too_long_drops_its_clears_only():
    bench = Bench(dirty=[3, 4])
    bench.log.clear([3])
    outcome = bench.run(store_clears(bench.log))
    bench.log.clear([4])
    bench.executor.time_out()
    assert outcome == {"result": b""}
    assert not bench.log.clears.holds(3)
    bench.executor.run_all()
    bench.finish(store_clears(bench.log))
    assert bench.disk.dirty() == [3]


def test_a_leg_flush_that_fails_after_its_time_stores_no_clear_either():
    # a cache reports its loss once: the next flush succeeds, and says nothing about what the first one lost
    bench = Bench(dirty=[3, 4])
    bench.log.clear([3])
    bench.run(store_clears(bench.log))
    work = bench.executor.queues[UUID, Lane.LEGS].popleft()
    bench.log.clear([4])
    work.finish(None, TimeoutError())
    bench.disk.fail("flush_legs")
    with pytest.raises(Exception, match="Input/output"):
        work.run()
    assert bench.finish(store_clears(bench.log)) == b""
    assert bench.disk.dirty() == [3, 4]


def test_an_earlier_round_s_failed_leg_flush_counts_for_the_later_one():
    bench = Bench(dirty=[3, 4])
    bench.log.clear([3])
    first = bench.run(store_clears(bench.log))
    bench.log.clear([4])
    second = bench.run(store_clears(bench.log))
    bench.disk.fail("flush_legs")
    bench.executor.run_all()
    assert first == second == {"result": b""}
    assert bench.disk.dirty() == [3, 4]


def test_an_earlier_round_leaves_its_clears_to_the_later_one():
    bench = Bench(dirty=[3, 4])
    bench.log.clear([3])
    first = bench.run(store_clears(bench.log))
    bench.log.clear([4])
    second = bench.run(store_clears(bench.log))
    bench.executor.step(Lane.LEGS)
    assert first == {"result": b""}
    assert bench.disk.dirty() == [3, 4]
    bench.executor.run_all()
    assert second == {"result": b""}
    assert bench.disk.dirty() == []


@pytest.mark.parametrize("error", [io_error(), OSError(errno.EIO, "x"), ValueError("a bug")])
def test_a_leg_flush_that_ends_in_any_error_lets_later_rounds_begin(error):
    bench = Bench(dirty=[3])
    bench.disk.fail("flush_legs", error)
    bench.log.clear([3])
    assert bench.finish(store_clears(bench.log)) == b""
    assert not bench.log.clears.round_running
    assert bench.disk.dirty() == [3]


def test_a_failed_msync_of_clears_fails_the_log():
    bench = Bench(dirty=[3])
    bench.disk.fail("commit_all")
    bench.log.clear([3])
    assert bench.finish(store_clears(bench.log)) == b""
    assert bench.log.failed
    assert bench.disk.dirty() == []  # the mapping may reach the medium later: the region's legs were flushed


def test_an_empty_round_does_nothing(bench):
    assert bench.finish(store_clears(bench.log)) == b""
    assert bench.disk.calls["flush_legs"] == bench.disk.calls["commit_all"] == 0
    assert not bench.log.clears.round_running


def test_the_last_round_leaves_the_msync_to_who_closes():
    bench = Bench(dirty=[3])
    bench.log.clear([3])
    assert bench.finish(store_clears(bench.log, last=True)) == b""
    assert bench.disk.calls["commit_all"] == 0
    assert bench.disk.cached_clean[3]


# -- SET_REGION_SYNC -------------------------------------------------------------------------------------------------


def test_a_region_out_of_sync_is_dirty_on_the_medium_before_it_is_said(bench):
    outcome = bench.run(bench.log.set_out_of_sync(4))
    assert outcome == {}
    assert bench.log.region_in_sync(4)
    bench.executor.run(Lane.DEVICE)
    assert bench.disk.dirty() == [4]
    assert bench.log.region_in_sync(4)
    bench.executor.collect()
    assert outcome == {"result": b""}
    assert not bench.log.region_in_sync(4)


def test_a_region_that_is_dirty_already_is_out_of_sync_at_once():
    bench = Bench(dirty=[4])
    assert bench.finish(bench.log.set_out_of_sync(4)) == b""
    assert not bench.log.region_in_sync(4)
    assert bench.log.in_sync_count() == 7


def test_a_region_whose_mark_is_not_durable_yet_waits_for_it(bench):
    bench.log.mark((4,))
    assert bench.run(bench.log.set_out_of_sync(4)) == {}
    assert bench.log.region_in_sync(4)


def test_a_region_that_cannot_be_made_dirty_stays_in_sync(bench):
    # "not in sync" would let the kernel write to one leg while the medium may say clean
    bench.disk.fail("commit")
    assert bench.finish(bench.log.set_out_of_sync(4)) == b""
    assert bench.log.region_in_sync(4)
    assert bench.log.failed
    assert bench.finish(bench.log.set_out_of_sync(5)) == b""
    assert bench.log.region_in_sync(5)


def test_out_of_sync_drops_every_held_clear():
    bench = Bench(dirty=[2, 3])
    bench.log.clear([2])
    bench.run(store_clears(bench.log))
    bench.log.clear([3])
    bench.finish(bench.log.set_out_of_sync(6))
    assert bench.disk.dirty() == [2, 3, 6]
    assert not bench.log.is_clean(2)
    assert not bench.log.is_clean(3)


def test_a_clear_while_a_region_loses_its_sync_does_not_make_it_clean(bench):
    outcome = bench.run(bench.log.set_out_of_sync(4))
    bench.log.clear([4])
    bench.run(store_clears(bench.log))
    bench.executor.step(Lane.LEGS)
    bench.executor.run_all()
    assert outcome == {"result": b""}
    assert not bench.log.region_in_sync(4)
    assert bench.disk.dirty() == [4]
    assert not bench.disk.cached_clean[4]


def test_out_of_sync_twice_counts_once(bench):
    first, second = bench.run(bench.log.set_out_of_sync(4)), bench.run(bench.log.set_out_of_sync(4))
    bench.executor.run_all()
    assert first == second == {"result": b""}
    assert bench.finish(bench.log.set_out_of_sync(4)) == b""
    assert bench.log.in_sync_count() == 7


def test_a_log_fenced_while_a_region_loses_its_sync_stores_no_more(bench):
    outcome = bench.run(bench.log.set_out_of_sync(4))
    bench.executor.run(Lane.DEVICE)
    bench.enter(Phase.IDLE)
    bench.executor.collect()
    assert outcome == {"result": b""}
    assert bench.disk.cached_sync[4]


def test_in_sync_twice_counts_once():
    bench = Bench(out_of_sync=[4])
    bench.log.set_in_sync(4)
    bench.log.set_in_sync(4)
    assert bench.log.in_sync_count() == 8


def test_a_recovered_region_stays_dirty_until_its_clear():
    bench = Bench(out_of_sync=[4])
    assert bench.log.resync_work() == 4
    bench.log.set_in_sync(4)
    assert not bench.log.is_clean(4)
    bench.log.clear([4])
    bench.finish(store_clears(bench.log))
    assert bench.disk.dirty() == []


# -- resync ----------------------------------------------------------------------------------------------------------


def test_the_region_in_progress_is_given_out_again():
    bench = Bench(out_of_sync=[2, 6])
    assert [bench.log.resync_work() for _ in range(3)] == [2, 2, 2]


def test_a_region_whose_recovery_failed_is_not_offered_again_before_a_resume():
    bench = Bench(out_of_sync=[2, 6])
    assert bench.log.resync_work() == 2
    assert bench.finish(bench.log.set_out_of_sync(2)) == b""
    assert bench.log.resync_work() == 6
    assert bench.finish(bench.log.set_out_of_sync(6)) == b""
    assert bench.log.resync_work() is None
    assert bench.log.resync_work() is None
    bench.log.restart_recovery()
    assert bench.log.resync_work() == 2


def test_a_region_in_the_padding_of_the_bitmap_is_never_work(bench):
    assert not bench.disk.cached_sync[REGIONS:].any()
    assert bench.log.resync_work() is None


def test_the_last_region_can_be_work():
    bench = Bench(out_of_sync=[REGIONS - 1])
    assert bench.log.resync_work() == REGIONS - 1
    bench.finish(bench.log.set_out_of_sync(REGIONS - 1))
    assert bench.log.resync_work() is None


def test_a_failed_log_stops_its_recovery():
    bench = Bench(out_of_sync=[2])
    assert bench.log.resync_work() == 2
    bench.log.fail()
    assert bench.log.resync_work() is None


def test_the_hint_is_the_last_region_while_anything_is_out_of_sync():
    bench = Bench(out_of_sync=[0])
    assert bench.log.in_sync_hint() == REGIONS - 1
    bench.log.set_in_sync(0)
    assert bench.log.in_sync_hint() == REGIONS


# -- without bits (on-disk rule 14) ----------------------------------------------------------------------------------


@pytest.fixture
def blind() -> DirtyLog:
    log = Bench(live=False).log
    log.go_live_failed()
    return log


def test_a_blind_log_says_in_sync_and_takes_no_mark(blind):
    assert blind.region_in_sync(0)
    assert not blind.region_in_sync(REGIONS)
    for call in (blind.flush, lambda: blind.mark((0,))):
        with pytest.raises(LogFailedError):
            call()


def test_a_blind_log_counts_nothing_recovers_nothing_and_touches_no_bits(blind):
    assert blind.in_sync_count() == 0
    assert blind.resync_work() is None
    assert blind.in_sync_hint() == REGIONS - 1
    assert not blind.is_clean(0)
    blind.clear([0, REGIONS])
    blind.set_in_sync(0)
    with pytest.raises(StopIteration, match="b''"):
        next(blind.set_out_of_sync(0))
