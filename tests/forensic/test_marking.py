# SPDX-License-Identifier: LGPL-2.1-or-later
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskulog.errors import RefusedError
from diskulog.exits import UsageError
from diskulog.forensic import marking
from diskulog.ondisk import State
from tests import images

REGION_BYTES = images.REGION_SIZE_SECTORS * 512


def test_bytes_and_sectors_become_the_regions_that_they_touch():
    image = images.loaded(images.diskulog())
    assert marking.regions_of(image, [(0, 0), (REGION_BYTES - 1, REGION_BYTES)], 1) == [(0, 0), (0, 1)]
    assert marking.regions_of(image, [(1024, 2047), (1023, 1024)], 512) == [(1, 1), (0, 1)]
    assert marking.regions_of(image, [(7, 9)], None) == [(7, 9)]


def test_a_log_without_a_region_size_has_regions_only():
    with pytest.raises(UsageError, match="name regions"):
        marking.regions_of(images.loaded(images.kernel()), [(0, 1)], 512)


def planned(data, *regions):
    return marking.plan(images.loaded(bytes(data)), regions)


@pytest.mark.parametrize(
    "data",
    [images.kernel(dirty=[3]), images.diskulog(dirty=[3]), images.diskulog(dirty=[3], state=State.OPEN)],
    ids=["kernel", "closed", "open"],
)
def test_regions_become_dirty_and_none_becomes_clean(data):
    plan = planned(data, (2, 4), (999, 999))
    assert list(plan.clean.ranges()) == [(2, 3), (999, 1)]
    assert plan.summary == "3 more regions dirty, 4 of 1000 in all"


def test_a_closed_log_gets_its_checksum_anew():
    plan = planned(images.diskulog(), (0, 0))
    assert plan.extension.clean_crc32 == zlib.crc32(b"".join(plan.clean.pieces()))
    assert plan.extension.generation == 8
    assert planned(images.diskulog(state=State.OPEN), (0, 0)).extension.clean_crc32 == 0


def test_what_is_dirty_already_changes_nothing():
    plan = planned(images.diskulog(dirty=[3]), (3, 3))
    assert plan.clean is None
    assert plan.summary.startswith("nothing to mark")


@pytest.mark.parametrize("data", [images.damaged(), images.changed(), images.resized(900)])
def test_a_damaged_log_is_not_marked(data):
    """Whoever adopts it would find its clean bitmap without the marks."""
    with pytest.raises(RefusedError, match="is damaged; repair or adopt it first"):
        planned(data, (3, 3))


def test_a_log_that_was_marked_is_nobody_s_live_one():
    for state in State:
        plan = planned(images.diskulog(state=state), (0, 0))
        for extension in (plan.during, plan.extension):
            assert (extension.boot_id, extension.live_token) == (bytes(16), bytes(8))


def test_a_stop_in_the_middle_of_marking_makes_nothing_clean():
    plan = planned(images.diskulog(dirty=[3]), (7, 7))
    assert (plan.during.state, plan.extension.state) == (State.OPEN, State.CLOSED)
    kernel_log = planned(images.kernel(), (0, 0))
    assert (kernel_log.during, kernel_log.extension) == (None, None)


@pytest.mark.parametrize(("regions", "named"), [((1000, 1000), 1000), ((999, 1000), 1000), ((5000, 6000), 5000)])
def test_a_region_that_does_not_exist(regions, named):
    with pytest.raises(UsageError, match=f"region {named} of 1000 does not exist"):
        planned(images.diskulog(), regions)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 10)), min_size=1, max_size=6))
def test_ranges_in_any_order_and_over_each_other_are_one_set(pairs):
    spans = [(first, first + more) for first, more in pairs]
    wanted = {region for first, last in spans for region in range(first, last + 1)}
    found = planned(images.kernel(100), *spans).clean
    assert {first + at for first, count in found.ranges() for at in range(count)} == wanted
