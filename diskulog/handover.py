# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a worker leaves to the next one: the requests in hand and the logs it kept, in memory that outlives it.

Lives here: the layout of that memory. Does not know sockets, why a worker died, or what becomes of what it left.
"""

import struct
from typing import Final, NamedTuple

from diskulog import wire
from diskulog.wire import Request, RequestType

BUFFER_BYTES: Final = 4096  # one datagram; a request has at most 528 bytes
MAX_OWED: Final = 1024
MAX_LOGS: Final = 1024
_SLOT_BYTES: Final = 544
_LENGTH: Final = struct.Struct("=I")  # of what is in a slot; 0: nothing. A datagram begins with its own
_SEQ: Final = struct.Struct("=I")
_SEQ_AT: Final = wire.CN_HEADER_BYTES + 148
_TYPE_AT: Final = wire.CN_HEADER_BYTES + 152
_ERROR: Final = struct.Struct("=i")
_ERROR_AT: Final = wire.CN_HEADER_BYTES + 144
_OWED_AT: Final = BUFFER_BYTES
_LOGS_AT: Final = _OWED_AT + MAX_OWED * _SLOT_BYTES
_OVERRUN_AT: Final = _LOGS_AT + MAX_LOGS * _SLOT_BYTES
_LAYOUT_AT: Final = _OVERRUN_AT + 8
_LAYOUT: Final = b"dulgho01"  # changes with anything above; another daemon's memory may be of another version
HANDOVER_BYTES: Final = _LAYOUT_AT + len(_LAYOUT)


class KeptLog(NamedTuple):
    """A log that a worker constructed: enough to meet it again. ``string`` carries the NUL of a reconnection."""

    luid: int
    uuid: bytes
    string: bytes


class Handover:
    """The shared memory. A worker writes it, its supervisor and the next worker read it.

    A datagram is received into ``buffer``; as long as it is not answered it is in hand, there or, once the next one is
    to be received, in a slot of its own. The constructor strings of logs stay from CTR to DTR.
    """

    def __init__(self, memory: memoryview) -> None:
        """Take ``HANDOVER_BYTES`` of memory that is shared and zero."""
        self.buffer = memory[:BUFFER_BYTES]
        self.length = self.buffer[: _LENGTH.size].cast("I")
        self._memory = memory
        memory[_LAYOUT_AT:HANDOVER_BYTES] = _LAYOUT
        self._owed: dict[int, int] = {}  # seq: where its slot is
        self._free_owed = [_OWED_AT + number * _SLOT_BYTES for number in range(MAX_OWED)]
        self._kept: dict[int, int] = {}  # luid: where its slot is
        self._free_logs = [_LOGS_AT + number * _SLOT_BYTES for number in range(MAX_LOGS)]

    # -- the worker ------------------------------------------------------------------------------------------------

    def make_room(self) -> None:
        """Make the buffer free for the next datagram; one that waits for its answer moves to a slot."""
        length = self.length[0]
        if not length:
            return
        if wire.FRAME_BYTES <= length <= _SLOT_BYTES - _LENGTH.size and self._free_owed:
            at = self._free_owed.pop()
            self._fill(at, bytes(self.buffer[:length]))
            self._owed[_SEQ.unpack_from(self.buffer, _SEQ_AT)[0]] = at
        _LENGTH.pack_into(self.buffer, 0, 0)

    def forget_current(self) -> None:
        """Forget the datagram in the buffer: it was answered there, or nobody waits for it, since no kernel sent it."""
        self.length[0] = 0

    def answering(self, reply: bytes | bytearray) -> None:
        """Look at a reply just before it is sent: a CTR that succeeds is a log to keep, a DTR one to forget."""
        if len(reply) < wire.FRAME_BYTES or reply[_TYPE_AT] not in (RequestType.CTR, RequestType.DTR):
            return
        request = self._request(_SEQ.unpack_from(reply, _SEQ_AT)[0])
        if request is None:
            return
        if request.type == RequestType.DTR:
            self._forget_log(request.luid)
        elif not _ERROR.unpack_from(reply, _ERROR_AT)[0]:
            self._keep_log(request)

    def answered(self, reply: bytes | bytearray) -> None:
        """Forget a request whose reply was sent."""
        if len(reply) < wire.FRAME_BYTES:
            return
        self.forget(_SEQ.unpack_from(reply, _SEQ_AT)[0])

    @property
    def overrun(self) -> bool:
        """Whether requests were lost and nobody has acted on that yet, be it this worker or the last one."""
        return bool(self._memory[_OVERRUN_AT])

    @overrun.setter
    def overrun(self, value: bool) -> None:
        self._memory[_OVERRUN_AT] = value

    # -- whoever comes after it ------------------------------------------------------------------------------------

    def current(self) -> Request | None:
        """Return the request that the worker had just received when it died, if it was not answered."""
        return _request_in(self.buffer) if any(self.buffer[: _LENGTH.size]) else None

    def in_hand(self) -> list[Request]:
        """List every request that was received and not answered, the last one first."""
        found = [self.current()]
        for number in range(MAX_OWED):
            found.append(self._slot_request(_OWED_AT + number * _SLOT_BYTES))
        return [request for request in found if request is not None]

    def logs(self) -> list[KeptLog]:
        """List the logs that were constructed and not destroyed."""
        slots = (self._slot_request(_LOGS_AT + number * _SLOT_BYTES) for number in range(MAX_LOGS))
        return [KeptLog(slot.luid, slot.uuid, slot.data) for slot in slots if slot is not None]

    def take_over(self) -> None:
        """Begin where the last worker ended: its slots are ours."""
        for at in tuple(self._free_owed):
            request = self._slot_request(at)
            if request is not None:
                self._owed[request.seq] = at
                self._free_owed.remove(at)
        for at in tuple(self._free_logs):
            request = self._slot_request(at)
            if request is not None:
                self._kept[request.luid] = at
                self._free_logs.remove(at)

    def forget(self, seq: int) -> None:
        """Forget a request, wherever it is."""
        at = self._owed.pop(seq, None)
        if at is not None:
            _LENGTH.pack_into(self._memory, at, 0)
            self._free_owed.append(at)
        elif _SEQ.unpack_from(self.buffer, _SEQ_AT)[0] == seq:
            _LENGTH.pack_into(self.buffer, 0, 0)

    # -- slots -----------------------------------------------------------------------------------------------------

    def _request(self, seq: int) -> Request | None:
        at = self._owed.get(seq)
        if at is not None:
            return self._slot_request(at)
        current = self.current()
        return current if current is not None and current.seq == seq else None

    def _keep_log(self, request: Request) -> None:
        at = self._kept.get(request.luid)
        if at is None:
            if not self._free_logs:
                return  # the kernel will construct it again itself, two seconds later
            at = self._kept[request.luid] = self._free_logs.pop()
        string = request.data.rstrip(b"\0") + b"\0"
        self._fill(at, bytes(wire.reply(request, string)))

    def _forget_log(self, luid: int) -> None:
        at = self._kept.pop(luid, None)
        if at is not None:
            _LENGTH.pack_into(self._memory, at, 0)
            self._free_logs.append(at)

    def _fill(self, at: int, frame: bytes) -> None:
        start = at + _LENGTH.size
        self._memory[start : start + len(frame)] = frame
        # the length last: a slot that was being filled at the death is empty
        _LENGTH.pack_into(self._memory, at, len(frame))

    def _slot_request(self, at: int) -> Request | None:
        length = _LENGTH.unpack_from(self._memory, at)[0]
        start = at + _LENGTH.size
        return _request_in(self._memory[start : start + length]) if length else None


def fits(memory: memoryview) -> bool:
    """Tell whether memory that an earlier daemon wrote is laid out as this one reads it."""
    return len(memory) == HANDOVER_BYTES and bytes(memory[_LAYOUT_AT:]) == _LAYOUT


def _request_in(datagram: memoryview) -> Request | None:
    request = wire.unframe(datagram)
    return request if isinstance(request, Request) else None
