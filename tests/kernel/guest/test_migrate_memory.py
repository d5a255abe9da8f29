# SPDX-License-Identifier: LGPL-2.1-or-later
"""A mirror whose log is in memory moves between the kernel and diskulog: no table calls legs equal that are not."""

from pathlib import Path

import pytest

from diskulog.mirrors import tab
from diskulog.moving.plan import Step
from tests.kernel.guest.moves import (
    in_sync_but_for_what_nobody_knows,
    killed_behind,
    moved,
    nothing_was_resynced,
    refused_for_its_leg,
    table_of,
    writes_to,
)
from tests.kernel.guest.rig import Mirror, diskulog, run, undelay, until

_OTHER = {"kernel": "diskulog", "diskulog": "kernel"}


@pytest.fixture
def in_memory(mirror: Mirror) -> Mirror:
    """The mirror, with its log in memory."""
    mirror.word, mirror.log = "core", ""
    return mirror


def test_a_log_in_memory_moves_without_a_resync(in_memory: Mirror, quick: None) -> None:
    mirror = in_memory
    in_sync_but_for_what_nobody_knows(mirror, mirror.table())
    with writes_to(mirror) as writer:
        for to in ("kernel", "diskulog", "kernel"):
            seen = writer.count
            until("it is under load", lambda seen=seen: writer.count > seen + 20)
            said = moved(mirror, "migrate", "--to", to)
            assert "nosync" in table_of(mirror)
            assert "nosync" not in said  # nobody is to write that down
    nothing_was_resynced(mirror, writer)


def kept_by(who: str, mirror: Mirror) -> str:
    """The table with which a mirror is made."""
    return mirror.table() if who == "diskulog" else mirror.kernel_table()


def test_back_with_diskulog_it_is_the_mirror_of_the_mirrortab(
    in_memory: Mirror, quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = in_memory
    monkeypatch.setattr(tab, "DEFAULT_PATH", tmp_path / "mirrortab")
    tab.DEFAULT_PATH.write_text(f"{mirror.name} {mirror.table()}\n")
    mirror.create()
    mirror.wait_in_sync()
    for to, code in (("kernel", 4), ("diskulog", 0)):
        moved(mirror, "migrate", "--to", to)
        assert diskulog("mirror", "assemble")[0] == code
    assert f" {mirror.uuid} " in table_of(mirror)


@pytest.mark.parametrize("to", ["kernel", "diskulog"])
def test_killed_at_any_step_the_same_command_goes_on(in_memory: Mirror, quick: None, to: str) -> None:
    mirror = in_memory
    in_sync_but_for_what_nobody_knows(mirror, kept_by(_OTHER[to], mirror))
    with writes_to(mirror) as writer:
        for step in (Step.LOAD, Step.SUSPEND, Step.AGREE, Step.RESUME):
            seen = writer.count
            until("it is under load", lambda seen=seen: writer.count > seen + 5)
            killed_behind(step, "migrate", mirror.name, "--to", to)
            moved(mirror, "migrate", "--to", to)
            assert mirror.in_sync_count() == mirror.region_count, step
            moved(mirror, "migrate", "--to", _OTHER[to])
            assert mirror.in_sync_count() == mirror.region_count, step
    nothing_was_resynced(mirror, writer)


@pytest.mark.parametrize("step", [Step.LOAD, Step.SUSPEND])
@pytest.mark.parametrize("to", ["kernel", "diskulog"])
def test_a_table_that_a_killed_command_left_calls_nothing_in_sync(
    in_memory: Mirror, quick: None, to: str, step: Step
) -> None:
    mirror = in_memory
    in_sync_but_for_what_nobody_knows(mirror, kept_by(_OTHER[to], mirror))
    before = table_of(mirror)
    with writes_to(mirror) as writer:
        until("it is under load", lambda: writer.count > 20)
        killed_behind(step, "migrate", mirror.name, "--to", to)
        mirror.resume()  # by somebody who thinks that he knows best
        assert table_of(mirror) != before
        mirror.wait_in_sync()
    assert writer.stale(mirror.device) == []
    assert mirror.differing() == []  # all of it was copied


def test_a_resync_under_way_begins_again(in_memory: Mirror, slow: str, quick: None) -> None:
    mirror = in_memory
    mirror.create(kept_by("kernel", mirror))
    with writes_to(mirror) as writer:
        for step, to in ((Step.SUSPEND, "diskulog"), (Step.LOAD, "kernel"), (None, "diskulog")):
            until("the first region is in sync", lambda: mirror.in_sync_count() > 0)
            if step:
                killed_behind(step, "migrate", mirror.name, "--to", to)
            if step is not Step.SUSPEND:
                assert mirror.in_sync_count() < mirror.region_count, "the resync was too fast to be seen under way"
            said = moved(mirror, "migrate", "--to", to)
            assert "all 64 regions will be resynced" in said
            assert "nosync" not in table_of(mirror)
        undelay(slow)
        mirror.wait_in_sync()
    assert writer.stale(mirror.device) == []
    assert mirror.differing() == []


@pytest.mark.parametrize("to", ["kernel", "diskulog"])
def test_a_leg_that_fails_and_comes_back_at_the_last_moment_is_not_copied_from(
    in_memory: Mirror, weak: str, quick: None, to: str
) -> None:
    in_memory.create(kept_by(_OTHER[to], in_memory))
    refused_for_its_leg(in_memory, weak, ("migrate", in_memory.name, "--to", to))


def test_a_mirror_that_waits_is_not_called_well(in_memory: Mirror, quick: None) -> None:
    mirror = in_memory
    mirror.create(kept_by("kernel", mirror))
    killed_behind(Step.SUSPEND, "migrate", mirror.name, "--to", "diskulog")
    code, said = diskulog("migrate", mirror.name, "--to", "kernel", "--yes")
    assert (code, "its I/O waits" in said) == (4, True), said
    run("dmsetup", "clear", mirror.name)
    mirror.resume()
    assert "nothing to do" in moved(mirror, "migrate", "--to", "kernel")
