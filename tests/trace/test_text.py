# SPDX-License-Identifier: LGPL-2.1-or-later
import struct
from dataclasses import replace

import pytest

from diskulog.trace import text
from diskulog.trace.record import End, Heard, Lost
from tests.fake_kernel import CLEAR, CTR, FLUSH, IN_SYNC, MARK, SET_REGION_SYNC
from tests.traces import HEADER, heard


def regions(*numbers):
    return struct.pack(f"={len(numbers)}Q", *numbers)


@pytest.mark.parametrize(
    ("kind", "data", "words"),
    [
        (IN_SYNC, regions(5), "IN_SYNC               5"),
        (FLUSH, b"", "FLUSH"),
        (FLUSH, regions(9, 4, 3, 5), "FLUSH                 3-5, 9"),
        (MARK, regions(1), "MARK_REGION           1"),
        (CLEAR, regions(*range(0, 60, 2)), "CLEAR_REGION          " + ", ".join(map(str, range(0, 32, 2)))),
        (SET_REGION_SYNC, struct.pack("=Qq", 4, 1), "SET_REGION_SYNC       4 in sync"),
        (SET_REGION_SYNC, struct.pack("=Qq", 4, 0), "SET_REGION_SYNC       4 out of sync"),
        (CTR, b"1024 disk /dev/x 2\0", r"CTR                   '1024 disk /dev/x 2\x00'"),
        (IN_SYNC, b"abc", "IN_SYNC               (3 bytes are not one 64-bit region)"),
        (99, b"\1\2", "type 99               0102"),
    ],
)
def test_what_was_asked(kind, data, words):
    assert text.asked(heard(kind, data).datagram).startswith(words)


def test_very_many_ranges_are_counted():
    assert text.ranges_text((n, n) for n in range(20)) == f"{', '.join(map(str, range(16)))} and 4 more ranges"
    assert list(text.ranges([])) == []
    assert list(text.ranges([1, 2, 5])) == [(1, 2), (5, 5)]


def test_what_is_no_request():
    assert text.asked(heard(9).datagram[:60]) == "unreadable: 24 bytes are no dm_ulog_request"
    assert text.asked(b"x") == "no request"
    assert text.uuid_of(b"x") is None


def test_a_line_has_time_uuid_type_and_regions():
    assert text.line(HEADER, heard(IN_SYNC, regions(7), at=0.5)) == (
        "22:13:20.500000  LVM-s0me-m1rror  IN_SYNC               7\n"
    )


def test_a_uuid_cannot_write_on_a_terminal():
    line = text.line(HEADER, heard(FLUSH, uuid=b"\x1b[2J\xff"))
    assert line.isascii()
    assert "\x1b" not in line
    assert text.line(HEADER, Heard(0.0, b"")) == "22:13:20.000000  ?  no request\n"


def test_losses_and_the_end_are_lines():
    assert "! 3 requests were not heard" in text.line(HEADER, Lost(1.0, 3))
    assert "! an unknown number of requests were not heard" in text.line(HEADER, Lost(1.0, None))
    assert text.line(HEADER, End(1.0, 5, 3)).endswith("end: 5 requests, 3 lost\n")


def test_the_title():
    assert text.title(HEADER) == "trace of every log on anvil, Linux 6.12.0, from 2023-11-14 22:13:20 UTC\n"
    header = replace(HEADER, uuid="u", ring=9, host="a\nb")
    assert text.title(header) == (
        "trace of log u on a\\nb, Linux 6.12.0, from 2023-11-14 22:13:20 UTC, the last 9 requests\n"
    )
