# SPDX-License-Identifier: LGPL-2.1-or-later
"""Nothing is left behind: descriptors, threads and memory stay what they were over many lives of logs."""

import os
import signal
import stat
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

from tests.kernel.guest.load import Writer, blocks
from tests.kernel.guest.rig import Daemon, Mirror, fails, forget, run, switch, until

_LIVES = 25
# what the first lives allocate once and for all is not counted
_WARM = 6
_SAMPLES = 10
_SLOW_SECONDS = 300
_AT_ONCE_KIB = 1024 + 256  # Python's allocator takes a mebibyte, and what is taken is locked
_MEMALLOC_NOIO = 0x00080000  # include/linux/sched.h; PR_SET_IO_FLUSHER sets it


def used(daemon: Daemon) -> tuple[int, int]:
    """Descriptors and threads of the worker."""
    return len(os.listdir(f"/proc/{daemon.worker}/fd")), len(os.listdir(f"/proc/{daemon.worker}/task"))


def resident_kib(daemon: Daemon) -> int:
    with open(f"/proc/{daemon.worker}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


def growths(memory: list[int]) -> list[int]:
    """Which samples are larger than the one before. The allocator takes memory by the mebibyte, a leak goes on."""
    return [number for number, (was, now) in enumerate(pairwise(memory), 1) if now > was]


def flags(pid: int) -> int:
    """The kernel's flags of a process (proc_pid_stat(5): the ninth field)."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[6])


def test_many_lives_and_refusals_leak_nothing(mirror: Mirror, daemon: Daemon) -> None:
    before: tuple[int, int] | None = None
    memory: list[int] = []
    for life in range(_LIVES):
        mirror.uuid = f"UUID-life-{life}"
        run("dd", "if=/dev/zero", f"of={mirror.log}", "bs=1M", "oflag=direct", "count=9", "status=none")
        mirror.create()
        if life % 5 == 0:
            mirror.load(mirror.table())
            mirror.resume()
        mirror.remove()
        if life % 5 == 1:
            fails("dmsetup", "create", "bad", "--table", mirror.table().replace(mirror.uuid, "UUID-wrong"))
            forget("bad")
        if life >= _WARM:
            until("the threads of the last log have ended", lambda: used(daemon)[1] <= 3)
            before = before or used(daemon)
            memory.append(resident_kib(daemon))
    assert before is not None
    until(
        "descriptors and threads are what they were",
        lambda: all(now <= was for now, was in zip(used(daemon), before, strict=True)),
    )
    # The allocator takes memory by the mebibyte, and when is its own affair (300 lives: twice, the last at life 32);
    # a mapping, a thread's stack or a bitmap left behind is locked pages more in every life.
    grew = growths(memory)
    assert len(grew) <= 3, f"it grew in {grew}: {memory} KiB"
    assert str(Path(mirror.log).resolve()) not in Path(f"/proc/{daemon.worker}/maps").read_text(), "still mapped"


_WATCHED = """
import os, sys
seen = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
from diskulog import cli
sys.addaudithook(
    lambda event, arguments: event in ("open", "import") and os.write(seen, f"{event} {arguments[0]}\\n".encode())
)
cli.main()
"""


def test_after_its_start_the_daemon_imports_nothing_and_opens_only_what_no_file_system_holds(
    mirror: Mirror, daemon: Daemon, tmp_path: Path
) -> None:
    # anything else may lie on a mirror that waits for the answer
    daemon.stop()
    seen = tmp_path / "opened"
    command = [sys.executable, "-c", _WATCHED, str(seen), *daemon.command[3:]]
    watched = subprocess.Popen(command, stderr=subprocess.PIPE)
    assert watched.stderr is not None
    try:
        while b"ready" not in watched.stderr.readline():
            assert watched.poll() is None
        started = seen.stat().st_size
        assert started, "the watch sees nothing"
        run("dmsetup", "create", "faulty", "--table", "0 8192 linear /dev/ram2 0")
        mirror.log = "/dev/mapper/faulty"
        mirror.create()
        mirror.wait_in_sync()
        mirror.write_some(1)
        mirror.wait_clean()
        mirror.suspend()
        mirror.resume()
        mirror.load(mirror.table())
        mirror.resume()
        fails("dmsetup", "create", "bad", "--table", mirror.table().replace(mirror.uuid, "UUID-wrong"))
        forget("bad")
        os.kill(int(Path(f"/proc/{watched.pid}/task/{watched.pid}/children").read_text()), signal.SIGKILL)
        mirror.write_some(2)
        mirror.features = ""  # dm ignores the failure, so that nothing has to be freed
        mirror.load(mirror.table())
        mirror.resume()
        switch("faulty", "0 8192 error")
        mirror.write_some(3)
        assert mirror.status().endswith(" D")
        switch("faulty", "0 8192 linear /dev/ram2 0")
        mirror.suspend()
        mirror.resume()
        assert mirror.status().endswith(" A")
        watched.terminate()
        assert b"Traceback" not in watched.stderr.read()
        assert watched.wait(60) == 0
        opened = seen.read_bytes()[started:].decode().splitlines()
        assert any("/dev/" in line for line in opened)
        allowed = ("open /dev/", "open /sys/", "open /proc/", "open /run/diskulog/")
        assert [line for line in opened if not line.startswith(allowed)] == []
    finally:
        watched.kill()
        watched.wait()
        watched.stderr.close()
        daemon.start()
        forget(mirror.name)
        forget("faulty")


def test_load_makes_the_worker_no_larger(mirror: Mirror, daemon: Daemon) -> None:
    mirror.create()
    mirror.wait_in_sync()
    memory: list[int] = []
    with Writer(mirror.device, blocks(mirror.length * 512)) as writer:
        until("everything was used once", lambda: writer.count > 300, seconds=_SLOW_SECONDS)
        for sample in range(_SAMPLES):
            goal = 300 + sample * 200
            until("it has worked", lambda goal=goal: writer.count > goal, seconds=_SLOW_SECONDS)
            memory.append(resident_kib(daemon))
    grew = growths(memory)
    assert len(grew) <= 2, f"it grew in {grew}: {memory} KiB"
    assert all(now - was <= _AT_ONCE_KIB for was, now in pairwise(memory)), memory
    for pid in (daemon.pid, daemon.worker):
        with open(f"/proc/{pid}/status") as status:
            fields = dict(line.split(":", 1) for line in status)
        assert fields["VmSwap"].split() == ["0", "kB"]
        locked, size = int(fields["VmLck"].split()[0]), int(fields["VmSize"].split()[0])
        assert locked > size / 2, f"memory of {pid} is not locked"
        assert flags(pid) & _MEMALLOC_NOIO, "it may wait for I/O to get memory"
    with open(f"/proc/{daemon.worker}/oom_score_adj") as score:
        assert int(score.read()) == -1000


def test_nobody_but_root_reads_or_changes_what_the_daemon_keeps(mirror: Mirror, daemon: Daemon) -> None:
    mirror.word = "core"
    mirror.create()
    mirror.wait_in_sync()
    run_directory = Path("/run/diskulog")
    assert stat.S_IMODE(run_directory.stat().st_mode) == 0o755
    control = run_directory / "control.sock"
    kept = [path for path in run_directory.rglob("*") if path != control]
    assert kept, "the daemon kept nothing to look at"
    for path in kept:
        assert path.stat().st_uid == 0
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path
    # The one door for others: the group may ask, nobody else, and asking changes nothing (contract).
    assert stat.S_ISSOCK(control.stat().st_mode)
    assert control.stat().st_uid == 0
    assert stat.S_IMODE(control.stat().st_mode) == 0o660
