# SPDX-License-Identifier: LGPL-2.1-or-later
import pytest

from diskulog.mirrors import tab

LINE = "0 8 mirror userspace 4 u disk /dev/l 8 2 /dev/a 0 /dev/b 0 1 handle_errors"
OTHER = LINE.replace(" u ", " v ")


def test_lines_and_what_says_nothing():
    entries = tab.parse(f"# mirrors\n\n  home\t{LINE}  \r\n   # more\nswap {OTHER}")
    assert [(entry.number, entry.name, entry.problem) for entry in entries] == [(3, "home", ""), (5, "swap", "")]
    assert entries[0].line.text() == LINE
    assert tab.row("home", entries[0].line) == f"home {LINE}"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("home", "not the table line"),
        ("home 0 8 linear 8:0 0", "not the table line"),
        ("a/b " + LINE, "the name of a mirror"),
        ("home 0 8 mirror userspace 9 u", "cannot be understood"),
        ("home 8" + LINE[1:], "begins at another sector"),
        ("first " + LINE, "twice"),
        ("second " + LINE.replace("/dev/a", "/dev/c"), "its uuid is that of first in line 1"),
    ],
)
def test_a_line_that_is_none_spoils_no_other(row, said):
    first, bad, last = tab.parse(f"first {LINE}\n{row}\nlast {OTHER}\n")
    assert (first.problem, last.problem) == ("", "")
    assert bad.line is None
    assert bad.number == 2
    assert said in bad.problem


def test_the_kernels_logs_have_no_uuid_in_common():
    core = "0 8 mirror core 1 8 2 /dev/a 0 /dev/b 0"
    assert all(entry.line for entry in tab.parse(f"one {core}\ntwo {core}\n"))


def test_what_is_better_not_written_down():
    (entry,) = tab.parse(f"home {LINE}")
    assert tab.cautions(entry.line) == ()
    words = LINE.replace("userspace 4", "userspace 5").replace("/dev/l 8 ", "/dev/sdc1 8 nosync ")
    (entry,) = tab.parse(f"home {words.removesuffix(' 1 handle_errors')}")
    assert tab.cautions(entry.line) == (
        "without handle_errors",
        "with nosync: after a crash, legs that differ may be called equal",
        "/dev/sdc1 may be another device after a boot",
    )
    (entry,) = tab.parse("home 0 8 mirror core 2 8 sync 2 /dev/a 0 8:1 0 1 handle_errors")
    assert tab.cautions(entry.line) == (
        "with sync: everything is copied at each boot",
        "8:1 may be another device after a boot",
    )


def test_an_empty_file():
    assert tab.parse("") == ()


def test_the_uuid_of_a_mirror():
    text = f"bad\nhome {LINE}\nswap 0 8 mirror core 1 8 2 /dev/a 0 /dev/b 0\n"
    assert [tab.uuid_of(name, text) for name in ("home", "swap", "bad", "none")] == ["u", None, None, None]
