# SPDX-License-Identifier: LGPL-2.1-or-later
"""A mirror changes between diskulog and the kernel's own ``disk`` log on the same device, both ways."""

import pytest

from tests.kernel.guest.rig import Daemon, Mirror, diskulog, write


def test_the_kernels_log_finds_in_sync_what_diskulog_kept(mirror: Mirror) -> None:
    mirror.create()
    mirror.wait_in_sync()
    mirror.write_some(1)
    mirror.remove()
    write(mirror.legs[1], 0, b"\7" * 4096)  # a resync would undo it
    mirror.create(mirror.kernel_table())
    assert mirror.in_sync_count() == mirror.region_count
    assert "disk" in mirror.status()
    mirror.write_some(2, [3, 4])
    mirror.remove()
    assert mirror.differing() == [0]


def test_diskulog_finds_in_sync_what_the_kernel_kept_after_adopt(mirror: Mirror) -> None:
    mirror.create()
    mirror.wait_in_sync()
    mirror.remove()
    mirror.create(mirror.kernel_table())
    mirror.write_some(2, [3, 4])
    code, said = diskulog("adopt", "--yes", mirror.log)
    assert code == 4, said  # the kernel's log holds it
    mirror.remove()
    code, said = diskulog("adopt", "--yes", mirror.log)
    assert code == 0, said
    write(mirror.legs[1], 0, b"\7" * 4096)  # a resync would undo it
    mirror.create()
    assert mirror.in_sync_count() == mirror.region_count
    mirror.write_some(3, [5])
    mirror.remove()
    assert mirror.differing() == [0]
    assert mirror.inspect()["log"]["state"] == "closed"


def test_without_adopt_everything_is_resynced_and_a_line_says_why(mirror: Mirror, daemon: Daemon) -> None:
    mirror.create()
    mirror.wait_in_sync()
    mirror.remove()
    mirror.create(mirror.kernel_table())
    mirror.write_some(2, [3])  # the checksum of the clean bitmap stays right once the region is clean again
    mirror.suspend()
    mirror.remove()
    write(mirror.log, 1024, b"\xf7")  # what a crash under the kernel's log leaves: a region that is dirty
    start = daemon.mark()
    mirror.create()
    daemon.says("adopt", start)
    mirror.wait_in_sync()
    assert mirror.differing() == []


def test_a_log_that_only_the_kernel_wrote_is_taken_as_it_stands(mirror: Mirror) -> None:
    mirror.create(mirror.kernel_table())
    mirror.wait_in_sync()
    mirror.remove()
    write(mirror.legs[1], 0, b"\7" * 4096)  # a resync would undo it
    assert mirror.inspect()["log"]["dialect"] == "kernel"
    mirror.create()
    assert mirror.in_sync_count() == mirror.region_count
    mirror.remove()
    assert mirror.differing() == [0]
    assert mirror.inspect()["log"]["dialect"] == "diskulog"


@pytest.mark.parametrize("fill", [b"\0", b"\xff"], ids=["zeros", "ones"])
def test_lvms_fresh_logs_are_taken_at_their_word(mirror: Mirror, fill: bytes) -> None:
    head = (0x4D695272).to_bytes(4, "little") + (2).to_bytes(4, "little") + (2**64 - 1).to_bytes(8, "little")
    write(mirror.log, 0, head + fill * ((1 << 20) - len(head)))
    mirror.create()
    if fill == b"\xff":
        assert mirror.in_sync_count() == mirror.region_count
        return
    mirror.wait_in_sync()
    assert mirror.differing() == []


def test_a_running_mirror_changes_to_the_kernels_log_and_back_by_reload(mirror: Mirror, daemon: Daemon) -> None:
    mirror.create()
    mirror.wait_in_sync()
    mirror.write_some(1)
    write(mirror.legs[1], 0, b"\7" * 4096)  # a resync would undo it
    mirror.load(mirror.kernel_table())
    mirror.resume()
    assert mirror.in_sync_count() == mirror.region_count
    mirror.write_some(2, range(3, 20))
    assert mirror.differing() == [0]
    start = daemon.mark()
    mirror.load(mirror.table())
    mirror.resume()
    # no adopt is possible while the device is held: either nothing had changed, or everything is resynced
    mirror.wait_in_sync()
    mirror.write_some(3)
    mirror.compare()
    assert set(mirror.differing()) <= ({0} if "adopt" not in daemon.said(start) else set())


def test_a_live_kernel_log_is_inspected_past_the_page_cache(mirror: Mirror) -> None:
    mirror.create(mirror.kernel_table())
    mirror.wait_in_sync()
    assert mirror.inspect()["log"]["live"] is True
    mirror.write_some(1, [0])
    first = mirror.inspect()["log"]
    assert (first["dialect"], first["region_count"]) == ("kernel", mirror.region_count)
    mirror.compare()
