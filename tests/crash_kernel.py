# SPDX-License-Identifier: LGPL-2.1-or-later
"""A kernel, two legs and a log that works on a CrashDevice; and the truth about the legs.

``differ`` has a 1 for every region whose legs may differ if the power goes now: it is being written, it is out of sync,
or what was written last is only in the legs' caches. At every step the medium may not say more than that.
"""

from collections import deque
from functools import partial

from bitarray import bitarray

from diskulog import lifecycle, ondisk, verdict
from diskulog.clears import ClearPolicy
from diskulog.dirtylog import DirtyLog, Phase
from diskulog.errors import DeviceError, LogFailedError
from diskulog.rounds import store_clears
from diskulog.work import Lane, Steps, Work, wait
from diskulog.world import Entry, World
from tests.crash_device import EIO, CrashDevice, FakeMirror
from tests.fake_kept import FakeKept, Shelf
from tests.logs import LUID, UUID, diskulog_log, ones, store_on, table

COUNT = 5000
REGIONS = (0, 1, 4095, 4096, 4999)  # those that are written; two 512-byte pages
OUT_OF_SYNC = (1, 4096)


class Machine:
    """One host: its kernel's view of one mirror, the worker that keeps the log, and the legs."""

    def __init__(self, page_bytes: int = 512) -> None:
        self.device = CrashDevice(diskulog_log(COUNT, OUT_OF_SYNC), page_bytes=page_bytes)
        self.differ = ~ones(COUNT, OUT_OF_SYNC)
        self.seen: set[bytes] = set()
        self.images = 0
        # the kernel's view
        self.marked: set[int] = set()  # acknowledged, and not cleared since
        self.asking: set[int] = set()  # their mark is not acknowledged yet, or their failure
        self.writing: set[int] = set()
        self.failed_regions: set[int] = set()
        self.recovering: int | None = None
        # the legs' caches
        self.cached: set[int] = set()
        self.covered: set[int] | None = None
        self.lost: set[int] = set()  # by a cache whose flush failed: these legs differ until a resync
        self.shelf = Shelf()
        self.start_worker()
        assert self.entry.store.activate(LUID, fresh=True) == ()
        self.entry.log.go_live()
        self.entry.log.keep_clears(self.entry.kept.begin())
        self.device.on_step = lambda _: self.look()

    # -- the worker --------------------------------------------------------------------------------------------------

    def start_worker(self) -> None:
        self.lanes = {lane: deque() for lane in Lane}
        self.device.windows.clear()
        self.mirror = FakeMirror()
        args = table(COUNT)
        store = store_on(self.device, args, mirror=self.mirror)
        self.now = 0.0
        kept = FakeKept(self.shelf, LUID, COUNT)
        self.world = World({}, lambda _: store, lambda _: kept, ClearPolicy(), lambda: self.now)
        self.entry = Entry(UUID, LUID, DirtyLog(args, store, kept, self.world.policy, self.world.now), store, kept)
        self.rounds = 0

    @property
    def log(self) -> DirtyLog:
        return self.entry.log

    def run(self, steps: Steps | bytes, done=lambda failed: None) -> None:
        if isinstance(steps, bytes):
            done(False)
        else:
            self._advance(steps, done, None, None)

    def _advance(self, steps: Steps, done, value, error) -> None:
        try:
            work = steps.send(value) if error is None else steps.throw(error)
        except StopIteration:
            done(False)
        except LogFailedError:
            done(True)
        else:
            wait(self._submit, UUID, work, partial(self._advance, steps, done))

    def _submit(self, uuid: bytes, work: Work) -> None:
        self.lanes[work.lane].append(work)

    def _work(self, lane: Lane) -> None:
        work = self.lanes[lane].popleft()
        value, error = None, None
        try:
            value = work.run()
        except (DeviceError, LogFailedError) as failure:
            error = failure
        work.finish(value, error)

    def drain(self) -> None:
        """Let all blocking work end."""
        while any(self.lanes.values()):
            self.device_works()
            self.legs_flushed()

    # -- what may happen ---------------------------------------------------------------------------------------------

    def device_works(self, _: int = 0) -> None:
        if self.lanes[Lane.DEVICE]:
            self._work(Lane.DEVICE)

    def legs_flush_begins(self, _: int = 0) -> None:
        if self.lanes[Lane.LEGS] and self.covered is None:
            self.covered = set(self.cached)

    def legs_flushed(self, _: int = 0) -> None:
        if not self.lanes[Lane.LEGS]:
            return
        self.legs_flush_begins()
        flushed = self.covered & self.cached
        self.cached -= flushed
        if self.mirror.failure is None:
            for region in flushed - self.lost:
                self.differ[region] = 0
        else:
            self.lost |= flushed  # its cache has dropped them, and the next flush finds nothing wrong
        self.covered = None
        self._work(Lane.LEGS)
        self.mirror.failure = None

    def write(self, region: int) -> None:
        if region in self.asking or region in self.failed_regions or region == self.recovering or not self.log.live:
            return
        if not self.log.region_in_sync(region):
            self.differ[region] = 1  # to the first leg, without a mark
        elif region in self.marked:
            self._write_begins(region)
        elif not self.log.failed:
            self.asking.add(region)
            self.log.mark([region])
            self.run(self.log.flush(), partial(self._mark_answered, region))

    def _mark_answered(self, region: int, failed: bool) -> None:
        self.asking.discard(region)
        if not failed:
            self.marked.add(region)
            self._write_begins(region)

    def _write_begins(self, region: int) -> None:
        self.writing.add(region)
        self.cached.discard(region)
        if self.covered is not None:
            self.covered.discard(region)  # written again since the legs' flush began
        self.differ[region] = 1

    def write_ends(self, region: int) -> None:
        if region in self.writing and region not in self.asking:
            self.writing.discard(region)
            self.cached.add(region)

    def clear(self, region: int) -> None:
        idle = region in self.marked and region not in self.writing | self.asking | self.failed_regions
        if idle and self.log.live:
            self.marked.discard(region)
            self.log.clear([region])

    def round(self, _: int = 0) -> None:
        if self.log.live and self.log.clears.waiting and not self.log.clears.round_running:
            self.rounds += 1
            self.run(store_clears(self.log))

    def leg_fails(self, region: int) -> None:
        if region in self.writing and region not in self.asking:
            self.asking.add(region)
            self.failed_regions.add(region)
            self.run(self.log.set_out_of_sync(region), lambda _: self._failure_answered(region))

    def _failure_answered(self, region: int) -> None:
        self.asking.discard(region)
        self.writing.discard(region)
        self.marked.discard(region)

    def recovery_begins(self, _: int = 0) -> None:
        if self.recovering is None and self.log.live:
            region = self.log.resync_work()
            if region in REGIONS:
                self.recovering = region

    def recovery_ends(self, _: int = 0) -> None:
        region = self.recovering
        if region is not None and region not in self.asking and self.log.live:
            self.recovering = None
            self.cached.add(region)
            self.lost.discard(region)
            self.failed_regions.discard(region)
            self.log.set_in_sync(region)
            self.log.clear([region])

    def msync_will_fail(self, _: int = 0) -> None:
        self.device.failing_syncs = 1

    def leg_flush_will_fail(self, _: int = 0) -> None:
        self.mirror.failure = DeviceError("leg", EIO)

    def suspend_and_resume(self, _: int = 0) -> None:
        """The kernel ends its writes, suspends and resumes; a failed log is healed by that."""
        self.drain()
        for region in tuple(self.writing):
            self.write_ends(region)
        self.recovering = None
        self.run(lifecycle.postsuspend(self.entry))
        self.drain()
        self.mirror.failure, self.device.failing_syncs = None, 0
        self.run(lifecycle.resume(self.world, self.entry))
        self.drain()
        assert self.log.live
        assert not self.log.failed
        self.failed_regions.clear()
        self.marked = {region for region in self.marked if self.log.region_in_sync(region)}

    def worker_dies(self, _: int = 0) -> None:
        """The page cache stays. What was marked and not acknowledged is flushed again with the next worker."""
        if self.log.failed or self.log.phase is not Phase.LIVE or self.device.failing_syncs:
            return
        if self.covered is not None and self.mirror.failure:
            return  # a flush of the legs that fails and is told to nobody
        self.shelf.in_flush[LUID] = self.covered is not None
        self.covered = None
        failing = self.asking & self.failed_regions
        self.start_worker()
        self.run(lifecycle.take_over(self.world, self.entry, b""))
        self.drain()
        assert self.log.live
        for region in sorted(self.asking - failing):
            self._mark_answered(region, False)
        for region in sorted(failing):
            self.run(self.log.set_out_of_sync(region), lambda _, region=region: self._failure_answered(region))
        if self.recovering is not None:
            self.recovering = self.log.resync_work()

    # -- what must hold ----------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Judge whatever the medium may hold."""
        for image in self.device.crash_images(limit=16, seed=self.images):
            key = image + self.differ.tobytes()
            if key not in self.seen:
                self.seen.add(key)
                self.images += 1
                self._judge(image)

    def _judge(self, image: bytes) -> None:
        head = image[:1024]
        offset, length = verdict.sync_range(head, len(image)) or (0, 0)
        clean, sync = image[1024 : 1024 + length], image[offset : offset + length]
        found = verdict.judge(head, clean, sync, table(COUNT), len(image), 512)
        _nothing(found.bits & self.differ, "are called in sync by another boot")
        _nothing(ondisk.bits_from(clean, COUNT) & self.differ, "are called clean by the kernel's own log")

    def look_at_the_living(self) -> None:
        """Clean implies in sync, and what may differ is answered as clean to nobody."""
        if self.log.live and not self.log.blind:
            store = self.entry.store
            _nothing(store.clean & ~store.in_sync, "are clean and out of sync")
        self.look()


def _nothing(wrong: bitarray, what: str) -> None:
    assert not wrong.any(), f"{wrong.count()} regions that may differ {what}, first {wrong.find(1)}"


OPERATIONS = {
    name: getattr(Machine, name)
    for name in (
        "write",
        "write_ends",
        "clear",
        "round",
        "device_works",
        "legs_flush_begins",
        "legs_flushed",
        "recovery_begins",
        "recovery_ends",
        "leg_fails",
        "msync_will_fail",
        "leg_flush_will_fail",
        "suspend_and_resume",
        "worker_dies",
    )
}
