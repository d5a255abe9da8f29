# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whatever one mirror, one device or one reader of the log waits for, the others do not wait for it."""

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.kernel.guest.load import Writer, blocks, writes_in
from tests.kernel.guest.rig import Daemon, Mirror, forget, run, scramble, until, zero

_ROUND_SECONDS = 1.5


@pytest.fixture
def slow(mirror: Mirror) -> Iterator[Mirror]:
    """A mirror whose log takes 300 ms for a write."""
    run("dmsetup", "create", "slowlog", "--table", f"0 8192 delay {mirror.log} 0 0 {mirror.log} 0 300")
    slow = Mirror("slow", ["/dev/ram4", "/dev/ram5"], "/dev/mapper/slowlog", f"{mirror.uuid}-slow")
    slow.length = 4096
    scramble(slow)
    yield slow
    run("dmsetup", "resume", "slowlog")
    forget(slow.name)
    forget("slowlog")


@pytest.fixture
def quick(mirror: Mirror, slow: Mirror) -> Mirror:
    """A mirror, in sync, that must not notice the slow one."""
    mirror.log = "/dev/ram6"
    zero(mirror.log)
    mirror.create()
    mirror.wait_in_sync()
    return mirror


def test_a_slow_log_leaves_the_other_mirror_most_of_its_speed(quick: Mirror, slow: Mirror) -> None:
    slow.create()
    slow.wait_in_sync()
    alone, beside = [], []
    with Writer(quick.device, blocks(quick.length * 512)) as writer:
        until("writes are under way", lambda: writer.count > 20)
        for _ in range(3):
            alone.append(writes_in(writer, _ROUND_SECONDS))
            with Writer(slow.device, blocks(slow.length * 512)):
                beside.append(writes_in(writer, _ROUND_SECONDS))
    print("writes alone", alone, "beside a slow log", beside)
    # the best round of each: a machine that is busy with something else takes from both
    assert max(beside) > max(alone) / 2
    for each in (quick, slow):
        each.compare()
        assert each.differing() == []


def test_a_log_that_takes_long_to_come_to_life_does_not_stop_the_others(
    quick: Mirror, slow: Mirror, daemon: Daemon
) -> None:
    with Writer(quick.device, blocks(quick.length * 512)) as writer:
        until("writes are under way", lambda: writer.count > 20)
        before, start = writer.count, daemon.mark()
        creation = subprocess.Popen(["dmsetup", "create", slow.name, "--table", slow.table()])
        assert creation.wait(60) == 0
        # five msyncs of 300 ms and more, each of which once held the interpreter's lock
        assert writer.count > before + 20
    assert ": live, " in daemon.said(start)
    slow.wait_in_sync()
    assert slow.differing() == []


def test_a_log_device_that_hangs_stops_its_own_mirror_only_even_when_the_worker_dies(
    quick: Mirror, slow: Mirror, daemon: Daemon
) -> None:
    slow.create()
    slow.wait_in_sync()
    slow.wait_clean()
    run("dmsetup", "suspend", "--noflush", "--nolockfs", "slowlog")
    since = len(run("dmesg").splitlines())
    with (
        Writer(slow.device, blocks(slow.length * 512)) as stuck,
        Writer(quick.device, blocks(quick.length * 512)) as writer,
    ):
        until("the other goes on", lambda: writer.count > 50)
        assert stuck.count == 0
        until("the kernel asks again", lambda: "timed out" in "".join(run("dmesg").splitlines()[since:]))
        worker, start = daemon.worker, daemon.mark()
        os.kill(worker, signal.SIGKILL)  # a thread of it sleeps in the kernel, and cannot be killed
        until("another worker serves", lambda: "took over" in daemon.said(start))
        with open(f"/proc/{worker}/stat") as stat:
            assert stat.read().rpartition(")")[2].split()[0] == "Z", "no thread of it was stuck"
        seen = writer.count
        until("the other goes on", lambda: writer.count > seen + 50)
        assert stuck.count == 0
        run("dmsetup", "resume", "slowlog")
        until("the stuck write ends", lambda: stuck.count > 3)
    for each, load in ((quick, writer), (slow, stuck)):
        assert each.in_sync_count() == each.region_count
        assert load.stale(each.device) == []
        each.compare()
        assert each.differing() == []
    # the stuck thread has come back: what was left of the old worker ends
    until("it is a zombie that holds nothing", lambda: not os.path.exists(f"/proc/{worker}/fd/0"))


def test_a_mirror_on_a_mirror_is_served_though_its_leg_waits_for_us_too(mirror: Mirror, daemon: Daemon) -> None:
    mirror.create()
    mirror.wait_in_sync()
    upper = Mirror("upper", [mirror.device, "/dev/ram4"], "/dev/ram6", f"{mirror.uuid}-upper", length=4096)
    zero(upper.log)
    try:
        upper.create()
        upper.wait_in_sync()
        with Writer(upper.device, blocks(upper.length * 512)) as writer:
            until("writes go through both", lambda: writer.count > 100)
        upper.wait_clean()  # its legs were flushed: one of them through the log that is served here
        assert writer.stale(upper.device) == []
        for each in (upper, mirror):
            each.compare()
            assert each.differing() == []
        upper.remove()
    finally:
        forget(upper.name)


def listens() -> bool:
    """Whether somebody is in group 7 of the netlink connector."""
    with open("/proc/net/netlink") as listed:
        return any(words[1] == "11" and int(words[3], 16) & 0x40 for words in map(str.split, list(listed)[1:]))


def child_of(pid: int) -> int:
    with open(f"/proc/{pid}/task/{pid}/children") as children:
        return int(children.read())


def test_a_reader_of_the_log_that_does_not_read_stops_nothing(mirror: Mirror, daemon: Daemon) -> None:
    daemon.stop()
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    while True:
        try:
            os.write(write_end, bytes(4096))
        except BlockingIOError:
            break
    os.set_blocking(write_end, True)
    deaf = subprocess.Popen(daemon.command, stderr=write_end)
    os.close(write_end)
    try:
        # its ready line does not come through; without a daemon a table is refused at once
        until("it listens", listens)
        for life in range(3):
            mirror.uuid = f"{mirror.uuid}-{life}"
            zero(mirror.log)
            mirror.create()
            mirror.wait_in_sync()
            mirror.write_some(life)
            mirror.remove()
        mirror.create()
        os.kill(child_of(deaf.pid), signal.SIGKILL)
        mirror.write_some(9)
        mirror.remove()
        assert mirror.differing() == []
        said = b""
        while b"destroyed" not in said:  # the second worker's; what the first had not written went with it
            said += os.read(read_end, 65536)
        assert b"a new one starts" in said
        deaf.terminate()
        assert deaf.wait(60) == 0
    finally:
        deaf.kill()
        deaf.wait()
        os.close(read_end)
