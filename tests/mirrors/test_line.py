# SPDX-License-Identifier: LGPL-2.1-or-later
import pytest

from diskulog.exits import UsageError
from diskulog.forensic.legs import LegName
from diskulog.mirrors.line import MirrorLine, parse

TAIL = "2 7:0 0 /dev/sdb1 2048"
LINES = [
    f"0 131072 mirror disk 2 253:2 1024 {TAIL}",
    f"0 131072 mirror core 2 1024 nosync {TAIL} 1 handle_errors",
    f"0 131072 mirror disk 4 253:2 1024 sync block_on_error {TAIL} 2 handle_errors keep_log",
    f"0 131072 mirror userspace 4 u-1 disk /dev/vg/log 1024 {TAIL} 1 handle_errors",
    f"0 131072 mirror userspace 5 u-1 integrated_flush disk /dev/vg/log 1024 {TAIL} 1 handle_errors",
    f"0 131072 mirror userspace 6 u-1 integrated_flush clustered-disk 7:2 1024 sync {TAIL}",
    f"0 131072 mirror userspace 4 u-1 integrated_flush core 1024 {TAIL}",
    "8 131072 mirror userspace 3 u-1 core 1024 3 7:0 0 7:1 0 7:2 0",
]


@pytest.mark.parametrize("text", LINES)
def test_a_line_is_put_together_as_it_was(text):
    assert parse(f"{text} \n").text() == text


def test_what_a_line_says():
    found = parse(LINES[5])
    assert found == MirrorLine(
        131072,
        "clustered-disk",
        "7:2",
        1024,
        (LegName("7:0"), LegName("/dev/sdb1", 2048)),
        "u-1",
        True,
        ("sync",),
    )
    assert found.userspace
    assert not found.handles_errors
    assert found.constructor() == "131072 clustered-disk 7:2 1024 sync"
    assert not parse(LINES[0]).userspace
    assert parse(LINES[2]).handles_errors


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0 8",
        "0 8 linear 7:0 0",
        "a 8 mirror core 1 8 2 7:0 0 7:1 0",
        "0 8 mirror",
        "0 8 mirror other 1 8 2 7:0 0 7:1 0",
        "0 8 mirror core 1 8 2 7:0 0 7:1",
        "0 8 mirror core 1 8 2 7:0 0 7:1 0 2 handle_errors",
        "0 8 mirror core 1 8 2 7:0 0 7:1 0 1 handle_errors more",
        "0 8 mirror core -1 8 2 7:0 0 7:1 0",
        "0 8 mirror core 0 2 7:0 0 7:1 0",
        "0 8 mirror userspace 1 u 2 7:0 0 7:1 0",
    ],
)
def test_what_is_no_line(text):
    with pytest.raises(UsageError):
        parse(text)
