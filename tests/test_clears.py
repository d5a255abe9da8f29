# SPDX-License-Identifier: LGPL-2.1-or-later
"""Held clears and their rounds (on-disk rule 4)."""

import math

import pytest
from bitarray.util import zeros
from hypothesis import given
from hypothesis import strategies as st

from diskulog.clears import ClearPolicy, HeldClears


def held(max_held: int = 3) -> HeldClears:
    return HeldClears(ClearPolicy(hold_seconds=5.0, max_held=max_held), bits=zeros(64, endian="little"))


def first_due(clears: HeldClears) -> float:
    """When the next round is due, to a tenth of a second."""
    return next(tenth / 10 for tenth in range(900, 3000) if clears.due(tenth / 10))


@pytest.fixture
def clears() -> HeldClears:
    return held()


def test_a_clear_is_held_and_due_after_its_time(clears):
    clears.hold(7, 100.0)
    assert clears.holds(7)
    assert first_due(clears) == 105.0
    assert not clears.due(104.9)
    assert clears.due(105.0)


def test_nothing_held_is_never_due(clears):
    assert not clears.due(1e9)


def test_the_first_clear_sets_the_time_of_all(clears):
    clears.hold(1, 100.0)
    clears.hold(2, 104.0)
    assert first_due(clears) == 105.0


def test_a_full_collection_is_due_at_once(clears):
    for region in range(3):
        clears.hold(region, 100.0)
    assert clears.due(0.0)
    assert clears.due(100.0)


def test_clears_over_the_bound_have_no_time_and_are_stored_round_by_round(clears):
    for region in range(10):
        clears.hold(region, 100.0)
    assert len(clears.waiting) == 3
    assert clears.held_count == 10
    clears.mark(9)
    clears.mark(0)
    assert clears.held_count == 8
    stored = []
    while clears.collected and len(stored) < 10:
        assert clears.due(100.0)
        number = clears.begin_round(100.0)
        taken = set(clears.take_round(number))
        assert 0 < len(taken) <= 3
        clears.forget(taken)
        clears.end_round(number, 100.0)
        stored.append(taken)
        if not clears.timeless:
            break
    assert set().union(*stored, clears.waiting) == set(range(1, 9))
    assert sum(map(len, stored)) + len(clears.waiting) == 8


def test_the_last_round_takes_all_and_a_drop_leaves_none(clears):
    for region in range(10):
        clears.hold(region, 100.0)
    assert set(clears.take_round(clears.begin_round())) == set(range(10))
    assert clears.held_count == 0
    clears = held()
    for region in range(10):
        clears.hold(region, 100.0)
    clears.drop()
    assert clears.held_count == 0
    assert not clears.bits.any()


def test_a_clear_held_twice_is_held_once(clears):
    clears.hold(1, 100.0)
    clears.hold(1, 101.0)
    assert set(clears.waiting) == {1}


def test_a_mark_drops_the_held_clear(clears):
    clears.hold(1, 100.0)
    clears.mark(1)
    assert not clears.holds(1)
    assert not clears.due(1e9)


def test_a_mark_of_another_region_drops_nothing(clears):
    clears.hold(1, 100.0)
    clears.mark(2)
    assert clears.holds(1)


def test_a_round_hands_out_what_it_closed_over(clears):
    clears.hold(1, 100.0)
    clears.hold(2, 100.0)
    number = clears.begin_round()
    assert clears.holds(1)
    clears.hold(3, 101.0)
    assert set(clears.take_round(number)) == {1, 2}
    assert clears.holds(3)
    clears.forget((1, 2))
    assert not clears.holds(1)


def test_no_second_round_is_due_while_one_runs(clears):
    clears.hold(1, 100.0)
    clears.begin_round()
    for region in (4, 5, 6):
        clears.hold(region, 100.0)
    assert not clears.due(1e9)


def test_a_round_leaves_what_was_held_for_less_than_half_the_time():
    clears = held(100)
    for region, now in ((1, 100.0), (2, 102.4), (3, 102.6)):
        clears.hold(region, now)
    assert not clears.due(104.9)
    assert set(clears.take_round(clears.begin_round(105.0))) == {1, 2}
    assert set(clears.waiting) == {3}


def test_a_region_that_is_written_again_and_again_is_in_no_round():
    clears = held(100)
    clears.hold(9, 99.0)
    taken: set[int] = set()
    for second in range(100, 160):
        clears.mark(1)
        clears.hold(1, float(second))
        if clears.due(float(second)):
            number = clears.begin_round(float(second))
            regions = set(clears.take_round(number))
            clears.forget(regions)
            clears.end_round(number, float(second))
            taken |= regions
    assert taken == {9}
    assert set(clears.waiting) == {1}


def test_a_full_collection_gives_its_older_half(clears):
    for region in (1, 2, 3):
        clears.hold(region, 100.0)
    assert set(clears.take_round(clears.begin_round(100.0))) == {1, 2}
    assert set(clears.waiting) == {3}


def test_after_a_round_the_rest_waits_its_time_from_then(clears):
    clears.hold(1, 100.0)
    number = clears.begin_round()
    clears.hold(2, 101.0)
    clears.take_round(number)
    clears.end_round(number, 110.0)
    assert first_due(clears) == 112.5


def test_after_a_round_that_leaves_nothing_nothing_is_due(clears):
    clears.hold(1, 100.0)
    number = clears.begin_round()
    clears.take_round(number)
    clears.end_round(number, 110.0)
    assert not clears.due(1e9)
    clears.hold(2, 120.0)
    assert first_due(clears) == 125.0


def test_a_mark_during_a_round_takes_its_region_out(clears):
    clears.hold(1, 100.0)
    clears.hold(2, 100.0)
    number = clears.begin_round()
    clears.mark(1)
    assert set(clears.take_round(number)) == {2}


def test_a_region_marked_and_cleared_during_a_round_waits_for_the_next(clears):
    clears.hold(1, 100.0)
    number = clears.begin_round()
    clears.mark(1)
    clears.hold(1, 101.0)
    assert set(clears.take_round(number)) == set()
    assert set(clears.waiting) == {1}


def test_a_clear_repeated_during_its_round_stays_with_the_round(clears):
    clears.hold(1, 100.0)
    number = clears.begin_round()
    clears.hold(1, 101.0)
    assert not clears.waiting
    assert set(clears.take_round(number)) == {1}


def test_a_later_round_covers_what_an_earlier_one_had(clears):
    clears.hold(1, 100.0)
    first = clears.begin_round()
    clears.hold(2, 101.0)
    second = clears.begin_round()
    assert set(clears.take_round(first)) == set()
    clears.end_round(first, 102.0)
    assert clears.round_running
    assert set(clears.take_round(second)) == {1, 2}
    clears.end_round(second, 103.0)
    assert not clears.round_running


def test_drop_forgets_everything_but_the_round_s_number(clears):
    clears.hold(1, 100.0)
    number = clears.begin_round()
    clears.hold(2, 100.0)
    clears.drop()
    assert not clears.holds(1)
    assert not clears.holds(2)
    assert set(clears.take_round(number)) == set()
    assert clears.round_running


def test_disabled_clears_are_not_held(clears):
    clears.disabled = True
    clears.hold(1, 100.0)
    assert not clears.holds(1)


def test_disabled_clears_are_not_handed_out(clears):
    clears.hold(1, 100.0)
    number = clears.begin_round()
    clears.disabled = True
    assert set(clears.take_round(number)) == set()
    assert not clears.holds(1)


def test_reset_lets_a_round_under_way_pass(clears):
    clears.hold(1, 100.0)
    number = clears.begin_round()
    clears.disabled = True
    clears.reset()
    clears.hold(2, 100.0)
    assert set(clears.take_round(number)) == set()
    clears.end_round(number, 200.0)
    assert first_due(clears) == 105.0
    assert not clears.disabled


STEPS = st.lists(st.tuples(st.sampled_from(["hold", "mark", "begin", "take", "drop"]), st.integers(0, 12)), max_size=60)


@given(STEPS)
def test_no_round_hands_out_a_region_marked_since_or_cleared_after_it_began(steps):
    clears = held(4)
    cleared_at: dict[int, int] = {}  # the step of each region's last clear, until it is marked
    began: dict[int, int] = {}
    for now, (step, argument) in enumerate(steps):
        if step == "hold":
            # the kernel clears a region again only after it marked it again
            if argument not in cleared_at:
                cleared_at[argument] = now
                clears.hold(argument, float(now))
        elif step == "mark":
            cleared_at.pop(argument, None)
            clears.mark(argument)
        elif step == "begin":
            began[clears.begin_round(float(now) if argument % 2 else math.inf)] = now
        elif step == "drop":
            clears.drop()
        elif began:
            number = sorted(began)[argument % len(began)]
            taken = set(clears.take_round(number))
            for region in taken:
                assert cleared_at[region] < began[number]
            clears.forget(taken)
            clears.end_round(number, float(now))
        assert len(clears.waiting) <= 4
        assert not clears.waiting.keys() & clears.closing
        assert clears.bits.count() == clears.held_count
        assert all(clears.holds(region) for region in (*clears.waiting, *clears.closing))
        assert clears.timeless >= 0
