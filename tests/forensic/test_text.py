# SPDX-License-Identifier: LGPL-2.1-or-later
import pytest

from diskulog.forensic import text
from diskulog.forensic.report import report
from diskulog.ondisk import State
from tests import images


def rendered(data, limit=20, columns=None, holders=()):
    return text.render(report(images.loaded(bytes(data), holders)), limit, columns)


CLOSED = """\
device:      memory
dialect:     diskulog
state:       closed
live:        no
uuid:        LVM-s0me-m1rror
regions:     1000
region size: 512.0 KiB (1024 sectors)
clean:       997 (99.7 %), 498.5 MiB
dirty:       3 (0.3 %), 1.5 MiB
in sync:     999 (99.9 %), 499.5 MiB
out of sync: 1 (0.1 %), 512.0 KiB
checksums:   extension ok, clean bitmap ok, sync bitmap ok
generation:  7
created:     2023-11-14 22:13:20 UTC
resumed:     2023-11-14 22:15:00 UTC
closed:      2023-11-14 22:16:40 UTC
host:        anvil
boot:        00010203-0405-0607-0809-0a0b0c0d0e0f

dirty regions (2 ranges)
  first region   regions   offset in bytes   length in bytes
             4         2           2097152           1048576     1.0 MiB
           999         1         523763712            512000   500.0 KiB

out-of-sync regions (1 range)
  first region   regions   offset in bytes   length in bytes
             4         1           2097152            524288   512.0 KiB

info: at the next activation 3 regions (1.5 MiB) will be resynced
"""

KERNEL = """\
device:      memory
dialect:     kernel
state:       unknown
live:        no
uuid:        not known
regions:     1000
region size: not known
clean:       999 (99.9 %)
dirty:       1 (0.1 %)
in sync:     not known
out of sync: not known
checksums:   extension none, clean bitmap none, sync bitmap none

dirty regions (1 range)
  first region   regions
             7         1

info: at the next activation 1 region will be resynced
"""


def test_a_closed_log():
    assert rendered(images.diskulog(1000, dirty=[4, 5, 999], out_of_sync=[4])) == CLOSED


def test_a_kernel_log():
    assert rendered(images.kernel(1000, dirty=[7])) == KERNEL


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
    lines = rendered(images.kernel(1000, dirty=range(0, 60, 2)), limit).splitlines()
    table = lines[lines.index("dirty regions (30 ranges)") + 2 :]
    assert sum(line.strip()[:1].isdigit() for line in table) == rows
    assert (tail in table) if tail else not any("more range" in line for line in table)


def test_live_and_fresh():
    out = rendered(images.lvm_fresh(0), holders=("dm-3 (home)",))
    assert "live:        yes, held by dm-3 (home)" in out
    assert "regions:     not known yet" in out


def test_nothing_known_of_the_history():
    out = rendered(images.diskulog(0, state=State.OPEN, boot_id=bytes(16), host_name="", created_seconds=0))
    assert "boot:        not known" in out
    assert "host:        not known" in out
    assert "created:     never" in out
    assert "clean:       0\n" in out


def test_names_cannot_move_the_cursor():
    out = rendered(images.diskulog(uuid="evil\x1b[2J\nuuid: good", host_name="a\x07"))
    assert "\x1b" not in out
    assert "\x07" not in out
    assert "evil\\x1b[2J\\nuuid: good" in out
    assert text.printable("a\udcff\u202e b") == "a\\udcff\\u202e b"


def test_percent_keeps_none_and_all_apart():
    assert text.percent(1, 10**9) == "0.1 %"
    assert text.percent(10**9 - 1, 10**9) == "99.9 %"
    assert text.percent(0, 9) == "0.0 %"
    assert text.percent(9, 9) == "100.0 %"


def test_a_moment_that_no_calendar_holds():
    assert text.moment(2**64 - 1) == "18446744073709551615 seconds since 1970"


def test_the_map_of_a_diskulog_log():
    out = rendered(images.diskulog(2048, dirty=[0, 2, 3, 100, 101], out_of_sync=[100], state=State.OPEN), columns=80)
    lines = out.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("map"))
    assert lines[at] == (
        "map, 2 regions a cell:   . clean   + partly dirty   # all dirty   ! out of sync (at least one)"
    )
    assert lines[at + 1] == "     0  +#" + "." * 48 + "!" + "." * 13
    assert lines[at + 16] == "  1920  " + "." * 64
    assert lines[at + 17] == ""


def test_the_map_of_a_small_kernel_log_in_a_narrow_terminal():
    lines = rendered(images.kernel(20, dirty=[19]), columns=1).splitlines()
    at = lines.index("map, 1 region a cell:   . clean   + partly dirty   # all dirty")
    assert lines[at + 1 : at + 4] == ["   0  ........", "   8  ........", "  16  ...#"]


def test_no_map_of_nothing():
    assert "map" not in rendered(images.kernel(0), columns=80).replace("bitmap", "")
