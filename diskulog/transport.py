# SPDX-License-Identifier: LGPL-2.1-or-later
"""The netlink socket on which the kernel asks: connector group 7, and nobody but the kernel is heard.

Lives here: joining, receiving, replying. Does not know what a datagram holds, or who else listens (``neighbours``).
"""

import errno
import logging
import os
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from pyroute2 import netns
from pyroute2.netlink import NETLINK_ADD_MEMBERSHIP, NETLINK_CONNECTOR, SOL_NETLINK

from diskulog import wire
from diskulog.complaints import Complaints
from diskulog.errors import RefusedError
from diskulog.handover import Handover, KeptLog
from diskulog.neighbours import CN_IDX_DM

logger = logging.getLogger("diskulog.transport")

_SO_RCVBUFFORCE: Final = 33  # asm-generic/socket.h; the socket module has no name for it
_SO_RCVTIMEO_NEW: Final = 66
_SO_PROTOCOL: Final = 38
_NO_TIME_SECONDS: Final = 0.001
_MAX_ANSWERS: Final = 8  # between two looks at the clock
_MSG_DONTWAIT: Final = int(socket.MSG_DONTWAIT)
_NOTHING: Final = bytes(4)  # its length says that it holds no request


def _leave(size: int) -> None:
    return None


class Transport:
    """A datagram socket that gives requests of the kernel as memory, and sends replies to it."""

    _kernel = 0  # its port, which no process can have

    def __init__(
        self, receive_buffer_bytes: int, handover: Handover, spins: int = 0, kept: socket.socket | None = None
    ) -> None:
        """Open, bind and join group 7; requests are received into the memory that outlives a worker.

        After an answer the next request is looked for ``spins`` times before this process sleeps: the kernel asks one
        after the other for each write, and to be woken costs more than to answer. ``kept`` is the socket of an earlier
        daemon, with whatever came since.

        Raises:
            RefusedError: another daemon serves already, or there is no connector here.
            PermissionError: a capability is missing.
        """
        self._socket = _joined(receive_buffer_bytes) if kept is None else _joined_again(kept, receive_buffer_bytes)
        self.port = self._socket.getsockname()[0]
        self._wait_seconds = 0.0
        self.wait_at_most(_NO_TIME_SECONDS)
        self._handover = handover
        self._complain = Complaints(logger, time.monotonic)
        self._woken = False
        self.spins = spins
        self._awaited = 0  # how often the next ``receive`` looks before it sleeps
        self.overruns = 0
        self.drained = False  # whether the last ``receive`` found the buffer empty
        self.foreign = 0
        self.unsent = 0

    @property
    def buffer(self) -> memoryview:
        """Where requests are received."""
        return self._handover.buffer

    def wait_at_most(self, seconds: float) -> None:
        """Let ``receive`` wait so long for a request, rounded to what the kernel's clock can tell apart."""
        seconds = max(seconds, _NO_TIME_SECONDS)
        if seconds != self._wait_seconds:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(seconds))
            self._wait_seconds = seconds

    def wake(self) -> None:
        """Have ``receive`` return, from any thread or a signal handler: it is sent a datagram that holds nothing."""
        self._woken = True
        with suppress(OSError):  # a full buffer keeps nobody waiting
            self._socket.sendto(_NOTHING, socket.MSG_DONTWAIT, (self.port, 0))

    @property
    def overrun(self) -> bool:
        """Whether requests were lost, also under the last worker; whoever acts on that resets it."""
        return self._handover.overrun

    @overrun.setter
    def overrun(self, value: bool) -> None:
        self._handover.overrun = value

    def receive(self, answer: Callable[[int], memoryview | None] = _leave) -> memoryview | None:
        """Return the next request that cannot be answered at once, valid until the next call.

        ``answer`` is told the size of a request in ``buffer``, and returns the reply which it made there, or None.
        Returns None when nothing came for the time that ``wait_at_most`` gave, after some answers, when somebody called
        ``wake``, and when a full buffer (ENOBUFS) has lost a request: the kernel asks again. While that is to be acted
        on (``overrun``) nothing is waited for.
        """
        handover, buffer, length = self._handover, self._handover.buffer, self._handover.length
        recvfrom_into, send = self._socket.recvfrom_into, self._socket.send
        handover.make_room()
        self.drained = False
        spins, self._awaited = self._awaited, 0
        answers, lost = 0, self.overrun
        while True:
            try:
                # also when somebody woke us: whoever collects the work behind that must know first what was lost
                size, sender = recvfrom_into(buffer, 0, _MSG_DONTWAIT if spins or lost or self._woken else 0)
            except OSError as error:
                if spins and not lost and not self._woken and isinstance(error, BlockingIOError):
                    spins -= 1
                    continue
                self._nothing_came(error)
                break
            answers += 1
            if sender[0] != self._kernel:
                self._foreign_came(sender[0])
                spins = 0
            else:
                reply = answer(size)
                if reply is None:
                    return buffer[:size]
                try:
                    send(reply)
                except OSError as error:
                    self._not_sent(error)
                length[0] = 0  # it is no longer in hand
                spins = self.spins
            if answers >= _MAX_ANSWERS or self._woken:
                self._awaited = spins
                break
        self._woken = False
        return None

    def _nothing_came(self, error: OSError) -> None:
        if isinstance(error, BlockingIOError):
            self.drained = True
        elif error.errno == errno.ENOBUFS:
            self.overruns += 1
            self.overrun = True
            self._complain.say("lost", "requests do not fit the receive buffer; the kernel asks again")
        else:
            raise error

    def _foreign_came(self, port: int) -> None:
        self._handover.forget_current()
        if port != self.port:
            self.foreign += 1  # a process: never heard, root's neither
            self._complain.say("foreign", "netlink port %d sends what only the kernel may; it is dropped", port)

    def _not_sent(self, error: OSError) -> None:
        # nothing is lost: the kernel asks again after 15 s
        self.unsent += 1
        self._complain.say("reply", "a reply could not be sent: %s", error.strerror)

    def send(self, reply: bytes | bytearray) -> None:
        """Send a reply to the kernel; if it has no room now, it will ask again."""
        self._handover.answering(reply)
        try:
            self._socket.send(reply)
        except OSError as error:
            self._not_sent(error)
        self._handover.answered(reply)

    def left_behind(self) -> tuple[list[KeptLog], list[int]]:
        """Return what the last worker left: the logs that it kept, and the seqs of the requests that it had in hand."""
        self._handover.take_over()
        self._wait_seconds = 0.0  # what the socket was told last is the last worker's secret
        return self._handover.logs(), [request.seq for request in self._handover.in_hand()]

    def ask_again(self, seq: int) -> None:
        """Have the kernel send a request anew at once, one that a dead worker had received and not answered."""
        self._socket.send(wire.bare_refusal(seq, errno.EAGAIN))
        self._handover.forget(seq)

    def fileno(self) -> int:
        """Return the socket's descriptor, for whoever keeps it beyond this process."""
        return self._socket.fileno()

    def resize(self, receive_buffer_bytes: int) -> None:
        """Give the receive buffer another size; what is in it stays."""
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, receive_buffer_bytes)

    def close(self) -> None:
        """Leave the group and close."""
        self._socket.close()


def _joined(receive_buffer_bytes: int) -> socket.socket:
    try:
        # pyroute2's own classes put an event loop around the socket; this is the plain one it makes for them
        made: socket.socket = netns.create_socket(
            family=socket.AF_NETLINK, socket_type=socket.SOCK_DGRAM, proto=NETLINK_CONNECTOR
        )
    except OSError as error:
        raise RefusedError(
            "netlink connector", f"cannot be opened: {error.strerror}", "run in the initial network namespace"
        ) from error
    try:
        # groups=0: nl_groups is a bit mask, and 7 would join 1, 2 and 3
        made.bind((0, 0))
        # the buffer first: a request that comes right after joining must fit
        made.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, receive_buffer_bytes)
        made.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, CN_IDX_DM)
        made.setblocking(True)
    except OSError:
        made.close()
        raise
    return made


def _joined_again(kept: socket.socket, receive_buffer_bytes: int) -> socket.socket:
    kept.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, receive_buffer_bytes)
    kept.setblocking(True)
    return kept


def usable(fd: int) -> socket.socket | None:
    """Return the socket behind a descriptor that an earlier daemon left, if it is one of ours; else close it."""
    try:
        found = socket.socket(fileno=fd)
    except OSError:
        os.close(fd)
        return None
    protocol = found.getsockopt(socket.SOL_SOCKET, _SO_PROTOCOL)
    if found.family == socket.AF_NETLINK and protocol == NETLINK_CONNECTOR and found.getsockname()[0]:
        return found
    found.close()
    return None


def listener(receive_buffer_bytes: int, wait_seconds: float) -> socket.socket:
    """Open a socket that hears what the daemon is asked, and waits so long for it; nothing is to be sent on it.

    Raises:
        RefusedError, PermissionError: as ``Transport`` does.
    """
    made = _joined(receive_buffer_bytes)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(wait_seconds))
    return made


def _timeval(seconds: float) -> bytes:
    whole = int(seconds)
    # SO_RCVTIMEO_NEW, of 32-bit machines whose time has 64 bits, takes two of these
    layout = "=qq" if socket.SO_RCVTIMEO == _SO_RCVTIMEO_NEW else "@ll"
    return struct.pack(layout, whole, int((seconds - whole) * 1e6))
