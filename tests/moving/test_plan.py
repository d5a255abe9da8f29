# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a move comes to: the steps of each way from each state, and every refusal with its reason."""

from dataclasses import replace
from itertools import product

import pytest

from diskulog.errors import RefusedError
from diskulog.mirrortable import LegName
from diskulog.moving import medium
from diskulog.moving.medium import Medium
from diskulog.moving.plan import AT_EASE, Step, plan
from diskulog.moving.situation import Served, Situation, Target
from diskulog.moving.table import Kind, Log, Table
from diskulog.ondisk import Dialect, Extension, State

K, D = Kind.KERNEL, Kind.DISKULOG
LEGS = (LegName("253:0"), LegName("253:1"))
OLD, NEW = "253:2", "253:9"


def mirror(kind, number=OLD, uuid="u", features=("handle_errors",), options=()):
    return Table(8000, Log(kind, number, number, 8, uuid if kind is D else "", options=options), LEGS, features)


def extension(uuid="u", region_size=8, **changes):
    return replace(Extension(uuid, region_size, 8000, 1000, 8192, 8192, State.CLOSED), **changes)


def on(kind, **changes):
    found = Medium("/dev/old", 16384, 512, Dialect.KERNEL, what="a mirror log that the kernel or LVM wrote")
    if kind is D:
        found = replace(found, dialect=Dialect.DISKULOG, extension=extension(), what="the log of mirror u")
    return replace(found, **changes)


BLANK = Medium("/dev/new", 16384, 512, Dialect.BLANK)


def situation(kind, **changes):
    served = (Served("u", OLD, "live", "A"),) if kind is D else ()
    found = Situation("m", "", False, False, mirror(kind), None, False, "AA", "A", served, on(kind), "fresh")
    return replace(found, **changes)


def steps(found, target):
    return " ".join(step.name for step in plan(found, target).steps)


FROM_TO = list(product((K, D), (K, D)))
REST = {K: "SETTLE", D: "CLOSED"}


@pytest.mark.parametrize(("old", "new"), [(K, D), (D, K)])
def test_on_the_same_device(old, new):
    found, target = situation(old), Target(new)
    release = "" if new is D else " RELEASE"
    behind = f"{REST[old]}{release} RESUME CONFIRM"
    assert steps(found, target) == f"LOAD SUSPEND {behind}"
    made = plan(found, target)
    waits = replace(found, waiting=made.new)
    assert steps(waits, target) == f"CLEAR LOAD SUSPEND {behind}"
    assert steps(replace(waits, suspended=True), target) == behind
    assert made.same_device


def test_an_extension_from_an_earlier_time_is_released_before_diskulog_reads_it():
    for there in (on(D), on(D, extension=extension(state=State.RELEASED)), on(K, dialect=Dialect.DAMAGED)):
        assert steps(situation(K, old=there), Target(D)) == "LOAD SUSPEND SETTLE RELEASE RESUME CONFIRM"


@pytest.mark.parametrize(("old", "new"), FROM_TO)
def test_on_another_device(old, new):
    found, target = situation(old, new=BLANK), Target(new, "/dev/new", NEW)
    made = plan(found, target)
    assert steps(found, target) == f"PREPARE SUSPEND {REST[old]} COPY RETIRE LOAD RESUME CONFIRM"
    waits = replace(found, waiting=made.new)
    assert steps(waits, target) == f"CLEAR PREPARE SUSPEND {REST[old]} COPY RETIRE LOAD RESUME CONFIRM"
    again = f"PREPARE {REST[old]} COPY RETIRE LOAD RESUME CONFIRM"
    assert steps(replace(waits, suspended=True), target) == f"CLEAR {again}"
    gone = on(K, stopped=True) if old is K else on(D, extension=extension(medium.retired_uuid("u")))
    retired = replace(found, suspended=True, old=gone)
    assert steps(retired, target) == f"RESTORE {again}"
    assert steps(replace(retired, waiting=made.new), target) == f"CLEAR RESTORE {again}"


def in_memory(kind, **changes):
    table = Table(8000, Log(kind, "", "", 8, "u" if kind is D else "", "core"), LEGS, ("handle_errors",))
    served = (Served("u", None, "live", "A"),) if kind is D else ()
    return situation(kind, table=table, served=served, old=None, **changes)


@pytest.mark.parametrize(("old", "new"), [(K, D), (D, K)])
def test_a_log_in_memory_begins_with_what_can_be_said_of_the_old_one(old, new):
    equal, copying = in_memory(old, all_in_sync=True), in_memory(old)
    for found, options in ((equal, ("nosync",)), (copying, ())):
        made = plan(found, Target(new))
        assert made.new.log == Log(new, "", "", 8, "fresh" if new is D else "", "core", options)
        assert steps(found, Target(new)) == "LOAD SUSPEND AGREE RESUME CONFIRM"
        # who knows what an earlier try loaded
        waits = replace(found, waiting=made.new, suspended=True)
        assert steps(waits, Target(new)) == "LOAD AGREE RESUME CONFIRM"
        assert steps(replace(waits, suspended=False), Target(new)) == "CLEAR LOAD SUSPEND AGREE RESUME CONFIRM"
    assert plan(equal, Target(new)).notes == ()
    assert "all 1000 regions will be resynced" in plan(copying, Target(new)).notes[0]
    assert "in memory already" in plan(equal, Target(old)).summary
    assert plan(in_memory(K), Target(D, uuid="x")).new.log.uuid == "x"


@pytest.mark.parametrize("old", [K, D])
def test_a_failed_log_is_left_behind(old):
    found, target = situation(old, new=BLANK, log_letter="D"), Target(old, "/dev/new", NEW, failed=True)
    made = plan(found, target)
    assert steps(found, target) == "PREPARE SUSPEND RETIRE LOAD RESUME CONFIRM"
    assert made.failed
    assert "all 1000 regions will be resynced" in made.notes[0]
    waits = replace(found, waiting=made.new, suspended=True)
    assert steps(waits, target) == "CLEAR PREPARE RETIRE LOAD RESUME CONFIRM"  # who knows what lies on the new one
    assert steps(replace(found, old=None), target) == "PREPARE SUSPEND RETIRE LOAD RESUME CONFIRM"


@pytest.mark.parametrize("entry", [Served("u", OLD, "failed", "A"), Served("u", OLD, "live", "D")])
def test_a_log_has_failed_when_the_daemon_says_so(entry):
    assert situation(D, served=(entry,)).failed
    assert not situation(D).failed


@pytest.mark.parametrize("kind", [K, D])
def test_what_is_so_already_is_left_alone(kind):
    made = plan(situation(kind), Target(kind))
    assert made.steps == ()
    assert made.summary.startswith("nothing to do")
    assert plan(situation(kind, new=on(kind)), Target(kind, OLD, OLD, failed=True)).steps == ()


def test_every_step_is_between_suspend_and_resume_or_may_be_interrupted():
    held = "RESTORE SETTLE CLOSED COPY AGREE RELEASE RETIRE LOAD RESUME"
    assert set(Step) - AT_EASE == {Step[word] for word in held.split()}


ELSEWHERE = Target(D, "/dev/new", NEW, failed=True)
REFUSED = {
    "LVM's": (situation(K, dm_uuid="LVM-abc"), Target(D), "belongs to LVM.*lvconvert"),
    "LVM's log": (situation(D, table=mirror(D, uuid="LVM-abc")), Target(K), "belongs to LVM"),
    "read-only": (situation(K, read_only=True), Target(D), "read-only"),
    "a leg failed": (situation(K, legs="AD"), Target(D), "a leg failed .the kernel says AD of its 2 legs"),
    "a leg failed before a kill": (
        situation(K, legs="DA", suspended=True, waiting=mirror(D)),
        Target(D),
        "as before with 'dmsetup clear m', then 'dmsetup resume m'$",
    ),
    "no word of the legs": (situation(K, legs=""), Target(D), "a leg failed"),
    "a leg failed, and the log": (situation(D, legs="DA", log_letter="D", new=BLANK), ELSEWHERE, "a leg failed"),
    "another table": (situation(K, waiting=mirror(K, NEW)), Target(D), "another table waits.*dmsetup clear m"),
    "a stranger's table": (situation(K, strange=True), Target(D), "another table waits"),
    "in memory, to a device": (in_memory(K, new=BLANK), Target(D, "/dev/new", NEW), "in memory only.*make the mirror"),
    "in memory, replaced": (in_memory(D, new=BLANK), ELSEWHERE, "in memory only"),
    "in memory, suspended": (in_memory(D, suspended=True), Target(K), "is suspended.*dmsetup resume m"),
    "as wanted, but suspended": (situation(D, suspended=True), Target(D), "its I/O waits; 'dmsetup resume m'"),
    "as wanted, and a table waits": (
        situation(D, suspended=True, waiting=mirror(K)),
        Target(D),
        "its I/O waits; 'dmsetup clear m', then 'dmsetup resume m'",
    ),
    "in memory, not served": (replace(in_memory(D), served=()), Target(K), "does not serve its log"),
    "suspended": (situation(K, suspended=True), Target(D), "is suspended.*dmsetup resume m"),
    "suspended, elsewhere": (situation(D, suspended=True, new=BLANK), ELSEWHERE, "is suspended"),
    "failed": (situation(D, log_letter="D"), Target(K), "its log failed.*replace-log m NEWDEV"),
    "the kernel's, failed": (situation(K, log_letter="F"), Target(D), "its log failed"),
    "failed, same device": (
        situation(D, log_letter="D", new=on(D)),
        Target(D, OLD, OLD, failed=True),
        "its log on 253:2 failed; name another device",
    ),
    "not served": (situation(D, served=()), Target(K), "does not serve its log"),
    "served as another": (situation(D, served=(Served("u", NEW, "live", "A"),)), Target(K), "does not serve"),
    "not live": (situation(D, served=(Served("u", OLD, "inactive", "A"),)), Target(K), "does not serve"),
    "uuid taken": (
        situation(K, served=(Served("x", "8:1", "live", "A"),)),
        Target(D, uuid="x"),
        "another mirror's log has the uuid 'x'",
    ),
    "uuid changed": (situation(K, old=on(D)), Target(D, uuid="x"), "has the uuid 'u'.*leave out --uuid"),
    "region size": (
        situation(K, old=on(D, extension=extension(region_size=16))),
        Target(D),
        "regions of 16 sectors, the mirror has 8.*--log",
    ),
    "newer format": (situation(K, old=on(D, unknown="it uses features")), Target(D), "it uses features"),
    "too small": (situation(K, old=on(K, size_bytes=2048)), Target(D), "has 2048 bytes, .* 1000 regions needs 4608"),
    "unreadable": (situation(K, old=None), Target(D), "cannot be read"),
    "uuid too long": (situation(K, new=BLANK), Target(D, "/dev/" + "n" * 330, NEW), "constructor string"),
    "new: nothing known": (situation(D), ELSEWHERE, "cannot be read"),
    "new: a leg": (situation(D, new=BLANK), Target(D, "/dev/leg", "253:1"), "is one of its legs"),
    "new: on the mirror": (situation(K, new=replace(BLANK, below=frozenset({"m", "sda"}))), ELSEWHERE, "stands on"),
    "new: held": (situation(D, new=replace(BLANK, holders=("other",))), ELSEWHERE, "in use, held by other"),
    "new: too small": (situation(D, new=replace(BLANK, size_bytes=512)), ELSEWHERE, "has 512 bytes"),
    "new: foreign": (situation(D, new=replace(BLANK, what="an XFS file system")), ELSEWHERE, "holds an XFS.*overwrite"),
    "new: another's": (
        situation(D, new=on(D, extension=extension("v"), what="the log of mirror v")),
        ELSEWHERE,
        "holds the log of mirror v",
    ),
    "new: the kernel's": (situation(K, new=on(K)), Target(K, "/dev/new", NEW), "that the kernel or LVM wrote"),
}


@pytest.mark.parametrize(("found", "target", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_safe_is_refused(found, target, reason):
    with pytest.raises(RefusedError, match=reason) as raised:
        plan(found, target)
    assert str(raised.value).startswith("m: ")


TAKEN = {
    "its own old log": on(D),
    "its own log that was replaced": on(D, extension=extension(medium.retired_uuid("u"))),
    "half a log": replace(BLANK, what="a log whose writing was stopped", stopped=True),
    "a log of the kernel's that says nothing": on(K, nothing_clean=True),
}


@pytest.mark.parametrize("there", TAKEN.values(), ids=TAKEN)
def test_what_is_no_loss_is_overwritten(there):
    assert Step.PREPARE in plan(situation(D, new=there), ELSEWHERE).steps


def test_whatever_lies_there_is_overwritten_when_told():
    there = replace(BLANK, what="an XFS file system")
    assert Step.PREPARE in plan(situation(D, new=there), replace(ELSEWHERE, overwrite=True)).steps


def test_errors_are_handled_from_now_on():
    made = plan(situation(D, table=mirror(D, features=("keep_log",))), Target(K))
    assert made.new.features == ("handle_errors", "keep_log")
    assert "lacks 'handle_errors'" in made.notes[0]
    assert plan(situation(D), Target(K)).notes == ()


@pytest.mark.parametrize("kind", [K, D])
def test_what_the_old_table_said_of_new_regions_is_left_out(kind):
    # the kernel's own log would call everything clean with nosync, and diskulog everything dirty with sync
    made = plan(
        situation(kind, table=mirror(kind, options=("nosync", "block_on_error"))), Target(K if kind is D else D)
    )
    assert "sync " not in made.new.line.text()
    assert "'nosync block_on_error'" in made.notes[0]


@pytest.mark.parametrize(
    ("found", "target", "uuid"),
    [
        (situation(K), Target(D), "fresh"),
        (situation(K), Target(D, uuid="said"), "said"),
        (situation(K, old=on(D)), Target(D), "u"),
        (situation(K, waiting=mirror(D, uuid="before")), Target(D), "before"),
        (situation(D, new=BLANK), ELSEWHERE, "u"),
        (situation(D), Target(K), ""),
    ],
)
def test_the_uuid_is_that_which_the_mirror_had(found, target, uuid):
    assert plan(found, target).new.log.uuid == uuid


def test_a_log_of_a_cluster_keeps_its_word():
    old = mirror(D)
    found = situation(D, table=replace(old, log=replace(old.log, type_word="clustered-disk")), new=BLANK)
    assert plan(found, ELSEWHERE).new.log.type_word == "clustered-disk"
    assert " disk 2 253:2 " in plan(found, Target(K)).new.line.text().replace("mirror disk", "mirror  disk")
