# SPDX-License-Identifier: LGPL-2.1-or-later
import pytest

from diskulog import mirrortable
from diskulog.errors import RefusedError
from diskulog.exits import UsageError
from diskulog.mirrortable import Flaw, LegName, MirrorLine, Named, parse

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
        "0 8 mirror userspace 0 2 7:0 0 7:1 0",
        "0 8 mirror core 1 8 1 7:0 0",
        "0 8 mirror disk 2 7:9",
        "0 8 mirror disk x 7:9",
        "0 8 mirror disk 2 7:2 8",
    ],
)
def test_what_is_no_line(text):
    with pytest.raises(UsageError):
        parse(text)


GOOD = "0 8 mirror core 1 8 2 7:0 0 7:1 0"
WORDING = {flaw: (f"{flaw.name} {{}}", "no way out") for flaw in Flaw}
FLAWS = [
    ("", "TARGETS 0"),
    (f"{GOOD}\n{GOOD}\n", "TARGETS 2"),
    ("0 8", "NO_MIRROR "),
    ("0 8 linear 7:0 0", "NO_MIRROR linear"),
    ("0 8 error", "NO_MIRROR error"),
    (f"8{GOOD[1:]}", "NO_MIRROR mirror"),
    (GOOD.replace("core", "other"), "LOG_TYPE other"),
    ("0 8 mirror", "WORDS 0 8 mirror"),
    (f"{GOOD} 2 handle_errors", f"WORDS {GOOD} 2 handle_errors"),
    (GOOD.replace("2 7:0 0", "1"), "WORDS 0 8 mirror core 1 8 1 7:1 0"),
    (f"many{GOOD[1:]}", f"WORDS many{GOOD[1:]}"),
]


@pytest.mark.parametrize(("text", "said"), FLAWS)
def test_a_flaw_of_a_whole_table_is_told_in_the_words_of_who_asks(text, said):
    with pytest.raises(RefusedError) as refused:
        mirrortable.whole("m", text, WORDING)
    assert str(refused.value) == f"m: {said}; no way out"


def test_a_whole_table_is_one_line():
    assert mirrortable.whole("m", f"{GOOD} \n", WORDING) == parse(GOOD)


@pytest.mark.parametrize(
    "row",
    [
        "",
        "No devices found",
        "x: ",
        "x: 0 8192 linear 7:0 0",
        "x: 0 8192 mirror userspace",
        "x: 0 8192 mirror userspace many U",
        "x: 0 8192 mirror userspace 5 U integrated_flush disk 7:2 1024",
        "x: 0 8192 mirror userspace 5 U integrated_flush disk 7:2 1024 2 7:0",
    ],
)
def test_of_all_tables_those_that_are_not_understood_are_passed_over(row):
    found = mirrortable.named(f"{row}\nvg-ho:me: {GOOD} \n")
    assert list(found) == [Named("vg-ho:me", parse(GOOD))]
