# SPDX-License-Identifier: LGPL-2.1-or-later
"""Logs of real LVM mirrors, which the kernel's own log keeps: what is said of them against what the kernel says."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.kernel.guest.rig import Mirror, diskulog, read, run, scramble, switch, until, write, zero

VG = "vg"  # the name in docs/lvm.rst, whose lines run on such a group too
DISKS = ("/dev/ram3", "/dev/ram4", "/dev/ram5")
PVS = ("pv0", "pv1", "pv2")
SECTORS = 32768  # of a disk
REGIONS = 128
REGION_BYTES = 65536
LOG_BYTES = 1 << 20  # one extent
SLOW_MS = 250

# no udev, no dmeventd, no devices but ours; nothing is kept of the metadata
CONFIGURATION = """
devices { filter = [ "a|^/dev/mapper/pv[0-9]$|", "r|.*|" ] use_devicesfile = 0 }
activation { udev_sync = 0 udev_rules = 0 monitoring = 0 }
backup { backup = 0 archive = 0 }
"""

# words of every command that writes to the log that it is given
WRITERS = (("adopt", "--yes"), ("adopt", "--yes", "--uuid", "LVM-new"))


def lvm(*words: str) -> str:
    return run("lvm", *words)


def linear(disk: str) -> str:
    return f"0 {SECTORS} linear {disk} 0"


def slow(disk: str, write_ms: int) -> str:
    return f"0 {SECTORS} delay {disk} 0 0 {disk} 0 {write_ms}"


@dataclass
class Volume:
    """A mirror of LVM's, of two legs on pv0 and pv1 and a log on pv2."""

    name: str = "m"

    @property
    def mapped(self) -> str:
        return f"{VG}-{self.name}"

    @property
    def log(self) -> str:
        return f"/dev/mapper/{self.mapped}_mlog"

    def create(self, *options: str) -> None:
        kind = ["--type", "mirror", "-m1", "--mirrorlog", "disk", "--regionsize", "64k", "-L", "8M", *options]
        lvm("lvcreate", "--yes", "--name", self.name, *kind, VG, *(f"/dev/mapper/{name}" for name in PVS))

    def activate(self) -> None:
        lvm("lvchange", "--yes", "-ay", f"{VG}/{self.name}")

    def deactivate(self) -> None:
        lvm("lvchange", "--yes", "-an", f"{VG}/{self.name}")

    def status(self) -> str:
        return run("dmsetup", "status", self.mapped).strip()

    def in_sync_count(self) -> int:
        return int(next(word for word in self.status().split() if "/" in word).split("/")[0])

    def wait_in_sync(self) -> None:
        until("the mirror is in sync", lambda: self.in_sync_count() == REGIONS)

    def wait_clean(self) -> dict:
        """Wait until the kernel has written what it knows; it does so a little after it knows it."""
        until("the log is clean", lambda: inspected(self.log)["log"]["dirty_count"] == 0)
        return inspected(self.log)

    def log_alone(self) -> str:
        """Activate the log and not the mirror, which LVM allows for reading only."""
        lvm("lvchange", "--yes", "-ay", f"{VG}/{self.name}_mlog")
        return self.log

    def deactivate_log(self) -> None:
        lvm("lvchange", "--yes", "-an", f"{VG}/{self.name}_mlog")


def inspected(device: str) -> dict:
    code, said = diskulog("inspect", "--json", device)
    found = json.loads(said)
    assert code == found["exit_status"] == 0, said
    assert found["log"]["dialect"] == "kernel"
    assert sum(count for _, count in found["dirty"]) == found["log"]["dirty_count"]
    return found


def numbers(found: dict) -> tuple[int | None, int, int]:
    return tuple(found["log"][name] for name in ("region_count", "clean_count", "dirty_count"))


def nothing_to_adopt(device: str) -> None:
    code, said = diskulog("adopt", "--dry-run", device)
    assert code == 0
    assert "nothing to adopt: it is a kernel log" in said


def written_through(volume: Volume, regions: list[int]) -> list[subprocess.Popen]:
    return [
        subprocess.Popen(["dd", "if=/dev/urandom", f"of=/dev/mapper/{volume.mapped}", "bs=64k", "count=1", *more])
        for more in ([f"seek={region}", "oflag=direct", "status=none"] for region in regions)
    ]


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A volume group on three mapped devices, whose tables can be changed under it."""
    (tmp_path / "lvm.conf").write_text(CONFIGURATION)
    monkeypatch.setenv("LVM_SYSTEM_DIR", str(tmp_path))
    monkeypatch.setenv("LVM_SUPPRESS_FD_WARNINGS", "1")
    run("modprobe", "dm-delay")
    try:
        for name, disk in zip(PVS, DISKS, strict=True):
            zero(disk)
            run("dmsetup", "create", name, "--table", linear(disk))
        lvm("vgcreate", "--yes", "--physicalextentsize", "1M", VG, *(f"/dev/mapper/{name}" for name in PVS))
        yield
    finally:
        found = [line.split()[0] for line in run("dmsetup", "ls").splitlines() if line.startswith(f"{VG}-")]
        names = [*sorted(found, key=len), *PVS]  # a mirror's name is shorter than those of its parts
        for words in (["resume"], ["wipe_table", "--noflush"], ["remove", "--retry"]):
            run("dmsetup", *words, *names, check=False)
        shutil.rmtree(f"/dev/{VG}", ignore_errors=True)  # its links, which LVM did not see go


@pytest.fixture
def volume(group: None) -> Volume:
    return Volume()


def test_a_mirror_in_use(volume: Volume) -> None:
    volume.create()
    volume.wait_in_sync()
    found = volume.wait_clean()
    assert numbers(found) == (REGIONS, REGIONS, 0)
    assert found["log"]["live"] is True
    assert found["log"]["state"] == "unknown"
    assert [f"({volume.mapped})" in holder for holder in found["log"]["holders"]] == [True]


def test_a_resync_is_seen_while_it_runs(volume: Volume) -> None:
    volume.create("-an")
    switch("pv1", slow("/dev/ram4", SLOW_MS))
    volume.activate()
    seen = []
    for wanted in (2, 6, 12):
        until(f"{wanted} regions are in sync", lambda wanted=wanted: volume.in_sync_count() >= wanted)
        before = volume.in_sync_count()
        found = inspected(volume.log)
        after = volume.in_sync_count()
        seen.append((before, numbers(found), after))
        count, clean, dirty = numbers(found)
        assert count == clean + dirty == REGIONS
        assert before - 2 <= clean <= after, seen  # the log hears of a region a little after the kernel knows it
        assert found["dirty"] == [[clean, REGIONS - clean]], "a resync goes from the first region to the last"
        assert found["log"]["resync_count"] is None
    switch("pv1", linear("/dev/ram4"))
    volume.wait_in_sync()
    assert numbers(volume.wait_clean()) == (REGIONS, REGIONS, 0)


def crashed_log(volume: Volume, regions: list[int]) -> bytes:
    """What is on the log's medium while regions are being written: a crash at that moment would leave it."""
    run("dmsetup", "suspend", "--noflush", "pv1")
    writers = written_through(volume, regions)
    until("the writes are marked", lambda: inspected(volume.log)["log"]["dirty_count"] == len(regions))
    assert volume.in_sync_count() == REGIONS, "dirty is not out of sync"
    found = read(volume.log, 0, LOG_BYTES)
    run("dmsetup", "resume", "pv1")
    assert [writer.wait(60) for writer in writers] == [0] * len(regions)
    return found


def test_writes_under_way_are_dirty_and_a_crash_then_would_resync_them(volume: Volume, tmp_path: Path) -> None:
    volume.create()
    volume.wait_in_sync()
    volume.wait_clean()
    crashed = crashed_log(volume, [2, 3, 77])
    copy = tmp_path / "copy"
    copy.write_bytes(crashed)
    assert inspected(str(copy))["dirty"] == [[2, 2], [77, 1]]
    assert numbers(volume.wait_clean()) == (REGIONS, REGIONS, 0)

    # what was on the medium then, after a restart: the kernel counts what is counted here
    disk, offset = run("dmsetup", "table", f"{volume.mapped}_mlog").split()[3:5]
    assert os.stat("/dev/mapper/pv2").st_rdev == os.makedev(*map(int, disk.split(":")))
    volume.deactivate()
    write("/dev/mapper/pv2", int(offset) * 512, crashed)
    found = inspected(volume.log_alone())
    assert numbers(found) == (REGIONS, REGIONS - 3, 3)
    assert found["log"]["resync_count"] == 3
    assert found["dirty"] == [[2, 2], [77, 1]]
    volume.deactivate_log()
    switch("pv1", slow("/dev/ram4", 20000))
    volume.activate()
    assert volume.in_sync_count() == found["log"]["clean_count"]
    switch("pv1", linear("/dev/ram4"))
    volume.wait_in_sync()


def _fresh(volume: Volume, *options: str) -> bytes:
    volume.create("-an", *options)
    return read(volume.log_alone(), 0, LOG_BYTES)


def _crashed(volume: Volume) -> bytes:
    volume.create()
    volume.wait_in_sync()
    volume.wait_clean()
    return crashed_log(volume, [2, 3, 77])


# a log of LVM's, and the regions that an activation by diskulog copies
TAKEN = {
    "fresh": (_fresh, set(range(REGIONS))),
    "fresh, nosync": (lambda volume: _fresh(volume, "--nosync"), set()),
    "after a crash": (_crashed, {2, 3, 77}),
}


@pytest.mark.parametrize(("made", "copied"), TAKEN.values(), ids=TAKEN)
def test_diskulog_takes_a_log_of_lvms_at_its_word(
    volume: Volume, mirror: Mirror, made: Callable[[Volume], bytes], copied: set[int]
) -> None:
    write(mirror.log, 0, made(volume))
    mirror.length = REGIONS * mirror.region_size
    scramble(mirror)
    nothing_to_adopt(mirror.log)
    mirror.create()
    mirror.wait_in_sync()
    assert set(mirror.differing()) == set(range(REGIONS)) - copied, "the legs differed everywhere"
    mirror.remove()
    found = mirror.inspect()["log"]
    assert (found["dialect"], found["region_count"], found["clean_count"]) == ("diskulog", REGIONS, REGIONS)


def test_a_log_whose_mirror_is_not_active(volume: Volume, tmp_path: Path) -> None:
    volume.create()
    volume.wait_in_sync()
    live = volume.wait_clean()
    offset = int(run("dmsetup", "table", f"{volume.mapped}_mlog").split()[4]) * 512
    volume.deactivate()
    assert not os.path.exists(volume.log)
    volume.log_alone()
    found = inspected(volume.log)
    assert numbers(found) == numbers(live) == (REGIONS, REGIONS, 0)
    assert (found["log"]["live"], found["log"]["holders"], found["log"]["resync_count"]) == (False, [], 0)
    nothing_to_adopt(volume.log)
    volume.deactivate_log()
    # the same bytes where they lie on the physical volume
    copy = tmp_path / "copy"
    copy.write_bytes(read("/dev/mapper/pv2", offset, LOG_BYTES))
    assert numbers(inspected(str(copy))) == numbers(found)
    nothing_to_adopt(str(copy))
    loop = run("losetup", "--find", "--show", "--offset", str(offset), "/dev/mapper/pv2").strip()
    assert numbers(inspected(loop)) == numbers(found)
    run("losetup", "--detach", loop)
    code, said = diskulog("inspect", "/dev/mapper/pv2")
    assert (code, "is not a log" in said) == (3, True), "a physical volume is no log"


@pytest.mark.parametrize(("options", "clean"), [((), False), (("--nosync",), True)], ids=["sync", "nosync"])
def test_a_log_before_its_first_use(volume: Volume, options: tuple[str, ...], clean: bool) -> None:
    volume.create("-an", *options)
    found = inspected(volume.log_alone())
    bits = (LOG_BYTES - 1024) * 8
    assert numbers(found) == (None, bits if clean else 0, 0 if clean else bits)
    assert found["log"]["resync_count"] is None
    assert [message for message in found["messages"] if "fresh from LVM (2^64-1 regions)" in message["text"]]
    nothing_to_adopt(volume.log)
    volume.deactivate_log()
    switch("pv1", slow("/dev/ram4", 20000))
    volume.activate()
    assert (volume.in_sync_count() == REGIONS) == clean
    used = inspected(volume.log)
    assert used["log"]["region_count"] == REGIONS
    assert (used["log"]["clean_count"] == REGIONS) == clean
    switch("pv1", linear("/dev/ram4"))
    volume.wait_in_sync()
    assert numbers(volume.wait_clean()) == (REGIONS, REGIONS, 0)


def test_a_leg_that_failed(volume: Volume, tmp_path: Path) -> None:
    volume.create()
    volume.wait_in_sync()
    volume.wait_clean()
    switch("pv1", f"0 {SECTORS} error")
    regions = [5, 6, 90]
    writers = written_through(volume, regions)  # they are held until the table is loaded anew, by dmeventd as a rule
    until("the leg is called dead", lambda: " AD " in volume.status())
    until("the kernel counts", lambda: volume.in_sync_count() == REGIONS - len(regions))
    found = inspected(volume.log)
    assert numbers(found) == (REGIONS, volume.in_sync_count(), len(regions))
    assert found["dirty"] == [[5, 2], [90, 1]]
    copy = tmp_path / "copy"
    copy.write_bytes(read(volume.log, 0, LOG_BYTES))
    assert inspected(str(copy))["log"]["resync_count"] == len(regions)

    switch("pv1", linear("/dev/ram4"))
    switch(volume.mapped, run("dmsetup", "table", volume.mapped))
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    volume.wait_in_sync()
    assert numbers(volume.wait_clean()) == (REGIONS, REGIONS, 0)
    legs = [read(f"/dev/mapper/{volume.mapped}_mimage_{leg}", 0, REGIONS * REGION_BYTES) for leg in range(2)]
    assert legs[0] == legs[1]


@pytest.mark.parametrize("words", WRITERS, ids=" ".join)
def test_a_live_log_is_not_written_to(volume: Volume, words: tuple[str, ...]) -> None:
    volume.create()
    volume.wait_in_sync()
    volume.wait_clean()
    before = read(volume.log, 0, LOG_BYTES)
    for command in (words, ("adopt", "--dry-run")):
        code, said = diskulog(*command, volume.log)
        assert code == 4, said
        assert "is in use, held by dm-" in said
        assert f"({volume.mapped})" in said
    assert read(volume.log, 0, LOG_BYTES) == before
