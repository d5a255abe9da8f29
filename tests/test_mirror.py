# SPDX-License-Identifier: LGPL-2.1-or-later
import errno
import os
from pathlib import Path

import pytest

from diskulog import mirror as module
from diskulog.errors import DeviceError, NotResumedError
from diskulog.mirror import SysfsMirror, stands_on_served_mirror


class Sysfs:
    """A tree as the kernel's: devices/<name> with dev, slaves, holders; dev/block/<number> pointing there."""

    def __init__(self, root: Path) -> None:
        self.devices, self.numbers, self.nodes = root / "devices", root / "dev-block", root / "nodes"
        for folder in (self.devices, self.numbers, self.nodes):
            folder.mkdir()

    def add(self, name: str, number: str, *, dm: str | None = None, node: bool = True) -> Path:
        """Add a device; ``dm`` says whether it is a device-mapper one, and what ``suspended`` holds."""
        path = self.devices / name
        for folder in ("slaves", "holders", *(["dm"] if dm is not None else [])):
            (path / folder).mkdir(parents=True)
        if dm is not None:
            (path / "dm" / "suspended").write_text(dm + "\n")
        (path / "dev").write_text(number + "\n")
        (self.numbers / number).symlink_to(path)
        if node:
            (self.nodes / name).write_bytes(b"")
        return path

    def stack(self, upper: str, *lower: str) -> None:
        """Let one device stand on others."""
        for name in lower:
            (self.devices / upper / "slaves" / name).symlink_to(self.devices / name)
            (self.devices / name / "holders" / upper).symlink_to(self.devices / upper)


@pytest.fixture
def sysfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sysfs:
    made = Sysfs(tmp_path)
    monkeypatch.setattr(module, "_SYS_DEV", made.numbers)
    monkeypatch.setattr(module, "node_of", lambda name: str(made.nodes / name))
    return made


@pytest.fixture
def mirrored(sysfs: Sysfs) -> Sysfs:
    """A mirror dm-0 with two legs and the log device sdc."""
    for name, number in (("sda", "8:0"), ("sdb", "8:16"), ("sdc", "8:32"), ("sdd", "8:48")):
        sysfs.add(name, number)
    sysfs.add("dm-0", "253:0", dm="0")
    sysfs.stack("dm-0", "sda", "sdb", "sdc")
    return sysfs


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files whose cache was flushed."""
    names: list[str] = []
    plain = os.fdatasync

    def fdatasync(fd: int) -> None:
        names.append(Path(f"/proc/self/fd/{fd}").readlink().name)
        plain(fd)

    monkeypatch.setattr(module.os, "fdatasync", fdatasync)
    return names


def held_legs() -> set[str]:
    names = set()
    for fd in Path("/proc/self/fd").iterdir():
        try:
            target = fd.readlink()
        except OSError:
            continue
        if target.parent.name == "nodes":
            names.add(target.name)
    return names


def resumed(number: str) -> SysfsMirror:
    made = SysfsMirror(number)
    made.look()
    return made


class TestLegs:
    def test_every_leg_is_flushed_and_the_log_device_is_none(self, mirrored, synced):
        mirror = resumed("8:32")
        mirror.flush_legs()
        assert sorted(synced) == ["sda", "sdb"]
        mirror.close()

    def test_descriptors_are_held_from_the_look_to_the_close(self, mirrored):
        mirror = SysfsMirror("8:32")
        assert held_legs() == set()
        mirror.look()
        assert held_legs() == {"sda", "sdb"}
        mirror.look()
        mirror.close()
        assert held_legs() == set()
        mirror.close()

    def test_a_descriptor_stays_the_same_so_that_no_write_error_is_missed(self, mirrored):
        mirror = resumed("8:32")
        mirror.look()
        before = dict(mirror._legs)
        mirror.flush_legs()
        assert mirror._legs == before
        mirror.close()

    def test_a_leg_that_came_or_went_is_noticed_at_the_next_flush(self, mirrored, synced):
        mirror = resumed("8:32")
        mirror.look()
        mirrored.stack("dm-0", "sdd")
        (mirrored.devices / "dm-0" / "slaves" / "sdb").unlink()
        mirror.flush_legs()
        assert sorted(synced) == ["sda", "sdd"]
        assert held_legs() == {"sda", "sdd"}
        mirror.close()

    def test_the_legs_of_both_tables_are_found_during_a_reload(self, mirrored, synced):
        mirrored.add("dm-1", "253:1", dm="1")
        mirrored.stack("dm-1", "sda", "sdd", "sdc")
        mirror = resumed("8:32")
        mirror.flush_legs()
        assert sorted(synced) == ["sda", "sdb", "sdd"]
        mirror.close()

    def test_without_legs_nothing_may_be_called_clean(self, sysfs):
        sysfs.add("sdc", "8:32")
        with pytest.raises(DeviceError, match="legs of the mirror on 8:32: none found in sysfs") as failed:
            resumed("8:32").flush_legs()
        assert failed.value.errno == errno.ENODEV

    def test_a_holder_that_is_not_device_mapper_has_no_legs(self, mirrored):
        mirrored.add("md0", "9:0")
        mirrored.stack("md0", "sdd")
        with pytest.raises(DeviceError, match="none found"):
            resumed("8:48").flush_legs()

    def test_a_flush_that_comes_after_the_close_opens_nothing(self, mirrored, synced):
        mirror = resumed("8:32")
        mirror.close()
        with pytest.raises(NotResumedError, match="the log is not resumed"):
            mirror.flush_legs()
        assert synced == []
        assert held_legs() == set()

    def test_a_flush_that_fails_names_the_leg(self, mirrored, monkeypatch):
        mirror = resumed("8:32")

        def fails(_: int) -> None:
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(module.os, "fdatasync", fails)
        with pytest.raises(DeviceError, match=r"leg sd[ab]: cache flush: Input/output error") as failed:
            mirror.flush_legs()
        assert failed.value.errno == errno.EIO
        mirror.close()

    def test_a_leg_that_cannot_be_opened_does_not_keep_the_log_from_living(self, mirrored):
        (mirrored.nodes / "sda").unlink()
        mirror = resumed("8:32")
        mirror.look()
        assert held_legs() == {"sdb"}
        mirror.close()

    def test_a_leg_that_cannot_be_opened_cannot_be_flushed(self, mirrored, synced):
        (mirrored.nodes / "sda").unlink()
        mirror = resumed("8:32")
        with pytest.raises(DeviceError, match="leg sda: No such file or directory"):
            mirror.flush_legs()
        (mirrored.nodes / "sda").write_bytes(b"")
        mirror.flush_legs()
        assert {"sda", "sdb"} <= set(synced)
        mirror.close()


class TestState:
    @pytest.mark.parametrize(("first", "second", "suspended"), [("0", "1", False), ("1", "0", False), ("1", "1", True)])
    def test_suspended_means_every_mirror_on_the_device(self, mirrored, first, second, suspended):
        (mirrored.devices / "dm-0" / "dm" / "suspended").write_text(first)
        mirrored.add("dm-1", "253:1", dm=second)
        mirrored.stack("dm-1", "sdc")
        assert SysfsMirror("8:32").suspended() is suspended

    def test_nothing_said_is_suspended(self, mirrored):
        (mirrored.devices / "dm-0" / "dm" / "suspended").unlink()
        assert SysfsMirror("8:32").suspended()
        assert SysfsMirror("8:48").suspended()

    def test_held_means_that_device_mapper_holds_it(self, mirrored):
        mirrored.add("md0", "9:0")
        mirrored.stack("md0", "sdd")
        assert SysfsMirror("8:32").held()
        assert not SysfsMirror("8:48").held()

    def test_a_device_that_is_gone_is_held_by_nobody(self, mirrored):
        assert not SysfsMirror("8:99").held()

    def test_without_sysfs_it_may_be_held(self, monkeypatch, tmp_path):
        monkeypatch.setattr(module, "_SYS_DEV", tmp_path / "nothing")
        assert SysfsMirror("8:32").held()


class TestStacking:
    @pytest.fixture
    def stacked(self, mirrored: Sysfs) -> Sysfs:
        """dm-0 is a mirror with its log on sdc; dm-5 stands on dm-3, which stands on dm-0."""
        mirrored.add("dm-3", "253:3", dm="0")
        mirrored.add("dm-5", "253:5", dm="0")
        mirrored.stack("dm-3", "dm-0")
        mirrored.stack("dm-5", "dm-3", "sdd")
        return mirrored

    @pytest.mark.parametrize("number", ["253:0", "253:3", "253:5"])
    def test_a_device_on_a_mirror_served_here_is_found_at_any_depth(self, stacked, number):
        assert stands_on_served_mirror(number, frozenset({"8:32"})) == "dm-0"

    @pytest.mark.parametrize("served", [frozenset(), frozenset({"8:48:1", "9:9"})])
    def test_a_mirror_that_is_served_elsewhere_is_no_matter(self, stacked, served):
        assert stands_on_served_mirror("253:5", served) is None

    @pytest.mark.parametrize("number", ["8:48", "8:99"])
    def test_a_plain_or_missing_device_stands_on_nothing(self, stacked, number):
        assert stands_on_served_mirror(number, frozenset({"8:32"})) is None

    def test_the_log_device_itself_does_not_stand_on_its_mirror(self, stacked):
        assert stands_on_served_mirror("8:32", frozenset({"8:32"})) is None

    def test_a_partition_of_such_a_device_is_found(self, stacked):
        part = stacked.devices / "dm-5" / "dm-5p1"
        (part / "slaves").mkdir(parents=True)
        (part / "partition").write_text("1")
        (stacked.numbers / "259:7").symlink_to(part)
        assert stands_on_served_mirror("259:7", frozenset({"8:32"})) == "dm-0"

    def test_a_device_that_two_paths_lead_to_is_looked_at_once(self, stacked):
        stacked.stack("dm-5", "dm-0")
        assert stands_on_served_mirror("253:5", frozenset({"8:32"})) == "dm-0"
