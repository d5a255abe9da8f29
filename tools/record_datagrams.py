#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Records the datagrams of a real kernel for tests/data: a second listener beside the daemon, while mirrors live.

Lives here: the recipe of tests/data/datagrams-*.txt. Does not know what the datagrams mean. Run in the guest:
tools/vm --share tests/data -- .venv/bin/python tools/record_datagrams.py tests/data/datagrams-6.12.txt
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_TABLE = "0 1024 mirror userspace {words} disk /dev/ram2 256 2 /dev/ram0 0 /dev/ram1 0 1 handle_errors"
_PLAIN = _TABLE.format(words="4 UUID-plain")
_LONG = "0 16384 mirror userspace 4 UUID-long disk /dev/ram2 32 2 /dev/ram0 0 /dev/ram1 0 1 handle_errors"
_INTEGRATED = _TABLE.format(words="5 UUID-integrated integrated_flush")


def sh(command: str) -> None:
    """Run a shell command that must succeed."""
    subprocess.run(command, shell=True, check=True, stdout=subprocess.DEVNULL)


def serve(directory: Path) -> subprocess.Popen[bytes]:
    """Start a daemon and wait until it is ready."""
    log = directory / f"log-{time.monotonic_ns()}"
    with log.open("wb") as out:
        daemon = subprocess.Popen([sys.executable, "-m", "diskulog", "serve"], stderr=out)
    while "ready" not in log.read_text():
        if daemon.poll() is not None:
            sys.exit(log.read_text())
        time.sleep(0.1)
    return daemon


def main() -> None:
    """Record one life of two mirrors."""
    sh("modprobe brd rd_nr=3 rd_size=16384")
    directory = Path(tempfile.mkdtemp())
    daemon = serve(directory)
    listener = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 11)
    listener.bind((0, 0))
    listener.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)
    listener.setsockopt(270, 1, 7)
    for name, table in (("plain", _PLAIN), ("integrated", _INTEGRATED)):
        sh(f"dmsetup create {name} --table '{table}'")
        sh("sleep 2")
        sh(f"dmsetup status {name}")
        sh(f"dd if=/dev/zero of=/dev/mapper/{name} bs=64k count=4 oflag=direct status=none")
        sh("sleep 5")
        sh(f"dmsetup load {name} --table '{table}' && dmsetup resume {name}")
        sh(f"dmsetup suspend {name} && dmsetup resume {name}")
        sh(f"dmsetup remove {name}")
        sh("dd if=/dev/zero of=/dev/ram2 bs=1M count=16 oflag=direct status=none")
    seen = drain(listener)
    sh(f"dmsetup create long --table '{_LONG}'")
    sh("dd if=/dev/zero of=/dev/mapper/long bs=4k count=4 seek=2000 oflag=direct status=none")  # while it resyncs
    sh("dmsetup remove long; dd if=/dev/zero of=/dev/ram2 bs=1M count=16 oflag=direct status=none")
    # of this one only what the others never ask: DM_ULOG_IS_REMOTE_RECOVERING
    seen += [datagram for datagram in drain(listener) if datagram[188] == 17]
    sh(f"dmsetup create again --table '{_INTEGRATED}'")
    sh("sleep 2")
    daemon.send_signal(signal.SIGKILL)
    daemon.wait()
    status = subprocess.Popen(["dmsetup", "status", "again"], stdout=subprocess.DEVNULL)
    time.sleep(1)
    # a daemon refuses to start beside a listener that could answer, so this one leaves and comes back
    seen += drain(listener)
    listener.close()
    listener = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 11)
    listener.bind((0, 0))
    daemon = serve(directory)
    listener.setsockopt(270, 1, 7)
    status.wait()
    sh("dd if=/dev/zero of=/dev/mapper/again bs=4k count=1 oflag=direct status=none")
    sh("dmsetup remove again")
    seen += drain(listener)
    daemon.terminate()
    daemon.wait()
    Path(sys.argv[1]).write_text("".join(f"{datagram.hex()}\n" for datagram in dict.fromkeys(seen)))
    print(f"{len(seen)} datagrams of {os.uname().release}")


def drain(listener: socket.socket) -> list[bytes]:
    """Take everything that has come."""
    seen = []
    while True:
        try:
            seen.append(listener.recv(4096, socket.MSG_DONTWAIT))
        except BlockingIOError:
            return seen


if __name__ == "__main__":
    main()
