# SPDX-License-Identifier: LGPL-2.1-or-later
"""The kernel as an object over bytes: what dm-log-userspace-transfer.c and -base.c do, in single steps.

Its own byte layouts, on purpose: nothing here is taken from diskulog. Every call of dm-dirty-log's API is a ``Call``
that blocks (a generator) until the reply that it waits for is delivered. A reply that the real kernel would take badly
(bytes copied from beyond the datagram, a payload that was not asked for, a second answer) is a ``violation`` and fails
the test at the next ``pump``.
"""

import errno
import struct
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from typing import Any

NLMSGHDR = struct.Struct("=IHHII")
CN_MSG = struct.Struct("=IIIIHH")
ULOG = struct.Struct("=Q129s3xIiIII")
HEADERS = NLMSGHDR.size + CN_MSG.size
FRAME = HEADERS + ULOG.size
PREALLOCATED = 512
DM_NAME_LEN = 128
GROUP = 32

(CTR, DTR, PRESUSPEND, POSTSUSPEND, RESUME, GET_REGION_SIZE, IS_CLEAN, IN_SYNC, FLUSH, MARK, CLEAR) = range(1, 12)
(GET_RESYNC_WORK, SET_REGION_SYNC, GET_SYNC_COUNT, STATUS_INFO, STATUS_TABLE, IS_REMOTE_RECOVERING) = range(12, 18)
ALL_TYPES = range(1, 18)
NO_PAYLOAD_BACK = (DTR, PRESUSPEND, POSTSUSPEND, RESUME, FLUSH, MARK, CLEAR, SET_REGION_SYNC)


def datagram(
    request_type: int, uuid: bytes, luid: int, data: bytes = b"", *, seq: int = 1, version: int = 3, error: int = 0
) -> bytes:
    """One request as the connector multicasts it, padded to 4 bytes as nlmsg_put does."""
    ulog = ULOG.pack(luid, uuid, version, error, seq, request_type, len(data)) + data
    body = CN_MSG.pack(7, 1, seq, 0, len(ulog), 0) + ulog
    whole = NLMSGHDR.pack(NLMSGHDR.size + len(body), 3, 0, seq, 0) + body
    return whole + bytes(-len(whole) % 4)


@dataclass(frozen=True)
class Answer:
    """A reply, taken apart; ``error`` as the kernel sees it (0 or negative)."""

    seq: int
    type: int
    luid: int
    uuid: bytes
    version: int
    error: int
    data: bytes


def parse_reply(reply: bytes) -> Answer:
    """Take a reply apart and insist on every length; AssertionError otherwise."""
    length, nl_type, _, _, _ = NLMSGHDR.unpack_from(reply)
    idx, val, cn_seq, ack, cn_length, _ = CN_MSG.unpack_from(reply, NLMSGHDR.size)
    assert length == len(reply), "nlmsg_len is not the datagram's length"
    assert (idx, val, nl_type) == (7, 1, 3)
    assert HEADERS + cn_length == length, "cn_msg.len does not fill the message"
    if cn_length == 0:
        return Answer(cn_seq, 0, 0, b"", 0, -ack, b"")
    luid, uuid, version, error, seq, request_type, data_size = ULOG.unpack_from(reply, HEADERS)
    assert FRAME + data_size == length, "data_size is not the payload that was sent"
    return Answer(seq, request_type, luid, uuid.rstrip(b"\0"), version, error, reply[FRAME:])


@dataclass(eq=False)
class Size:
    """A ``size_t *``: the reply's capacity going in, its size coming out."""

    value: int


@dataclass(eq=False)
class Package:
    """An entry of receiving_list: somebody waits for the reply to ``seq``."""

    seq: int
    type: int
    size: Size
    data: bytes = b""
    error: int | None = None


class Sleep:
    """A caller in the two-second wait of userspace_do_request."""


Steps = Generator[Package | Sleep, None, Any]


@dataclass(eq=False)
class Call:
    """A kernel thread inside dm-dirty-log's API; ``value`` once it has returned."""

    steps: Steps
    waits_for: Package | Sleep | None = None
    done: bool = False
    result: Any = None

    def advance(self) -> None:
        try:
            self.waits_for = next(self.steps)
        except StopIteration as end:
            self.waits_for, self.done, self.result = None, True, end.value

    @property
    def value(self) -> Any:
        assert self.done, f"still waits for {self.waits_for}"
        return self.result


class FakeKernel:
    """Sends requests to ``daemon`` (a ``Server.receive``) and takes its replies; None means that nobody listens."""

    def __init__(self, daemon: Callable[[bytes], None] | None = None) -> None:
        self.daemon = daemon
        self.queue: deque[bytes] = deque()  # the daemon's receive buffer
        self.waiting: list[Package] = []  # receiving_list
        self.calls: list[Call] = []
        self.answers: list[Answer] = []
        self.sent: list[tuple[int, int]] = []  # (type, seq) of every datagram that reached the buffer
        self.messages: list[str] = []
        self.violations: list[str] = []
        self.reports: Counter[int] = Counter()  # replies for each seq
        self.full_buffer = 0  # as many sends find the buffer full, which looks like no daemon
        self.lose_requests = 0  # as many requests are dropped on the way in
        self.lose_replies = 0  # as many replies are dropped on the way out
        self.lose_replies_of: Counter[int] = Counter()  # the same, by type
        self._seq = 0
        self._luid = 0xFFFF888000000000

    # -- dm-log-userspace-transfer.c ---------------------------------------------------------------------------------

    def consult(
        self, request_type: int, uuid: bytes, luid: int, data: bytes = b"", size: Size | None = None
    ) -> Generator[Package | Sleep, None, tuple[int, bytes]]:
        """dm_consult_userspace: send, wait, resend after 15 s; gives (error, payload)."""
        if len(data) > PREALLOCATED - CN_MSG.size - ULOG.size:
            return -errno.EINVAL, b""
        size = size or Size(0)
        while True:
            package = Package(self._next_seq(), request_type, size)
            if self._send(package.seq, datagram(request_type, uuid, luid, data, seq=package.seq)):
                return -errno.ESRCH, b""
            self.waiting.append(package)
            yield package
            if package in self.waiting:
                self.waiting.remove(package)
            if package.error is None:
                self.messages.append(f"Request timed out: [{request_type}/{package.seq}] - retrying")
            elif package.error != -errno.EAGAIN:
                return package.error, package.data

    def _next_seq(self) -> int:
        self._seq += 1
        return self._seq - 1

    def _send(self, seq: int, message: bytes) -> int:
        if self.daemon is None or self.full_buffer:
            self.full_buffer = max(0, self.full_buffer - 1)
            return -errno.ESRCH
        assert len(message) <= NLMSGHDR.size + PREALLOCATED
        if self.lose_requests:
            self.lose_requests -= 1
            return 0
        self.sent.append((ULOG.unpack_from(message, HEADERS)[5], seq))
        self.queue.append(message)
        return 0

    def take_reply(self, reply: bytes | bytearray) -> None:
        """The daemon's ``send``: cn_rx_skb, cn_ulog_callback and fill_pkg."""
        try:
            answer = parse_reply(bytes(reply))
        except (AssertionError, struct.error) as error:
            self.violations.append(f"malformed reply: {error}")
            return
        self.reports[answer.seq] += 1
        if self.reports[answer.seq] > 1:
            self.violations.append(f"request {answer.seq} of type {answer.type} was answered twice")
        if self.lose_replies or self.lose_replies_of[answer.type]:
            if self.lose_replies:
                self.lose_replies -= 1
            else:
                self.lose_replies_of[answer.type] -= 1
            return
        self.answers.append(answer)
        for package in self.waiting:
            if package.seq == answer.seq and package.error is None:
                self._fill(package, answer)
                self._resume(package)
                return

    def _fill(self, package: Package, answer: Answer) -> None:
        if answer.type == 0:  # a bare acknowledgement
            package.error = answer.error
            if package.error != -errno.EAGAIN:
                package.size.value = 0
            return
        if answer.type != package.type:
            self.violations.append(f"a reply of type {answer.type} to a request of type {package.type}")
        if len(answer.data) > package.size.value:
            self.messages.append(
                f"Insufficient space to receive package [{answer.type}] ({len(answer.data)} vs {package.size.value})"
            )
            package.size.value = 0
            package.error = -errno.ENOSPC
            return
        if answer.error == -errno.EAGAIN:
            self.violations.append("EAGAIN makes the kernel resend for ever")
        if answer.error > 0:
            self.violations.append(f"a positive error {answer.error}")
        package.error, package.data = answer.error, answer.data
        package.size.value = len(answer.data)

    def _resume(self, waited_for: Package | Sleep) -> None:
        for call in tuple(self.calls):
            if call.waits_for is waited_for:
                call.advance()
                if call.done:
                    self.calls.remove(call)

    # -- time and the daemon -----------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Let the daemon read what is in its buffer; fail the test if it said something harmful."""
        while self.queue and self.daemon is not None:
            self.daemon(self.queue.popleft())
        assert not self.violations, self.violations

    def timeout(self) -> None:
        """15 seconds: every request without an answer is sent again, with a new seq."""
        for package in tuple(self.waiting):
            if package.error is None:
                self._resume(package)

    def two_seconds(self) -> None:
        """The sleepers of the reconnect loop try again."""
        for call in tuple(self.calls):
            if isinstance(call.waits_for, Sleep):
                call.advance()
                if call.done:
                    self.calls.remove(call)

    def call(self, steps: Steps) -> Call:
        """Run a kernel thread until it blocks or returns; the daemon answers what it can at once."""
        call = self.start(steps)
        self.pump()
        return call

    def start(self, steps: Steps) -> Call:
        """Run a kernel thread until it blocks, without letting the daemon read."""
        call = Call(steps)
        call.advance()
        if not call.done:
            self.calls.append(call)
        return call

    def settle(self, rounds: int = 20) -> None:
        """Let time pass until every call has returned; fails when one does not."""
        for _ in range(rounds):
            self.pump()
            if not self.calls:
                return
            self.two_seconds()
            self.pump()
            self.timeout()
        raise AssertionError(f"calls still wait: {[call.waits_for for call in self.calls]}, {self.messages[-5:]}")

    def ask(
        self, request_type: int, uuid: bytes, luid: int, data: bytes = b"", *, version: int = 3, seq: int | None = None
    ) -> Answer | None:
        """One raw request past every rule above; the answer, or None while it is held."""
        seq = self._next_seq() if seq is None else seq
        return self.deliver(datagram(request_type, uuid, luid, data, seq=seq, version=version), seq)

    def deliver(self, message: bytes, seq: int) -> Answer | None:
        """Deliver any datagram; what was said to ``seq`` meanwhile, or None."""
        assert self.daemon is not None
        before = len(self.answers)
        self.daemon(message)
        assert not self.violations, self.violations
        found = [answer for answer in self.answers[before:] if answer.seq == seq]
        return found[-1] if found else None

    def answer_to(self, seq: int) -> Answer | None:
        """What was said to a request that was held."""
        return next((answer for answer in self.answers if answer.seq == seq), None)

    def new_luid(self) -> int:
        """An address that no log has."""
        self._luid += 4096
        return self._luid

    def log(self, uuid: bytes, string: bytes, *, integrated: bool = True, luid: int | None = None) -> "KernelLog":
        """A struct log_c before its constructor ran."""
        return KernelLog(self, uuid, string, integrated, self.new_luid() if luid is None else luid)


@dataclass(eq=False)
class KernelLog:
    """dm-log-userspace-base.c: one ``struct log_c``; methods without ``_steps`` run the call and give it back."""

    kernel: FakeKernel
    uuid: bytes
    string: bytes  # usr_argv_str
    integrated: bool
    luid: int
    region_size: int = 0
    region_count: int = 0
    device: str | None = None
    in_sync_hint: int = 0
    flush_scheduled: bool = False
    mark_list: list[int] = field(default_factory=list)
    clear_list: list[int] = field(default_factory=list)

    # -- the wire ----------------------------------------------------------------------------------------------------

    def _consult(self, request_type: int, data: bytes = b"", size: Size | None = None) -> Steps:
        return self.kernel.consult(request_type, self.uuid, self.luid, data, size)

    def _do_request(self, request_type: int, data: bytes = b"", size: Size | None = None) -> Steps:
        """userspace_do_request: for ever, if nobody knows the log; the capacity of the retry is the last reply's."""
        while True:
            error, payload = yield from self._consult(request_type, data, size)
            if error != -errno.ESRCH:
                return error, payload
            while True:
                yield Sleep()
                error, _ = yield from self._consult(CTR, self.string + b"\0")
                if not error:
                    break
            error, _ = yield from self._consult(RESUME)
            if error:
                self.kernel.messages.append(f"Error trying to resume userspace log: {error}")
                return -errno.ESRCH, b""

    def _expect(self, request_type: int, data: bytes, code: str) -> Steps:
        # the real kernel reads its stack, not what was said, when a success is shorter than its structure
        size = Size(struct.calcsize(code))
        error, payload = yield from self._do_request(request_type, data, size)
        if error == 0 and len(payload) != struct.calcsize(code):
            self.kernel.violations.append(f"type {request_type}: {len(payload)} bytes, {code} expected")
            return error, None
        return error, struct.unpack(code, payload) if error == 0 else None

    # -- the life of a log -------------------------------------------------------------------------------------------

    def ctr_steps(self) -> Steps:
        size = Size(DM_NAME_LEN)
        error, name = yield from self._consult(CTR, self.string, size)
        if error:
            return error
        error, payload = yield from self._consult(GET_REGION_SIZE, b"", Size(8))
        if error:
            return error
        self.region_size = struct.unpack("=Q", payload)[0] & 0xFFFFFFFF
        length = int(self.string.split()[0])
        self.region_count = -(-length // self.region_size)
        if size.value:
            if not name.endswith(b"\0"):
                return -errno.EINVAL
            self.device = name[:-1].decode()
        return 0

    def resume_steps(self) -> Steps:
        self.in_sync_hint = 0
        return (yield from self._consult(RESUME))[0]

    def presuspend_steps(self) -> Steps:
        return (yield from self._consult(PRESUSPEND))[0]

    def postsuspend_steps(self) -> Steps:
        if self.integrated and self.flush_scheduled:
            yield from self.delayed_flush_steps()
        return (yield from self._consult(POSTSUSPEND))[0]

    def dtr_steps(self) -> Steps:
        if self.integrated and self.flush_scheduled:
            yield from self.delayed_flush_steps()
        yield from self._consult(DTR)

    # -- regions -----------------------------------------------------------------------------------------------------

    def is_clean_steps(self, region: int) -> Steps:
        error, values = yield from self._expect(IS_CLEAN, struct.pack("=Q", region), "=q")
        return 0 if error else values[0]

    def in_sync_steps(self, region: int) -> Steps:
        error, values = yield from self._expect(IN_SYNC, struct.pack("=Q", region), "=q")
        return 0 if error else values[0]

    def delayed_flush_steps(self) -> Steps:
        """do_flush, three seconds after clears that had no marks."""
        self.flush_scheduled = False
        error, _ = yield from self._do_request(FLUSH)
        return error

    def flush_steps(self) -> Steps:
        marks, self.mark_list = self.mark_list, []
        clears, self.clear_list = self.clear_list, []
        if not marks and not clears:
            return 0
        error = yield from self._by_group(CLEAR, clears)
        if error:
            return error
        if not self.integrated:
            error = yield from self._by_group(MARK, marks)
            return error or (yield from self._do_request(FLUSH))[0]
        for start in range(0, len(marks), GROUP):
            error, _ = yield from self._do_request(FLUSH, _regions(marks[start : start + GROUP]))
            if error:
                return error
        self.flush_scheduled = not marks and not self.flush_scheduled
        return 0

    def _by_group(self, request_type: int, regions: list[int]) -> Steps:
        for start in range(0, len(regions), GROUP):
            error, _ = yield from self._do_request(request_type, _regions(regions[start : start + GROUP]))
            if error:
                for region in regions[start:]:
                    error, _ = yield from self._do_request(request_type, _regions([region]))
                    if error:
                        return error
                return 0
        return 0

    def get_resync_work_steps(self) -> Steps:
        """(1, region), (0, _) or (negative, _)."""
        if self.in_sync_hint >= self.region_count:
            return 0, 0
        error, values = yield from self._expect(GET_RESYNC_WORK, b"", "=qQ")
        return (error, 0) if error else values

    def set_region_sync_steps(self, region: int, in_sync: int) -> Steps:
        return (yield from self._do_request(SET_REGION_SYNC, struct.pack("=Qq", region, in_sync)))[0]

    def get_sync_count_steps(self) -> Steps:
        error, values = yield from self._expect(GET_SYNC_COUNT, b"", "=Q")
        if error:
            return 0
        if values[0] >= self.region_count:
            self.in_sync_hint = self.region_count
        return values[0]

    def status_info_steps(self) -> Steps:
        error, payload = yield from self._do_request(STATUS_INFO, b"", Size(1024))
        return payload if error == 0 else b"userspace 1 COM_FAILURE"

    def is_remote_recovering_steps(self, region: int) -> Steps:
        if region < self.in_sync_hint:
            return 0
        error, values = yield from self._expect(IS_REMOTE_RECOVERING, struct.pack("=Q", region), "=qQ")
        if error:
            return 1
        self.in_sync_hint = values[1]
        return values[0]

    # -- the same, as calls ------------------------------------------------------------------------------------------

    def mark(self, *regions: int) -> None:
        for region in regions:
            self.mark_list.insert(0, region)

    def clear(self, *regions: int) -> None:
        for region in regions:
            self.clear_list.insert(0, region)

    def __getattr__(self, name: str) -> Callable[..., Call]:
        try:
            steps = object.__getattribute__(self, f"{name}_steps")
        except AttributeError:
            raise AttributeError(name) from None
        return lambda *arguments: self.kernel.call(steps(*arguments))

    def ask(self, request_type: int, data: bytes = b"", **options: Any) -> Answer | None:
        """A raw request for this log."""
        return self.kernel.ask(request_type, self.uuid, self.luid, data, **options)

    def written(self, *regions: int) -> int:
        """What do_writes does for regions that are clean: mark, flush; the error, 0 when the write may go."""
        self.mark(*regions)
        return self.flush().value


def _regions(regions: Iterable[int]) -> bytes:
    regions = list(regions)
    return struct.pack(f"={len(regions)}Q", *regions)
