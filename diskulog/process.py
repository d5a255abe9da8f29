# SPDX-License-Identifier: LGPL-2.1-or-later
"""This process under the file systems: privileges, locked memory, the word to systemd.

Lives here: capabilities, mlockall, PR_SET_IO_FLUSHER, NOTIFY_SOCKET, this boot's name. Does not know logs or requests.
"""

import ctypes
import fcntl
import gc
import mmap
import os
import signal
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from diskulog.errors import RefusedError

# capability number (linux/capability.h), and what it is needed for
_NEEDED: Final = {
    "CAP_NET_ADMIN": (12, "joins the netlink group and sets its receive buffer"),
    "CAP_IPC_LOCK": (14, "locks memory, so that answering never waits for a page"),
    "CAP_SYS_ADMIN": (21, "without it the kernel drops every reply unread"),
    "CAP_SYS_RESOURCE": (24, "marks the daemon as part of the I/O path (PR_SET_IO_FLUSHER)"),
}
_CAP_SYS_ADMIN: Final = 21
_CAPABILITY_VERSION: Final = 0x20080522  # linux/capability.h, _LINUX_CAPABILITY_VERSION_3: two words of each set
_PR_SET_IO_FLUSHER: Final = 57
_PR_SET_PDEATHSIG: Final = 1
_MCL_CURRENT_AND_FUTURE: Final = 3
_FIRST_PASSED: Final = 3  # SD_LISTEN_FDS_START
_OOM_SCORE: Final = Path("/proc/self/oom_score_adj")
_NEVER: Final = "-1000"
_STAT: Final = Path("/proc/self/stat")
_ARG_START: Final = 48 - 3  # proc_pid_stat(5) counts from 1, and what stands behind the name begins with field 3
# Locked memory is resident: a thread's default stack of 8 MiB would be too.
_STACK_BYTES: Final = 256 * 1024
_libc: Final = ctypes.CDLL(None, use_errno=True)


def missing_privileges(status: Path = Path("/proc/self/status")) -> list[str]:
    """List what this process may not do and must, a line each; empty when all is well."""
    fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
    effective = int(fields["CapEff"].strip(), 16)
    lines = [f"{name} is missing: it {why}" for name, (bit, why) in _NEEDED.items() if not effective >> bit & 1]
    # the connector talks to the initial network namespace only (connector.c, cn_init)
    try:
        if not os.path.samefile("/proc/self/ns/net", "/proc/1/ns/net"):  # noqa: PTH121 - these are magic links
            lines.append("this is not the initial network namespace: the kernel's requests do not arrive here")
    except OSError:
        pass  # process 1 is not ours to look at; a missing capability will have said more
    return lines


def become_io_path() -> None:
    """Lock all memory, keep the kernel from writing to a mirror to give us some, and the OOM killer from choosing us.

    Call before any thread starts: PR_SET_IO_FLUSHER is inherited, not shared. Raises OSError.
    """
    threading.stack_size(_STACK_BYTES)
    _OOM_SCORE.write_text(_NEVER)
    _check(_libc.prctl(_PR_SET_IO_FLUSHER, 1, 0, 0, 0), "PR_SET_IO_FLUSHER")
    gc.collect()
    gc.freeze()
    _check(_libc.mlockall(_MCL_CURRENT_AND_FUTURE), "mlockall")


def give_up_answering() -> None:
    """Drop CAP_SYS_ADMIN for good: the kernel takes no reply of this process, and a daemon may start beside it.

    Raises OSError.
    """
    header = struct.pack("=Ii", _CAPABILITY_VERSION, 0)
    sets = ctypes.create_string_buffer(24)  # effective, permitted, inheritable, twice
    _check(_libc.capget(header, sets), "capget")
    first = [word & ~(1 << _CAP_SYS_ADMIN) for word in struct.unpack_from("=3I", sets)]
    struct.pack_into("=3I", sets, 0, *first)
    _check(_libc.capset(header, sets), "capset")


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends: two daemons must never answer. Raises OSError."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "PR_SET_PDEATHSIG")
    if os.getppid() != parent:  # it ended before the kernel knew
        os._exit(1)


def survive_last_kill() -> None:
    """Have systemd spare this process and its later children when it kills what is left before the last unmount.

    It spares a process of root's whose name begins with @ ("Storage Daemons for the Root File System"). Raises OSError.
    """
    fields = _STAT.read_text().rpartition(")")[2].split()
    ctypes.memset(int(fields[_ARG_START]), ord("@"), 1)


def shared_memory(length_bytes: int) -> memoryview:
    """Return memory that a child sees as its parent does, zero at first."""
    return memoryview(mmap.mmap(-1, length_bytes))


def _check(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def claim(run_directory: Path) -> int:
    """Be the only daemon: create the run directory and lock a file in it; the descriptor keeps the lock.

    Raises:
        RefusedError: another daemon holds it.
        OSError: the directory cannot be made.
    """
    run_directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    fd = os.open(run_directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise RefusedError("daemon", f"another one holds {run_directory / 'lock'}", "stop it first") from None
    return fd


def boot_id() -> bytes:
    """Return the 16 bytes that name this boot."""
    text = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return bytes.fromhex(text.replace("-", ""))


def kept_memory(length_bytes: int) -> tuple[int, memoryview]:
    """Return the same behind a descriptor, so that it can outlive this process where somebody keeps that."""
    fd = os.memfd_create("diskulog", os.MFD_CLOEXEC)
    os.ftruncate(fd, length_bytes)
    return fd, mapped_memory(fd)


def mapped_memory(fd: int) -> memoryview:
    """Map memory that a descriptor stands for; raises OSError or ValueError where it is none."""
    return memoryview(mmap.mmap(fd, 0))


def passed_descriptors() -> dict[str, int]:
    """Take what systemd kept for us over a restart, by name (sd_listen_fds(3)); nothing is left for children."""
    count, pid, names = (os.environ.pop(name, "") for name in ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"))
    if not count.isdecimal() or pid != str(os.getpid()):
        return {}
    found: dict[str, int] = {}
    for fd, name in zip(range(_FIRST_PASSED, _FIRST_PASSED + int(count)), names.split(":"), strict=False):
        os.set_inheritable(fd, False)
        if name in found:  # of daemons before the last one
            os.close(found[name])
        found[name] = fd
    return found


def watchdog_seconds() -> float | None:
    """Return how often systemd wants to hear of us at least; None: not at all (sd_watchdog_enabled(3))."""
    usec, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not usec.isdecimal() or not int(usec) or pid not in ("", str(os.getpid())):
        return None
    return int(usec) / 1e6


def notify(message: str, *descriptors: int) -> None:
    """Tell systemd, if it asked; a message that cannot be delivered is not worth a daemon."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.connect("\0" + address[1:] if address.startswith("@") else address)
            if descriptors:
                socket.send_fds(sock, [message.encode()], descriptors)
            else:
                sock.send(message.encode())
    except OSError:
        pass


@contextmanager
def needing_no_io() -> Iterator[None]:
    """Keep every page of this process in memory, and the kernel from writing others out to give it some.

    For as long as a mirror is suspended: a page may lie on it, or be written to it. Raises OSError.
    """
    _check(_libc.prctl(_PR_SET_IO_FLUSHER, 1, 0, 0, 0), "PR_SET_IO_FLUSHER")
    try:
        _check(_libc.mlockall(_MCL_CURRENT_AND_FUTURE), "mlockall")
        try:
            yield
        finally:
            _libc.munlockall()
    finally:
        _libc.prctl(_PR_SET_IO_FLUSHER, 0, 0, 0, 0)
