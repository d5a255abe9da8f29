# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the commands write is what a mirror on a real kernel starts from; what they read is what it left."""

import json
from pathlib import Path

import pytest

from tests.kernel.guest.rig import Daemon, Mirror, diskulog, fails, read, run, write, zero

JUNK = b"\1" * 4096


def ours(*words: str, code: int = 0) -> str:
    found, said = diskulog(*words)
    assert found == code, said
    return said


def synced_and_removed(mirror: Mirror, table: str | None = None) -> None:
    mirror.create(table)
    mirror.wait_in_sync()
    mirror.remove()
    assert mirror.differing() == []


def spoil(mirror: Mirror, *regions: int) -> None:
    """Write to a leg behind the mirror's back: only a resync of the region makes it equal again."""
    for region in regions:
        write(mirror.legs[1], region * mirror.region_bytes, JUNK)
    assert mirror.differing() == list(regions)


def left_apart(mirror: Mirror, table: str | None = None) -> list[int]:
    """Activate the mirror, let it resync what it wants to, and tell which regions it left alone."""
    mirror.create(table)
    mirror.wait_in_sync()
    mirror.remove()
    return mirror.differing()


@pytest.mark.parametrize("keeper", ["diskulog", "kernel"])
def test_regions_marked_by_hand_are_copied_and_no_others(mirror: Mirror, keeper: str) -> None:
    table = mirror.kernel_table() if keeper == "kernel" else mirror.table()
    synced_and_removed(mirror, table)
    spoil(mirror, 5, 9, 30)
    assert "2 more regions dirty" in ours("mark", "--yes", "--regions", "5,30", mirror.log)
    ours("check", mirror.log)
    assert left_apart(mirror, table) == [9]


def test_what_a_live_mirror_wrote_since_a_dump_is_told(mirror: Mirror, daemon: Daemon, tmp_path: Path) -> None:
    with daemon.holding(60):
        mirror.create()
        mirror.wait_in_sync()
        mirror.suspend()  # stores every clear that is held
        mirror.resume()
        before = tmp_path / "before"
        before.write_text(ours("dump", mirror.log))
        mirror.write_some(7, [3, 7, 8])
        said = ours("diff", "--since", str(before), mirror.log, code=1)
        assert "became dirty: 3 of 64 regions\n  3\n  7-8\n" in said
        document = json.loads(ours("diff", "--json", str(before), mirror.log, code=1))
        assert (document["became_dirty"], document["became_clean"]) == ([[3, 1], [7, 2]], [])
        assert "live, held by" in ours("check", mirror.log)
        mirror.remove()
    assert "became" not in ours("diff", str(before), mirror.log)


def test_a_restored_log_is_the_one_that_was_dumped(mirror: Mirror, tmp_path: Path) -> None:
    synced_and_removed(mirror)
    ours("mark", "--yes", "--regions", "2", mirror.log)
    dumped = tmp_path / "dump"
    dumped.write_text(ours("dump", mirror.log))
    spoil(mirror, 2, 9)
    zero(mirror.log)
    ours("inspect", mirror.log, code=3)
    ours("restore", "--yes", str(dumped), mirror.log)
    assert ours("dump", mirror.log) == dumped.read_text()
    assert left_apart(mirror) == [9]


@pytest.mark.parametrize(("options", "apart"), [((), []), (("--in-sync",), [9])], ids=["dirty", "in-sync"])
def test_a_formatted_log_is_that_of_its_mirror(mirror: Mirror, options: tuple[str, ...], apart: list[int]) -> None:
    synced_and_removed(mirror)
    spoil(mirror, 9)
    sizes = ("--region-size", str(mirror.region_size), "--regions", str(mirror.region_count))
    assert "holds the log of mirror" in ours("format", "--yes", "--uuid", "u", *sizes, mirror.log, code=4)
    ours("format", "--yes", "--overwrite", "--uuid", "other", *sizes, *options, mirror.log)
    fails("dmsetup", "create", mirror.name, "--table", mirror.table())
    ours("format", "--yes", "--overwrite", "--uuid", mirror.uuid, *sizes, *options, mirror.log)
    assert left_apart(mirror) == apart


def test_what_is_proved_survives_a_repair(mirror: Mirror) -> None:
    synced_and_removed(mirror)
    spoil(mirror, 9)
    write(mirror.log, 0, bytes(512))
    ours("inspect", mirror.log, code=3)
    assert "the header is damaged" in ours("repair", mirror.log, code=1)
    ours("inspect", mirror.log, code=3)
    ours("repair", "--write", "--yes", mirror.log)
    assert left_apart(mirror) == [9]


def test_what_is_not_proved_is_dirty_after_a_repair(mirror: Mirror) -> None:
    synced_and_removed(mirror)
    spoil(mirror, 9)
    sector = bytearray(read(mirror.log, 512, 512))
    sector[100] ^= 1
    write(mirror.log, 512, bytes(sector))
    ours("check", mirror.log, code=1)
    ours("repair", "--write", "--yes", "--uuid", mirror.uuid, mirror.log)
    ours("check", mirror.log)
    assert left_apart(mirror) == []


def test_a_log_in_use_is_not_written(mirror: Mirror, tmp_path: Path) -> None:
    mirror.create()
    mirror.wait_in_sync()
    dumped = tmp_path / "dump"
    dumped.write_text(ours("dump", mirror.log))
    sizes = ("--uuid", "u", "--region-size", "128", "--regions", "64")
    for words in (
        ("mark", "--all", mirror.log),
        ("repair", "--write", mirror.log),
        ("format", "--overwrite", *sizes, mirror.log),
        ("restore", str(dumped), mirror.log),
        ("adopt", mirror.log),
    ):
        said = ours(*words, "--yes", code=4)
        assert f"({mirror.name})" in said, said
    mirror.write_some(5)
    mirror.compare()
    run("dmsetup", "status", mirror.name)
