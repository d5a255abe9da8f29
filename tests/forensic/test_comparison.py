# SPDX-License-Identifier: LGPL-2.1-or-later
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskulog.forensic import belief, comparison
from diskulog.forensic.comparison import Apart, Difference, Layout, Selection, Tally, Unread, compare
from diskulog.units import MIB
from tests import images

COUNT = 40


def views(*contents: bytes) -> list[memoryview]:
    return [memoryview(content) for content in contents]


def selection(dirty=(), out_of_sync=(), first=0, end=COUNT, count=COUNT) -> Selection:
    image = images.loaded(images.diskulog(count, {*dirty, *out_of_sync}, out_of_sync))
    return Selection(belief.clean_regions(image), belief.sync_regions(image), first, end)


def test_a_layout_cuts_a_mirror_whose_last_region_is_short():
    layout = Layout(MIB * 5 // 2, 3, 6 * MIB)
    assert layout.span(0, 2) == (0, 5 * MIB)
    assert layout.span(2, 1) == (5 * MIB, 6 * MIB)
    assert layout.size(2, 1) == MIB
    assert list(layout.pieces(0, 1)) == [(0, MIB), (MIB, MIB), (2 * MIB, MIB // 2)]
    assert list(layout.pieces(2, 1)) == [(5 * MIB, MIB)]


def test_equal_legs():
    assert compare(7, views(b"abc", b"abc", b"abc")) is None
    assert compare(7, views(b"", b"")) is None


@given(
    data=st.binary(min_size=1, max_size=300), spots=st.sets(st.integers(0, 299), min_size=1), at=st.integers(0, 2**40)
)
def test_the_first_byte_that_differs(data, spots, at):
    spots = {spot % len(data) for spot in spots}
    other = bytearray(data)
    for spot in spots:
        other[spot] ^= 0x80
    found = compare(at, views(data, bytes(other), data))
    assert (found.offset_bytes, found.legs) == (at + min(spots), (1,))


def test_the_first_of_several_legs_and_which_they_are():
    found = compare(100, views(b"aaaa", b"aaab", b"aaaa", b"abaa"))
    assert (found.offset_bytes, found.legs) == (101, (1, 3))
    assert len(found.digests) == 4
    assert found == compare(100, views(b"aaaa", b"aaab", b"aaaa", b"abaa"))
    assert found != compare(100, views(b"aaaa", b"aaac", b"aaaa", b"abaa"))


@given(
    dirty=st.sets(st.integers(0, COUNT - 1)),
    out_of_sync=st.sets(st.integers(0, COUNT - 1)),
    bounds=st.tuples(st.integers(0, COUNT), st.integers(0, COUNT)).map(sorted),
    start=st.integers(0, COUNT),
    most=st.integers(1, COUNT),
)
def test_spans_are_the_clean_regions_and_the_rest_is_skipped(dirty, out_of_sync, bounds, start, most):
    first, end = bounds
    chosen = selection(dirty, out_of_sync, first, end)
    spans = list(chosen.spans(start, most))
    begin = max(start, first)
    clean = [region for region in range(begin, end) if region not in dirty | out_of_sync]
    assert [region for at, count in spans for region in range(at, at + count)] == clean
    assert all(1 <= count <= most for _, count in spans)
    skipped = chosen.skipped(begin, end) if begin <= end else (0, 0)
    in_range = set(range(begin, end))
    assert skipped == (len((dirty - out_of_sync) & in_range), len(out_of_sync & in_range))
    layout = Layout(1024, COUNT, COUNT * 1024 - 512)
    assert chosen.bytes_from(start, layout) == sum(layout.size(region, 1) for region in clean)


def test_without_a_sync_bitmap_everything_skipped_is_dirty():
    image = images.loaded(images.kernel(COUNT, [3, 5]))
    chosen = Selection(belief.clean_regions(image), belief.sync_regions(image), 0, COUNT)
    assert chosen.skipped(0, COUNT) == (2, 0)


def apart(at: int) -> Apart:
    return Apart(at, (1,), (0, 0))


def test_neighbouring_regions_are_one_range():
    tally = Tally()
    for region in (3, 4, 5, 9, 11, 12):
        tally.differs(region, 10, apart(region * 10 + 1))
    assert tally.differing == [
        Difference(3, 3, 31, (1,)),
        Difference(9, 1, 91, (1,)),
        Difference(11, 2, 111, (1,)),
    ]
    assert (tally.differing_count, tally.range_count, tally.compared_count, tally.compared_bytes) == (6, 3, 6, 60)


def test_what_is_kept_is_bounded(monkeypatch):
    monkeypatch.setattr(comparison, "MAX_KEPT", 2)
    tally = Tally()
    for region in (0, 2, 3, 5, 6, 8):
        tally.differs(region, 10, apart(0))
        tally.fails(Unread(region, 0, "x"))
    assert tally.differing == [Difference(0, 1, 0, (1,)), Difference(2, 2, 0, (1,))]
    assert (tally.differing_count, tally.range_count) == (6, 4)
    assert (len(tally.unread), tally.unread_count) == (2, 6)


def test_what_is_passed_is_counted_once():
    chosen = selection([1, 5, 6], [6, 30])
    tally = Tally()
    for region in (0, 4, 4, 2, 8, 40):
        tally.passed(chosen, region)
    assert (tally.dirty_count, tally.out_of_sync_count, tally.next_region) == (2, 2, 40)


def test_comparing_is_quick_enough_for_disks():
    big = bytes(MIB)
    began = time.perf_counter()
    for _ in range(20):
        compare(0, views(big, big))
    assert time.perf_counter() - began < 1.0


@pytest.mark.parametrize("end", [0, 7])
def test_nothing_chosen_is_nothing_to_do(end):
    chosen = selection(first=7 if end else 0, end=end)
    assert list(chosen.spans(0, 5)) == []
    assert chosen.bytes_from(0, Layout(1024, COUNT, COUNT * 1024)) == 0
