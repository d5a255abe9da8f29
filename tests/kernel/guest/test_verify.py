# SPDX-License-Identifier: LGPL-2.1-or-later
"""``diskulog verify`` on mirrors of a real kernel: equal under writes, and a planted difference is found."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kernel.guest.load import BLOCK_BYTES, Writer
from tests.kernel.guest.rig import SECTOR_BYTES, Daemon, Mirror, diskulog, forget, run, until, write

Table = Callable[[Mirror], str]
LOGS = pytest.mark.parametrize("table", [Mirror.table, Mirror.kernel_table], ids=["diskulog", "kernel"])


def verify(*words: str, expect: int = 0) -> dict[str, object]:
    code, said = diskulog("verify", "--json", *words)
    assert code == expect, said
    found = json.loads(said.splitlines()[0])
    assert found["exit_status"] == expect
    return found


def wandering(mirror: Mirror) -> list[int]:
    """Offsets that stay in a region for a while, so that most are clean; one leg may be a write behind the other."""
    size = mirror.region_bytes
    return [
        region * size + number * BLOCK_BYTES % size for region in range(mirror.region_count) for number in range(64)
    ]


def settled(mirror: Mirror) -> None:
    """Wait until the log calls every region clean: the kernel's own writes that with a flush, some time later."""
    until("every region is clean", lambda: mirror.inspect()["log"]["dirty_count"] == 0)


def plant(mirror: Mirror, leg: int, offset_bytes: int) -> None:
    """Change one byte of a leg behind the mirror's back."""
    sector = offset_bytes // SECTOR_BYTES * SECTOR_BYTES
    fd = os.open(mirror.legs[leg], os.O_RDONLY)
    try:
        block = bytearray(os.pread(fd, SECTOR_BYTES, sector))
    finally:
        os.close(fd)
    block[offset_bytes - sector] ^= 0x40
    write(mirror.legs[leg], sector, bytes(block))


@LOGS
def test_a_mirror_in_use_is_equal_and_a_planted_difference_is_found(mirror: Mirror, table: Table) -> None:
    mirror.create(table(mirror))
    mirror.wait_in_sync()
    region, count = mirror.region_bytes, mirror.region_count
    with Writer(mirror.device, wandering(mirror)) as writer:
        until("writes go on", lambda: writer.count > 50)
        began = writer.count
        seen = [verify("--mirror", mirror.name) for _ in range(20)]
        assert writer.count > began
    for found in seen:
        assert found["differing"] == []
        assert found["log"]["live"] is True
        assert found["compared_count"] + found["dirty_count"] + found["changed_count"] == count
    assert sum(found["compared_count"] for found in seen) > count
    settled(mirror)
    plant(mirror, 1, 37 * region + 12345)
    plant(mirror, 1, 38 * region)
    found = verify("--mirror", mirror.name, expect=1)
    assert (found["compared_count"], found["compared_bytes"]) == (count, mirror.length * SECTOR_BYTES)
    (only,) = found["differing"]
    assert (only["first_region"], only["region_count"], only["offset_bytes"]) == (37, 2, 37 * region + 12345)
    mirror.remove()
    size = [] if table is Mirror.table else ["--region-size", str(mirror.region_size)]
    again = verify(*size, mirror.log, *mirror.legs, expect=1)
    assert again["differing"] == [only]
    assert again["log"]["live"] is False
    assert verify(*size, "--regions", "0-36", mirror.log, *mirror.legs)["compared_count"] == 37


def test_a_difference_in_a_region_that_is_dirty_is_none_of_the_logs(mirror: Mirror, daemon: Daemon) -> None:
    with daemon.holding(60):
        mirror.create()
        mirror.wait_in_sync()
        mirror.suspend()  # everything that was held is stored
        mirror.resume()
        mirror.write_some(3, [5])
        plant(mirror, 1, 5 * mirror.region_bytes + 10)
        found = verify("--mirror", mirror.name)
        assert (found["dirty_count"], found["differing"]) == (1, [])
        mirror.remove()


def test_regions_out_of_sync_are_skipped(mirror: Mirror, slow: str) -> None:
    mirror.create()
    until("the resync is under way", lambda: mirror.in_sync_count() > 3)
    mirror.suspend()
    found = verify("--mirror", mirror.name)
    assert found["compared_count"] > 0
    assert found["out_of_sync_count"] > 0
    assert found["compared_count"] + found["out_of_sync_count"] + found["dirty_count"] == mirror.region_count
    mirror.resume()


def test_a_log_that_lied_is_found_out(mirror: Mirror) -> None:
    mirror.options = "nosync"
    mirror.create()
    assert verify("--mirror", mirror.name, expect=1)["differing_count"] == mirror.region_count


def test_it_needs_no_daemon(mirror: Mirror, daemon: Daemon) -> None:
    mirror.create()
    mirror.wait_in_sync()
    settled(mirror)
    daemon.stop()
    assert verify("--mirror", mirror.name)["compared_count"] == mirror.region_count


def test_legs_that_begin_later_on_their_devices(mirror: Mirror) -> None:
    table = mirror.table().replace("/dev/ram0 0", "/dev/ram0 72").replace("/dev/ram1 0", "/dev/ram1 8")
    mirror.create(table)
    mirror.wait_in_sync()
    settled(mirror)
    assert verify("--mirror", mirror.name)["compared_count"] == mirror.region_count
    plant(mirror, 1, 8 * SECTOR_BYTES + 9 * mirror.region_bytes + 7)
    (only,) = verify("--mirror", mirror.name, expect=1)["differing"]
    assert only["first_region"] == 9
    at = 9 * mirror.region_bytes + 7
    assert only["leg_offsets_bytes"] == [at + 72 * SECTOR_BYTES, at + 8 * SECTOR_BYTES]


@pytest.mark.parametrize("log", ["userspace 4 UUID-c core 128 nosync", "core 2 128 nosync"], ids=["diskulog", "kernel"])
def test_a_core_log_is_refused(mirror: Mirror, log: str) -> None:
    mirror.create(f"0 {mirror.length} mirror {log} 2 {mirror.legs[0]} 0 {mirror.legs[1]} 0")
    assert diskulog("verify", "--mirror", mirror.name) == (
        4,
        f"diskulog: {mirror.name}: its log is in memory only ('core'); there is no log on a device to verify\n",
    )


def test_what_is_no_mirror_is_refused(mirror: Mirror) -> None:
    run("dmsetup", "create", mirror.name, "--table", "0 64 zero")
    code, said = diskulog("verify", "--mirror", mirror.name)
    assert (code, said) == (4, f"diskulog: {mirror.name}: is no mirror, but 'zero' from sector 0; name a mirror\n")
    code, said = diskulog("verify", "--mirror", "nosuch")
    assert code == 2
    assert "there is no such mirror" in said


@pytest.fixture
def bad_leg(mirror: Mirror) -> Iterator[str]:
    """A leg of which one sector cannot be read, in region 3."""
    at = 3 * mirror.region_size + 5
    lines = [f"0 {at} linear {mirror.legs[1]} 0", f"{at} 1 error"]
    lines.append(f"{at + 1} {mirror.length - at - 1} linear {mirror.legs[1]} {at + 1}")
    path = Path("/dev/shm/badleg.table")
    path.write_text("\n".join(lines) + "\n")
    run("dmsetup", "create", "badleg", str(path))
    yield "/dev/mapper/badleg"
    forget("badleg")
    path.unlink()


def test_a_leg_that_cannot_be_read_costs_one_region(mirror: Mirror, bad_leg: str) -> None:
    mirror.options = "nosync"
    for leg in mirror.legs:
        write(leg, 0, bytes(mirror.length * SECTOR_BYTES))
    mirror.create()
    mirror.remove()
    found = verify(mirror.log, mirror.legs[0], bad_leg, expect=5)
    (only,) = found["unread"]
    assert (only["region"], only["leg"]) == (3, 1)
    assert "Input/output error" in only["reason"]
    assert (found["compared_count"], found["differing"]) == (mirror.region_count - 1, [])
