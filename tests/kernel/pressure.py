# SPDX-License-Identifier: LGPL-2.1-or-later
"""A program for a guest with little memory: a file system on a mirror is written to until memory runs out.

Lives here: the pressure, and what must be true under it. Does not know the VM around it (``test_pressure``), but that
/dev/vda and /dev/vdb are blank legs, and /dev/vdc a blank log device.
"""

import os
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

from tests.kernel.guest.rig import Daemon, Mirror, run, until

_LEG_SECTORS = 128 * 2048
_KEPT_FREE_KIB = 32 * 1024
_FILES, _FILE_MIB = 4, 12
_ROUNDS_BEFORE, _ROUNDS = 3, 8
_AT_ONCE_KIB = 1024 + 256  # Python's allocator takes a mebibyte, and what is taken is locked
_HOG = """
import os, sys, time
held = []
def available():
    with open("/proc/meminfo") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
open("/proc/self/oom_score_adj", "w").write("-500")
while available() > int(sys.argv[1]):
    held.append(bytearray(os.urandom(1 << 20)))
print(len(held), flush=True)
time.sleep(1000)
"""


def major_faults(pid: int) -> int:
    """Page faults of a process that had to read something."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[9])


def resident_kib(pid: int) -> int:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status["VmRSS"].split()[0])


def write_files(directory: str) -> None:
    """Write more than is kept free, several files at once, and wait until it is on the mirror."""
    jobs = [
        subprocess.Popen(
            ["dd", "if=/dev/zero", f"of={directory}/{number}", "bs=64k", f"count={_FILE_MIB * 16}", "conv=fsync"],
            stderr=subprocess.DEVNULL,
        )
        for number in range(_FILES)
    ]
    assert [job.wait() for job in jobs] == [0] * _FILES


def main() -> None:
    daemon = Daemon(Path(tempfile.mkdtemp(dir="/run")))
    daemon.start()
    mirror = Mirror("pressed", ["/dev/vda", "/dev/vdb"], "/dev/vdc", "UUID-pressed", length=_LEG_SECTORS)
    mirror.region_size, mirror.options = 1024, "nosync"  # the legs are blank: they agree
    mirror.create()
    run("mkfs.ext4", "-q", mirror.device)
    run("mount", "-t", "ext4", mirror.device, "/mnt")
    worker, processes = daemon.worker, (daemon.pid, daemon.worker)
    for _ in range(_ROUNDS_BEFORE):
        write_files("/mnt")
    since = len(run("dmesg").splitlines())
    hog = subprocess.Popen([sys.executable, "-c", _HOG, str(_KEPT_FREE_KIB)], stdout=subprocess.PIPE, text=True)
    assert hog.stdout is not None
    held_mib = int(hog.stdout.readline())
    Path("/proc/sys/vm/drop_caches").write_text("3")
    faults, resident = [major_faults(pid) for pid in processes], [resident_kib(worker)]
    for _ in range(_ROUNDS):
        write_files("/mnt")
        resident.append(resident_kib(worker))
    assert [major_faults(pid) for pid in processes] == faults, "the daemon waited for a page"
    # once in a while that is the allocator's affair; a leak grows on
    grew = [now - was for was, now in pairwise(resident) if now > was]
    assert len(grew) <= 2, f"the worker grew: {resident} KiB"
    assert all(each <= _AT_ONCE_KIB for each in grew), resident
    assert daemon.worker == worker
    hog.kill()
    lines = run("dmesg").splitlines()[since:]
    bad = ("timed out", "not found", "blocked for more than", "Insufficient space")
    assert not [line for line in lines if any(words in line for words in bad)], lines
    run("umount", "/mnt")
    mirror.wait_clean()
    mirror.remove()
    run("cmp", *mirror.legs)
    run("fsck.ext4", "-fn", mirror.legs[1])
    until("the daemon ends", lambda: daemon.stop() == 0)
    print(f"held {held_mib} MiB, worker {resident[-1]} KiB, {os.cpu_count()} processors: well")


if __name__ == "__main__":
    main()
