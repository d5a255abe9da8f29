# SPDX-License-Identifier: LGPL-2.1-or-later
"""The pass over a log's regions, with legs, log and time in memory."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskulog.errors import DeviceError, RefusedError
from diskulog.forensic import belief, verify
from diskulog.forensic.comparison import PIECE_BYTES, Layout, Selection, Tally
from diskulog.forensic.legs import LegReadError
from diskulog.forensic.verify import TRIES, Run, Stopped
from diskulog.units import KIB, MIB
from tests import images

COUNT = 12


class Legs:
    """Two or more legs in memory; ``bad`` are bytes of (leg, mirror) that cannot be read."""

    def __init__(self, *contents: bytes) -> None:
        self.contents = [bytearray(content) for content in contents]
        self.bad: set[tuple[int, int]] = set()
        self.reads: list[tuple[int, int]] = []

    @contextmanager
    def lent(self, at: int, length: int) -> Iterator[list[memoryview]]:
        self.reads.append((at, length))
        for leg, byte in sorted(self.bad):
            if at <= byte < at + length:
                raise LegReadError(leg, DeviceError(f"cannot read leg{leg}", OSError(5, "Input/output error")))
        yield [memoryview(bytes(content[at : at + length])) for content in self.contents]


class Log:
    """A log that says what it was given, and does something whenever it is asked."""

    def __init__(self, live: bool = False) -> None:
        self._live = live
        self.dirty: set[int] = set()
        self.asked: list[int] = []
        self.then: Callable[[], None] = lambda: None

    def live(self) -> bool:
        return self._live

    def is_clean(self, region: int) -> bool:
        self.asked.append(region)
        self.then()
        return region not in self.dirty


class Pacer:
    """Time that passes with each call; ``at`` maps the number of a pause to what happens in it."""

    def __init__(self) -> None:
        self.time = 0.0
        self.read = 0
        self.pauses = 0
        self.stop_after: int | None = None
        self.at: dict[int, Callable[[], None]] = {}

    def passed(self, size: int) -> None:
        self.read += size
        if self.stop_after is not None and self.read > self.stop_after:
            raise Stopped

    def pause(self, seconds: float) -> None:
        self.pauses += 1
        self.time += seconds
        self.at.get(self.pauses, lambda: None)()

    def now(self) -> float:
        return self.time


class Bench:
    """A run over COUNT regions of some size; the second leg begins as a copy of the first."""

    def __init__(self, region: int = 2 * KIB, dirty=(), live: bool = False, legs: int = 2, short: int = 512) -> None:
        self.region = region
        length = COUNT * region - short
        content = bytes(range(251)) * (length // 251 + 1)
        self.legs = Legs(*[content[:length]] * legs)
        self.log, self.pacer = Log(live), Pacer()
        image = images.loaded(images.diskulog(COUNT, dirty))
        self.selection = Selection(belief.clean_regions(image), belief.sync_regions(image), 0, COUNT)
        self.layout = Layout(region, COUNT, length)
        self.saved: list[int] = []
        self.shown = 0
        self.tally = Tally()

    def show(self, size: int) -> None:
        self.shown += size

    def go(self) -> bool:
        tally = self.tally
        return Run(
            self.layout,
            self.selection,
            self.legs,
            self.log,
            self.pacer,
            tally,
            self.show,
            lambda: self.saved.append(tally.next_region),
        ).go()

    def change(self, region: int, at: int = 0, leg: int = 1) -> None:
        self.legs.contents[leg][region * self.region + at] ^= 0xFF

    @property
    def differing(self) -> list[tuple[int, int]]:
        return [(each.first_region, each.region_count) for each in self.tally.differing]


SIZES = pytest.mark.parametrize("region", [KIB, MIB, 2 * MIB + MIB // 2], ids=["small", "a piece", "pieces"])


@SIZES
def test_equal_legs(region):
    bench = Bench(region, dirty=[3])
    assert bench.go()
    tally = bench.tally
    assert (tally.compared_count, tally.dirty_count, tally.differing_count) == (COUNT - 1, 1, 0)
    assert tally.compared_bytes == bench.shown == bench.pacer.read == (COUNT - 1) * region - 512
    assert tally.next_region == COUNT
    assert max(size for _, size in bench.legs.reads) <= PIECE_BYTES
    assert not any(start < 4 * region and start + size > 3 * region for start, size in bench.legs.reads)


@SIZES
def test_regions_that_differ(region):
    bench = Bench(region, dirty=[3], legs=3)
    for changed, at, leg in ((1, 5, 1), (2, 0, 2), (3, 0, 1), (11, 100, 2)):
        bench.change(changed, at, leg)
    assert bench.go()
    assert bench.differing == [(1, 2), (11, 1)]
    assert [each.offset_bytes for each in bench.tally.differing] == [region + 5, 11 * region + 100]
    assert [each.legs for each in bench.tally.differing] == [(1,), (2,)]
    assert bench.tally.compared_count == COUNT - 1
    assert bench.tally.compared_bytes == (COUNT - 1) * region - 512


@SIZES
def test_regions_that_cannot_be_read(region):
    bench = Bench(region)
    bench.legs.bad = {(1, 4 * region + 7), (0, 5 * region)}
    bench.change(6)
    assert bench.go()
    tally = bench.tally
    assert [(each.region, each.leg) for each in tally.unread] == [(4, 1), (5, 0)]
    assert tally.unread[0].reason == "cannot read leg1: Input/output error"
    assert (tally.unread_count, tally.compared_count) == (2, COUNT - 2)
    assert bench.differing == [(6, 1)]


@given(
    dirty=st.sets(st.integers(0, COUNT - 1)),
    changed=st.sets(st.integers(0, COUNT - 1)),
    bad=st.sets(st.integers(0, COUNT - 1)),
    batch=st.integers(1, 5),
    stops=st.lists(st.integers(0, 20 * KIB), max_size=4),
)
def test_every_region_is_counted_once_however_often_it_stops(dirty, changed, bad, batch, stops):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verify, "BATCH_SPANS", batch)
        bench = Bench(KIB, dirty)
        for region in changed:
            bench.change(region, 300)
        bench.legs.bad = {(0, region * KIB) for region in bad}
        for stop in stops:
            bench.pacer.stop_after = bench.pacer.read + stop
            bench.go()
        bench.pacer.stop_after = None
        assert bench.go()
    tally = bench.tally
    looked_at = set(range(COUNT)) - dirty
    assert tally.dirty_count == len(dirty)
    assert {each.region for each in tally.unread} == bad & looked_at
    assert tally.compared_count == len(looked_at - bad)
    found = {region for first, count in bench.differing for region in range(first, first + count)}
    assert found == (changed - bad) & looked_at
    assert tally.compared_bytes == sum(bench.layout.size(region, 1) for region in looked_at - bad)


def test_a_stop_leaves_the_tally_before_its_batch(monkeypatch):
    monkeypatch.setattr(verify, "BATCH_BYTES", 2 * MIB)
    bench = Bench(MIB, dirty=[0])
    bench.pacer.stop_after = 3 * MIB
    assert not bench.go()
    assert (bench.tally.next_region, bench.tally.compared_count, bench.tally.dirty_count) == (3, 2, 1)


def test_it_saves_now_and_then(monkeypatch):
    monkeypatch.setattr(verify, "BATCH_BYTES", MIB)
    bench = Bench(MIB)
    plain = bench.pacer.passed

    def passed(size: int) -> None:
        bench.pacer.time += 5
        plain(size)

    monkeypatch.setattr(bench.pacer, "passed", passed)
    assert bench.go()
    assert bench.saved == [3, 6, 9, 12]


# a log that is live


def test_a_log_that_is_not_live_is_not_asked_again():
    bench = Bench()
    bench.change(2)
    assert bench.go()
    assert (bench.log.asked, bench.pacer.pauses, bench.differing) == ([], 0, [(2, 1)])


def test_what_differs_at_rest_counts_after_one_more_look():
    bench = Bench(live=True)
    for region in (2, 3, 9):
        bench.change(region)
    assert bench.go()
    assert bench.differing == [(2, 2), (9, 1)]
    assert bench.log.asked == [2, 2, 3, 3, 9, 9]
    assert bench.pacer.pauses == 1  # for all of them


def test_a_write_that_arrives_on_the_other_leg_is_no_difference():
    bench = Bench(live=True)
    bench.change(2, leg=0)
    bench.pacer.at[1] = lambda: bench.change(2, leg=1)
    assert bench.go()
    assert (bench.differing, bench.tally.compared_count) == ([], COUNT)


def test_a_region_that_is_dirty_again_does_not_count():
    bench = Bench(live=True)
    bench.change(2)
    bench.log.dirty = {2}
    assert bench.go()
    tally = bench.tally
    assert (tally.changed_count, tally.differing_count, tally.compared_count) == (1, 0, COUNT - 1)
    assert bench.pacer.pauses == TRIES


def test_a_region_marked_during_the_look_does_not_count_by_that_look():
    bench = Bench(live=True)
    bench.change(2)

    def mark() -> None:  # after the first question, before the second; clean again in the third pause
        bench.log.dirty = {2} if len(bench.log.asked) == 1 else bench.log.dirty

    bench.log.then = mark
    bench.pacer.at[3] = bench.log.dirty.clear
    bench.pacer.at[3] = lambda: bench.log.dirty.discard(2)
    assert bench.go()
    assert bench.differing == [(2, 1)]
    assert bench.pacer.pauses == 3


def test_a_region_whose_bytes_change_between_looks_is_being_written():
    bench = Bench(live=True)
    bench.change(2, at=50)
    for number in range(1, TRIES + 1):
        bench.pacer.at[number] = lambda: bench.legs.contents[0].__setitem__(2 * bench.region + 70, bench.pacer.pauses)
    assert bench.go()
    assert (bench.tally.changed_count, bench.differing) == (1, [])


def test_a_leg_that_fails_in_the_second_look_costs_the_region():
    bench = Bench(live=True)
    bench.change(2)
    bench.pacer.at[1] = lambda: bench.legs.bad.add((1, 2 * bench.region))
    assert bench.go()
    assert [(each.region, each.leg) for each in bench.tally.unread] == [(2, 1)]
    assert bench.differing == []


def test_a_log_that_becomes_another_ends_it_before_the_batch_counts():
    bench = Bench(live=True)
    bench.change(2)

    def refuse() -> None:
        raise RefusedError("log", "another", "again")

    bench.log.then = refuse
    with pytest.raises(RefusedError):
        bench.go()
    assert bench.tally.next_region == 0
