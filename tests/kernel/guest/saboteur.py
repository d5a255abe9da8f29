# SPDX-License-Identifier: LGPL-2.1-or-later
"""``diskulog`` with a saboteur inside: it dies, or loses what passes the socket, when a test orders it to.

Lives here: the orders in shared memory, the hand inside the daemon (``python -m tests.kernel.guest.saboteur serve``),
and on the tests' side the daemon that takes orders. Does not know what a test shows.
"""

import ctypes
import mmap
import os
import signal
import socket
import struct
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from enum import IntEnum
from errno import EINVAL, ESRCH
from pathlib import Path
from typing import Any

from diskulog import cli, lifecycle, refusals, wire
from diskulog.transport import Transport
from diskulog.wire import Request, RequestType
from tests.kernel.guest.rig import Daemon, Mirror, run, until

_PATH = Path("/dev/shm/diskulog-orders")  # one daemon at a time, so one file
_HEAD = struct.Struct("=B3x")  # what is planted
_SLOT = struct.Struct("=BBHH16s2x")  # deed, request type, times left, times done, the log's uuid (empty: any)
_SLOTS = 64
_SO_RCVBUFFORCE = 33
_NETLINK_CONNECTOR = 11
_SMALL_BUFFER_BYTES = 2304  # the smallest that the kernel gives; four requests fill it
_SYS_PIDFD_GETFD = 438
COMPLAINTS = ("Request timed out", "server not found", "Insufficient space")


class Deed(IntEnum):
    """What is done to a request of one type, in the order in which it passes."""

    NOTHING = 0
    KILL_BEFORE = 1  # the worker dies: it has received the request and not looked at it
    KILL_UNSENT = 2  # its work is done, its reply is not sent
    KILL_SENT = 3  # the reply is sent, the request still counts as in hand
    KILL_AFTER = 4  # the reply is sent and the request crossed off
    LOSE_REQUEST = 5
    LOSE_REPLY = 6
    COUNT = 7  # only counted
    FAULT = 8  # as KILL_BEFORE, by the worker's own fault


class Naive(IntEnum):
    """Mistakes that a daemon might make, planted so that the tests can be seen to find them."""

    NOTHING = 0
    UNKNOWN_IS_EINVAL = 1  # IN_SYNC for an unknown log: an error that the kernel takes for "not in sync"
    UNKNOWN_IS_EMPTY = 2  # the right error without its payload: the retry finds no room for its answer
    RESUME_DEMOTES = 3  # a reconnection's RESUME calls out of sync what is dirty, as an activation does


_AT_REQUEST = (Deed.KILL_BEFORE, Deed.LOSE_REQUEST, Deed.COUNT, Deed.FAULT)
_AT_REPLY = (Deed.KILL_UNSENT, Deed.LOSE_REPLY)


class Orders:
    """A table in a file that the test and every worker have mapped."""

    def __init__(self) -> None:
        size = _HEAD.size + _SLOTS * _SLOT.size
        fd = os.open(_PATH, os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(fd, size)
        self._memory = mmap.mmap(fd, size)
        os.close(fd)

    # -- the test's side -------------------------------------------------------------------------------------------

    def give(self, deed: Deed, kind: RequestType, log: Mirror | None = None, times: int = 1) -> "Order":
        """Have something done the next ``times`` that a request of a type, about one log or any, passes."""
        number = next(number for number in range(_SLOTS) if not self._slot(number)[0])
        values = (deed, kind, times, 0, log.uuid.encode() if log else b"")
        order = Order(self, number, f"{deed.name} {kind.name}")
        _SLOT.pack_into(self._memory, order.at, Deed.NOTHING, *values[1:])
        self._memory[order.at] = deed  # the last byte that is written: no worker sees half an order
        return order

    def done(self, number: int) -> int:
        return int(self._slot(number)[3])

    def plant(self, naive: Naive) -> None:
        _HEAD.pack_into(self._memory, 0, naive)

    def withdraw(self) -> None:
        self._memory[:] = bytes(len(self._memory))

    # -- the worker's side -----------------------------------------------------------------------------------------

    @property
    def naive(self) -> Naive:
        return Naive(_HEAD.unpack_from(self._memory)[0])

    def obey(self, passing: object, deeds: Iterable[Deed]) -> Deed:
        """Tell what is to be done now to what passes, and count it."""
        if not isinstance(passing, Request):
            return Deed.NOTHING
        for number in range(_SLOTS):
            deed, kind, left, done, uuid = self._slot(number)
            if deed == Deed.NOTHING:
                break
            if left and deed in deeds and kind == passing.type and uuid.rstrip(b"\0") in (b"", passing.uuid):
                at = _HEAD.size + number * _SLOT.size
                _SLOT.pack_into(self._memory, at, deed, kind, left - 1, done + 1, uuid)
                if deed is not Deed.COUNT:
                    return Deed(deed)
        return Deed.NOTHING

    def _slot(self, number: int) -> tuple[Any, ...]:
        return _SLOT.unpack_from(self._memory, _HEAD.size + number * _SLOT.size)


class Order:
    """One order that was given; ``done`` tells how often it was obeyed."""

    def __init__(self, orders: Orders, number: int, name: str) -> None:
        self._orders, self._number, self.name = orders, number, name
        self.at = _HEAD.size + number * _SLOT.size

    @property
    def done(self) -> int:
        return self._orders.done(self._number)


# -- inside the daemon -------------------------------------------------------------------------------------------------


class Socket:
    """The daemon's socket, with somebody at it who reads what passes."""

    def __init__(self, real: socket.socket, orders: Orders) -> None:
        self._real, self._orders = real, orders
        self._dies = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def recvfrom_into(self, buffer: memoryview, nbytes: int = 0, flags: int = 0) -> tuple[int, Any]:
        while True:
            if self._dies:  # the next one is to be received: the last one was crossed off
                die()
            size, sender = self._real.recvfrom_into(buffer, nbytes, flags)
            deed = self._orders.obey(wire.unframe(buffer[:size]), _AT_REQUEST)
            if deed is Deed.KILL_BEFORE:
                die()
            if deed is Deed.FAULT:
                os.kill(os.getpid(), signal.SIGSEGV)
            if deed is not Deed.LOSE_REQUEST:
                return size, sender
            buffer[:4] = bytes(4)  # it never came: nothing is in hand

    def send(self, reply: bytes | bytearray | memoryview) -> int:
        answered = wire.unframe(reply)
        deed = self._orders.obey(answered, _AT_REPLY)
        if deed is Deed.KILL_UNSENT:
            die()
        if deed is Deed.LOSE_REPLY:
            return len(reply)
        sent = self._real.send(reply)
        if self._orders.obey(answered, (Deed.KILL_SENT,)) is Deed.KILL_SENT:
            die()
        if self._orders.obey(answered, (Deed.KILL_AFTER,)) is Deed.KILL_AFTER:
            self._dies = True
        return sent


def die() -> None:
    """End this worker as ``kill -9`` does."""
    os.kill(os.getpid(), signal.SIGKILL)


def sabotage() -> None:
    """Patch the product in this process; every worker is forked from it."""
    orders = Orders()
    open_socket = Transport.__init__
    unknown_log, resume = refusals.unknown_log, lifecycle.resume

    def opened(self: Any, *arguments: Any) -> None:
        open_socket(self, *arguments)
        self._socket = Socket(self._socket, orders)

    def unknown(request: Request) -> bytearray:
        if request.type == RequestType.IN_SYNC and orders.naive is Naive.UNKNOWN_IS_EINVAL:
            return wire.error_reply(request, EINVAL)
        if request.type == RequestType.IN_SYNC and orders.naive is Naive.UNKNOWN_IS_EMPTY:
            return wire.reply(request, b"", ESRCH)
        return unknown_log(request)

    def resumed(world: Any, entry: Any) -> Any:
        reconnecting = entry.reconnecting
        payload = yield from resume(world, entry)
        log = entry.log
        if reconnecting and log.live and orders.naive is Naive.RESUME_DEMOTES:
            log.store.in_sync &= log.store.clean
            log.go_live()
        return payload

    Transport.__init__ = opened
    refusals.unknown_log, lifecycle.resume = unknown, resumed


# -- on the tests' side ------------------------------------------------------------------------------------------------


class SabotagedDaemon(Daemon):
    """The daemon with the saboteur inside, and the orders to him."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.configure(0.5)
        self.orders = Orders()
        self.orders.withdraw()

    def configure(self, hold_seconds: float) -> None:
        """Say how long clears are held; the worker may stand still for as long as the kernel asks again."""
        self.config.write_text(f"[clears]\nhold_seconds = {hold_seconds}\n[daemon]\nworker_timeout_seconds = 120.0\n")

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", "tests.kernel.guest.saboteur", "serve", "--config", str(self.config)]

    @contextmanager
    def dies(self, deed: Deed, kind: RequestType) -> Iterator[None]:
        """Kill the worker at a request that comes meanwhile, and wait until the next one has taken over."""
        start = self.mark()
        order = self.orders.give(deed, kind)
        yield
        until(f"{order.name}: the worker dies", lambda: order.done)
        until(f"{order.name}: another takes over", lambda: "took over" in self.said(start))
        self.says("the worker ended (signal 9)", start)  # the supervisor's line, and the one before is the child's
        assert self.said(start).count("the worker ended (signal 9)") == 1, f"{order.name}: {self.said(start)}"

    @contextmanager
    def overrun(self) -> Iterator[None]:
        """Stop the worker until requests are lost; meanwhile every other is lost too. At the end there is room again.

        Room for all: were a reconnection's RESUME lost, the kernel itself would take it for "not in sync".
        """
        worker, (before, inode) = self.worker, _netlink()
        number = _descriptor(worker, inode)
        process = os.pidfd_open(worker)
        ours = socket.socket(fileno=ctypes.CDLL(None).syscall(_SYS_PIDFD_GETFD, process, int(number), 0))
        size = ours.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2  # the kernel tells twice what was set
        os.kill(worker, signal.SIGSTOP)
        try:
            ours.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _SMALL_BUFFER_BYTES)
            # what is asked at once may all be in the large buffer already: then when the kernel asks again, after 15 s
            until("requests are lost", lambda: _netlink()[0] > before)
            yield
        finally:
            ours.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, size)
            ours.close()  # no daemon starts while somebody has it
            os.kill(worker, signal.SIGCONT)
            os.close(process)


def _descriptor(worker: int, inode: str) -> str:
    for fd in Path(f"/proc/{worker}/fd").iterdir():
        with suppress(FileNotFoundError):  # it opens and closes others meanwhile
            if f"[{inode}]" in os.readlink(fd):
                return fd.name
    raise AssertionError(f"worker {worker} has no socket {inode}")


def _netlink() -> tuple[int, str]:
    """How many requests the kernel could not deliver to the daemon's socket, and the socket's inode."""
    for line in Path("/proc/net/netlink").read_text().splitlines()[1:]:
        words = line.split()  # sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode
        if int(words[1]) == _NETLINK_CONNECTOR and int(words[3], 16) & 1 << 6:
            return int(words[8]), words[9]
    raise AssertionError("no daemon listens")


def complaints(since: int) -> list[str]:
    """What the kernel complained about, from a line of its log on."""
    return [line for line in run("dmesg").splitlines()[since:] if any(words in line for words in COMPLAINTS)]


if __name__ == "__main__":
    sabotage()
    cli.main()
