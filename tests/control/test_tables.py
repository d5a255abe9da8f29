# SPDX-License-Identifier: LGPL-2.1-or-later
import pytest

from diskulog.control import tables
from diskulog.control.tables import Table

LEGS = ("7:0", "7:1")


@pytest.mark.parametrize(
    ("line", "handles"),
    [
        ("0 8192 mirror userspace 5 U integrated_flush disk 7:2 1024 2 7:0 0 7:1 0 1 handle_errors", True),
        ("0 8192 mirror userspace 4 U disk 7:2 1024 2 7:0 0 7:1 0 2 handle_errors keep_log", True),
        ("0 8192 mirror userspace 3 U core 1024 2 7:0 0 7:1 128", False),
        ("0 8192 mirror userspace 6 U clustered-disk 7:2 1024 sync block_on_error 2 7:0 0 7:1 0 1 keep_log", False),
    ],
)
def test_a_mirror_of_ours(line, handles):
    assert tables.parse(f"vg-ho:me: {line}\n") == (Table("vg-ho:me", "U", LEGS, handles),)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "No devices found",
        "x: ",
        "x: 0 8192 linear 7:0 0",
        "x: 0 8192 mirror disk 2 7:2 1024 2 7:0 0 7:1 0 1 handle_errors",
        "x: 0 8192 mirror userspace",
        "x: 0 8192 mirror userspace many U",
        "x: 0 8192 mirror userspace 5 U integrated_flush disk 7:2 1024",
        "x: 0 8192 mirror userspace 5 U integrated_flush disk 7:2 1024 2 7:0",
    ],
)
def test_others_are_passed_over(line):
    good = "m: 0 8192 mirror userspace 3 U core 1024 2 7:0 0 7:1 0 1 handle_errors"
    assert tables.parse(f"{line}\n{good}\n") == (Table("m", "U", LEGS, True),)
