# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whatever one mirror, one device or one reader of the log waits for, the others do not wait for it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from tests.kernel.guest.load import Writer, blocks, writes_in
from tests.kernel.guest.rig import Daemon, Mirror, forget, run, scramble, switch, until, zero

_ROUND_SECONDS = 1.5
_HANG_SECONDS = 30


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


def keeps_half_of_its_speed(
    writer: Writer, meanwhile: Callable[[], AbstractContextManager[object]], pairs: int = 10
) -> None:
    """Measure alone and beside something, in turn; a machine that is busy with other things spoils some pairs."""
    seen: list[tuple[int, int]] = []
    for _ in range(pairs):
        alone = writes_in(writer, _ROUND_SECONDS)
        with meanwhile():
            beside = writes_in(writer, _ROUND_SECONDS)
        seen.append((alone, beside))
        if beside > alone / 2:
            break
    else:
        raise AssertionError(f"writes alone and beside: {seen}")
    print("writes alone and beside:", seen)


def test_a_slow_log_leaves_the_other_mirror_most_of_its_speed(quick: Mirror, slow: Mirror) -> None:
    slow.create()
    slow.wait_in_sync()
    with Writer(quick.device, blocks(quick.length * 512)) as writer:
        until("writes are under way", lambda: writer.count > 20)
        keeps_half_of_its_speed(writer, lambda: Writer(slow.device, blocks(slow.length * 512)))
    for each in (quick, slow):
        each.compare()
        assert each.differing() == []


def test_a_log_that_takes_long_to_come_to_life_does_not_stop_the_others(
    quick: Mirror, slow: Mirror, daemon: Daemon
) -> None:
    usual = run("dmsetup", "table", "slowlog").strip()
    switch("slowlog", f"{usual.removesuffix('300')}1000")
    with Writer(quick.device, blocks(quick.length * 512)) as writer:
        until("writes are under way", lambda: writer.count > 20)
        before, start = writer.count, daemon.mark()
        creation = subprocess.Popen(["dmsetup", "create", slow.name, "--table", slow.table()])
        assert creation.wait(60) == 0
        # five msyncs of 1000 ms and more, each of which once held the interpreter's lock
        assert writer.count > before + 20
    switch("slowlog", usual)
    daemon.says(": live, ", start)
    slow.wait_in_sync()
    assert slow.differing() == []


def test_a_log_device_that_hangs_stops_its_own_mirror_only_even_when_the_worker_dies(
    quick: Mirror, slow: Mirror, daemon: Daemon
) -> None:
    slow.create()
    slow.wait_in_sync()
    slow.wait_clean()
    workers: list[int] = []
    loads: list[Writer] = []

    @contextmanager
    def hanging() -> Iterator[None]:
        run("dmsetup", "suspend", "--noflush", "--nolockfs", "slowlog")
        since, begun, seen = len(run("dmesg").splitlines()), time.monotonic(), writer.count
        with Writer(slow.device, blocks(slow.length * 512)) as stuck:
            until("the other goes on", lambda: writer.count > seen + 50)
            assert stuck.count == 0
            until("the kernel asks again", lambda: "timed out" in "".join(run("dmesg").splitlines()[since:]))
            worker, start = daemon.worker, daemon.mark()
            os.kill(worker, signal.SIGKILL)  # a thread of it sleeps in the kernel, and cannot be killed
            until("another worker serves", lambda: "took over" in daemon.said(start))
            with open(f"/proc/{worker}/stat") as stat:
                assert stat.read().rpartition(")")[2].split()[0] == "Z", "no thread of it was stuck"
            seen = writer.count
            until("the other goes on", lambda: writer.count > seen + 50)
            time.sleep(max(0.0, begun + _HANG_SECONDS - time.monotonic()))
            yield
            assert stuck.count == 0
            run("dmsetup", "resume", "slowlog")
            until("the stuck write ends", lambda: stuck.count > 3)
        workers.append(worker)
        loads.append(stuck)

    with Writer(quick.device, blocks(quick.length * 512)) as writer:
        until("writes are under way", lambda: writer.count > 20)
        keeps_half_of_its_speed(writer, hanging, pairs=5)
    for each, load in ((quick, writer), (slow, loads[-1])):
        assert each.in_sync_count() == each.region_count
        assert load.stale(each.device) == []
        each.compare()
        assert each.differing() == []
    # the stuck thread has come back: what was left of the old worker ends
    for worker in workers:
        until("it is a zombie that holds nothing", lambda pid=worker: not os.path.exists(f"/proc/{pid}/fd/0"))


_ASKING = """
import sys, time
from pathlib import Path
from diskulog.control import client
socket = Path("/run/diskulog/control.sock")
deaf = [client.events(socket, 256) for _ in range(8)]
for each in deaf:
    next(each)  # and never again
print("begun", flush=True)
while True:
    client.status(socket)
    time.sleep(0.05)
"""


@pytest.fixture
def asking(mirror: Mirror) -> Iterator[subprocess.Popen[str]]:
    """Somebody who asks 20 times a second, and eight who want to be told of events and do not read them; stopped."""
    mirror.create()  # an event that each of them is told
    with subprocess.Popen([sys.executable, "-c", _ASKING], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "begun\n"
            process.send_signal(signal.SIGSTOP)
            yield process
        finally:
            process.kill()


def test_whoever_asks_takes_little_of_a_mirrors_speed(mirror: Mirror, asking: subprocess.Popen[str]) -> None:
    @contextmanager
    def asked() -> Iterator[None]:
        asking.send_signal(signal.SIGCONT)
        yield
        asking.send_signal(signal.SIGSTOP)

    mirror.wait_in_sync()
    since = len(run("dmesg").splitlines())
    with Writer(mirror.device, blocks(mirror.length * 512)) as writer:
        until("writes are under way", lambda: writer.count > 20)
        keeps_half_of_its_speed(writer, asked)
    assert asking.poll() is None
    assert [line for line in run("dmesg").splitlines()[since:] if "timed out" in line] == []


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
