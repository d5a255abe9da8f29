# SPDX-License-Identifier: LGPL-2.1-or-later
"""The texts that were read and found good are in tests/data/golden; see ``tests/forensic/golden.py``."""

import pytest

from diskulog.forensic import raw, text
from diskulog.forensic.chart import Terminal
from diskulog.forensic.report import report
from diskulog.forensic.text import Layout, Units
from diskulog.ondisk import State
from diskulog.units import MIB
from tests import images
from tests.forensic.golden import golden

BUSY = images.diskulog(1000, dirty=[4, 5, 999], out_of_sync=[4])


def rendered(data, holders=(), region_size=None, **layout):
    return text.render(report(images.loaded(bytes(data), holders), region_size), Layout(**layout))


GOLDEN = {
    "inspect-closed": lambda: rendered(BUSY, rate=MIB),
    "inspect-kernel": lambda: rendered(images.kernel(1000, dirty=[7])),
    "inspect-kernel-region-size": lambda: rendered(images.kernel(1000, dirty=[7, 8]), region_size=64),
    "inspect-damaged": lambda: rendered(images.damaged(dirty=[7])),
    "inspect-changed": lambda: rendered(images.changed([7]), units=Units.SECTORS, terminal=Terminal()),
    "inspect-raw": lambda: rendered(BUSY, raw=raw.lines(bytes(BUSY)), limit=1, units=Units.BYTES),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_a_whole_text(name):
    golden(f"{name}.txt", GOLDEN[name]())


def test_no_ranges_no_tables():
    assert "ranges" not in rendered(images.kernel(1000))
    assert "dirty regions" not in rendered(images.diskulog())


@pytest.mark.parametrize(
    ("limit", "rows", "tail"),
    [
        (2, 2, "  ... and 28 more ranges (--limit 0 shows all)"),
        (29, 29, "  ... and 1 more range (--limit 0 shows all)"),
        (30, 30, None),
        (0, 30, None),
    ],
)
def test_the_limit(limit, rows, tail):
    lines = rendered(images.kernel(1000, dirty=range(0, 60, 2)), limit=limit).splitlines()
    table = lines[lines.index("dirty regions (30 ranges)") + 2 :]
    assert sum(line.strip()[:1].isdigit() for line in table) == rows
    assert (tail in table) if tail else not any("more range" in line for line in table)


@pytest.mark.parametrize(
    ("units", "header", "row"),
    [
        (None, "first region regions offset in bytes length in bytes", "4 2 2097152 1048576 1.0 MiB"),
        (Units.REGIONS, "first region regions", "4 2"),
        (Units.SECTORS, "first sector sectors", "4096 2048"),
        (Units.BYTES, "offset in bytes length in bytes", "2097152 1048576 1.0 MiB"),
    ],
)
def test_the_units_of_ranges(units, header, row):
    lines = [" ".join(line.split()) for line in rendered(BUSY, units=units).splitlines()]
    at = lines.index("dirty regions (2 ranges)")
    assert lines[at + 1 : at + 3] == [header, row]


def test_live_and_fresh():
    out = rendered(images.lvm_fresh(0), holders=("dm-3 (home)",))
    assert "live:        yes, held by dm-3 (home)" in out
    assert "regions:     not known yet" in out
    assert "resync:      not known while live" in out
    assert "resync:      not known\n" in rendered(images.lvm_fresh(0))


def test_nothing_known_of_the_history():
    out = rendered(images.diskulog(0, state=State.OPEN, boot_id=bytes(16), host_name="", created_seconds=0))
    assert "boot:        not known" in out
    assert "host:        not known" in out
    assert "created:     never" in out
    assert "clean:       0\n" in out
    assert "resync:      nothing\n" in out


def test_names_cannot_move_the_cursor():
    out = rendered(images.diskulog(uuid="evil\x1b[2J\nuuid: good", host_name="a\x07"))
    assert "\x1b" not in out
    assert "\x07" not in out
    assert "evil\\x1b[2J\\nuuid: good" in out


def test_percent_keeps_none_and_all_apart():
    assert text.percent(1, 10**9) == "0.1 %"
    assert text.percent(10**9 - 1, 10**9) == "99.9 %"
    assert text.percent(0, 9) == "0.0 %"
    assert text.percent(9, 9) == "100.0 %"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (1, "1 s"),
        (119, "119 s"),
        (120, "2.0 min"),
        (7199, "120.0 min"),
        (7200, "2.0 h"),
        (10**6, "11.6 days"),
    ],
)
def test_a_duration(seconds, said):
    assert text.duration(seconds) == said


def test_a_moment_that_no_calendar_holds():
    assert text.moment(2**64 - 1) == "18446744073709551615 seconds since 1970"


def test_no_map_of_nothing():
    assert "a cell" not in rendered(images.kernel(0), terminal=Terminal())
