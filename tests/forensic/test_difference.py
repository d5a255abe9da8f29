# SPDX-License-Identifier: LGPL-2.1-or-later

from hypothesis import given
from hypothesis import strategies as st

from diskulog.exits import Exit
from diskulog.forensic import difference
from diskulog.forensic.difference import Difference
from diskulog.ondisk import State
from tests import images, schemas


def compared(before, after):
    return Difference(images.loaded(bytes(before)), images.loaded(bytes(after)))


def text(found, limit=0):
    return "".join(difference.text(found, limit))


def changes(found):
    return {name: list(regions.ranges()) for name, regions in found.changes.items() if regions.zeros}


def test_the_same_log_differs_in_nothing():
    found = compared(images.diskulog(dirty=[5]), images.diskulog(dirty=[5]))
    assert (text(found), found.exit_status) == ("no difference\n", Exit.FINE)


def test_a_log_that_was_used_meanwhile():
    before = images.diskulog(dirty=[5, 6, 7], out_of_sync=[7])
    after = images.diskulog(dirty=[6, 9, 10, 99], out_of_sync=[99], generation=9, resumed_seconds=1_700_000_300)
    found = compared(before, after)
    assert found.exit_status == Exit.PROBLEM
    assert text(found) == (
        "generation: 7 -> 9\n"
        "resumed_seconds: 1700000100 -> 1700000300\n"
        "became dirty: 3 of 1000 regions\n  9-10\n  99\n"
        "became clean: 2 of 1000 regions\n  5\n  7\n"
        "became out of sync: 1 of 1000 regions\n  99\n"
        "became in sync: 1 of 1000 regions\n  7\n"
    )
    document = schemas.document("".join(difference.as_json(found, found.exit_status)))
    assert document["became_dirty"] == [[9, 2], [99, 1]]
    assert document["counts"] == {"became_dirty": 3, "became_clean": 2, "became_out_of_sync": 1, "became_in_sync": 1}
    assert document["facts"]["generation"] == [7, 9]


def test_what_is_of_the_moment_is_no_difference():
    later = images.diskulog(state=State.OPEN, generation=8, closed_seconds=1_700_000_201, host_name="b")
    found = compared(images.diskulog(), later)
    assert found.exit_status == Exit.FINE
    assert "no difference" not in text(found)


def test_of_many_ranges_some_are_shown():
    found = compared(images.diskulog(), images.diskulog(dirty=range(0, 12, 2)))
    assert "... and 5 more ranges (--limit 0 shows all)" in text(found, 1)
    assert "... and 1 more range (" in text(found, 5)
    assert "more" not in text(found, 6)


def test_a_region_that_is_clean_and_out_of_sync_is_dirty():
    found = compared(images.diskulog(), images.diskulog(out_of_sync=[3], state=State.OPEN))
    assert changes(found) == {"became_dirty": [(3, 1)], "became_out_of_sync": [(3, 1)]}


def test_a_log_that_grew_is_compared_where_both_have_regions():
    found = compared(images.diskulog(100, dirty=[99]), images.diskulog(200, dirty=[150]))
    assert changes(found) == {"became_clean": [(99, 1)]}
    assert found.facts["region_count"] == (100, 200)
    assert found.exit_status == Exit.PROBLEM


def test_a_kernel_log_says_nothing_of_sync():
    found = compared(images.kernel(dirty=[1]), images.diskulog(dirty=[2]))
    assert changes(found) == {"became_clean": [(1, 1)], "became_dirty": [(2, 1)]}
    assert found.facts["uuid"] == (None, images.UUID)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=100))
def test_the_changes_are_those_of_the_bits(bits):
    was, now = ([at for at, pair in enumerate(bits) if not pair[which]] for which in (0, 1))
    found = compared(images.kernel(len(bits), was), images.kernel(len(bits), now))
    became = {
        name: {first + at for first, count in ranges for at in range(count)} for name, ranges in changes(found).items()
    }
    assert became.get("became_dirty", set()) == set(now) - set(was)
    assert became.get("became_clean", set()) == set(was) - set(now)
