# SPDX-License-Identifier: LGPL-2.1-or-later
import os
from pathlib import Path

import pytest

from diskulog import sysfs
from diskulog.errors import DeviceError, RefusedError
from diskulog.exits import UsageError
from diskulog.mirrors import devices
from tests import loops

SECTORS = 2048


@pytest.fixture
def loop(tmp_path):
    image = tmp_path / "image"
    image.write_bytes(b"XFSB".ljust(SECTORS * 512, b"\0"))
    with loops.attached(image) as node:
        yield node


@pytest.mark.loop
def test_a_device_that_nobody_uses(loop):
    with devices.opened(loop) as (device, source):
        assert (device.name, device.size_sectors) == (loop, SECTORS)
        assert device.number == devices.resolved(loop)
        assert device.disks == {Path(loop).name}
        assert device.below == frozenset()
        assert source.read(0, 4) == b"XFSB"
        with pytest.raises(RefusedError, match=f"{loop}: is in use: opened by a program for itself"):
            devices.opened(loop).__enter__()


@pytest.mark.parametrize("name", ["sda", "8:0", "/dev/a b", "/dev/a\tb", ""])
def test_names_that_no_table_can_have(name):
    with pytest.raises(UsageError, match="needs the path"):
        devices.opened(name).__enter__()


def test_what_is_no_block_device(tmp_path):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(UsageError, match="is not a block device; losetup"):
        devices.opened(str(file)).__enter__()
    with pytest.raises(UsageError, match="is a directory"):
        devices.opened(str(tmp_path)).__enter__()
    with pytest.raises(DeviceError, match="No such file"):
        devices.opened(str(tmp_path / "none")).__enter__()


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """dm-1 (vg-home) on the partition sda1 of sda, and dm-0 on sda1 too."""
    blocks = tmp_path / "block"
    for name, number in (("sda", "8:0"), ("sda/sda1", "8:1"), ("dm-0", "253:0"), ("dm-1", "253:1")):
        folder = blocks / name
        for part in ("slaves", "holders"):
            (folder / part).mkdir(parents=True)
        (folder / "dev").write_text(f"{number}\n")
        (tmp_path / "numbers").mkdir(exist_ok=True)
        (tmp_path / "numbers" / number).symlink_to(folder)
    (blocks / "sda/sda1/partition").write_text("1\n")
    for name, title in (("dm-0", "swap"), ("dm-1", "vg-home")):
        (blocks / name / "dm").mkdir()
        (blocks / name / "dm" / "name").write_text(f"{title}\n")
        (blocks / name / "dm" / "suspended").write_text("0\n")
        (blocks / name / "slaves" / "sda1").symlink_to(blocks / "sda/sda1")
        (blocks / "sda/sda1/holders" / name).symlink_to(blocks / name)
    monkeypatch.setattr(sysfs, "SYS_BLOCK", tmp_path / "numbers")
    monkeypatch.setattr(devices, "BLOCKS", blocks)
    monkeypatch.setattr(devices, "MOUNTS", tmp_path / "mounts")
    monkeypatch.setattr(devices, "SWAPS", tmp_path / "swaps")
    return tmp_path


def test_what_a_device_stands_on(tree):
    assert [path.name for path in devices.stands_on("253:1")] == ["sda1", "sda"]
    assert [path.name for path in devices.stands_on("8:1")] == ["sda"]
    assert devices.stands_on("8:0") == devices.stands_on("9:9") == []


def test_mapped_devices(tree):
    assert devices.mapped() == {"swap": "253:0", "vg-home": "253:1"}
    assert not devices.is_suspended("253:0")
    (tree / "block/dm-0/dm/suspended").write_text("1\n")
    assert devices.is_suspended("253:0")
    assert not devices.is_suspended("8:0")


def test_users(tree, monkeypatch):
    (tree / "mounts").write_text(
        "22 1 253:1 / /home\\040two rw,noatime shared:1 - ext4 /dev/mapper/vg-home rw\n"
        "23 1 0:43 / /pool rw - btrfs /dev/pool rw\n"
        "24 1 0:44 / /proc rw - proc proc rw\n"
    )
    (tree / "swaps").write_text("Filename Type Size Used Priority\n/dev/swap partition 1 0 -2\n")
    numbers = {"/dev/pool": "8:0", "/dev/swap": "253:0"}
    monkeypatch.setattr(devices, "resolved", lambda name: numbers.get(name, name))
    assert devices.users_of("253:1") == ["mounted on /home two"]
    assert devices.users_of("8:0") == ["mounted on /pool"]
    assert devices.users_of("253:0") == ["swap space"]
    assert devices.users_of("8:1") == ["held by dm-0 (swap)", "held by dm-1 (vg-home)"]
    assert devices.users_of("nonsense") == []


def test_a_host_that_does_not_say_who_mounts(tree):
    assert devices.users_of("8:0") == []
    assert devices.users("/nowhere") == ["opened by a program for itself, or a part of it is in use"]


def test_numbers():
    assert devices.resolved("8:0") == "8:0"
    assert devices.resolved("/nowhere") == "/nowhere"
    assert devices.resolved("/dev/null\0") == "/dev/null\0"
    assert devices.number_of(os.makedev(253, 7)) == "253:7"
