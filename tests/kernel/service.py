# SPDX-License-Identifier: LGPL-2.1-or-later
"""Inside a guest with systemd: the daemon as a service, a file system on a mirror in use, steps that are told outside.

Lives here: what every program of such a guest asks and does. Does not know any of their steps.
"""

import json
import subprocess
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from tests.kernel.guest.rig import Mirror, run, until
from tests.kernel.patience import SLOW_SECONDS

SERVICE = "diskulog.service"
_MOUNT = "/home/mirror"  # below what ProtectHome would put something over
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
    until("writes go on", lambda: written() > before + 1, SLOW_SECONDS)


def a_new_daemon(before: int) -> None:
    until(
        "a new daemon serves",
        lambda: main_pid() not in (0, before) and show("ActiveState") == ["active"],
        SLOW_SECONDS,
    )


def complaints(since: int, but: tuple[str, ...] = ()) -> list[str]:
    words = {"timed out", "not found", "Attempting to contact", "Insufficient space", "blocked for more than"}
    return [line for line in run("dmesg").splitlines()[since:] if any(word in line for word in words - {*but})]


def now() -> int:
    return len(run("dmesg").splitlines())


def writes_begin(mirror: Mirror) -> None:
    """Make a file system on a mirror and have a service write to it, until it is stopped or a write fails."""
    run("mkfs.ext4", "-q", mirror.device)
    Path(_MOUNT).mkdir()
    run("mount", mirror.device, _MOUNT)
    Path("/run/writes").write_text("0\n")
    Path("/run/systemd/system/writer.service").write_text(_WRITER.format(mount=_MOUNT))
    run("systemctl", "daemon-reload", timeout=SLOW_SECONDS)
    run("systemctl", "start", "writer.service", timeout=SLOW_SECONDS)
    goes_on()


def writes_end() -> None:
    """Stop the writer, and unmount."""
    run("systemctl", "stop", "writer.service", timeout=SLOW_SECONDS)
    run("umount", _MOUNT, timeout=SLOW_SECONDS)


def tell(step: Callable[[], None], seconds: float, wrong: str) -> None:
    print(json.dumps({"step": step.__name__, "seconds": round(seconds, 1), "wrong": wrong}), flush=True)


def do(steps: list[Callable[[], None]]) -> None:
    """Do one step after the other, and tell what was wrong with each: a line of JSON, read outside."""
    for step in steps:
        begun = time.monotonic()
        try:
            step()
        except (AssertionError, OSError, ValueError, subprocess.SubprocessError):
            tell(step, time.monotonic() - begun, traceback.format_exc() + run("journalctl", "-b", "-n", "60"))
        else:
            tell(step, time.monotonic() - begun, "")
