# SPDX-License-Identifier: LGPL-2.1-or-later
import os

from diskulog import sysfs


def test_holders_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(sysfs, "SYS_BLOCK", tmp_path)
    folder = tmp_path / "7:3" / "holders"
    (folder / "dm-4" / "dm").mkdir(parents=True)
    (folder / "dm-4" / "dm" / "name").write_text("vg-home\n")
    (folder / "md0").mkdir()
    assert sysfs.holders(os.makedev(7, 3)) == ("dm-4 (vg-home)", "md0")
    assert sysfs.holders(os.makedev(7, 4)) == ()


def test_a_node_is_found_by_its_number(tmp_path, monkeypatch):
    monkeypatch.setattr(sysfs, "SYS_BLOCK", tmp_path)
    (tmp_path / "devices" / "cciss!c0d0").mkdir(parents=True)
    (tmp_path / "104:0").symlink_to(tmp_path / "devices" / "cciss!c0d0")
    assert sysfs.node("104:0") == "/dev/cciss/c0d0"
    assert sysfs.node("104:1") is None


def test_boot_id(tmp_path, monkeypatch):
    monkeypatch.setattr(sysfs, "BOOT_ID", tmp_path / "boot_id")
    assert sysfs.boot_id() == bytes(16)
    (tmp_path / "boot_id").write_text("00010203-0405-0607-0809-0a0b0c0d0e0f\n")
    assert sysfs.boot_id() == bytes(range(16))
    (tmp_path / "boot_id").write_text("nonsense\n")
    assert sysfs.boot_id() == bytes(16)


def test_what_a_device_stands_on_is_found_at_any_depth(tmp_path, monkeypatch):
    monkeypatch.setattr(sysfs, "SYS_BLOCK", tmp_path)
    devices = tmp_path / "devices"
    for name in ("dm-1", "dm-2"):
        (devices / name / "dm").mkdir(parents=True)
        (devices / name / "dm" / "name").write_text(f"m{name[-1]}\n")
        (devices / name / "slaves").mkdir()
    part = devices / "sda" / "sda1"
    (part / "holders").mkdir(parents=True)
    (part / "partition").touch()
    (devices / "dm-1" / "slaves" / "dm-2").symlink_to(devices / "dm-2")
    (devices / "dm-2" / "slaves" / "sda1").symlink_to(part)
    (part / "holders" / "dm-2").symlink_to(devices / "dm-2")
    for number, device in (("253:1", devices / "dm-1"), ("8:1", part)):
        (tmp_path / number).symlink_to(device)
    assert sysfs.below(os.makedev(253, 1)) == {"m2", "sda1", "sda"}
    assert sysfs.below(os.makedev(8, 1)) == {"sda"}
    assert sysfs.below(os.makedev(8, 2)) == frozenset()
    assert sysfs.dm_holders(os.makedev(8, 1)) == ("m2",)
    assert sysfs.dm_holders(os.makedev(8, 2)) == ()
