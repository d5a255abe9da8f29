# SPDX-License-Identifier: LGPL-2.1-or-later
"""The main job on a real kernel: create, resync, write, suspend, resume, reload, remove."""

import mmap
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kernel.guest.rig import Daemon, Mirror, read, scramble, undelay, until, write

MODES = pytest.mark.parametrize("mode", ["integrated_flush", ""], ids=["integrated", "plain"])


@MODES
def test_a_new_mirror_is_resynced_written_to_and_removed(mirror: Mirror, mode: str) -> None:
    mirror.mode = mode
    mirror.create()
    assert (
        f"3 disk {os.major(os.stat(mirror.log).st_rdev)}:{os.minor(os.stat(mirror.log).st_rdev)} A" in mirror.status()
    )
    mirror.compare()
    mirror.wait_in_sync()
    assert mirror.differing() == []
    mirror.write_some(7)
    mirror.compare()
    assert mirror.differing() == []
    assert read(mirror.legs[1], 0, 4096) == bytes([7]) * 4096
    mirror.wait_clean()
    assert mirror.inspect()["log"]["state"] == "open"
    assert mirror.inspect()["log"]["live"] is True
    mirror.remove()
    log = mirror.compare()["log"]
    assert (log["state"], log["live"], log["clean_count"]) == ("closed", False, mirror.region_count)
    assert log["checksums"] == {"extension": "ok", "clean_bitmap": "ok", "sync_bitmap": "ok"}
    os.close(os.open(mirror.log, os.O_RDWR | os.O_EXCL))  # nobody holds it any more


@MODES
def test_a_second_activation_resyncs_nothing(mirror: Mirror, mode: str) -> None:
    mirror.mode = mode
    mirror.create()
    mirror.wait_in_sync()
    mirror.remove()
    write(mirror.legs[1], 0, b"\1" * 4096)  # behind the log's back: a resync would undo it
    mirror.create()
    assert mirror.in_sync_count() == mirror.region_count
    mirror.remove()
    assert mirror.differing() == [0]


def test_suspend_closes_the_log_and_resume_opens_it_with_nothing_to_resync(mirror: Mirror) -> None:
    mirror.create()
    mirror.wait_in_sync()
    mirror.write_some(3)
    mirror.suspend()
    assert mirror.compare()["log"]["state"] == "closed"
    mirror.resume()
    assert mirror.in_sync_count() == mirror.region_count
    assert mirror.inspect()["log"]["state"] == "open"
    mirror.write_some(4)
    mirror.compare()
    assert mirror.differing() == []


def test_a_suspend_in_the_middle_of_a_resync_loses_none_of_it(mirror: Mirror, slow: str) -> None:
    mirror.create()
    until("the resync is under way", lambda: mirror.in_sync_count() > 3)
    mirror.suspend()
    report = mirror.compare()
    assert 3 < report["log"]["in_sync_count"] < mirror.region_count
    mirror.resume()
    assert mirror.in_sync_count() >= report["log"]["in_sync_count"]
    undelay(slow)
    mirror.wait_in_sync()
    assert mirror.differing() == []


def test_a_target_that_grows_resyncs_only_what_is_new(mirror: Mirror) -> None:
    mirror.create()
    mirror.wait_in_sync()
    mirror.write_some(5)
    old = mirror.region_count
    mirror.length *= 3
    mirror.load(mirror.table())
    assert f"{old}/{old}" in mirror.status()
    mirror.suspend()
    write(mirror.legs[1], 0, b"\1" * 4096)  # a full resync would undo it
    mirror.resume()
    assert old <= mirror.in_sync_count() <= mirror.region_count
    mirror.wait_in_sync()
    assert mirror.inspect()["log"]["region_count"] == mirror.region_count
    assert mirror.differing() == [0]
    mirror.write_some(6)
    assert mirror.differing() == []
    mirror.remove()
    assert mirror.compare()["log"]["clean_count"] == mirror.region_count


def test_a_target_that_shrinks_keeps_what_is_left(mirror: Mirror) -> None:
    mirror.create()
    mirror.wait_in_sync()
    mirror.remove()
    mirror.length //= 2
    mirror.create()
    assert mirror.in_sync_count() == mirror.region_count
    mirror.write_some(5)
    mirror.remove()
    assert mirror.compare()["log"]["region_count"] == mirror.region_count


def test_reload_of_the_same_table_under_writes(mirror: Mirror) -> None:
    mirror.create()
    mirror.wait_in_sync()
    for round_number in range(5):
        mirror.write_some(10 + round_number, range(0, mirror.region_count, 3))
        mirror.load(mirror.table())
        mirror.write_some(20 + round_number, range(1, mirror.region_count, 3))
        mirror.resume()
        assert mirror.in_sync_count() == mirror.region_count
    mirror.compare()
    assert mirror.differing() == []


def test_nosync_trusts_new_regions_and_never_dirty_ones(mirror: Mirror) -> None:
    mirror.options = "nosync"
    mirror.create()
    assert mirror.in_sync_count() == mirror.region_count
    mirror.suspend()
    mirror.resume()
    assert mirror.in_sync_count() == mirror.region_count
    mirror.remove()
    assert len(mirror.differing()) == mirror.region_count  # nosync was a lie here, and nothing was copied
    assert mirror.inspect()["log"]["state"] == "closed"


def test_sync_forces_a_full_resync_once_for_a_table(mirror: Mirror) -> None:
    mirror.create()
    mirror.wait_in_sync()
    mirror.remove()
    scramble(mirror)
    mirror.options = "sync"
    mirror.create()
    mirror.wait_in_sync()
    assert mirror.differing() == []
    mirror.suspend()
    mirror.resume()
    assert mirror.in_sync_count() == mirror.region_count


def test_a_core_log_resyncs_everything_and_says_so(mirror: Mirror) -> None:
    mirror.word = "core"
    mirror.create()
    assert mirror.status().endswith("1 core")
    mirror.wait_in_sync()
    assert mirror.differing() == []
    mirror.write_some(9)
    mirror.suspend()
    mirror.resume()
    assert mirror.in_sync_count() == mirror.region_count


def test_three_legs_are_all_kept_equal(mirror: Mirror) -> None:
    mirror.legs.append("/dev/ram3")
    mirror.create()
    mirror.wait_in_sync()
    mirror.write_some(8)
    mirror.compare()
    assert mirror.differing() == []


@pytest.mark.parametrize("sector_bytes", [512, 4096])
def test_the_log_lies_on_either_sector_size(
    mirror: Mirror, loop_file: Callable[[int, int], str], sector_bytes: int
) -> None:
    mirror.log = loop_file(1 << 20, sector_bytes)
    mirror.create()
    mirror.wait_in_sync()
    mirror.write_some(2)
    assert mirror.differing() == []
    mirror.remove()
    assert mirror.compare()["log"]["clean_count"] == mirror.region_count


def test_the_legs_caches_are_flushed_before_clears_are_stored(
    mirror: Mirror, daemon: Daemon, loop_file: Callable[[int], str]
) -> None:
    mirror.legs = [loop_file(8 << 20), loop_file(8 << 20)]
    mirror.create()
    mirror.wait_in_sync()
    mirror.wait_clean()

    def flushes(leg: str) -> int:  # Documentation/block/stat.rst: the 16th number
        return int(Path(f"/sys/block/{os.path.basename(leg)}/stat").read_text().split()[15])

    with daemon.holding(60):
        assert mirror.in_sync_count() == mirror.region_count  # it has reconnected
        before = [flushes(leg) for leg in mirror.legs]
        fd = os.open(mirror.device, os.O_WRONLY | os.O_DIRECT)
        os.pwritev(fd, [mmap.mmap(-1, 4096)], 0)  # O_DIRECT without O_SYNC: the writer itself flushes nothing
        assert [flushes(leg) for leg in mirror.legs] == before
        assert mirror.inspect()["dirty"] == [[0, 1]]
    mirror.wait_clean()
    until(
        "both legs were flushed", lambda: all(flushes(leg) > old for leg, old in zip(mirror.legs, before, strict=True))
    )
    os.close(fd)


def test_a_region_in_use_costs_its_log_no_io(mirror: Mirror, daemon: Daemon, loop_file: Callable[[int], str]) -> None:
    mirror.log, mirror.options = loop_file(1 << 20), "nosync"

    def writes() -> int:  # Documentation/block/stat.rst: the 5th number
        return int(Path(f"/sys/block/{os.path.basename(mirror.log)}/stat").read_text().split()[4])

    with daemon.holding(60):
        mirror.create()
        mirror.write_some(1, range(4))  # now they are dirty on the medium
        before = writes()
        for seed in range(25):
            mirror.write_some(seed, range(4))
        assert writes() == before
        mirror.remove()
    assert mirror.inspect()["log"]["dirty_count"] == 0


def test_many_mirrors_live_side_by_side(many_mirrors: list[Mirror]) -> None:
    for mirror in many_mirrors:
        mirror.create()
    for mirror in many_mirrors:
        mirror.write_some(5)
    for mirror in many_mirrors:
        mirror.wait_in_sync()
        mirror.compare()
        assert mirror.differing() == []
