# SPDX-License-Identifier: LGPL-2.1-or-later
"""What tools/bench makes of figures; a short run of its native part. The VM's part runs for minutes, by hand."""

import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parent.parent / "tools"


@pytest.fixture(scope="module")
def bench() -> dict[str, object]:
    sys.path.insert(0, str(TOOLS))
    try:
        return runpy.run_path(str(TOOLS / "bench"))
    finally:
        sys.path.remove(str(TOOLS))


def ram(number: int, first: float, ours: float, second: float, depth: int = 1) -> list[dict[str, object]]:
    common = {"scenario": "ram", "round": number, "depth": depth}
    figures = (("floor", first), ("diskulog", ours), ("floor", second))
    return [{**common, "log": log, "iops": iops} for log, iops in figures]


def value(bench, results, what: str) -> float | None:
    (row,) = [row for row in bench["rows"](results, {}, None) if row.what == what]
    return row.value


def test_the_ratio_to_the_floor_is_the_median_of_its_rounds(bench):
    results = [*ram(0, 100, 80, 100), *ram(1, 100, 90, 110), *ram(2, 200, 100, 200), *ram(0, 100, 7, 100, depth=32)]
    assert value(bench, results, "RAM disks, QD1, of the floor") == 0.8
    assert value(bench, results, "RAM disks, QD32, of the floor") == 0.07


def test_a_round_in_which_the_floor_moves_does_not_count(bench):
    assert value(bench, ram(0, 100, 80, 126), "RAM disks, QD1, of the floor") is None
    assert value(bench, [*ram(0, 100, 80, 126), *ram(1, 100, 50, 100)], "RAM disks, QD1, of the floor") == 0.5


def test_what_was_not_measured_is_neither_met_nor_missed(bench):
    rows = bench["rows"]([], {}, None)
    assert {row.met for row in rows} == {None}
    assert len(bench["table"](rows).splitlines()) == 1


def test_each_target_is_judged_from_its_side(bench):
    row = bench["Row"]
    assert row("a", 0.8, 0.8, True).met
    assert not row("a", 0.79, 0.8, True).met
    assert row("b", 2.5, 2.5, False).met
    assert not row("b", 2.51, 2.5, False).met
    assert "MISSED" in bench["table"]([row("a", 0.79, 0.8, True)])


def test_log_writes_are_compared_by_mirror_write(bench):
    results = [
        {"scenario": "log_writes", "log": log, "writes": writes} for log, writes in (("disk", 2.0), ("diskulog", 0.1))
    ]
    assert value(bench, results, "log writes per mirror write, of the disk log's") == 0.05


def test_a_resync_of_slow_legs_is_judged_by_itself(bench):
    results = [
        {"scenario": "resync", "log": "diskulog", "legs_are": legs, "during": during, "after": 100.0}
        for legs, during in (("ram", 30.0), ("slow", 70.0), ("slow", 80.0))
    ]
    assert value(bench, results, "RAM disks, writes during a resync, of after") == 0.3
    assert value(bench, results, "slow legs (8 ms), during a resync, of after") == 0.75


@pytest.mark.parametrize("words", [["--only", "nothing"], ["--rounds", "x"], ["--kernel", "5.10"]])
def test_bad_usage_is_a_line_and_2(words):
    done = subprocess.run([TOOLS / "bench", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not shutil.which("cc"), reason="the yardsticks are in C, and there is no compiler")
def test_a_short_native_run_measures_every_request_of_both():
    done = subprocess.run(
        [sys.executable, TOOLS / "bench", "--only", "native", "--rounds", "1", "--requests", "200", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr  # so short a run may miss anything
    found = json.loads(done.stdout)
    assert {"IN_SYNC", "FLUSH_with_mark", "STATUS_INFO"} <= set(found["native"])
    assert all(row["ratio_ns"] > 0 for row in found["native"].values())
    assert found["results"] == []
