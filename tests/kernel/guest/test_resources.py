# SPDX-License-Identifier: LGPL-2.1-or-later
"""Nothing is left behind: descriptors, threads and memory stay what they were over many lives of logs."""

import os

from tests.kernel.guest.rig import Daemon, Mirror, fails, forget, run, until

_LIVES = 25


def used(daemon: Daemon) -> tuple[int, int]:
    """Descriptors and threads of the worker."""
    return len(os.listdir(f"/proc/{daemon.worker}/fd")), len(os.listdir(f"/proc/{daemon.worker}/task"))


def resident_kib(daemon: Daemon) -> int:
    with open(f"/proc/{daemon.worker}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


def test_many_lives_and_refusals_leak_nothing(mirror: Mirror, daemon: Daemon) -> None:
    before = memory = None
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
        if life == 6:
            until("the threads of the last log have ended", lambda: used(daemon)[1] <= 3)
            before, memory = used(daemon), resident_kib(daemon)
    assert before is not None
    assert memory is not None
    until("descriptors and threads are what they were", lambda: used(daemon) <= before)
    # a megabyte is what the allocator may keep; a leaked mapping or log a life is more
    assert resident_kib(daemon) - memory < 1024
