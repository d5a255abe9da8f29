# SPDX-License-Identifier: LGPL-2.1-or-later
"""A host in memory: disks with a page cache in front, a store over them, lanes that the test turns, and a daemon.

``Disk`` keeps the medium and the page cache apart, bit by bit, after the worst that Linux may do: an msync writes only
what was stored since the last one, a failed one forgets what it was to write, and write-back may happen at any moment.
"""

import errno
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Any

from bitarray import bitarray

from diskulog.board import BOARD_BYTES, Board
from diskulog.clears import ClearPolicy
from diskulog.errors import DeviceError, LogFailedError, RefusedError
from diskulog.hotpath import HotPath
from diskulog.logstore import Opening
from diskulog.publish import Publisher
from diskulog.server import Server
from diskulog.work import Lane, Work
from diskulog.world import Entry, World
from tests.fake_kept import FakeKept, Shelf
from tests.fake_kernel import CN_MSG, NLMSGHDR, FakeKernel, KernelLog

UUID = b"LVM-mirror-1"
REGION_SIZE = 1024
REGIONS = 8
EPOCH_SECONDS = 1.7e9


def io_error() -> DeviceError:
    return DeviceError("log device", OSError(errno.EIO, "Input/output error"))


def ctr_string(device: str = "/dev/log", regions: int = REGIONS, options: str = "", log_type: str = "disk") -> bytes:
    length = regions * REGION_SIZE - 24
    words = [str(length), log_type, device if log_type.endswith("disk") else "", str(REGION_SIZE), options]
    return " ".join(word for word in words if word).encode()


def _zeros(count: int) -> bitarray:
    return bitarray(-(-count // 64) * 64, endian="little")


class Disk:
    """A log device: what is on the medium, what the page cache holds, and who has it open."""

    def __init__(self, number: str = "253:2") -> None:
        self.number = number
        self.state = "blank"
        self.uuid: bytes | None = None
        self.live: tuple[int, int] | None = None  # boot, luid
        self.latched: tuple[int, int] | None = None  # boot, luid of a log that failed
        self.count = 0
        self.clean = self.sync = _zeros(0)  # the medium
        self.cached_clean = self.cached_sync = _zeros(0)
        self._written_clean = self._written_sync = _zeros(0)  # what Linux believes to be on the medium
        self._closed: tuple[bitarray, bitarray] | None = None
        self.faults: dict[str, deque[BaseException]] = {}
        self.faulted = False  # a fault has struck
        self.calls: Counter[str] = Counter()
        self.suspended = False
        self.held = True
        self.legs_failed = False
        self.on_leg_flush: Callable[[bool], None] = lambda _: None

    def format(self, uuid: bytes = UUID, regions: int = REGIONS, dirty: Iterable[int] = ()) -> "Disk":
        """A log that was closed in order, all clean but ``dirty``."""
        self._resize(regions)
        self.clean[:regions] = 1
        for region in dirty:
            self.clean[region] = 0
        self.sync = self.clean.copy()
        self._from_medium()
        self._closed = (self.clean.copy(), self.sync.copy())
        self.state, self.uuid = "closed", uuid
        return self

    def fail(self, name: str, error: BaseException | None = None, times: int = 1) -> None:
        """Let the next calls of this kind fail."""
        self.faults.setdefault(name, deque()).extend([error or io_error()] * times)

    def heal(self) -> None:
        self.faults.clear()

    def take_fault(self, name: str) -> None:
        self.calls[name] += 1
        waiting = self.faults.get(name)
        if waiting:
            self.faulted = True
            raise waiting.popleft()

    # -- the page cache ----------------------------------------------------------------------------------------------

    def _resize(self, count: int) -> None:
        if count != self.count:
            self.count = count
            self.clean, self.sync = _zeros(count), _zeros(count)
            self._from_medium()

    def _from_medium(self) -> None:
        self.cached_clean, self.cached_sync = self.clean.copy(), self.sync.copy()
        self._written_clean, self._written_sync = self.clean.copy(), self.sync.copy()

    def write_back(self, first: int = 0, last: int | None = None) -> None:
        """Write dirty bits of the cache; at any moment for Linux's own reasons, or for an msync."""
        piece = slice(first, self.count if last is None else last + 1)
        stored = self.cached_clean[piece] ^ self._written_clean[piece]
        self.clean[piece] = (self.clean[piece] & ~stored) | (self.cached_clean[piece] & stored)
        self._written_clean[piece] = self.cached_clean[piece]
        if last is None:
            stored = self.cached_sync ^ self._written_sync
            self.sync = (self.sync & ~stored) | (self.cached_sync & stored)
            self._written_sync = self.cached_sync.copy()

    def lose_write_back(self) -> None:
        """A write-back error: reported once, the pages count as written."""
        self._written_clean, self._written_sync = self.cached_clean.copy(), self.cached_sync.copy()

    def rewrite(self) -> None:
        """Every page stored anew and written."""
        self.clean, self.sync = self.cached_clean.copy(), self.cached_sync.copy()
        self._from_medium()

    def evict_cache(self) -> None:
        """The host dies: what was never written back is gone."""
        self._from_medium()

    # -- what a crash would find -------------------------------------------------------------------------------------

    def may_be_clean(self, region: int) -> bool:
        """Whether an activation after a crash now could believe that the region is clean."""
        clean = self.clean[region] or self.cached_clean[region]
        return bool(clean and (self.sync[region] or self.cached_sync[region]))

    def dirty(self) -> list[int]:
        """The regions that are dirty on the medium and stay so whatever is written back."""
        return [region for region in range(self.count) if not self.may_be_clean(region)]

    def believed(self) -> bitarray:
        """What an activation takes for clean and in sync."""
        self.write_back()  # an O_DIRECT read forces it
        if self.state == "blank":
            return _zeros(self.count)
        if self.state == "closed" and self._closed != (self.clean, self.sync):
            return _zeros(self.count)
        return self.clean & self.sync

    def close_state(self) -> None:
        self.state = "closed"
        self._closed = (self.cached_clean.copy(), self.cached_sync.copy())


class MemoryStore:
    """``diskulog.world.Store`` over a ``Disk``, after the contract in its docstrings."""

    def __init__(self, disk: Disk, opening: Opening, boot: int) -> None:
        self.disk = disk
        self.opening = opening
        self.device_number: str | None = None if opening.args.log_type == "core" else disk.number
        self._boot = boot
        self._mapped = False
        self._released = False

    @property
    def clean(self) -> bitarray:
        assert self._mapped, "the bits of a log that is not mapped"
        return self.disk.cached_clean

    @property
    def in_sync(self) -> bitarray:
        assert self._mapped, "the bits of a log that is not mapped"
        return self.disk.cached_sync

    def _enter(self, name: str, mapped: bool = True) -> Disk:
        self.disk.take_fault(name)
        assert not self._released, f"{name} of a store that is closed"
        if mapped and not self._mapped:
            raise LogFailedError("gave way to another one")
        return self.disk

    def _mine(self, luid: int, states: tuple[str, ...]) -> bool:
        return self.disk.live == (self._boot, luid) and self.disk.state in states

    def check(self) -> None:
        self._enter("check", mapped=False)

    def activate(self, luid: int, fresh: bool) -> tuple[str, ...]:
        disk = self._enter("activate", mapped=False)
        args = self.opening.args
        self._mapped = True
        if not fresh and self._mine(luid, ("open", "closed")):
            if self.failed_before():
                return self.heal(luid, frozenset())
            disk.rewrite()
        else:
            disk._resize(args.region_count)
            disk.cached_clean = disk.believed()
            if args.sync.value == "sync":
                disk.cached_clean.setall(0)
            disk.cached_sync = disk.cached_clean.copy()
            disk.legs_failed = False
            disk.rewrite()
        disk.state, disk.live, disk.uuid = "open", (self._boot, luid), self.opening.uuid
        disk.latched = None
        return ()

    def reconnect(self, luid: int) -> bool:
        disk = self._enter("reconnect", mapped=False)
        if not self._mine(luid, ("open",)):
            return False
        self._mapped = True
        disk.rewrite()
        return True

    @property
    def legs_failed(self) -> bool:
        return self.disk.legs_failed

    def latch_failure(self) -> None:
        self.disk.latched = (self._boot, self.opening.luid)

    def failed_before(self) -> bool:
        return self.disk.latched == (self._boot, self.opening.luid)

    def reopen(self, late_marks: frozenset[int]) -> None:
        disk = self._enter("reopen")
        for region in late_marks:
            disk.cached_clean[region] = 0
        disk.write_back()
        disk.state = "open"

    def heal(self, luid: int, late_marks: frozenset[int]) -> tuple[str, ...]:
        disk = self._enter("heal")
        bits = disk.clean & disk.cached_clean & disk.cached_sync
        for region in late_marks:
            bits[region] = 0
        lost = disk.cached_clean.count() - bits.count()
        disk.cached_clean, disk.cached_sync = bits, bits.copy()
        disk.rewrite()
        disk.state, disk.live, disk.latched = "open", (self._boot, luid), None
        disk.legs_failed = False
        return (f"{lost} regions that seemed clean are dirty",) if lost else ()

    def commit(self, first_region: int, last_region: int) -> None:
        try:
            disk = self._enter("commit")
        except DeviceError:
            self.disk.lose_write_back()
            raise
        disk.write_back(first_region, last_region)

    def commit_all(self) -> None:
        try:
            disk = self._enter("commit_all")
        except DeviceError:
            self.disk.lose_write_back()
            raise
        disk.write_back()

    def flush_legs(self) -> None:
        try:
            self._enter("flush_legs", mapped=False)
        except BaseException:
            self.disk.legs_failed = True
            self.disk.on_leg_flush(False)
            raise
        self.disk.on_leg_flush(True)

    def close_log(self) -> None:
        disk = self._enter("close_log")
        disk.write_back()
        disk.close_state()

    def detach(self) -> None:
        self._enter("detach", mapped=False)
        self._mapped = False

    def release(self) -> None:
        self._mapped = False
        self.disk.take_fault("release")
        self._released = True

    def mirror_suspended(self) -> bool:
        return self.disk.suspended

    def held(self) -> bool:
        return self.disk.held


class Executor:
    """Lanes that the test turns: ``run`` is the thread's part, ``collect`` the loop's."""

    def __init__(self) -> None:
        self.queues: dict[tuple[bytes, Lane], deque[Work]] = {}
        self.finished: deque[tuple[Work, Any, BaseException | None]] = deque()
        self.held: set[Lane] = set()  # lanes that ``run_all`` leaves alone
        self.fails: Exception | None = None  # no thread can be started
        self.on_work: Callable[[str, bytes, Work], None] = lambda *_: None  # submitted, taken

    def submit(self, uuid: bytes, work: Work) -> None:
        if self.fails:
            raise self.fails
        self.on_work("submitted", uuid, work)
        self.queues.setdefault((uuid, work.lane), deque()).append(work)

    def pending(self, lane: Lane | None = None) -> int:
        return sum(len(queue) for key, queue in self.queues.items() if lane in (None, key[1]))

    def run(self, lane: Lane, uuid: bytes = UUID) -> None:
        """The lane's thread does its next work; the loop does not know yet."""
        work = self.queues[uuid, lane].popleft()
        self.on_work("taken", uuid, work)
        if not work.waiters:  # its time ran out while it stood behind other work
            return
        value, error = None, None
        try:
            value = work.run()
        except BaseException as failure:
            error = failure
        self.finished.append((work, value, error))

    def collect(self) -> None:
        """The loop hears of everything that has finished, in order."""
        while self.finished:
            work, value, error = self.finished.popleft()
            work.finish(value, error)

    def step(self, lane: Lane, uuid: bytes = UUID) -> None:
        self.run(lane, uuid)
        self.collect()

    def run_all(self) -> None:
        """Everything that is not held, to its end."""
        while True:
            self.collect()
            ready = [key for key, queue in self.queues.items() if queue and key[1] not in self.held]
            if not ready:
                return
            for uuid, lane in ready:
                self.step(lane, uuid)

    def time_out(self) -> None:
        """The time of every work with a limit is over, whether it stands in the queue or hangs."""
        for queue in self.queues.values():
            for work in tuple(queue):
                if work.timeout_seconds is not None:
                    work.finish(None, TimeoutError())


class _Bugs(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []
        self.bugs: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage()
        self.lines.append(line)
        if record.exc_info:
            self.bugs.append(f"{line}: {record.exc_info[1]!r}")


class Rig:
    """A host: disks, the kernel, and a daemon that can be killed and started anew.

    With ``auto`` every work runs as soon as the datagram that caused it was read, like a fast device.
    """

    in_place = True  # what can be is answered in place, as by ``daemon``

    def __init__(self, policy: ClearPolicy | None = None, auto: bool = True) -> None:
        self.policy = policy or ClearPolicy(hold_seconds=5.0, max_held=64, leg_flush_timeout_seconds=10.0)
        self.auto = auto
        self.now = 1000.0
        self.boot = 1
        self.disks: dict[str, Disk] = {"/dev/log": Disk()}
        self.core: dict[tuple[bytes, int], Disk] = {}
        self.shelf = Shelf()
        self.open_fault: BaseException | None = None
        self.clustered = False
        self.openings: list[Opening] = []
        self.kernel = FakeKernel()
        self.board_memory = memoryview(bytearray(BOARD_BYTES))
        self.expects_bugs = False
        self.on_work: Callable[[str, bytes, Work], None] = lambda *_: None  # submitted, taken
        self._log = _Bugs()
        logger = logging.getLogger("diskulog")
        self._level = logger.level
        logger.addHandler(self._log)
        logger.setLevel(logging.INFO)
        self.start()

    def close(self) -> None:
        logger = logging.getLogger("diskulog")
        logger.removeHandler(self._log)
        logger.setLevel(self._level)
        if not self.expects_bugs:
            assert not self._log.bugs, self._log.bugs

    # -- the daemon --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """A daemon that knows nothing begins to serve."""
        self.executor = Executor()
        self.executor.on_work = self.on_work
        self.board = Board(self.board_memory)
        self.publisher = Publisher(self.board, lambda: EPOCH_SECONDS + self.now)
        self.world = World(
            {}, self._open, self._keep, self.policy, lambda: self.now, self.clustered, shown=self.publisher
        )
        self.retired: list[bytes] = []
        self.server = Server(self.world, self.kernel.take_reply, self.executor.submit, self.retired.append)
        self._buffer = memoryview(bytearray(4096))
        self.hot = HotPath(self.world.known, self.server.holding, self._buffer)
        self.kernel.daemon = self.receive
        self.read: list[int] = []  # the seqs that this daemon has read

    def kill(self, lose_queue: bool = True) -> None:
        """The worker dies with everything that it had in hand."""
        self.kernel.daemon = None
        if lose_queue:
            self.kernel.queue.clear()

    def restart(self) -> None:
        self.kill()
        self.start()

    def reboot(self) -> None:
        """Power cut: the page cache is gone, and every kernel object."""
        self.kill()
        self.kernel.waiting.clear()
        self.kernel.calls.clear()
        for disk in self.disks.values():
            disk.evict_cache()
        self.core.clear()
        self.shelf = Shelf()
        self.boot += 1
        self.start()

    def receive(self, datagram: bytes) -> None:
        self.read.append(CN_MSG.unpack_from(datagram, NLMSGHDR.size)[2])
        self._buffer[: len(datagram)] = datagram
        reply = self.hot.answer(len(datagram)) if self.in_place else None
        if reply is not None:
            self.kernel.take_reply(bytes(reply))
        else:
            self.server.receive(datagram)
        self.work()

    def at_rest(self) -> bool:
        """Whether everything that this daemon began has ended, and every request was answered."""
        entries = self.world.entries.values()
        running = [entry for entry in entries if entry.busy or (entry.log and entry.log.clears.round_running)]
        return not (running or self.executor.pending() or self.executor.finished or self.unanswered())

    def unanswered(self) -> list[int]:
        """The requests that this daemon has read and not answered yet."""
        return [seq for seq in self.read if not self.kernel.reports[seq]]

    def work(self) -> None:
        if self.auto:
            self.executor.run_all()

    def tick(self, seconds: float = 0.0) -> None:
        self.now += seconds
        self.server.tick()
        self.work()

    def _open(self, opening: Opening) -> MemoryStore:
        self.openings.append(opening)
        if self.open_fault is not None:
            raise self.open_fault
        if opening.args.log_type == "core":
            key = opening.uuid, opening.luid
            if opening.reconnect and key not in self.core:
                raise RefusedError("core log", "has no file", "load the table again")
            return MemoryStore(self.core.setdefault(key, Disk("core")), opening, self.boot)
        disk = self.disks.get(opening.args.device or "")
        if disk is None:
            raise DeviceError(f"log device {opening.args.device}", OSError(errno.ENOENT, "No such file or directory"))
        if disk.uuid not in (None, opening.uuid) and not opening.reconnect:
            raise RefusedError("uuid", "the log belongs to another mirror", "check the table")
        return MemoryStore(disk, opening, self.boot)

    def _keep(self, opening: Opening) -> FakeKept:
        return FakeKept(self.shelf, (opening.uuid, opening.luid), opening.args.region_count)

    # -- looking -----------------------------------------------------------------------------------------------------

    @property
    def disk(self) -> Disk:
        return self.disks["/dev/log"]

    @property
    def lines(self) -> list[str]:
        return self._log.lines

    @property
    def bugs(self) -> list[str]:
        return self._log.bugs

    def said(self, text: str) -> bool:
        return any(text in line for line in self.lines)

    def entry(self, log: KernelLog) -> Entry:
        return self.world.entries[log.luid]

    def table(
        self, uuid: bytes = UUID, string: bytes | None = None, *, integrated: bool = True, resume: bool = True
    ) -> KernelLog:
        """Load a table; with ``resume`` make it live."""
        log = self.kernel.log(uuid, string or ctr_string(), integrated=integrated)
        assert log.ctr().value == 0, self.lines[-2:]
        if resume:
            assert log.resume().value == 0
        return log
