# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the daemon may do, what it must, and who else is on the netlink group."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.kernel.guest.rig import Daemon, Mirror

_NEEDED = ("sys_admin", "net_admin", "ipc_lock", "sys_resource")
_LISTEN = """
import os, socket, sys, time
if len(sys.argv) > 1: os.setgroups([]); os.setgid(65534); os.setuid(65534)
listener = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 11)
listener.bind((0, 0))
try: listener.setsockopt(270, 1, 7)
except PermissionError: print("not allowed", flush=True); sys.exit()
print("joined", flush=True)
time.sleep(1000)
"""


def serve_with(daemon: Daemon, capabilities: tuple[str, ...]) -> subprocess.Popen[str]:
    keep = ",".join(["-all", *(f"+{name}" for name in capabilities)])
    command = ["setpriv", f"--bounding-set={keep}", f"--inh-caps={keep}"]
    command += [sys.executable, "-m", "diskulog", "serve", "--config", str(daemon.config)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


@contextmanager
def listener(*arguments: str) -> Iterator[str]:
    process = subprocess.Popen([sys.executable, "-c", _LISTEN, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


def test_four_capabilities_are_enough(mirror: Mirror, daemon: Daemon) -> None:
    daemon.stop()
    limited = serve_with(daemon, _NEEDED)
    assert limited.stderr is not None
    assert "ready" in limited.stderr.readline()
    mirror.create()
    mirror.wait_in_sync()
    mirror.write_some(1)
    mirror.compare()
    mirror.wait_clean()
    mirror.remove()
    limited.send_signal(signal.SIGTERM)
    assert limited.wait(60) == 0
    assert "FAILED" not in limited.stderr.read()
    limited.stderr.close()


@pytest.mark.parametrize("missing", _NEEDED)
def test_a_capability_that_is_missing_is_named(daemon: Daemon, missing: str) -> None:
    limited = serve_with(daemon, tuple(name for name in _NEEDED if name != missing))
    said = limited.communicate(timeout=60)[1]
    assert limited.returncode == 7
    assert said.count("is missing") == 1
    assert f"CAP_{missing.upper()} is missing" in said


def test_another_network_namespace_is_named(daemon: Daemon) -> None:
    command = ["unshare", "--net", sys.executable, "-m", "diskulog", "serve"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 7
    assert "initial network namespace" in done.stderr


def test_a_listener_that_could_answer_is_refused(daemon: Daemon) -> None:
    daemon.stop()
    with listener() as said:
        assert said == "joined"
        done = subprocess.run(
            [sys.executable, "-m", "diskulog", "serve"], capture_output=True, text=True, timeout=60, check=False
        )
    assert done.returncode == 4
    assert "may answer requests" in done.stderr
    assert "ready" not in done.stderr


def test_a_listener_that_cannot_answer_is_named(daemon: Daemon) -> None:
    daemon.stop()
    with listener("nobody") as said:
        start = daemon.mark()
        daemon.start()
        if said == "joined":
            daemon.says("listens on netlink group 7", start)
        # kernels before 6.6 let nobody join
        assert ("listens on netlink group 7" in daemon.said(start)) == (said == "joined")
        assert said == "joined" or tuple(map(int, os.uname().release.split(".")[:2])) < (6, 6)


def test_the_socket_is_in_group_7_and_in_no_other(daemon: Daemon) -> None:
    ours = f"socket:[{next(os.stat(f'/proc/{daemon.pid}/fd/{fd}').st_ino for fd in sockets(daemon.pid))}]"
    inode = ours.split("[")[1][:-1]
    with open("/proc/net/netlink") as listed:
        lines = [line.split() for line in listed]
    assert [line[3] for line in lines if line[-1] == inode] == ["00000040"]


def sockets(pid: int) -> list[str]:
    folder = f"/proc/{pid}/fd"
    return [fd for fd in os.listdir(folder) if os.readlink(f"{folder}/{fd}").startswith("socket:")]
