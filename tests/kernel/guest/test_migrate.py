# SPDX-License-Identifier: LGPL-2.1-or-later
"""A mirror under writes goes from the kernel's log to diskulog and back, and to another log device; killed anywhere."""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from diskulog.errors import DeviceError
from diskulog.moving.plan import Step
from tests.kernel.guest.moves import (
    AHEAD_BYTES,
    in_sync_but_for_what_nobody_knows,
    just_before,
    killed_behind,
    moved,
    nothing_was_resynced,
    refused_for_its_leg,
    table_of,
    writes_to,
)
from tests.kernel.guest.rig import Mirror, diskulog, fails, forget, run, switch, undelay, until, write, zero

_NEW = "/dev/ram3"


@pytest.fixture
def faulty(mirror: Mirror) -> Iterator[str]:
    """A log device whose table can be switched."""
    run("dmsetup", "create", "faulty", "--table", f"0 8192 linear {mirror.log} 0")
    mirror.log = "/dev/mapper/faulty"
    yield "faulty"
    forget(mirror.name)
    forget("faulty")


def test_there_and_back_under_writes_nothing_is_lost_or_resynced(mirror: Mirror) -> None:
    in_sync_but_for_what_nobody_knows(mirror, mirror.kernel_table())
    longest: dict[str, list[float]] = {"kernel": [], "diskulog": [], "reload": []}
    with writes_to(mirror) as writer:
        for to, log in (("diskulog", "userspace"), ("kernel", "disk"), ("diskulog", "userspace"), ("kernel", "disk")):
            seen = writer.count
            until("it is under load", lambda seen=seen: writer.count > seen + 20)
            writer.forget_longest()
            moved(mirror, "migrate", "--to", to)
            longest[to].append(writer.longest_seconds)
            assert f" mirror {log} " in table_of(mirror)
            assert mirror.status().endswith(" A")
            assert mirror.in_sync_count() == mirror.region_count
            writer.forget_longest()
            switch(mirror.name, table_of(mirror))
            longest["reload"].append(writer.longest_seconds)
    # about as long as a reload with the same log: 0.05 to 0.22 s, and 0.09 to 0.5 s, under emulation
    assert max(min(longest["kernel"]), min(longest["diskulog"])) < 3 * max(longest["reload"]) + 0.5, longest
    nothing_was_resynced(mirror, writer)


def test_a_resync_under_way_goes_on_with_the_other_log(mirror: Mirror, slow: str, quick: None) -> None:
    mirror.create(mirror.kernel_table())
    until("the first region is in sync", lambda: mirror.in_sync_count() > 0)
    run("dmsetup", "suspend", "--noflush", mirror.name)  # a copy under way would undo what is written now
    write(mirror.legs[1], 0, b"\7" * AHEAD_BYTES)  # a resync from the beginning would, too
    mirror.resume()
    with writes_to(mirror) as writer:
        under_way = []
        for to in ("diskulog", "kernel", "diskulog", "kernel", "diskulog"):
            before = mirror.in_sync_count()
            moved(mirror, "migrate", "--to", to)
            after = mirror.in_sync_count()
            assert after >= before, to
            if after < mirror.region_count:
                under_way.append(to)
        assert {*under_way} == {"diskulog", "kernel"}, "the resync was too fast to be seen under way"
        undelay(slow)
        mirror.wait_in_sync()
    nothing_was_resynced(mirror, writer)


# a stop behind SETTLE or CLOSED leaves what one behind SUSPEND does
STOPS = (Step.LOAD, Step.LOAD, Step.SUSPEND, Step.SUSPEND, Step.RELEASE, Step.RELEASE, Step.RESUME)


def test_killed_at_any_step_the_same_command_goes_on(mirror: Mirror, quick: None) -> None:
    in_sync_but_for_what_nobody_knows(mirror, mirror.table())
    with writes_to(mirror) as writer:
        for step in STOPS:  # there and back in turn
            to = "diskulog" if " disk 2 " in table_of(mirror) else "kernel"
            seen = writer.count
            until("it is under load", lambda seen=seen: writer.count > seen + 5)
            killed_behind(step, "migrate", mirror.name, "--to", to)
            moved(mirror, "migrate", "--to", to)
            assert mirror.in_sync_count() == mirror.region_count, step
    nothing_was_resynced(mirror, writer)


@pytest.mark.parametrize("to", ["kernel", "diskulog"])
def test_killed_with_the_mirror_suspended_dmsetup_goes_either_way(mirror: Mirror, quick: None, to: str) -> None:
    in_sync_but_for_what_nobody_knows(mirror, mirror.table() if to == "kernel" else mirror.kernel_table())
    before = table_of(mirror)
    with writes_to(mirror) as writer:
        until("it is under load", lambda: writer.count > 20)
        step = Step.RELEASE if to == "kernel" else Step.SETTLE
        killed_behind(step, "migrate", mirror.name, "--to", to)
        run("dmsetup", "clear", mirror.name)
        mirror.resume()
        assert table_of(mirror) == before
        seen = writer.count
        until("it goes on", lambda: writer.count > seen + 20)
        killed_behind(step, "migrate", mirror.name, "--to", to)
        mirror.resume()
        assert table_of(mirror) != before
        seen = writer.count
        until("it goes on", lambda: writer.count > seen + 20)
    nothing_was_resynced(mirror, writer)


def test_another_log_device_takes_over_what_the_old_one_knew(mirror: Mirror, quick: None) -> None:
    zero(_NEW)
    in_sync_but_for_what_nobody_knows(mirror, mirror.table())
    old, new = mirror.log, _NEW
    with writes_to(mirror) as writer:
        for step in (Step.COPY, Step.RETIRE, Step.LOAD):
            seen = writer.count
            until("it is under load", lambda seen=seen: writer.count > seen + 20)
            killed_behind(step, "replace-log", mirror.name, new)
            code, said = diskulog("replace-log", mirror.name, new, "--yes")
            if step is Step.COPY:
                assert (code, "'dmsetup resume" in said) == (4, True), said
                mirror.resume()
                code, said = diskulog("replace-log", mirror.name, new, "--yes")
            assert code == 0, said
            assert f" disk {new} " in table_of(mirror)
            assert mirror.in_sync_count() == mirror.region_count, step
            old, new = new, old
    nothing_was_resynced(mirror, writer)
    # the log that was left is believed no more, by whomever
    mirror.remove()
    mirror.log = new
    fails("dmsetup", "create", mirror.name, "--table", mirror.table())
    mirror.log = old
    mirror.create()
    assert mirror.in_sync_count() == mirror.region_count


@pytest.mark.parametrize("step", [Step.RETIRE, Step.LOAD])
@pytest.mark.parametrize("to", ["kernel", "diskulog"])
def test_killed_with_the_old_log_out_of_use_the_same_command_goes_on_or_back(
    mirror: Mirror, quick: None, to: str, step: Step
) -> None:
    zero(_NEW)
    in_sync_but_for_what_nobody_knows(mirror, mirror.table() if to == "kernel" else mirror.kernel_table())
    before = table_of(mirror)
    words = ("migrate", mirror.name, "--to", to, "--log", _NEW, "--overwrite", "--yes")

    def fail() -> None:
        raise DeviceError("it", OSError(errno.EIO, "Input/output error"))

    with writes_to(mirror) as writer:
        until("it is under load", lambda: writer.count > 20)
        killed_behind(step, *words[:-1])
        with just_before(Step.COPY, fail):
            code, said = diskulog(*words)
        assert (code, "as before" in said) == (5, True), said
        assert table_of(mirror) == before
        seen = writer.count
        until("it goes on", lambda: writer.count > seen + 20)
        killed_behind(step, *words[:-1])
        code, said = diskulog(*words)
        assert code == 0, said
        assert table_of(mirror) != before
        seen = writer.count
        until("it goes on", lambda: writer.count > seen + 20)
    nothing_was_resynced(mirror, writer)


def test_a_device_that_is_named_after_a_kill_is_not_believed(mirror: Mirror, quick: None) -> None:
    third = "/dev/ram4"
    zero(_NEW)
    mirror.create()
    mirror.wait_in_sync()
    mirror.wait_clean()
    run("dd", f"if={mirror.log}", f"of={third}", "bs=64k", "count=4", "conv=fsync", "status=none")  # all clean
    with writes_to(mirror) as writer:
        until("it is under load", lambda: writer.count > 20)
        killed_behind(Step.LOAD, "replace-log", mirror.name, _NEW)
        code, said = diskulog("replace-log", mirror.name, third, "--yes")
        assert (code, "another table waits" in said) == (4, True), said
        run("dmsetup", "clear", mirror.name)
        code, said = diskulog("replace-log", mirror.name, third, "--dry-run")
        assert (code, "write a log to the new device" in said, "copy what the old log" in said) == (0, True, True), said
        moved(mirror, "replace-log", third)
        assert f" disk {third} " in table_of(mirror)
    mirror.log = third
    mirror.compare()
    assert writer.stale(mirror.device) == []


def test_a_table_that_somebody_else_gave_it_meanwhile_stays(mirror: Mirror, quick: None) -> None:
    in_sync_but_for_what_nobody_knows(mirror, mirror.table())
    others = table_of(mirror).replace("1 handle_errors", "2 handle_errors keep_log")
    with writes_to(mirror) as writer, just_before(Step.SUSPEND, lambda: switch(mirror.name, others)):
        code, said = diskulog("migrate", mirror.name, "--to", "kernel", "--yes")
    assert (code, "another table meanwhile" in said) == (4, True), said
    assert table_of(mirror) == others
    nothing_was_resynced(mirror, writer)


def test_a_failed_log_whose_path_is_gone_is_replaced(mirror: Mirror, faulty: str, quick: None) -> None:
    zero(_NEW)
    link = Path("/dev/log-of-the-mirror")
    link.symlink_to(mirror.log)
    mirror.log = str(link)
    mirror.create()
    mirror.wait_in_sync()
    with writes_to(mirror) as writer:
        until("it is under load", lambda: writer.count > 20)
        link.unlink()
        switch(faulty, "0 8192 error")
        until("the log is called failed", lambda: mirror.status().endswith(" D"))
        moved(mirror, "replace-log", _NEW)
        seen = writer.count
        until("the held writes go on", lambda: writer.count > seen + 20)
    mirror.log = _NEW
    mirror.wait_in_sync()
    assert writer.stale(mirror.device) == []
    assert mirror.differing() == []


def test_a_failed_log_is_replaced_and_the_held_writes_go_on(mirror: Mirror, faulty: str) -> None:
    zero(_NEW)
    mirror.create()
    mirror.wait_in_sync()
    with writes_to(mirror) as writer:
        until("it is under load", lambda: writer.count > 20)
        switch(faulty, "0 8192 error")
        until("the log is called failed", lambda: mirror.status().endswith(" D"))
        before = table_of(mirror), mirror.status()
        code, said = diskulog("migrate", mirror.name, "--to", "kernel", "--yes")
        assert (code, "replace-log" in said) == (4, True), said
        code, said = diskulog("replace-log", mirror.name, _NEW, "--dry-run")
        assert (code, "suspend the mirror" in said) == (0, True), said
        assert (table_of(mirror), mirror.status()) == before
        assert table_of(mirror, "--inactive").strip() == ""
        with open(_NEW, "rb") as new:
            assert not any(new.read(1 << 20))
        said = moved(mirror, "replace-log", _NEW)
        assert "all 64 regions will be resynced" in said
        assert "could not be taken out of use" in said
        seen = writer.count
        until("the held writes go on", lambda: writer.count > seen + 20)
    mirror.log = _NEW
    mirror.wait_in_sync()
    assert writer.stale(mirror.device) == []
    mirror.compare()
    assert mirror.differing() == []


def test_what_would_hang_or_is_lvms_is_refused(mirror: Mirror) -> None:
    mirror.create(mirror.kernel_table())
    before = table_of(mirror)
    code, said = diskulog("migrate", mirror.name, "--to", "diskulog", "--yes", "--socket", "/run/none")
    assert (code, "no daemon" in said) == (6, True), said
    run("dmsetup", "rename", mirror.name, "--setuuid", "LVM-0123456789")
    code, said = diskulog("migrate", mirror.name, "--to", "diskulog", "--yes")
    assert (code, "belongs to LVM" in said) == (4, True), said
    code, said = diskulog("migrate", "no-such-mirror", "--to", "diskulog", "--yes")
    assert code == 2, said
    assert table_of(mirror) == before


@pytest.mark.parametrize("to", ["kernel", "diskulog", "elsewhere"])
def test_a_leg_that_fails_and_comes_back_at_the_last_moment_is_not_copied_from(
    mirror: Mirror, weak: str, quick: None, to: str
) -> None:
    zero(_NEW)
    words = ("replace-log", mirror.name, _NEW) if to == "elsewhere" else ("migrate", mirror.name, "--to", to)
    mirror.create(mirror.kernel_table() if to == "diskulog" else mirror.table())
    refused_for_its_leg(mirror, weak, words)


def test_a_mirror_that_waits_is_not_called_well(mirror: Mirror, quick: None) -> None:
    mirror.create(mirror.kernel_table())
    killed_behind(Step.SUSPEND, "migrate", mirror.name, "--to", "diskulog")
    code, said = diskulog("migrate", mirror.name, "--to", "kernel", "--yes")
    assert (code, "its I/O waits" in said, f"dmsetup clear {mirror.name}" in said) == (4, True, True), said
    run("dmsetup", "clear", mirror.name)
    code, said = diskulog("migrate", mirror.name, "--to", "kernel", "--yes")
    assert (code, "its I/O waits" in said, "clear" in said) == (4, True, False), said
    mirror.resume()
    assert "nothing to do" in moved(mirror, "migrate", "--to", "kernel")
