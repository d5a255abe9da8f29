# SPDX-License-Identifier: LGPL-2.1-or-later
"""Power cuts while a log works: marks, rounds of clears, recovery, failing legs, failing msyncs, dying workers."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diskulog.clears import HeldClears
from diskulog.dirtylog import DirtyLog
from diskulog.durability import Durability
from diskulog.errors import DeviceError
from diskulog.store import DiskStore
from diskulog.work import Lane
from tests.crash_device import EIO, watch_bits
from tests.crash_kernel import OPERATIONS, REGIONS, Machine


@pytest.fixture(scope="module", autouse=True)
def watched():
    with pytest.MonkeyPatch.context() as patch:
        watch_bits(patch)
        yield


def play(machine: Machine, operations: list[tuple[str, int]]) -> Machine:
    for name, region in operations:
        OPERATIONS[name](machine, region)
        machine.look_at_the_living()
    return machine


operations = st.lists(st.tuples(st.sampled_from(sorted(OPERATIONS)), st.sampled_from(REGIONS)), max_size=80)


@given(operations=operations, page_bytes=st.sampled_from([512, 4096]))
@settings(deadline=None, max_examples=60)
def test_a_power_cut_at_any_moment_finds_every_region_whose_legs_may_differ_dirty(operations, page_bytes):
    play(Machine(page_bytes), operations)


# what happens often on a real machine, happens often here
WEIGHTS = {
    "write": 8, "write_ends": 8, "clear": 8, "round": 6, "device_works": 8, "legs_flush_begins": 4, "legs_flushed": 4,
    "recovery_begins": 4, "recovery_ends": 4, "leg_fails": 1, "msync_will_fail": 0.3, "leg_flush_will_fail": 0.3,
    "suspend_and_resume": 0.5, "worker_dies": 0.5,
}  # fmt: skip


def long_play(seed: int, length: int = 600) -> Machine:
    chance = random.Random(seed)
    names = chance.choices(list(WEIGHTS), list(WEIGHTS.values()), k=length)
    return play(Machine(chance.choice([512, 4096])), [(name, chance.choice(REGIONS)) for name in names])


def play_long_lives(count: int) -> None:
    for seed in range(count):
        long_play(seed)


@pytest.mark.parametrize("seed", range(40))
def test_a_long_life_with_a_power_cut_at_every_store(seed):
    machine = long_play(seed)
    assert machine.images > 20
    assert machine.device.syncs


# -- the races of rule 4, one by one ---------------------------------------------------------------------------------


@pytest.fixture
def machine() -> Machine:
    return Machine()


def written(machine: Machine, region: int = 0) -> None:
    machine.write(region)
    machine.drain()
    assert region in machine.writing


def test_a_clear_reaches_the_medium_only_after_the_legs_were_flushed(machine):
    written(machine)
    play(machine, [("write_ends", 0), ("clear", 0), ("round", 0), ("device_works", 0)])
    assert not machine.entry.store.clean[0]
    assert machine.differ[0]
    play(machine, [("legs_flushed", 0), ("device_works", 0)])
    assert machine.entry.store.clean[0]
    assert machine.device.durable[1024] & 1
    assert not machine.differ[0]


def test_a_write_that_comes_while_the_legs_are_flushed_keeps_its_region_dirty(machine):
    written(machine)
    play(machine, [("write_ends", 0), ("clear", 0), ("round", 0), ("legs_flush_begins", 0), ("write", 0)])
    play(machine, [("device_works", 0), ("write_ends", 0), ("clear", 0), ("legs_flushed", 0), ("device_works", 0)])
    assert machine.differ[0]
    assert not machine.entry.store.clean[0]


def test_a_write_between_the_stored_clear_and_its_msync_is_dirty_when_it_is_acknowledged(machine):
    written(machine)
    play(machine, [("write_ends", 0), ("clear", 0), ("round", 0), ("legs_flushed", 0), ("write", 0)])
    assert machine.entry.store.clean[0] == 0
    assert 0 in machine.asking, "nobody writes before the msync"
    machine.drain()
    machine.look()
    assert 0 in machine.writing


@pytest.mark.parametrize("between", ["suspend_and_resume", "worker_dies", "round"])
def test_what_a_leg_lost_stays_dirty_though_its_next_flush_succeeds(machine, between):
    written(machine)
    play(machine, [("leg_flush_will_fail", 0), ("write_ends", 0), ("clear", 0), ("round", 0), ("legs_flushed", 0)])
    assert machine.lost == {0}
    play(machine, [(between, 0), ("write", 0), ("device_works", 0), ("write_ends", 0), ("clear", 0)])
    play(machine, [("round", 0), ("legs_flushed", 0), ("device_works", 0)])
    assert not machine.entry.store.clean[0]
    assert machine.log.clears.disabled


def test_legs_that_cannot_be_flushed_leave_their_regions_dirty_until_an_activation(machine):
    written(machine)
    play(machine, [("leg_flush_will_fail", 0), ("write_ends", 0), ("clear", 0), ("round", 0), ("legs_flushed", 0)])
    assert not machine.entry.store.clean[0]
    assert machine.log.clears.disabled
    play(machine, [("suspend_and_resume", 0), ("write", 0)])
    assert machine.log.clears.disabled
    machine.entry.store.activate(machine.entry.luid, fresh=True)
    machine.log.go_live()
    assert not machine.log.clears.disabled
    assert not machine.log.region_in_sync(0)


def test_a_suspend_whose_legs_cannot_be_flushed_closes_with_the_regions_dirty(machine):
    written(machine)
    machine.write_ends(0)
    machine.clear(0)
    machine.mirror.failure = DeviceError("leg", EIO)
    machine.suspend_and_resume()
    machine.look_at_the_living()
    assert not machine.entry.store.clean[0]


def test_an_unanswered_flush_is_kept_by_the_next_worker(machine):
    machine.write(0)
    assert 0 in machine.asking
    machine.worker_dies()
    machine.look_at_the_living()
    assert 0 in machine.writing
    assert not machine.device.durable[1024] & 1


def test_a_failed_msync_acknowledges_nothing_and_resume_keeps_the_mark(machine):
    machine.msync_will_fail()
    machine.write(0)
    machine.drain()
    assert machine.log.failed
    assert 0 not in machine.writing
    assert machine.device.durable[1024] & 1, "the medium does not have it"
    machine.suspend_and_resume()
    machine.look_at_the_living()
    assert not machine.device.durable[1024] & 1


# -- the machine can see ---------------------------------------------------------------------------------------------


def clears_at_once(patch) -> None:
    def wrong(self, regions):
        if self.live and not self.failed:
            for region in regions:
                if self.store.in_sync[region]:
                    self.store.clean[region] = 1

    patch.setattr(DirtyLog, "clear", wrong)


def rounds_take_what_came_during_the_flush(patch) -> None:
    plain = HeldClears.take_round

    def wrong(self, number):
        self.closing |= self.waiting.keys()
        self.waiting = {}
        return plain(self, number)

    patch.setattr(HeldClears, "take_round", wrong)


def marks_do_not_drop_clears(patch) -> None:
    patch.setattr(HeldClears, "mark", lambda self, region: None)


def flushes_are_answered_at_once(patch) -> None:
    patch.setattr(DirtyLog, "flush", lambda self: b"")


def one_msync_answers_for_later_marks(patch) -> None:
    plain = Durability._begin

    def wrong(self):
        work = plain(self)
        work.waiters.append(lambda *_: self.all_durable())
        return work

    patch.setattr(Durability, "_begin", wrong)


def a_takeover_believes_the_page_cache(patch) -> None:
    patch.setattr(DiskStore, "commit_all", lambda self: None)


def a_failed_msync_is_forgotten(patch) -> None:
    def wrong(self, first, last):
        try:
            self._log().commit_regions(first, last)
        except DeviceError:
            self._log().commit_regions(first, last)

    patch.setattr(DiskStore, "commit", wrong)


@pytest.mark.parametrize(
    "mistake",
    [
        clears_at_once,
        rounds_take_what_came_during_the_flush,
        marks_do_not_drop_clears,
        flushes_are_answered_at_once,
        one_msync_answers_for_later_marks,
        a_takeover_believes_the_page_cache,
        a_failed_msync_is_forgotten,
    ],
)
def test_a_mistake_is_caught(monkeypatch, mistake):
    mistake(monkeypatch)
    with pytest.raises(AssertionError, match="that may differ are called"):
        play_long_lives(60)


def test_the_work_of_the_lanes_is_really_waited_for(machine):
    machine.write(0)
    assert [len(machine.lanes[lane]) for lane in (Lane.DEVICE, Lane.LEGS)] == [1, 0]
