# SPDX-License-Identifier: LGPL-2.1-or-later
"""Moves over a model of a host: every way, every stop, every fault."""

import copy
import errno
import shutil
from dataclasses import replace

import pytest

from diskulog import ondisk
from diskulog.dm import Info
from diskulog.errors import DeviceError, DiskulogError, RefusedError
from diskulog.forensic import writing
from diskulog.moving import look, plan, run, table
from diskulog.moving.plan import Step
from diskulog.moving.situation import Served, Target
from diskulog.moving.table import Kind
from tests.moving import host as hosts
from tests.moving.host import COUNT, DIRTY, DISKULOG_LOG, KERNEL_LOG, LENGTH, NEW, OLD, Killed, line

ALL = frozenset(range(COUNT))
TRUTH = ALL - DIRTY  # a resync is under way

# the live log, where to, whether the log failed
MOVES = {
    "kernel to diskulog": (KERNEL_LOG, Kind.DISKULOG, None, False),
    "diskulog to kernel": (DISKULOG_LOG, Kind.KERNEL, None, False),
    "kernel to diskulog elsewhere": (KERNEL_LOG, Kind.DISKULOG, NEW, False),
    "diskulog to kernel elsewhere": (DISKULOG_LOG, Kind.KERNEL, NEW, False),
    "kernel elsewhere": (KERNEL_LOG, Kind.KERNEL, NEW, False),
    "diskulog elsewhere": (DISKULOG_LOG, Kind.DISKULOG, NEW, False),
    "kernel, failed": (KERNEL_LOG, Kind.KERNEL, NEW, True),
    "diskulog, failed": (DISKULOG_LOG, Kind.DISKULOG, NEW, True),
}
EACH = pytest.mark.parametrize(("log", "kind", "device", "failed"), MOVES.values(), ids=MOVES)


class Ticks:
    """Counts every step and every write of a sector, and ends the command, or fails it, at one of them."""

    def __init__(self, monkeypatch, at=None, after=False, what=Killed):
        self.count, self.at, self.after, self.what = 0, at, after, what
        self.steps = []
        write = writing._write
        monkeypatch.setattr(writing, "_write", lambda *words, **more: self.tick(lambda: write(*words, **more)))
        for step, do in list(run._DO.items()):
            monkeypatch.setitem(run._DO, step, lambda job, do=do, step=step: self.step(step, lambda: do(job)))

    def stop(self):
        raise self.what

    def step(self, step, do):
        self.steps.append(step)
        self.tick(do)

    def tick(self, do):
        number, self.count = self.count, self.count + 1
        if number == self.at and not self.after:
            raise self.what
        do()
        if number == self.at:
            raise self.what


def tables(made):
    return made.old.line.text(), made.new.line.text()


def goes_on(host, made, killed=False):
    """Write to the mirror that is in use, and cut the power: the log that is not in use must not be believed.

    But for the copy that a killed command leaves on a device of which nobody was told.
    """
    if host.failed:
        return
    for region in (5, 6):
        host.write_region(region)
    old, new = tables(made)
    host.safe_for(old, *(() if killed and host.live == old else (new,)))


def branch(host, name="branch"):
    """A copy of everything, to try what an administrator may do next."""
    other = copy.copy(host)
    other.folder = host.folder / name
    other.folder.mkdir(exist_ok=True)
    other.truth, other.does, other.faults = set(host.truth), [], {}
    for number in (OLD, NEW):
        shutil.copy(host.path(number), other.path(number))
    return other


@EACH
def test_a_move_keeps_what_is_known(host, log, kind, device, failed):
    mirror = host(log, TRUTH, failed=failed)
    target = mirror.target(kind, device, failed)
    made = mirror.plan(target)
    assert mirror.move(target) == ()
    assert (mirror.live, mirror.waiting, mirror.suspended, mirror.failed) == (made.new.line.text(), "", False, False)
    assert mirror.truth == (set() if failed else TRUTH)  # nothing that was clean is resynced
    assert mirror.now.log.number == (device or OLD)
    mirror.safe_for(*tables(made))
    goes_on(mirror, made)
    if not failed:
        assert mirror.plan(target).steps == ()


@EACH
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_any_moment_either_log_can_take_the_mirror(host, log, kind, device, failed, after, monkeypatch):
    at = 0
    while True:
        mirror = host(log, TRUTH, failed=failed)
        target = mirror.target(kind, device, failed)
        made = mirror.plan(target)
        with monkeypatch.context() as patch:
            Ticks(patch, at, after)
            try:
                mirror.move(target)
                break  # every stop was tried
            except Killed:
                pass
        mirror.safe_for(*tables(made))  # the power fails as well
        # 'dmsetup resume'
        resumed = branch(mirror)
        resumed.resume("m")
        assert not resumed.failed or (failed and resumed.live == made.old.line.text())
        assert resumed.truth == TRUTH or failed or resumed.now.log.kind is Kind.KERNEL
        goes_on(resumed, made, killed=True)
        # 'dmsetup clear' and 'dmsetup resume'
        cleared = branch(mirror)
        cleared.clear("m")
        cleared.resume("m")
        assert not cleared.failed or failed
        goes_on(cleared, made, killed=True)
        # the same command again
        again = branch(mirror)
        same = replaced(target, again)
        refusal = again.refusal(same)
        if "no table waits" in refusal:
            assert "'dmsetup resume m' first" in refusal
            again.resume("m")
            assert again.live == made.old.line.text()
            refusal = again.refusal(same)
        # half of a copy in the kernel's format says nothing of whose it is
        assert refusal == "" or refusal.endswith("say --overwrite")
        again.move(replace(same, overwrite=bool(refusal)))
        assert (again.live, again.suspended, again.failed) == (at_new(made, again), False, False)
        assert again.truth == (set() if failed else TRUTH)
        goes_on(again, made)
        at += 1
    assert at >= 5


def replaced(target, host):
    """The same target on another branch, whose files have other names."""
    return target if target.number is None else host.target(target.kind, target.number, target.failed)


def at_new(made, host):
    return host.live if table.parse("m", host.live, host.number_of).same_as(made.new) else made.new.line.text()


@EACH
@pytest.mark.parametrize("what", [OSError, KeyboardInterrupt], ids=["fails", "Ctrl-C"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_whatever_fails_the_old_table_stays(host, log, kind, device, failed, what, after, monkeypatch):
    at, outcomes = 0, set()
    while True:
        mirror = host(log, TRUTH, failed=failed)
        target = mirror.target(kind, device, failed)
        made = mirror.plan(target)
        error = DeviceError("m: it", OSError(errno.EIO, "Input/output error")) if what is OSError else what()
        with monkeypatch.context() as patch:
            ticks = Ticks(patch, at, after, error)
            try:
                notes = mirror.move(target)
            except DiskulogError as raised:
                text = str(raised)
                assert text.startswith("m: ")
                outcomes.add(text.rpartition(": " if what is OSError else "; ")[2])
            else:
                if at >= ticks.count:
                    break
                # the old log's device failed, which is why it is left
                assert failed
                assert "could not be taken out of use" in notes[0]
                at += 1
                continue
        assert not mirror.suspended
        assert mirror.waiting == ""
        done = ticks.steps[-1] is Step.CONFIRM or (ticks.steps[-1] is Step.RESUME and after)
        assert mirror.live == (made.new if done else made.old).line.text()
        assert mirror.truth == (set() if failed and done else TRUTH)
        goes_on(mirror, made)
        at += 1
    assert at >= 5
    who = table.WHO[made.old.log.kind]
    as_before = f"the mirror goes on with {who} on {OLD} as before"
    assert outcomes == {"the new table is in use", as_before} | ({"the mirror was not touched"} if device else set())


def test_the_kernels_last_clears_are_waited_for(host):
    mirror = host(KERNEL_LOG, TRUTH)
    mirror.late, mirror.late_after = {10, 11}, 3
    mirror.move(mirror.target(Kind.DISKULOG, None, False))
    assert mirror.late == set()
    assert mirror.truth == TRUTH


def test_a_log_that_still_changes_is_not_at_rest(host, monkeypatch):
    mirror = host(KERNEL_LOG, TRUTH)
    clean_regions = run.logs.clean_regions
    other = mirror.bits((TRUTH - {10}) | {3})  # as many
    seen = [other, mirror.bits(TRUTH)]
    monkeypatch.setattr(run.logs, "clean_regions", lambda *words: seen.pop(0) if seen else clean_regions(*words))
    mirror.move(mirror.target(Kind.DISKULOG, NEW, False))
    assert mirror.truth == TRUTH


ELSEWHERE = pytest.mark.parametrize(
    ("log", "kind", "device", "failed"),
    [move for move in MOVES.values() if move[2]],
    ids=[m for m in MOVES if MOVES[m][2]],
)


def killed_behind(step, mirror, target, monkeypatch, uuid="fresh-1"):
    """Move a mirror, and end without a word when a step is done."""
    with monkeypatch.context() as patch:
        ticks = Ticks(patch)
        do = run._DO[step]
        patch.setitem(run._DO, step, lambda job: do(job) or ticks.stop())
        with pytest.raises(Killed):
            mirror.move(target, uuid)


BEHIND = pytest.mark.parametrize("step", [Step.RETIRE, Step.LOAD])


@ELSEWHERE
@BEHIND
def test_what_is_out_of_use_already_is_gone_back_to(host, log, kind, device, failed, step, monkeypatch):
    mirror = host(log, TRUTH, failed=failed)
    target = replace(mirror.target(kind, device, failed), overwrite=True)
    killed_behind(step, mirror, target, monkeypatch)
    at = 0
    while True:
        again = branch(mirror)
        same = replace(replaced(target, again), overwrite=True)
        made = again.plan(same)
        with monkeypatch.context() as patch:
            ticks = Ticks(patch, at, what=DeviceError("m: it", OSError(errno.EIO, "Input/output error")))
            outcome = "as before"
            try:
                again.move(same)
            except DeviceError as failure:
                outcome = str(failure)
            assert "as before" in outcome or "the new table is in use" in outcome
            if at >= ticks.count:
                break
        assert not again.suspended
        assert again.truth == TRUTH or failed
        goes_on(again, made)
        at += 1
    assert at >= 5


@ELSEWHERE
@BEHIND
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_again_and_again_it_goes_on(host, log, kind, device, failed, step, after, monkeypatch):
    mirror = host(log, TRUTH, failed=failed)
    target = replace(mirror.target(kind, device, failed), overwrite=True)
    killed_behind(step, mirror, target, monkeypatch)
    at = 0
    while True:
        again = branch(mirror)
        same = replace(replaced(target, again), overwrite=True)
        made = again.plan(same)
        with monkeypatch.context() as patch:
            Ticks(patch, at, after)
            try:
                again.move(same)
                break
            except Killed:
                pass
        again.safe_for(*tables(made))
        resumed = branch(again, "twig")
        resumed.resume("m")
        goes_on(resumed, made, killed=True)
        if "no table waits" in again.refusal(same):
            again.resume("m")
        again.move(same)
        assert (again.live, again.suspended, again.failed) == (at_new(made, again), False, False)
        assert again.truth == (set() if failed else TRUTH) or kind is Kind.KERNEL
        goes_on(again, made)
        at += 1
    assert at >= 5


THIRD = "253:77"


def put_a_log_that_calls_all_clean(mirror, kind):
    mirror.path(THIRD).write_bytes(bytes(hosts.SIZE))
    if kind is Kind.KERNEL:
        mirror.put(THIRD, 0, ondisk.Header(nr_regions=COUNT).pack())
        mirror.put(THIRD, ondisk.CLEAN_OFFSET_BYTES, ondisk.bits_to_bytes(mirror.bits(ALL)))
    else:
        uuid = mirror.now.log.uuid or "fresh-1"
        mirror.close(replace(mirror.now, log=replace(mirror.now.log, uuid=uuid, number=THIRD, device=THIRD)), set(ALL))


@ELSEWHERE
@BEHIND
def test_with_another_try_s_table_dropped_a_third_device_is_prepared_like_any(
    host, log, kind, device, failed, step, monkeypatch
):
    mirror = host(log, TRUTH, failed=failed)
    killed_behind(step, mirror, mirror.target(kind, device, failed), monkeypatch)
    put_a_log_that_calls_all_clean(mirror, kind)
    elsewhere = mirror.target(kind, THIRD, failed)
    if step is Step.LOAD:
        assert "another table waits" in mirror.refusal(elsewhere)
        mirror.clear("m")
    if kind is Kind.KERNEL:
        assert "say --overwrite" in mirror.refusal(elsewhere)
    mirror.move(replace(elsewhere, overwrite=True))
    assert mirror.now.log.number == THIRD
    assert mirror.truth == (set() if failed else TRUTH)  # and nothing that differs is called clean


@BEHIND
@pytest.mark.parametrize("device", [NEW, None])
def test_a_uuid_that_was_made_up_is_found_again(host, monkeypatch, step, device):
    mirror = host(KERNEL_LOG, TRUTH)
    target = mirror.target(Kind.DISKULOG, device, False)
    killed_behind(step if device else Step.SUSPEND, mirror, target, monkeypatch, "fresh-1")
    mirror.move(target, "fresh-2")
    assert mirror.now.log.uuid == "fresh-1"
    assert mirror.truth == TRUTH


def test_another_mirrors_log_s_uuid_is_not_taken(host, monkeypatch):
    mirror = host(KERNEL_LOG, TRUTH)
    killed_behind(Step.RETIRE, mirror, mirror.target(Kind.DISKULOG, NEW, False), monkeypatch)
    extension = ondisk.unpack_extension(mirror.head(NEW))
    for changes in ({"resumed_seconds": 1}, {"region_size_sectors": 16}):
        mirror.put(NEW, ondisk.EXTENSION_OFFSET_BYTES, replace(extension, uuid="another", **changes).pack())
        assert "holds the log of mirror another" in mirror.refusal(mirror.target(Kind.DISKULOG, NEW, False))


@EACH
@pytest.mark.parametrize("when", ["before", "at the suspend"])
def test_a_table_that_somebody_else_gave_it_meanwhile_stays(host, log, kind, device, failed, when, monkeypatch):
    mirror = host(log, TRUTH, failed=failed)
    made = mirror.plan(mirror.target(kind, device, failed))
    others = mirror.live.replace("253:1 0", "253:77 0")
    suspend = mirror.suspend

    def and_another(name):
        suspend(name)
        mirror.live = others

    if when == "before":
        mirror.live = others
    else:
        monkeypatch.setattr(mirror, "suspend", and_another)
    with pytest.raises(RefusedError, match=r"another table meanwhile.*goes on with what somebody else gave it"):
        run.perform(made, mirror.doors())
    assert (mirror.live, mirror.suspended) == (others, False)


def test_a_table_that_somebody_else_loads_meanwhile_does_not_come_to_life(host, monkeypatch):
    mirror = host(KERNEL_LOG, TRUTH)
    suspend = mirror.suspend

    def and_another(name):
        suspend(name)
        mirror.waiting = mirror.waiting.replace("253:1 0", "253:77 0")

    monkeypatch.setattr(mirror, "suspend", and_another)
    with pytest.raises(RefusedError, match=r"another table than ours waits.*goes on with the kernel's own log"):
        mirror.move(mirror.target(Kind.DISKULOG, None, False))
    assert (mirror.live, mirror.suspended) == (line(KERNEL_LOG), False)


def test_a_log_whose_path_went_with_its_device_is_replaced(host, monkeypatch):
    mirror = host(DISKULOG_LOG, TRUTH, failed=True)
    mirror.live = mirror.live.replace(OLD, "/dev/disk/by-id/gone")
    number_of = mirror.number_of
    monkeypatch.setattr(mirror, "number_of", lambda word: word if "gone" in word else number_of(word))
    monkeypatch.setattr(mirror, "status", lambda name: f"0 {LENGTH} mirror 2 253:0 253:1 97/100 1 AA 3 disk {OLD} D")
    served = (Served(hosts.UUID, OLD, "failed", "D"),)
    monkeypatch.setattr(mirror, "served", lambda: served)
    mirror.path(OLD).unlink()

    def and_a_new_one(name):
        nonlocal served
        mirror.live, mirror.waiting, mirror.suspended = mirror.waiting, "", False
        served = (Served(hosts.UUID, NEW, "live", "A"),)

    monkeypatch.setattr(mirror, "resume", and_a_new_one)
    (note,) = mirror.move(mirror.target(Kind.DISKULOG, NEW, True))
    assert "could not be taken out of use" in note
    assert mirror.now.log.number == NEW


def test_a_log_that_does_not_come_to_rest_is_left_where_it_is(host, monkeypatch):
    monkeypatch.setattr(run, "_REST_SECONDS", 0.1)
    mirror = host(KERNEL_LOG, TRUTH)
    mirror.late, mirror.late_after = {10, 11}, 10**9
    with pytest.raises(RefusedError, match=r"97 regions are in sync, 95 are clean.*goes on with the kernel's own log"):
        mirror.move(mirror.target(Kind.DISKULOG, None, False))
    assert (mirror.suspended, mirror.waiting, mirror.live) == (False, "", line(KERNEL_LOG))


def test_a_log_that_was_not_closed_is_not_handed_over(host, monkeypatch):
    mirror = host(DISKULOG_LOG, TRUTH)
    monkeypatch.setattr(mirror, "close", mirror.keep_open)
    with pytest.raises(RefusedError, match=r"not closed at the suspend.*goes on with diskulog"):
        mirror.move(mirror.target(Kind.KERNEL, None, False))
    assert (mirror.suspended, mirror.live) == (False, line(DISKULOG_LOG))


def test_a_log_that_somebody_wrote_behind_the_suspend_is_not_handed_over(host, monkeypatch):
    mirror = host(DISKULOG_LOG, TRUTH)
    close = mirror.close

    def and_write(mine, clean):
        close(mine, clean)
        mirror.put(OLD, ondisk.CLEAN_OFFSET_BYTES, b"\xff")

    monkeypatch.setattr(mirror, "close", and_write)
    with pytest.raises(RefusedError, match="does not hold what was there"):
        mirror.move(mirror.target(Kind.KERNEL, None, False))
    assert (mirror.suspended, mirror.live) == (False, line(DISKULOG_LOG))


@pytest.mark.parametrize(("what", "steps"), [("load", 1), ("suspend", 2), ("resume", 5)])
def test_dm_refuses(host, what, steps):
    mirror = host(DISKULOG_LOG, TRUTH)
    mirror.faults[what] = DeviceError("m: dm cannot do it", OSError(errno.EINVAL, "Invalid argument"))
    with pytest.raises(
        DeviceError, match="dm cannot do it: Invalid argument: the mirror goes on with diskulog"
    ) as raised:
        mirror.move(mirror.target(Kind.KERNEL, None, False))
    assert raised.value.errno == errno.EINVAL
    assert (mirror.suspended, mirror.live, mirror.waiting) == (False, line(DISKULOG_LOG), "")
    assert mirror.truth == TRUTH
    goes_on(mirror, mirror.plan(mirror.target(Kind.KERNEL, None, False)))


def test_a_mirror_that_cannot_be_brought_back_is_told_of(host, monkeypatch):
    mirror = host(DISKULOG_LOG, TRUTH)

    def refuse(name):
        raise DeviceError("m: dm cannot resume it", OSError(errno.EINVAL, "Invalid argument"))

    monkeypatch.setattr(mirror, "resume", refuse)
    with pytest.raises(DeviceError, match=r"could not be brought back.*'dmsetup resume m'"):
        mirror.move(mirror.target(Kind.KERNEL, None, False))


def test_a_new_log_that_fails_at_once_is_told_of(host, monkeypatch):
    mirror = host(DISKULOG_LOG, TRUTH)
    activate = mirror.activate

    def and_fail():
        activate()
        mirror.failed = True

    monkeypatch.setattr(mirror, "activate", and_fail)
    with pytest.raises(RefusedError, match=r"its new log on .* is failed.*replace-log"):
        mirror.move(mirror.target(Kind.DISKULOG, NEW, False))


def test_an_extension_from_an_earlier_time_with_diskulog_is_believed_no_more(host):
    mirror = host(DISKULOG_LOG, ALL)
    mirror.move(mirror.target(Kind.KERNEL, None, False))
    mirror.write_region(9)  # under the kernel's log
    mirror.move(mirror.target(Kind.DISKULOG, None, False))
    assert mirror.live == line(DISKULOG_LOG)  # its uuid is found again
    assert mirror.truth == ALL - {9}


def test_a_damaged_extension_is_written_anew(host):
    mirror = host(DISKULOG_LOG, ALL)
    mirror.move(mirror.target(Kind.KERNEL, None, False))
    mirror.put(OLD, ondisk.EXTENSION_OFFSET_BYTES + 9, b"\xff")
    mirror.move(mirror.target(Kind.DISKULOG, None, False))
    assert "userspace 5 fresh-1 " in mirror.live
    assert mirror.truth == ALL


def test_the_module_is_there_before_the_mirror_is_suspended(host):
    mirror = host(KERNEL_LOG, TRUTH)
    mirror.move(mirror.target(Kind.DISKULOG, NEW, False))
    assert [what for what in mirror.does if what != "status"] == ["modprobe", "suspend", "load", "resume"]


@pytest.mark.parametrize(("log", "kind", "device"), [(DISKULOG_LOG, Kind.KERNEL, None), (KERNEL_LOG, Kind.KERNEL, NEW)])
def test_a_log_in_use_is_not_written(host, monkeypatch, log, kind, device):
    mirror = host(log, TRUTH)
    suspend = mirror.suspend

    def and_resume(name):
        suspend(name)
        waits, mirror.waiting = mirror.waiting, ""
        mirror.resume(name)
        mirror.waiting = waits

    monkeypatch.setattr(mirror, "suspend", and_resume)
    monkeypatch.setattr(mirror, "keep_open", lambda *_: None)  # its log may well look closed
    before = mirror.head(OLD)
    with pytest.raises(RefusedError, match="was resumed by somebody else"):
        mirror.move(mirror.target(kind, device, False))
    assert ondisk.unpack_extension(mirror.head(OLD)) == ondisk.unpack_extension(before) or log == DISKULOG_LOG
    assert ondisk.unpack_header(mirror.head(OLD)) == ondisk.unpack_header(before)
    assert mirror.live == line(log)


def test_every_step_is_known(host):
    assert set(run._DO) == set(Step)
    assert hosts.COUNT == COUNT


class InMemory:
    """dm, with a mirror whose log is in memory; ``stands`` is what its status says of regions and legs."""

    def __init__(self, log, stands="100/100 1 AA", then=None):
        self.live, self.waiting, self.suspended = line(log), "", False
        self.stands, self.then = stands, then or stands
        self.loaded, self.resumed_by_another = [], False

    def info(self, name):
        return Info(name, "", "253:5", self.suspended, True, bool(self.waiting), False)

    def table(self, name, *, inactive=False):
        return self.waiting if inactive else self.live

    def status(self, name):
        return f"0 {LENGTH} mirror 2 253:0 253:1 {self.then if self.suspended else self.stands} 1 core"

    def load(self, name, text, *, read_only):
        self.waiting = text
        self.loaded.append((self.suspended, text))

    def clear(self, name):
        self.waiting = ""

    def suspend(self, name):
        self.suspended = not self.resumed_by_another
        if self.resumed_by_another:
            self.resume(name)

    def resume(self, name):
        self.live, self.waiting, self.suspended = self.waiting or self.live, "", False

    def served(self):
        known = table.parse("m", self.live, str)
        return (Served(known.log.uuid, None, "live", "A"),) if known.log.kind is Kind.DISKULOG else ()

    def moved(self, kind):
        doors = look.Doors(self, self.served, str, str, lambda: None)
        found = look.situation(doors, "m", kind, None, "fresh")
        run.perform(plan.plan(found, Target(kind)), doors)
        return self.live


MEMORY = {Kind.KERNEL: "core 1 8", Kind.DISKULOG: "userspace 4 fresh integrated_flush core 8"}
TO = pytest.mark.parametrize(("old", "new"), [tuple(MEMORY), tuple(MEMORY)[::-1]])


@TO
def test_a_log_in_memory_moves_without_a_resync_when_all_is_in_sync(old, new):
    nosync = {Kind.KERNEL: "core 2 8 nosync", Kind.DISKULOG: "userspace 5 fresh integrated_flush core 8 nosync"}
    assert InMemory(MEMORY[old]).moved(new) == line(nosync[new])


@TO
def test_a_log_in_memory_is_copied_anew_when_not_all_is_in_sync(old, new):
    assert InMemory(MEMORY[old], "99/100 1 AA").moved(new) == line(MEMORY[new])


@TO
@pytest.mark.parametrize(
    ("stands", "then"),
    [("100/100 1 AA", "99/100 1 AA"), ("100/100 1 AA", "100/100 1 AD"), ("50/100 1 AA", "100/100 1 DA")],
)
def test_what_was_lost_before_the_suspend_is_not_called_in_sync(old, new, stands, then):
    mapper = InMemory(MEMORY[old], stands, then)
    with pytest.raises(RefusedError, match=r"goes on with .* in memory as before"):
        mapper.moved(new)
    assert (mapper.live, mapper.waiting, mapper.suspended) == (line(MEMORY[old]), "", False)


@TO
def test_no_table_waits_for_a_stranger_s_resume_that_calls_all_in_sync(old, new):
    # killed behind the first LOAD the mirror is written to for days before somebody resumes it
    mapper = InMemory(MEMORY[old])
    mapper.moved(new)
    (before, first), (after, second) = mapper.loaded
    assert (before, first) == (False, line(MEMORY[new]))
    assert (after, "nosync" in second) == (True, True)


@TO
def test_a_mirror_that_somebody_else_resumed_is_not_asked_whether_it_agrees(old, new):
    mapper = InMemory(MEMORY[old])
    mapper.resumed_by_another = True
    with pytest.raises(RefusedError, match="was resumed by somebody else"):
        mapper.moved(new)
    assert "nosync" not in mapper.live + mapper.waiting


@EACH
def test_a_leg_that_fails_before_the_suspend_is_not_forgotten(host, log, kind, device, failed):
    mirror = host(log, TRUTH, failed=failed)
    suspend = mirror.suspend

    def and_fails(name):
        suspend(name)
        mirror.legs = "DA"

    mirror.suspend = and_fails
    before = mirror.live
    with pytest.raises(DiskulogError, match="a leg failed meanwhile"):
        mirror.move(Target(kind, str(mirror.path(device)) if device else None, device, failed=failed))
    assert (mirror.live, mirror.suspended) == (before, False)
