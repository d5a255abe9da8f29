# SPDX-License-Identifier: LGPL-2.1-or-later
"""A mirror's table, taken apart and put together."""

import pytest

from diskulog.errors import RefusedError
from diskulog.mirrortable import LegName
from diskulog.moving import table
from diskulog.moving.table import Kind, Log, Table

NUMBERS = {"/dev/log": "253:2", "/dev/mapper/a": "253:0"}
KERNEL = "0 8000 mirror disk 2 253:2 8 2 253:0 0 253:1 2048 1 handle_errors"
DISKULOG = "0 8000 mirror userspace 5 u integrated_flush disk /dev/log 8 2 253:0 0 253:1 2048 1 handle_errors"


def parse(text):
    return table.parse("m", text, lambda word: NUMBERS.get(word, word))


def test_the_kernels():
    log = Log(Kind.KERNEL, "253:2", "253:2", 8)
    assert parse(KERNEL) == Table(8000, log, (LegName("253:0"), LegName("253:1", 2048)), ("handle_errors",))
    assert parse(KERNEL).region_count == 1000


def test_diskulogs():
    made = parse(DISKULOG)
    assert made.log == Log(Kind.DISKULOG, "/dev/log", "253:2", 8, "u")
    assert made.line.text() == DISKULOG


@pytest.mark.parametrize(
    "text",
    [
        KERNEL,
        DISKULOG,
        "0 8000 mirror disk 2 253:2 8 3 253:0 0 253:1 0 253:3 0",
        "0 8000 mirror disk 2 253:2 8 2 253:0 0 253:1 0 2 handle_errors keep_log",
        "0 8000 mirror userspace 5 u integrated_flush clustered-disk 253:2 8 2 253:0 0 253:1 0",
        "0 8000 mirror core 1 8 2 253:0 0 253:1 0",
        "0 8000 mirror core 2 8 nosync 2 253:0 0 253:1 0",
        "0 8000 mirror userspace 5 u integrated_flush core 8 nosync 2 253:0 0 253:1 0",
    ],
)
def test_it_comes_out_as_it_went_in(text):
    assert parse(text).line.text() == text


def test_the_dialect_without_integrated_flush_is_read():
    made = parse("0 8000 mirror userspace 4 u disk /dev/log 8 2 253:0 0 253:1 0")
    assert "userspace 5 u integrated_flush disk /dev/log 8 2" in made.line.text()


def test_options_are_read_and_not_said_again():
    made = parse("0 8000 mirror disk 3 253:2 8 nosync 2 253:0 0 253:1 0")
    assert made.log.options == ("nosync",)
    assert "nosync" not in made.line.text()


def test_what_was_true_of_the_legs_once_is_not_written_down():
    assert parse("0 8000 mirror core 2 8 nosync 2 253:0 0 253:1 0").lasting().line.text() == (
        "0 8000 mirror core 1 8 2 253:0 0 253:1 0"
    )
    assert parse(DISKULOG).lasting() == parse(DISKULOG)


def test_tables_are_compared_by_what_they_make():
    assert parse(DISKULOG).same_as(parse(DISKULOG.replace("/dev/log", "253:2")))
    assert parse(KERNEL).same_as(parse(KERNEL.replace("disk 2 253:2 8", "disk 3 253:2 8 nosync")))
    for old, new in (
        (" 8 ", " 16 "),
        ("253:2", "253:9"),
        ("2048", "4096"),
        ("1 handle_errors", ""),
        ("253:1", "253:3"),
    ):
        assert not parse(KERNEL).same_as(parse(KERNEL.replace(old, new)))
    assert not parse(KERNEL).same_as(parse(DISKULOG))
    assert not parse(DISKULOG).same_as(parse(DISKULOG.replace(" u ", " v ")))


REFUSED = {
    "two targets": (f"{KERNEL}\n{KERNEL}", "has 2 targets"),
    "no targets": ("", "has 0 targets"),
    "linear": ("0 8000 linear 253:0 0", "is no mirror, but 'linear'"),
    "not from 0": (KERNEL.replace("0 8000", "8 8000", 1), "from sector 8"),
    "unknown log": (
        "0 8000 mirror clustered_disk 3 253:2 8 u 2 253:0 0 253:1 0",
        "'clustered_disk', which is not known",
    ),
    "one leg": ("0 8000 mirror disk 2 253:2 8 1 253:0 0", "cannot be understood"),
    "cut off": ("0 8000 mirror disk 2 253:2", "cannot be understood"),
    "legs missing": ("0 8000 mirror disk 2 253:2 8 2 253:0 0", "cannot be understood"),
    "features that do not count": (KERNEL.replace("1 handle", "2 handle"), "cannot be understood"),
    "no number": (KERNEL.replace("8000", "many"), "cannot be understood"),
}


@pytest.mark.parametrize(("text", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_mirror_with_a_log_on_a_device_is_refused(text, reason):
    with pytest.raises(RefusedError, match=reason):
        parse(text)


def test_a_table_that_could_not_come_back_after_a_restart_is_refused():
    table.check("m", parse(DISKULOG))
    table.check("m", parse(KERNEL))
    with pytest.raises(RefusedError, match=r"m: constructor string: .* bytes"):
        table.check("m", parse(DISKULOG.replace("/dev/log", "/dev/" + "x" * 330)))
    with pytest.raises(RefusedError, match="m: region size: 12 sectors"):
        table.check("m", parse(DISKULOG.replace(" 8 2 ", " 12 2 ")))
    table.check("m", parse("0 8000 mirror userspace 4 u integrated_flush core 8 2 253:0 0 253:1 0"))
    with pytest.raises(RefusedError, match="m: region size: 12 sectors"):
        table.check("m", parse("0 8000 mirror userspace 4 u integrated_flush core 12 2 253:0 0 253:1 0"))
