# SPDX-License-Identifier: LGPL-2.1-or-later
"""Random histories of two mirrors against a model of what is true on their legs.

The model knows for each region whether the legs may differ after a power cut: from a write until a flush of the legs
that began after it, from a write to one leg only until its resync. Whatever happens, a region that the log may call
clean after a crash must not be one of those, and a region that it calls in sync must not be known to differ.
"""

from typing import Any

import pytest
from hypothesis import Phase as Generate
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from diskulog import wire
from diskulog.dirtylog import DirtyLog, Phase
from diskulog.work import Lane, Work
from tests.fake_host import Disk, Rig, ctr_string
from tests.fake_kernel import Call, KernelLog, Steps

N = 3
FAULTS = ["commit", "commit_all", "flush_legs", "close_log", "reopen", "heal", "activate", "reconnect"]
PATHS = {b"mirror-a": "/dev/log-a", b"mirror-b": "/dev/log-b"}


class Mirror:
    """What the kernel believes and what is true of one mirror; each method is what one of its threads does."""

    def __init__(self, rig: Rig, uuid: bytes, dirty: set[int], integrated: bool) -> None:
        self.rig = rig
        self.uuid = uuid
        self.integrated = integrated
        self.disk = Disk(f"253:{len(rig.disks)}").format(uuid, N, dirty)
        self.disk.on_leg_flush = self.legs_flushed
        rig.disks[PATHS[uuid]] = self.disk
        self.differs = set(dirty)  # the legs differ
        self.unsafe: dict[int, int] = {}  # region -> its last write, if the legs' caches were not flushed since
        self.writes = 0
        self.flushing: list[dict[int, int]] = []  # for each flush of the legs: what was unsafe before it could begin
        self.flush: dict[int, int] = {}  # the same for the one that runs
        self.lost: set[int] = set()  # the same when a flush of the legs failed, until RESUME
        self.table: KernelLog | None = None
        self.inactive: KernelLog | None = None
        self.hash: dict[int, str] = {}  # dm-region-hash: dirty, nosync
        self.believed: set[int] = set()  # answered "in sync" since the last activation
        self.log_failed = False
        self.work: int | None = None
        self.suspended = True
        self.worker: Call | None = None  # kmirrord
        self.life: Call | None = None  # dmsetup
        self.problems: list[str] = []

    def check(self, good: bool, text: str) -> None:
        # not an exception: the kernel's threads run inside the daemon's send, which catches everything
        if not good:
            self.problems.append(text)

    @property
    def idle(self) -> bool:
        return all(call is None or call.done for call in (self.worker, self.life))

    def write_both(self, region: int) -> None:
        self.writes += 1
        self.unsafe[region] = self.writes

    def legs_flushed(self, success: bool) -> None:
        if not success:
            self.lost |= self.unsafe.keys()
            self.unsafe.clear()
        # at worst it began when it was asked for, and wrote nothing that came after
        for region, write in self.flush.items():
            if self.unsafe.get(region) == write:
                del self.unsafe[region]

    def doubtful(self) -> set[int]:
        return self.differs | self.unsafe.keys() | self.lost

    def log(self) -> Any:
        entry = self.rig.world.entries.get(self.table.luid)
        return entry.log if entry else None

    # -- kmirrord ----------------------------------------------------------------------------------------------------

    def ask(self, region: int) -> Steps:
        if region in self.hash:
            return self.hash[region] == "dirty"
        answer = yield from self.table.in_sync_steps(region)
        self.check(answer in (0, 1), f"IN_SYNC {answer}")
        log = self.log()
        if answer == 1 and log is not None and not log.blind:
            self.check(region not in self.differs, f"{region} differs and is called in sync")
            self.believed.add(region)
        if answer == 0:
            self.check(region not in self.believed, f"{region} was demoted under a live table")
        return answer == 1

    def write(self, regions: list[int]) -> Steps:
        yield from self.table.is_remote_recovering_steps(regions[0])
        marks = []
        for region in regions:
            if (yield from self.ask(region)):
                marks.append(region)
            else:
                self.hash[region] = "nosync"
                self.differs.add(region)  # written to the first leg only
        self.table.mark(*(region for region in marks if region not in self.hash))
        if (yield from self.table.flush_steps()):
            self.log_failed = True
            return
        if self.log_failed:
            return  # the writes are held
        for region in marks:
            self.check(not self.disk.may_be_clean(region), f"{region} is written and may be clean after a crash")
            self.hash[region] = "dirty"
            self.write_both(region)

    def fall_idle(self, regions: list[int]) -> Steps:
        for region in regions:
            if self.hash.get(region) == "dirty":
                del self.hash[region]
                self.table.clear(region)
        if (yield from self.table.flush_steps()):
            self.log_failed = True

    def delayed_flush(self) -> Steps:
        yield from self.table.delayed_flush_steps()

    def lose_leg(self, region: int) -> Steps:
        if self.hash.get(region) == "dirty":
            self.differs.add(region)
            self.hash[region] = "nosync"
            self.believed.discard(region)
            yield from self.table.set_region_sync_steps(region, 0)

    def recover(self, success: bool) -> Steps:
        found, region = yield from self.table.get_resync_work_steps()
        self.check(found in (0, 1), f"GET_RESYNC_WORK {found}")
        if found != 1:
            return
        self.check(region < N, f"region {region} of {N} is to be recovered")
        self.check(not self.disk.cached_sync[region], f"{region} is in sync and is to be recovered")
        self.check(self.work in (None, region), f"{region} is to be recovered, {self.work} was not done")
        self.work = region
        again = yield from self.table.get_resync_work_steps()
        log = self.log()
        if self.work is not None and log is not None and not log.failed:
            self.check(again == (1, region), f"{region} was to be recovered, then {again}")
        self.work = None
        if success:
            self.differs.discard(region)
            self.write_both(region)
            self.hash.pop(region, None)
            self.table.clear(region)
        yield from self.table.set_region_sync_steps(region, int(success))
        if (yield from self.table.flush_steps()):
            self.log_failed = True

    def look(self) -> Steps:
        count = yield from self.table.get_sync_count_steps()
        self.check(0 <= count <= N, f"{count} regions in sync")
        status = yield from self.table.status_info_steps()
        self.check(status.startswith(b"3 disk ") and status.endswith((b" A\0", b" D\0")), f"status {status!r}")

    # -- dmsetup -----------------------------------------------------------------------------------------------------

    def load(self) -> Steps:
        log = self.rig.kernel.log(self.uuid, ctr_string(PATHS[self.uuid], N), integrated=self.integrated)
        if (yield from log.ctr_steps()) == 0:
            self.check(log.device == self.disk.number, f"device {log.device}")
            self.inactive = log

    def look_at_inactive(self) -> Steps:
        live = self.disk.live
        count = yield from self.inactive.get_sync_count_steps()
        self.check(count == 0, f"an inactive table has {count} regions in sync")
        yield from self.inactive.status_info_steps()
        self.check(self.disk.live == live, "a status made an inactive table live")

    def suspend(self) -> Steps:
        yield from self.table.presuspend_steps()
        yield from self.table.postsuspend_steps()
        self.suspended = self.disk.suspended = True

    def resume(self) -> Steps:
        old = None
        if self.inactive is not None:
            old, self.table, self.inactive = self.table, self.inactive, None
            self.hash.clear()
            self.believed.clear()
        if self.disk.faulted or self.disk.latched:  # a RESUME that heals demotes what it cannot believe
            self.believed.clear()
            self.disk.faulted = False
        self.work = None
        yield from self.table.resume_steps()
        self.lost.clear()
        self.suspended = self.disk.suspended = False
        self.log_failed = False
        if old is not None:
            yield from old.dtr_steps()

    def power_cut(self) -> None:
        self.differs = self.doubtful()
        self.unsafe.clear()
        self.lost.clear()
        self.table = self.inactive = self.worker = self.life = self.work = None
        self.hash.clear()
        self.believed.clear()
        self.flushing.clear()
        self.suspended, self.log_failed = True, False
        self.disk.suspended = self.disk.faulted = False


regions = st.lists(st.integers(0, N - 1), min_size=1, max_size=2, unique=True)
rarely = st.sampled_from([False, False, False, True])
which = st.sampled_from([b"mirror-a", b"mirror-a", b"mirror-a", b"mirror-b"])


class Histories(RuleBasedStateMachine):
    """The rules pick what happens next; what may not happen next is skipped."""

    def __init__(self) -> None:
        super().__init__()
        self.rig = Rig(auto=False)
        self.kernel = self.rig.kernel
        self.rig.on_work = self.rig.executor.on_work = self.on_work
        self.mirrors: dict[bytes, Mirror] = {}

    @initialize(dirty=st.sets(st.integers(0, N - 1)), integrated=st.booleans())
    def begin(self, dirty, integrated):
        self.mirrors = {uuid: Mirror(self.rig, uuid, dirty, integrated) for uuid in PATHS}
        for mirror in self.mirrors.values():
            self.start_life(mirror, mirror.load())
            self.finish_all()
            self.start_life(mirror, mirror.resume())
            self.finish_all()

    def on_work(self, event: str, uuid: bytes, work: Work) -> None:
        if work.lane is Lane.LEGS:
            mirror = self.mirrors[uuid]
            if event == "submitted":
                mirror.flushing.append(dict(mirror.unsafe))
            else:
                mirror.flush = mirror.flushing.pop(0)

    # -- the kernel's threads ----------------------------------------------------------------------------------------

    def start(self, steps: Steps, full: int) -> Call:
        # only the first sends: a RESUME of the kernel's loop that finds no room is "not in sync" whatever a daemon does
        self.kernel.full_buffer = full
        call = self.kernel.start(steps)
        self.kernel.full_buffer = 0
        self.kernel.pump()
        return call

    def start_worker(self, mirror: Mirror, steps: Steps, full: bool = False) -> None:
        mirror.worker = self.start(steps, int(full))

    def start_life(self, mirror: Mirror, steps: Steps, full: int = 0) -> None:
        mirror.life = self.start(steps, full)

    def idle(self, uuid: bytes) -> Mirror:
        """Let the mirror's threads come to their end; a flush of its legs goes on as long as nobody waits for it."""
        mirror = self.mirrors[uuid]
        for patience in range(20):
            if mirror.idle:
                break
            self.kernel.pump()
            for lane in (Lane.DEVICE, Lane.LEGS) if patience > 2 else (Lane.DEVICE,):
                while self.rig.executor.queues.get((uuid, lane)):
                    self.rig.executor.step(lane, uuid)
            self.rig.executor.collect()
            self.kernel.two_seconds()
            if patience > 4:
                self.kernel.timeout()
        assert mirror.idle
        return mirror

    def runs(self, uuid: bytes) -> Mirror | None:
        mirror = self.idle(uuid)
        return mirror if mirror.table and not mirror.suspended else None

    @rule(uuid=which, regions=regions, fall_idle=st.booleans(), full=rarely)
    def write(self, uuid, regions, fall_idle, full):
        def both(mirror: Mirror) -> Steps:
            yield from mirror.write(regions)
            if fall_idle:
                yield from mirror.fall_idle(regions)

        if mirror := self.runs(uuid):
            self.start_worker(mirror, both(mirror), full)

    @rule(uuid=which)
    def write_again_where_it_is_dirty(self, uuid):
        mirror = self.mirrors[uuid]
        if mirror.table and not mirror.suspended and not mirror.log_failed:
            for region in range(N):
                if mirror.hash.get(region) == "dirty":
                    mirror.write_both(region)

    @rule(uuid=which, regions=regions)
    def fall_idle(self, uuid, regions):
        mirror = self.idle(uuid)
        if mirror.table:  # also after POSTSUSPEND: kmirrord is not stopped
            self.start_worker(mirror, mirror.fall_idle(regions))

    @rule(uuid=which, region=st.integers(0, N - 1))
    def lose_leg(self, uuid, region):
        if mirror := self.runs(uuid):
            self.start_worker(mirror, mirror.lose_leg(region))

    @rule(uuid=which, success=st.sampled_from([True, True, False]))
    def recover(self, uuid, success):
        if mirror := self.runs(uuid):
            self.start_worker(mirror, mirror.recover(success))

    @rule(uuid=which, what=st.sampled_from(["look", "look at inactive", "load", "flush"]))
    def look_or_load(self, uuid, what):
        mirror = self.idle(uuid)
        if what == "load" and mirror.inactive is None:
            self.start_life(mirror, mirror.load())
        elif what == "look" and mirror.table:
            self.start_life(mirror, mirror.look())
        elif what == "look at inactive" and mirror.inactive and mirror.table:
            self.start_life(mirror, mirror.look_at_inactive())
        elif what == "flush" and mirror.table and mirror.table.flush_scheduled:
            self.start_worker(mirror, mirror.delayed_flush())

    @rule(uuid=which, suspend_full=rarely, resume_full=rarely, rest=st.booleans())
    def suspend_or_resume(self, uuid, suspend_full, resume_full, rest):
        mirror = self.idle(uuid)
        if mirror.table and not mirror.suspended:
            self.start_life(mirror, mirror.suspend(), 2 * suspend_full)
            if rest:
                return
            self.idle(uuid)
        if mirror.table or mirror.inactive:
            self.start_life(mirror, mirror.resume(), resume_full)

    # -- the daemon's threads and time -------------------------------------------------------------------------------

    def finish_all(self) -> None:
        """Everything runs to its end, however often the kernel must ask again."""
        for _ in range(30):
            self.kernel.pump()
            self.rig.executor.run_all()
            if not self.kernel.calls and not self.kernel.queue:
                return
            self.kernel.two_seconds()
            self.kernel.pump()
            self.rig.executor.run_all()
            self.kernel.timeout()
        raise AssertionError(f"calls never end: {[call.waits_for for call in self.kernel.calls]}")

    @rule(choice=st.integers(0, 3), collect=st.booleans())
    def a_thread_runs(self, choice, collect):
        ready = [key for key, queue in self.rig.executor.queues.items() if queue]
        if ready:
            uuid, lane = ready[choice % len(ready)]
            self.rig.executor.run(lane, uuid)
        if collect:
            self.rig.executor.collect()
            self.kernel.pump()

    @rule()
    def clears_are_due(self):
        self.rig.tick(6.0)

    @rule(what=st.sampled_from(["all", "leg hangs", "15 s", "2 s"]))
    def time_passes(self, what):
        if what == "all":
            self.finish_all()
        elif what == "leg hangs":
            self.rig.executor.time_out()
        elif what == "15 s":
            self.kernel.timeout()
        else:
            self.kernel.two_seconds()
        self.kernel.pump()

    # -- harm --------------------------------------------------------------------------------------------------------

    @rule(uuid=which, name=st.sampled_from(FAULTS))
    def fail_next(self, uuid, name):
        self.mirrors[uuid].disk.fail(name)

    @rule(uuid=which, what=st.sampled_from(["lose_replies", "lose_requests", "write back"]))
    def lose_next_or_write_back(self, uuid, what):
        if what == "write back":
            self.mirrors[uuid].disk.write_back()
        else:
            setattr(self.kernel, what, 1)

    @rule(lose_queue=st.booleans(), told=st.booleans())
    def the_worker_dies(self, lose_queue, told):
        kept = [entry for entry in self.rig.world.entries.values() if entry.log] if told else []
        self.rig.kill(lose_queue)
        self.rig.start()
        for entry in kept:
            self.rig.server.take_over(entry.luid, entry.uuid, ctr_string(PATHS[entry.uuid], N))
        for mirror in self.mirrors.values():
            mirror.work = None
            mirror.flushing.clear()
            mirror.lost.clear()  # the word of a failed leg flush dies with the worker
        self.kernel.pump()

    @rule(written=st.booleans())
    def power_cut(self, written):
        for mirror in self.mirrors.values():
            if written:
                mirror.disk.write_back()
            mirror.power_cut()
            mirror.disk.heal()
        self.rig.reboot()
        for mirror in self.mirrors.values():
            self.start_life(mirror, mirror.load())
            self.finish_all()
            self.start_life(mirror, mirror.resume())
            self.finish_all()

    # -- what is always so -------------------------------------------------------------------------------------------

    @invariant()
    def the_kernel_saw_nothing_wrong(self):
        assert not self.kernel.violations, self.kernel.violations
        for mirror in self.mirrors.values():
            assert not mirror.problems, mirror.problems
        assert not self.rig.bugs, self.rig.bugs

    @invariant()
    def no_region_may_be_clean_after_a_crash_whose_legs_may_differ(self):
        for mirror in self.mirrors.values():
            wrong = mirror.doubtful() - set(mirror.disk.dirty())
            assert not wrong, f"{mirror.uuid!r}: {wrong} may be clean; {mirror.rig.lines[-3:]}"

    @invariant()
    def clean_implies_in_sync_and_one_luid_is_live(self):
        for uuid in self.mirrors:
            entries = [entry for entry in self.rig.world.entries.values() if entry.uuid == uuid]
            live = [entry for entry in entries if entry.log and entry.log.phase is not Phase.IDLE]
            sound = [entry for entry in live if not entry.log.blind and not entry.busy]
            assert len(sound) <= 1
            for entry in sound:
                log, store = entry.log, entry.store
                assert not (store.clean & ~store.in_sync).any()
                assert log.sync_count == store.in_sync.count(1, 0, N)
                for region in range(N):
                    if log.clears.holds(region):
                        assert store.in_sync[region]

    def teardown(self):
        try:
            for mirror in self.mirrors.values():
                mirror.disk.heal()
            self.kernel.lose_replies = self.kernel.lose_requests = 0
            self.finish_all()
            self.no_region_may_be_clean_after_a_crash_whose_legs_may_differ()
            self.the_kernel_saw_nothing_wrong()
            assert self.rig.unanswered() == []
            assert self.rig.at_rest()
        finally:
            self.rig.close()


BOUNDED = settings(max_examples=200, stateful_step_count=50, deadline=None)
TestHistories = Histories.TestCase
TestHistories.settings = BOUNDED


def every_flush_is_answered_at_once(monkeypatch):
    monkeypatch.setattr(DirtyLog, "flush", lambda _: b"")


def errors_are_empty(monkeypatch):
    monkeypatch.setattr(wire, "error_reply", lambda request, error: wire.reply(request, b"", error))


# Mistakes that any few histories hold. Rarer ones, in the rounds of clears, are planted in test_crash_requests.py,
# where the order that shows them is written down and not left to chance.
MISTAKES = [every_flush_is_answered_at_once, errors_are_empty]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_a_mistake_is_found(monkeypatch, mistake):
    mistake(monkeypatch)
    once = settings(BOUNDED, max_examples=600, phases=[Generate.generate], database=None, report_multiple_bugs=False)
    # what 600 random histories hold is luck; that 20 times as many hold nothing would be a broken model
    for _ in range(20):
        try:
            run_state_machine_as_test(Histories, settings=once)
        except AssertionError:
            return
        except Flaky:
            continue
    pytest.fail("the histories do not find the mistake")
