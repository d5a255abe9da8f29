# SPDX-License-Identifier: LGPL-2.1-or-later
"""The whole core behind a socket: a worker on failing disks, and the kernel that asks it.

Lives here: the socket that judges every answer, and a host whose workers die. Does not know what is asked, or when.
"""

import errno
import logging
import struct
from collections import deque
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from functools import cache
from unittest import mock

from diskulog import handover, transport
from diskulog.clears import ClearPolicy
from diskulog.errors import LogFailedError
from diskulog.handover import HANDOVER_BYTES, Handover
from diskulog.hotpath import HotPath
from diskulog.logstore import Opening
from diskulog.server import Server
from diskulog.transport import Transport
from diskulog.units import MIB
from tests import fake_kernel as kernel
from tests.fake_host import Disk, MemoryStore, Rig
from tools.fuzzing.answers import awaited, check_reply

MAX_WAITING = 32  # threads of the kernel that wait for an answer


class Wire:
    """The kernel behind a datagram socket: remembers what waits, and judges every answer."""

    def __init__(self) -> None:
        self.queue: deque[tuple[bytes, int]] = deque()  # and who sent it, 0 is the kernel
        self.waiting: dict[int, bytes] = {}
        self.late: dict[int, bytes] = {}  # asked again meanwhile: an answer is dropped, but must not harm
        self.wrong: list[str] = []
        self.met: set[Hashable] = set()
        self._seq = 0

    def ask(self, datagram: bytes) -> None:
        """Send a request under a seq of its own, as the kernel does, unless too many wait already."""
        if len(self.waiting) >= MAX_WAITING:
            return
        self._seq += 1
        whole = bytearray(datagram)
        for at in (kernel.NLMSGHDR.size + 8, kernel.HEADERS + 148):
            if len(whole) >= at + 4:
                struct.pack_into("=I", whole, at, self._seq)
        seq = awaited(bytes(whole))
        if seq is not None:
            self.waiting[seq] = bytes(whole)
        self.queue.append((bytes(whole), 0))

    def time_out(self) -> None:
        """After 15 seconds everything that has no answer is asked again."""
        given_up, self.waiting = self.waiting, {}
        self.late |= given_up
        for datagram in given_up.values():
            self.ask(datagram)

    def recvfrom_into(self, buffer: memoryview, nbytes: int = 0, flags: int = 0) -> tuple[int, tuple[int, int]]:
        """Give the next datagram, cut off where the buffer ends."""
        if not self.queue:
            raise BlockingIOError
        datagram, sender = self.queue.popleft()
        size = min(len(datagram), len(buffer))
        buffer[:size] = datagram[:size]
        return size, (sender, 0)

    def send(self, reply: bytes | bytearray | memoryview) -> None:
        """Take a reply; what is wrong with it is told at the end, past the core's own handling of errors."""
        seq, ack, length = struct.unpack_from("=IIH", reply, kernel.NLMSGHDR.size + 8)
        if length == 0 and ack == errno.EAGAIN:
            if seq in self.waiting:
                self.ask(self.waiting.pop(seq))
            return
        datagram = self.waiting.pop(seq, None) or self.late.pop(seq, None)
        try:
            assert datagram is not None, f"seq {seq} was not asked, or answered before"
            self.met.add(check_reply(datagram, bytes(reply)))
        except (AssertionError, struct.error) as error:
            self.wrong.append(f"{error} (reply {bytes(reply).hex()})")

    def create(self, **_: object) -> "Wire":
        """Be what pyroute2 makes for the transport."""
        return self

    def getsockname(self) -> tuple[int, int]:
        """Name a port."""
        return 4711, 0

    def bind(self, *_: object) -> None:
        """Do nothing, as for every option."""

    setsockopt = setblocking = bind


@cache
def _shared() -> bytearray:
    return bytearray(HANDOVER_BYTES)  # one for all inputs, or a megabyte of each would wait for the garbage collector


class LateStore(MemoryStore):
    """Fails late work on its bits, as ``store`` does; what opens or reads a device that was closed stays a mistake."""

    def _enter(self, name: str, mapped: bool = True) -> Disk:
        if mapped and self._released:
            raise LogFailedError("gave way to another one")
        return super()._enter(name, mapped)


class Worker(Rig):
    """A host whose daemon reads from a ``Wire``, and whose workers die."""

    def __init__(self) -> None:
        self.link, self.memory = Wire(), memoryview(_shared())
        self.memory[:] = bytes(HANDOVER_BYTES)
        super().__init__(ClearPolicy(5.0, 8, 10.0), auto=False)
        self.disk.format(dirty=(3,))

    def start(self) -> None:
        """Start a worker like ``daemon``'s, on the socket that outlives it."""
        super().start()
        self.handover = Handover(self.memory)
        with mock.patch.object(transport.netns, "create_socket", self.link.create):
            self.transport = Transport(MIB, self.handover)
        self.server = Server(self.world, self.transport.send, self.executor.submit, self.retired.append)
        self._hot_path = HotPath(self.world.known, self.server.holding, self.transport.buffer)

    def _open(self, opening: Opening) -> MemoryStore:
        made = super()._open(opening)
        made.__class__ = LateStore
        return made

    def serve(self) -> None:
        """Read everything that has come."""
        while self.link.queue:  # the transport comes back for other work after some answers
            datagram = self.transport.receive(self._hot_path.answer)
            if datagram is not None:
                self.server.receive(datagram)

    def take_over(self) -> None:
        """Do as ``daemon`` with what a dead worker left."""
        kept, owed = self.transport.left_behind()
        for luid, uuid, string in kept:
            self.server.take_over(luid, uuid, string)
        for seq in owed:
            self.transport.ask_again(seq)

    def die(self) -> None:
        """The worker dies with everything that it had begun, and the next one starts."""
        self.link.queue.clear()
        self.restart()
        self.take_over()
        self.link.time_out()

    def finish(self) -> None:
        """Let everything come to its end: nobody waits, and nothing was wrong."""
        for disk in (*self.disks.values(), *self.core.values()):
            disk.heal()
        for _ in range(8):
            self.serve()
            self.executor.run_all()
            self.tick(60)
        assert not self.bugs, self.bugs
        assert not self.said("of a store that is closed"), self.lines
        assert not self.link.wrong, self.link.wrong
        assert not self.link.waiting, f"no answer to {[d.hex() for d in self.link.waiting.values()]}"
        assert self.at_rest(), "something that was begun never ended"


@contextmanager
def working() -> Iterator[Worker]:
    """A host for one input, with little shared memory, which is looked through at every death."""
    with mock.patch.multiple(handover, MAX_OWED=8, MAX_LOGS=8):
        worker, logger = Worker(), logging.getLogger("diskulog")
        logger.propagate = False
        logger.setLevel(logging.WARNING)
        try:
            yield worker
        finally:
            logger.propagate = True
            worker.expects_bugs = True  # ``finish`` tells of them, and hides no other failure
            worker.close()
