# SPDX-License-Identifier: LGPL-2.1-or-later
"""A program for a guest with systemd: the daemon is a service, and a file system on a mirror is in use all the time.

Lives here: the steps, one after the other, and what must be true after each. Does not know the VM around it
(``test_systemd``), but that the units are installed, that /dev/vda and /dev/vdb are blank legs, /dev/vdc and /dev/vdd
blank logs, and that the mirrortab lists both mirrors. With the argument ``again`` it is the next boot with these disks.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tests.kernel.guest.rig import Mirror, run, until

SERVICE = "diskulog.service"
_MOUNT = "/home/mirror"  # below what ProtectHome would put something over
_SLOW_SECONDS = 180  # a start of Python under emulation on a machine that does other things, too
_KERNEL_SECONDS = 14  # it waits 15 for an answer
_HALF = 8 * 2048
MIRROR = Mirror("inuse", ["/dev/vda", "/dev/vdb"], "/dev/vdc", "UUID-inuse", length=_HALF, options="nosync")
HELD = replace(MIRROR, name="held", log="/dev/vdd", uuid="UUID-held", leg_start=_HALF)
# what systemd does not stop, but kills at the very end
_HOLDER = """
[Service]
KillMode=none
ExecStart=/bin/sh -c 'exec 3<>/dev/mapper/held; while dd if=/dev/zero of=/dev/fd/3 bs=4k count=1 conv=fsync; \
do sleep 0.2; done'
"""
# a service of its own, as a database would be: it is stopped before the file system is unmounted
_WRITER = """
[Service]
Environment=LC_ALL=C
ExecStart=/bin/sh -c 'while dd if=/dev/zero of={mount}/written bs=4k count=16 conv=notrunc,fsync 2>/dev/null; \
do n=$((n + 1)); echo $n >/run/writes.new; mv /run/writes.new /run/writes; done; echo failed >/run/writes'
[Unit]
RequiresMountsFor={mount}
"""


def show(*properties: str, unit: str = SERVICE) -> list[str]:
    found = dict(line.split("=", 1) for line in run("systemctl", "show", unit).splitlines() if "=" in line)
    return [found[name] for name in properties]


def main_pid() -> int:
    return int(show("MainPID")[0])


def worker() -> int:
    """The supervisor's child; 0 while there is none."""
    pid = main_pid()
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0
    return int(children[0]) if children else 0


def written() -> int:
    return int(Path("/run/writes").read_text())


def goes_on() -> None:
    """Writes that began after now reach both legs."""
    before = written()
    until("writes go on", lambda: written() > before + 1, _SLOW_SECONDS)


def a_new_daemon(before: int) -> None:
    until(
        "a new daemon serves",
        lambda: main_pid() not in (0, before) and show("ActiveState") == ["active"],
        _SLOW_SECONDS,
    )


def complaints(since: int, but: tuple[str, ...] = ()) -> list[str]:
    words = {"timed out", "not found", "Attempting to contact", "Insufficient space", "blocked for more than"}
    return [line for line in run("dmesg").splitlines()[since:] if any(word in line for word in words - {*but})]


def now() -> int:
    return len(run("dmesg").splitlines())


# -- the steps -----------------------------------------------------------------------------------------------------


def at_boot_the_daemon_was_ready_then_came_the_mirrors_and_then_file_systems() -> None:
    assert show("ActiveState", "SubState", "NRestarts") == ["active", "running", "0"]
    order = [SERVICE, "diskulog-assemble.service", "local-fs-pre.target"]
    reached = [int(show("ActiveEnterTimestampMonotonic", unit=unit)[0]) for unit in order]
    assert all(reached), reached
    assert reached == sorted(reached)
    assert MIRROR.in_sync_count() == MIRROR.region_count
    assert show("ActiveState", unit="diskulog-deactivate.service") == ["active"]
    journal = run("journalctl", "-b", "-u", SERVICE, "-o", "cat")
    assert "ready, version" in journal, journal
    assert "cycle" not in run("journalctl", "-b", "_PID=1", "-o", "cat")


def the_daemon_has_what_the_unit_gives_it() -> None:
    assert "diskulog:" in Path("/etc/group").read_text()
    assert Path("/run/diskulog").stat().st_mode & 0o7777 == 0o755
    socket = Path("/run/diskulog/control.sock")
    assert socket.stat().st_mode & 0o7777 == 0o660
    assert socket.group() == "diskulog"
    limits = Path(f"/proc/{worker()}/limits").read_text().splitlines()
    assert [line.split()[-3:] for line in limits if "locked memory" in line] == [["unlimited", "unlimited", "bytes"]]
    assert Path(f"/proc/{worker()}/oom_score_adj").read_text() == "-1000\n"
    run("systemctl", "reload", SERVICE)
    until("it reads its configuration", lambda: "was read again" in run("journalctl", "-b", "-u", SERVICE, "-o", "cat"))


def a_start_returns_when_requests_are_answered() -> None:
    run("systemctl", "stop", SERVICE)
    assert show("ActiveState", "Result") == ["inactive", "success"]
    run("systemctl", "start", SERVICE, timeout=_SLOW_SECONDS)
    assert MIRROR.in_sync_count() == MIRROR.region_count


def a_file_system_on_a_mirror_is_in_use() -> None:
    run("mkfs.ext4", "-q", MIRROR.device)
    Path(_MOUNT).mkdir()
    run("mount", MIRROR.device, _MOUNT)
    Path("/run/writes").write_text("0\n")
    Path("/run/systemd/system/writer.service").write_text(_WRITER.format(mount=_MOUNT))
    run("systemctl", "daemon-reload")
    run("systemctl", "start", "writer.service")
    goes_on()


def a_killed_worker_is_replaced() -> None:
    before, main = worker(), main_pid()
    os.kill(before, signal.SIGKILL)
    until("a new worker", lambda: worker() not in (0, before))
    goes_on()
    assert main_pid() == main


def a_restart_under_load_loses_no_request() -> None:
    since, before, begun = now(), main_pid(), time.monotonic()
    run("systemctl", "restart", SERVICE, timeout=_SLOW_SECONDS)
    took = time.monotonic() - begun
    goes_on()
    assert main_pid() != before
    # without the socket in systemd's hands "server not found" is said at once. A machine that needs longer to start
    # Python than the kernel waits for an answer asks once more, and that is answered
    assert complaints(since, but=("timed out",) if took > _KERNEL_SECONDS else ()) == []
    assert show("NRestarts") == ["0"]


def a_killed_daemon_comes_back() -> None:
    before = main_pid()
    os.kill(before, signal.SIGKILL)
    a_new_daemon(before)
    goes_on()
    assert show("NRestarts") == ["1"]


def a_worker_that_hangs_is_replaced_by_the_supervisor() -> None:
    before, main = worker(), main_pid()
    os.kill(before, signal.SIGSTOP)
    until("a new worker", lambda: worker() not in (0, before))
    goes_on()
    assert main_pid() == main


def a_supervisor_that_hangs_is_replaced_by_systemd() -> None:
    before = main_pid()
    os.kill(before, signal.SIGSTOP)
    a_new_daemon(before)
    goes_on()
    assert "watchdog" in run("journalctl", "-b", "_PID=1", "-u", SERVICE, "-o", "cat").lower()


def the_machine_is_switched_off_with_the_mirror_in_use() -> None:
    goes_on()
    Path("/run/systemd/system/holder.service").write_text(_HOLDER)
    run("systemctl", "daemon-reload")
    run("systemctl", "start", "holder.service")
    run("systemctl", "poweroff", "--no-block")
    time.sleep(600)  # until we are stopped


def at_the_next_boot_both_are_there_and_nothing_is_copied() -> None:
    said = run("journalctl", "-b", "-u", SERVICE, "-o", "cat")
    # a writer is killed at the very end, and leaves the region dirty in which it wrote
    for mirror, dirty_at_most in ((MIRROR, 0), (HELD, 1)):
        assert " userspace " in run("dmsetup", "table", mirror.name)
        live = re.search(rf"log {mirror.uuid}: live, (\d+) of {mirror.region_count} regions in sync", said)
        assert live, said
        assert int(live[1]) >= mirror.region_count - dirty_at_most, said
        mirror.wait_in_sync()
    run("e2fsck", "-fn", MIRROR.device)


AGAIN: list[Callable[[], None]] = [at_the_next_boot_both_are_there_and_nothing_is_copied]
STEPS: list[Callable[[], None]] = [
    at_boot_the_daemon_was_ready_then_came_the_mirrors_and_then_file_systems,
    the_daemon_has_what_the_unit_gives_it,
    a_start_returns_when_requests_are_answered,
    a_file_system_on_a_mirror_is_in_use,
    a_killed_worker_is_replaced,
    a_restart_under_load_loses_no_request,
    a_killed_daemon_comes_back,
    a_worker_that_hangs_is_replaced_by_the_supervisor,
    a_supervisor_that_hangs_is_replaced_by_systemd,
    the_machine_is_switched_off_with_the_mirror_in_use,
]


def tell(step: Callable[[], None], seconds: float, wrong: str) -> None:
    print(json.dumps({"step": step.__name__, "seconds": round(seconds, 1), "wrong": wrong}), flush=True)


def main() -> None:
    again = "again" in sys.argv
    for step in AGAIN if again else STEPS[:-1]:
        begun = time.monotonic()
        try:
            step()
        except (AssertionError, OSError, ValueError, subprocess.SubprocessError):
            tell(step, time.monotonic() - begun, traceback.format_exc() + run("journalctl", "-b", "-n", "60"))
        else:
            tell(step, time.monotonic() - begun, "")
    if not again:
        STEPS[-1]()


if __name__ == "__main__":
    sys.exit(main())
