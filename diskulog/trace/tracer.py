# SPDX-License-Identifier: LGPL-2.1-or-later
"""Listens beside the daemon: takes every request that the kernel multicasts, and answers none.

Lives here: the loop, its limits, and how it is known that requests were lost. Does not know how a socket is opened, or
where records go.
"""

import errno
import math
import os
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Final

from diskulog import wire
from diskulog.sysfs import boot_id
from diskulog.trace.record import End, Header, Heard, Lost, text
from diskulog.trace.sinks import Sink
from diskulog.wire import Request

BUFFER_BYTES: Final = 64 * 1024 * 1024
WAIT_SECONDS: Final = 0.2  # a signal is acted on within this time
# After a burst it sleeps, so that the kernel wakes nobody for each request: that would slow the daemon down.
_REST_SECONDS: Final = 0.01
NICE: Final = 10  # the daemon goes first
_CN_HEADER: Final = struct.Struct("=16xIII")  # idx, val, seq
_DATAGRAM_BYTES: Final = 4096
_BATCH: Final = 1024
_LAST_BATCHES: Final = 256
_SEQS: Final = 2**32


@dataclass(frozen=True, slots=True)
class Limits:
    """What is listened to, and for how long."""

    seconds: float = math.inf
    count: float = math.inf
    uuid: bytes | None = None


def header(limits: Limits, ring: int | None) -> Header:
    """Say of which host and boot a trace that begins now is."""
    uuid = None if limits.uuid is None else text(limits.uuid)
    return Header(boot_id(), socket.gethostname(), os.uname().release, time.time(), uuid, ring)


class Tracer:
    """Takes requests from a socket and gives them to a sink, with their times and the gaps between them."""

    def __init__(self, listener: socket.socket, sink: Sink, limits: Limits, now: Callable[[], float]) -> None:
        """Take the socket, which must give up waiting now and then, and the monotonic clock in seconds."""
        self._listener = listener
        self._sink = sink
        self._limits = limits
        self._now = now
        self._start_seconds = now()
        self._next_seq: int | None = None  # the kernel numbers all its requests, over all logs
        self._overran = False
        self._stopping = False
        self._write = False
        self.requests = 0
        self.lost = 0

    def stop(self, *_: object) -> None:
        """End soon; also as a signal's handler."""
        self._stopping = True

    def write_now(self, *_: object) -> None:
        """Write soon what there is; also as a signal's handler."""
        self._write = True

    def run(self) -> None:
        """Listen until a limit is reached or somebody says ``stop``.

        Raises:
            DeviceError: the sink takes nothing.
        """
        while not (self._stopping or self._full()):
            busy = self._take_batch()
            self._sink.rest()
            if self._write:
                self._write = False
                self._sink.write_now()
            if busy:
                time.sleep(_REST_SECONDS)
        self._take_what_lies_there()
        if self._overran:  # and nothing came after it, whose number would tell
            self._sink.put(Lost(self._at(), None))
        self._sink.put(End(self._at(), self.requests, self.lost))
        self._sink.write_now()

    def _at(self) -> float:
        return self._now() - self._start_seconds

    def _full(self) -> bool:
        return self.requests >= self._limits.count or self._at() >= self._limits.seconds

    def _take_what_lies_there(self) -> None:
        # it was sent before somebody said stop; not for ever, since more may come all the time
        for _ in range(_LAST_BATCHES):
            if self._full() or not self._take_batch(socket.MSG_DONTWAIT):
                break

    def _take_batch(self, flags: int = 0) -> bool:
        """Take what there is, by default wait for the first one; tell whether anything came."""
        came, most, hear = False, self._limits.count, self._listener.recvfrom
        for _ in range(_BATCH):
            try:
                datagram, sender = hear(_DATAGRAM_BYTES, flags)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self._overran = True
            else:
                if sender[0] == 0:  # the kernel; a process may send here too
                    self._take(datagram)
            came, flags = True, socket.MSG_DONTWAIT
            if self.requests >= most:
                break
        return came

    def _take(self, datagram: bytes) -> None:
        if len(datagram) < wire.CN_HEADER_BYTES:
            return
        idx, val, seq = _CN_HEADER.unpack_from(datagram)
        if idx != wire.CN_IDX_DM or val != wire.CN_VAL_DM_USERSPACE_LOG:
            return
        at = self._at()
        self._note_gap(seq, at)
        if self._limits.uuid is not None and not self._is_wanted(datagram):
            return
        self.requests += 1
        self._sink.put(Heard(at, datagram))

    def _is_wanted(self, datagram: bytes) -> bool:
        request = wire.unframe(datagram)
        return isinstance(request, Request) and request.uuid == self._limits.uuid

    def _note_gap(self, seq: int, at: float) -> None:
        expected, self._next_seq = self._next_seq, (seq + 1) % _SEQS
        gap = 0 if expected is None else (seq - expected) % _SEQS
        if gap >= _SEQS // 2:  # numbered anew: the kernel's module was loaded again
            gap = 0
        if gap or self._overran:
            self.lost += gap
            self._sink.put(Lost(at, gap or None))
        self._overran = False


@contextmanager
def signals(tracer: Tracer) -> Iterator[None]:
    """Have SIGINT and SIGTERM end the tracer, and SIGUSR1 write."""
    handlers: dict[int, Callable[[int, FrameType | None], None]] = {
        signal.SIGINT: tracer.stop,
        signal.SIGTERM: tracer.stop,
        signal.SIGUSR1: tracer.write_now,
    }
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
