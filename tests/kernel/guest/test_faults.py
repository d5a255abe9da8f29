# SPDX-License-Identifier: LGPL-2.1-or-later
"""Log devices that fail: pulled out, shrunk, unreadable, failing for a while. One log is lost, and nothing else."""

import logging
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kernel.guest.load import Writer, blocks
from tests.kernel.guest.rig import Daemon, Mirror, forget, read, run, scramble, switch, until, write, zero

logger = logging.getLogger(__name__)
_GONE = "/dev/mapper/faulty"
_KERNEL_SECONDS = 15  # a request that is lost is asked again


@pytest.fixture
def other(mirror: Mirror) -> Iterator[Mirror]:
    """A second mirror, in sync, that must not notice anything."""
    made = Mirror("other", ["/dev/ram4", "/dev/ram5"], "/dev/ram6", f"{mirror.uuid}-other")
    zero(made.log)
    scramble(made)
    made.create()
    made.wait_in_sync()
    yield made
    forget(made.name)


@pytest.fixture
def faulty(mirror: Mirror) -> Iterator[str]:
    """A log device whose table can be switched: 8192 sectors of the mirror's log device."""
    run("dmsetup", "create", "faulty", "--table", f"0 8192 linear {mirror.log} 0")
    mirror.log = _GONE
    yield "faulty"
    forget(mirror.name)
    forget("faulty")


@pytest.fixture
def scsi_disk() -> Iterator[Path]:
    """A SCSI disk in memory, as its directory in sysfs; it can be pulled out by writing to ``delete`` there."""
    run("modprobe", "sd_mod")
    run("modprobe", "scsi_debug", "dev_size_mb=8", "add_host=0")
    pseudo = Path("/sys/bus/pseudo/drivers/scsi_debug")
    (pseudo / "add_host").write_text("1")
    until("the disk is there", lambda: list(pseudo.glob("adapter*/host*/target*/*/block/*")))
    (block,) = pseudo.glob("adapter*/host*/target*/*/block/*")
    node = f"/dev/{block.name}"
    until("its node is there", lambda: os.path.exists(node))
    zero(node)
    yield block
    (pseudo / "add_host").write_text("-1")
    run("modprobe", "-r", "scsi_debug", check=False)


def asked_again(since: int) -> list[str]:
    """What the kernel has asked a second time, from a line of its log on."""
    return [line for line in run("dmesg").splitlines()[since:] if "Request timed out" in line]


def move_to_a_good_log(mirror: Mirror) -> None:
    """What an administrator does when a log has failed and writes are held: a table with another log device."""
    mirror.log = "/dev/ram3"
    zero(mirror.log)
    mirror.load(mirror.table())
    mirror.suspend("--noflush")
    mirror.resume()


def check_both(mirror: Mirror, first: Writer, other: Mirror, second: Writer) -> None:
    """After everything has ended: nothing acknowledged is lost, and the legs are equal."""
    for each, writer in ((mirror, first), (other, second)):
        each.wait_in_sync()
        assert writer.stale(each.device) == []
        each.compare()
        assert each.differing() == []


def test_a_log_device_that_is_pulled_out_fails_its_log_and_no_other(
    mirror: Mirror, other: Mirror, daemon: Daemon, scsi_disk: Path
) -> None:
    mirror.log = f"/dev/{scsi_disk.name}"
    mirror.create()
    mirror.wait_in_sync()
    worker, start, since = daemon.worker, daemon.mark(), len(run("dmesg").splitlines())
    length = mirror.length * 512
    with Writer(mirror.device, blocks(length)) as first, Writer(other.device, blocks(length)) as second:
        until("both are under load", lambda: first.count > 20 and second.count > 20)
        second.forget_longest()
        (scsi_disk / "device" / "delete").write_text("1")
        until("the log is called failed", lambda: mirror.status().endswith(" D"))
        seen = second.count
        until("the other mirror goes on", lambda: second.count > seen + 50)
        logger.info("the other mirror's longest write took %.2f s", second.longest_seconds)
        assert second.longest_seconds < _KERNEL_SECONDS, "the other mirror waited"
        assert other.status().endswith(" A")
        move_to_a_good_log(mirror)
        until("the held writes go on", lambda: first.count > 30)
    check_both(mirror, first, other, second)
    assert asked_again(since) == []
    assert daemon.worker == worker
    daemon.says("FAILED", start)
    lines = [line for line in daemon.said(start).splitlines() if "FAILED" in line]
    assert all("log device" in line or "device failed" in line for line in lines), lines


def test_a_page_that_faults_ends_the_worker_and_fails_one_log(
    mirror: Mirror, other: Mirror, daemon: Daemon, loop_file: Callable[[int], str]
) -> None:
    mirror.log = loop_file(4 << 20)
    mirror.create()
    mirror.wait_in_sync()
    mirror.wait_clean()
    worker, start, since = daemon.worker, daemon.mark(), len(run("dmesg").splitlines())
    length = mirror.length * 512
    # the pages of the mapping are thrown out, and then their blocks are no more: the next touch is a SIGBUS
    backing = Path(f"/sys/block/{os.path.basename(mirror.log)}/loop/backing_file").read_text().strip()
    with Writer(other.device, blocks(length)) as second:
        until("the other is under load", lambda: second.count > 20)
        second.forget_longest()
        os.truncate(backing, 0)
        run("blkdiscard", "--zeroout", "--force", mirror.log, check=False)
        os.truncate(backing, 0)
        run("losetup", "--set-capacity", mirror.log)
        with Writer(mirror.device, blocks(length)) as first:
            until("the log is called failed", lambda: mirror.status().endswith(" D"))
            seen = second.count
            until("the other mirror goes on", lambda: second.count > seen + 50)
            logger.info("the other mirror's longest write took %.2f s", second.longest_seconds)
            assert second.longest_seconds < _KERNEL_SECONDS, "the other mirror waited"
            assert other.status().endswith(" A")
            move_to_a_good_log(mirror)
            until("the held writes go on", lambda: first.count > 30)
    check_both(mirror, first, other, second)
    assert asked_again(since) == []
    assert daemon.worker != worker, "no page faulted"
    daemon.says(f"the worker ended (signal {signal.SIGBUS.value})", start)


def test_a_log_device_that_shrank_takes_no_mark_that_it_cannot_keep(mirror: Mirror, faulty: str) -> None:
    mirror.create()
    mirror.wait_in_sync()
    mirror.wait_clean()
    # Linux drops pages beyond the end and says that it wrote them: nothing but the size tells
    switch(faulty, "0 1 linear /dev/ram2 0")
    with Writer(mirror.device, blocks(mirror.length * 512)) as writer:
        until("the log is called failed", lambda: mirror.status().endswith(" D"))
        assert writer.count == 0
        move_to_a_good_log(mirror)
        until("the held writes go on", lambda: writer.count > 10)
    mirror.wait_in_sync()
    assert mirror.differing() == []


@pytest.mark.parametrize("mode", ["integrated_flush", ""], ids=["integrated", "plain"])
def test_a_write_back_that_failed_once_is_final_until_resume(
    mirror: Mirror, daemon: Daemon, faulty: str, mode: str
) -> None:
    mirror.mode = mode
    mirror.create()
    mirror.wait_in_sync()
    mirror.wait_clean()
    before = int(run("dmsetup", "info", "-c", "--noheadings", "-o", "events", mirror.name))
    start = daemon.mark()
    switch(faulty, "0 8192 error")
    with Writer(mirror.device, blocks(mirror.length * 512)) as writer:
        until("the log is called failed", lambda: mirror.status().endswith(" D"))
        switch(faulty, "0 8192 linear /dev/ram2 0")
        # the device is well again, an msync would succeed, and the medium still calls the marked region clean
        assert mirror.status().endswith(" D")
        assert writer.count == 0
        assert int(run("dmsetup", "info", "-c", "--noheadings", "-o", "events", mirror.name)) > before
        stale = read("/dev/ram2", 1024, 8)
        assert stale == b"\xff" * 8, "the mark reached the medium after all"
        daemon.restart(signal.SIGKILL)  # and the next worker knows it too
        assert mirror.status().endswith(" D")
        assert writer.count == 0
        mirror.load(mirror.table())
        mirror.suspend("--noflush")
        mirror.resume()
        until("the held write goes on", lambda: writer.count > 10)
    daemon.says("FAILED", start)
    mirror.wait_in_sync()
    assert mirror.status().endswith(" A")
    assert writer.stale(mirror.device) == []
    mirror.compare()
    assert mirror.differing() == []


def test_a_resume_heals_and_stores_every_page_anew(mirror: Mirror, daemon: Daemon, faulty: str) -> None:
    mirror.features = ""  # without handle_errors dm-raid1 ignores the failure: the mirror can be suspended
    mirror.create()
    mirror.wait_in_sync()
    mirror.wait_clean()
    switch(faulty, "0 8192 error")
    mirror.write_some(1, [3])
    assert mirror.status().endswith(" D")
    switch(faulty, "0 8192 linear /dev/ram2 0")
    assert read("/dev/ram2", 1024, 8) == b"\xff" * 8
    mirror.suspend()
    assert mirror.inspect()["log"]["state"] == "open"
    start = daemon.mark()
    mirror.resume()
    assert mirror.status().endswith(" A")
    daemon.says(f"healed, {mirror.region_count - 1} of {mirror.region_count} regions in sync", start)
    mirror.wait_in_sync()
    mirror.write_some(2, [3, 4])
    mirror.compare()
    assert mirror.differing() == []


def test_a_device_that_fails_now_and_then_never_keeps_an_acknowledged_mark_from_the_medium(
    mirror: Mirror, faulty: str
) -> None:
    mirror.create()
    mirror.wait_in_sync()
    mirror.wait_clean()
    # up for 1 s, then every write fails for 1 s, and so on; each region's first write needs one of the log
    switch(faulty, "0 8192 flakey /dev/ram2 0 1 1 1 error_writes")
    regions = range(0, mirror.length * 512, mirror.region_bytes)
    with Writer(mirror.device, regions, pause_seconds=0.1) as writer:
        until("the log is called failed", lambda: mirror.status().endswith(" D"))
        # what was acknowledged and is not cleared is dirty on the medium beneath the faulty device
        clean = int.from_bytes(read("/dev/ram2", 1024, 8), "little")
        apart = mirror.differing()
        assert not [region for region in apart if clean >> region & 1]
        switch(faulty, "0 8192 linear /dev/ram2 0")
        mirror.load(mirror.table())
        mirror.suspend("--noflush")
        mirror.resume()
        until("the held write goes on", lambda: writer.count > 10)
    mirror.wait_in_sync()
    assert writer.stale(mirror.device) == []
    mirror.compare()
    assert mirror.differing() == []


@pytest.mark.parametrize("where", [0, 1, 4096], ids=["header", "clean", "sync"])
def test_a_log_with_unreadable_blocks_is_refused_or_fails_without_a_signal(
    mirror: Mirror, daemon: Daemon, faulty: str, where: int
) -> None:
    mirror.create()
    mirror.wait_in_sync()
    mirror.remove()
    worker, start = daemon.worker, daemon.mark()
    pieces = [f"0 {where} linear /dev/ram2 0"] * bool(where)
    pieces += [f"{where} 8 error", f"{where + 8} {8192 - where - 8} linear /dev/ram2 {where + 8}"]
    if where == 1:  # behind the header, so the table is loaded, and its activation fails: ondisk.md, rule 14
        pieces = ["0 2 linear /dev/ram2 0", "2 6 error", "8 8184 linear /dev/ram2 8"]
    switch(faulty, "\n".join(pieces))
    if where == 0:
        done = subprocess.run(
            ["dmsetup", "create", mirror.name, "--table", mirror.table()], capture_output=True, check=False
        )
        assert done.returncode != 0
        daemon.says("refused", start)
        daemon.says("read at byte", start)
        forget(mirror.name)
    else:
        mirror.create()
        assert mirror.status().endswith(" D")
        assert mirror.in_sync_count() == 0
        daemon.says("FAILED at its activation", start)
        with Writer(mirror.device, blocks(mirror.length * 512)) as writer:
            switch(faulty, "0 8192 linear /dev/ram2 0")
            mirror.load(mirror.table())
            assert writer.count == 0
            mirror.suspend("--noflush")
            mirror.resume()
            until("the held write goes on", lambda: writer.count > 10)
        mirror.wait_in_sync()
        assert writer.stale(mirror.device) == []
        mirror.compare()
        assert mirror.differing() == []
    assert daemon.worker == worker


def test_a_leg_whose_cache_cannot_be_flushed_keeps_its_regions_dirty_until_a_reload(
    mirror: Mirror, daemon: Daemon, loop_file: Callable[[int], str]
) -> None:
    below = loop_file(mirror.length * 512)  # with a write cache, or no flush would reach anything
    run("dmsetup", "create", "leg", "--table", f"0 {mirror.length} linear {below} 0")
    try:
        mirror.legs[1] = "/dev/mapper/leg"
        mirror.create()
        mirror.wait_in_sync()
        mirror.wait_clean()
        start = daemon.mark()

        def flush_failed() -> bool:
            # before the held clear is stored: no write of the mirror's meets this, only our flush
            mirror.write_some(5, [7])
            run("dmsetup", "suspend", "--noflush", "leg")
            switch("leg", f"0 {mirror.length} flakey {below} 0 0 1000 1 error_writes")
            failed = lambda: "legs cannot be flushed" in daemon.said(start)  # noqa: E731
            until("the flush has come", lambda: failed() or mirror.inspect()["log"]["dirty_count"] == 0)
            switch("leg", f"0 {mirror.length} linear {below} 0")
            return failed()

        until("a flush has failed", flush_failed)
        mirror.write_some(6, [7])
        mirror.suspend()
        assert mirror.inspect()["dirty"] == [[7, 1]]
        mirror.resume()
        assert mirror.in_sync_count() == mirror.region_count
        mirror.load(mirror.table())
        write(below, 7 * mirror.region_bytes, b"\1" * 4096)  # what a lost cache would be
        mirror.suspend()
        mirror.resume()
        mirror.wait_in_sync()
        assert mirror.differing() == []
        mirror.wait_clean()
    finally:
        forget(mirror.name)
        forget("leg")
