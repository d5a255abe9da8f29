# SPDX-License-Identifier: LGPL-2.1-or-later
from diskulog.replay.bits import NO_BITS, Bits, Change, changes, on_medium
from tests import images
from tests.images import bits


def test_what_became_different_is_listed_as_ranges():
    old = Bits(bits(10, [1, 2, 3]), bits(10))
    new = Bits(bits(10, [3, 7]), bits(10, [0]))
    assert changes(old, old) == ()
    assert changes(old, new) == (Change("clean", ((1, 2),), ((7, 7),)), Change("sync", (), ((0, 0),)))


def test_regions_that_are_new_or_gone_count_as_zero():
    few, many = Bits(bits(2), bits(2)), Bits(bits(4, [3]), bits(4, [2, 3]))
    assert changes(few, many) == (Change("clean", ((2, 2),), ()),)
    assert changes(many, few) == (Change("clean", (), ((2, 2),)),)
    assert changes(NO_BITS, Bits(bits(2, [0, 1]), bits(2, [0, 1]))) == ()


def test_the_medium_has_bits_where_a_log_of_diskulog_lies(opened):
    found = on_medium(opened(bytes(images.diskulog(100, dirty=[5], out_of_sync=[6]))))
    assert found == Bits(bits(100, [5]), bits(100, [6]))
    assert on_medium(opened()) == NO_BITS
    assert on_medium(opened(bytes(images.kernel(100)))) == NO_BITS
    assert on_medium(opened(bytes(images.diskulog(100, sync_offset_bytes=2**40)))) == NO_BITS
