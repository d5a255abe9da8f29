# SPDX-License-Identifier: LGPL-2.1-or-later
"""Tables that must not be, devices that must not be touched, processes that must not be heard."""

import os
import socket
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from diskulog import ondisk, wire
from tests.kernel.guest.rig import Daemon, Mirror, fails, forget, read, run, until, write


def refused(mirror: Mirror, daemon: Daemon, table: str | None = None) -> str:
    """Check that the kernel refuses a table, and return the one line that says why."""
    start = daemon.mark()
    fails("dmsetup", "create", mirror.name, "--table", table or mirror.table())
    daemon.says("refused", start)
    lines = [line for line in daemon.said(start).splitlines() if "refused" in line]
    assert len(lines) == 1, lines
    forget(mirror.name)
    return lines[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"region_size": 96}, "power of two"),
        ({"region_size": 1}, "power of two"),
        ({"region_size": 16384}, "more than the target"),
        ({"word": "clustered-disk"}, "clustered_single_host"),
        ({"options": "maybe"}, "'maybe' is not known"),
        ({"log": "/dev/nothing"}, "No such file"),
        ({"log": "/dev/null"}, "not a block device"),
        ({"log": "99:99"}, "no device 99:99"),
    ],
)
def test_a_bad_constructor_is_refused_with_a_line(
    mirror: Mirror, daemon: Daemon, change: dict[str, object], words: str
) -> None:
    for name, value in change.items():
        setattr(mirror, name, value)
    assert words in refused(mirror, daemon)


def test_foreign_content_is_refused_and_untouched(mirror: Mirror, daemon: Daemon) -> None:
    content = bytes(1024) + b"\x53\xef" * 512  # an ext4 superblock stands behind 1024 zero bytes
    write(mirror.log, 0, content)
    assert "not blank" in refused(mirror, daemon)
    assert read(mirror.log, 0, len(content)) == content


def test_another_mirrors_log_and_another_region_size_are_refused(mirror: Mirror, daemon: Daemon) -> None:
    mirror.create()
    mirror.wait_in_sync()
    mirror.remove()
    before = read(mirror.log, 0, 65536)
    mirror.uuid += "-other"
    assert "belongs to" in refused(mirror, daemon)
    mirror.uuid = mirror.uuid.removesuffix("-other")
    mirror.region_size *= 2
    assert "region size" in refused(mirror, daemon)
    assert read(mirror.log, 0, 65536) == before


def test_a_device_that_is_too_small_is_refused_with_the_bytes_needed(
    mirror: Mirror, daemon: Daemon, loop_file: Callable[[int], str]
) -> None:
    mirror.log = loop_file(4096)
    assert "4608" in refused(mirror, daemon)


def test_a_read_only_log_device_is_refused(mirror: Mirror, daemon: Daemon, loop_file: Callable[[int], str]) -> None:
    mirror.log = loop_file(1 << 20)
    run("blockdev", "--setro", mirror.log)
    assert "read-only" in refused(mirror, daemon) or "writable" in refused(mirror, daemon)


def test_a_log_on_a_mirror_that_is_served_here_is_refused(mirror: Mirror, daemon: Daemon) -> None:
    mirror.create()
    mirror.wait_in_sync()
    upper = Mirror("upper", ["/dev/ram4", "/dev/ram5"], mirror.device, "UUID-upper", length=2048, region_size=64)
    assert "stands on the mirror" in refused(upper, daemon)


def test_a_table_that_the_kernel_refuses_after_its_ctr_leaves_nothing_behind(mirror: Mirror, daemon: Daemon) -> None:
    fd = os.open(mirror.log, os.O_RDWR | os.O_EXCL)  # dm cannot claim the log device: no DTR follows
    fails("dmsetup", "create", mirror.name, "--table", mirror.table())
    forget(mirror.name)
    os.close(fd)
    mirror.create()
    mirror.wait_in_sync()
    mirror.compare()
    mirror.remove()
    assert read(mirror.log, 0, 4) == ondisk.MAGIC.to_bytes(4, "little")


def test_the_log_device_is_named_by_number_or_by_symlink(mirror: Mirror) -> None:
    number = os.stat(mirror.log).st_rdev
    os.symlink(mirror.log, "/dev/log-link")
    for name in (f"{os.major(number)}:{os.minor(number)}", "/dev/log-link"):
        table = mirror.table().replace(mirror.log, name)
        mirror.create(table)
        mirror.wait_in_sync()
        mirror.remove()
    os.unlink("/dev/log-link")
    assert mirror.compare()["log"]["state"] == "closed"


def test_a_forged_request_of_a_process_changes_nothing(mirror: Mirror, daemon: Daemon) -> None:
    mirror.create()
    mirror.wait_in_sync()
    mirror.wait_clean()  # a round of clears changes the log too
    port = next(
        int(words[2])
        for words in (line.split() for line in Path("/proc/net/netlink").read_text().splitlines()[1:])
        if words[1] == "11" and int(words[3], 16) == 0x40
    )
    before = read(mirror.log, 0, 65536)
    forger = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 11)
    for request_type in range(20):
        body = struct.pack("=Q129s3xIiIII", 1, b"U", 3, 0, 1, request_type, 0)
        head = struct.pack("=IHHIIIIIIHH", 36 + len(body), 3, 0, 0, 0, 7, 1, 0, 0, len(body), 0)
        for datagram in (head + body, head, b"\0" * 16):
            forger.sendto(datagram, (port, 0))
    forger.close()
    assert len(head + body) == wire.FRAME_BYTES
    assert mirror.in_sync_count() == mirror.region_count
    assert read(mirror.log, 0, 65536) == before


def test_a_leg_that_fails_leaves_its_regions_dirty_until_a_resync(mirror: Mirror) -> None:
    run("dmsetup", "create", "leg", "--table", f"0 {mirror.length} linear /dev/ram1 0")
    try:
        mirror.legs[1] = "/dev/mapper/leg"
        mirror.features = ""
        mirror.create()
        mirror.wait_in_sync()
        # a failing leg drops the clears that are held, so let them be stored first
        mirror.wait_clean()
        run("dmsetup", "load", "leg", "--table", f"0 {mirror.length} error")
        run("dmsetup", "suspend", "--noflush", "leg")
        run("dmsetup", "resume", "leg")
        mirror.write_some(9, [2, 3, 40])
        assert "AD" in mirror.status()
        until("the failed regions are known", lambda: mirror.in_sync_count() <= mirror.region_count - 3)
        report = mirror.inspect()
        run("dmsetup", "load", "leg", "--table", f"0 {mirror.length} linear /dev/ram1 0")
        run("dmsetup", "suspend", "--noflush", "leg")
        run("dmsetup", "resume", "leg")
        assert mirror.differing() == [2, 3, 40]
        assert report["dirty"] == report["out_of_sync"] == [[2, 2], [40, 1]]
        mirror.compare()
        mirror.load(mirror.table())
        mirror.suspend("--noflush")
        mirror.resume()
        mirror.wait_in_sync()
        assert mirror.differing() == []
    finally:
        forget(mirror.name)
        forget("leg")


def test_the_log_device_that_fails_holds_writes_and_says_so(mirror: Mirror, daemon: Daemon) -> None:
    run("dmsetup", "create", "logdev", "--table", "0 8192 linear /dev/ram2 0")
    try:
        mirror.log = "/dev/mapper/logdev"
        mirror.create()
        mirror.wait_in_sync()
        mirror.wait_clean()
        run("dmsetup", "load", "logdev", "--table", "0 8192 error")
        run("dmsetup", "suspend", "--noflush", "logdev")
        run("dmsetup", "resume", "logdev")
        writer = subprocess.Popen(["dd", "if=/dev/zero", f"of={mirror.device}", "bs=4k", "count=1", "oflag=direct"])
        until("the log is called failed", lambda: mirror.status().endswith(" D"))
        run("dmsetup", "load", "logdev", "--table", "0 8192 linear /dev/ram2 0")
        run("dmsetup", "suspend", "--noflush", "logdev")
        run("dmsetup", "resume", "logdev")
        assert mirror.status().endswith(" D")  # healed devices do not heal logs
        mirror.load(mirror.table())
        mirror.suspend("--noflush")
        mirror.resume()
        assert writer.wait(60) == 0
        mirror.wait_in_sync()
        assert mirror.status().endswith(" A")
        mirror.compare()
        assert mirror.differing() == []
    finally:
        forget(mirror.name)
        forget("logdev")
