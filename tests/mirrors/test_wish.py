# SPDX-License-Identifier: LGPL-2.1-or-later
from dataclasses import replace

import pytest

from diskulog.exits import UsageError
from diskulog.mirrors import wish
from diskulog.mirrors.wish import Wish
from diskulog.mirrortable import LegName

GOOD = Wish((LegName("/dev/a"), LegName("/dev/b")), "/dev/l")


def test_a_good_wish():
    wish.check(GOOD)
    wish.check(replace(GOOD, uuid="u", region_size_sectors=2, length_sectors=1, keep_log=True))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"legs": (LegName("/dev/a"),)}, "2 to 9 legs, and 1"),
        ({"legs": (LegName("/dev/a"),) * 10}, "and 10"),
        ({"uuid": "a b"}, "--uuid"),
        ({"uuid": ""}, "--uuid"),
        ({"uuid": "u" * 129}, "--uuid"),
        ({"region_size_sectors": 1000}, "--region-size 1000: must be a power of two"),
        ({"region_size_sectors": 1}, "--region-size 1"),
        ({"length_sectors": 0}, "--length 0"),
        ({"log": None, "keep_log": True}, "--keep-log"),
    ],
)
def test_what_no_mirror_can_have(changes, said):
    with pytest.raises(UsageError, match=said):
        wish.check(replace(GOOD, **changes))


@pytest.mark.parametrize("name", ["home", "vg-home_1", "a.b+c=@#:", "x" * 127])
def test_names(name):
    wish.check_name(name)


@pytest.mark.parametrize("name", ["", "a/b", "a b", "ä", "-x", ".", "x" * 128, "a\n", "\x1b[2J"])
def test_what_is_no_name(name):
    with pytest.raises(UsageError, match="the name of a mirror"):
        wish.check_name(name)


def test_a_uuid_is_new_each_time():
    first, second = wish.new_uuid(), wish.new_uuid()
    assert first != second
    assert first.startswith("diskulog-")
    wish.check(replace(GOOD, uuid=first))
