# SPDX-License-Identifier: LGPL-2.1-or-later
import pytest

from diskulog.mirrors import naming


@pytest.mark.parametrize(
    "name",
    [
        *("/dev/sda", "/dev/nvme0n1p2", "/dev/loop3", "/dev/dm-4", "8:0", "/dev/md0", "/dev/md126p1", "253:2"),
        *("/dev/bcache0", "/dev/rbd1", "/dev/pmem0.1", "/dev/dasda1", "/dev/drbd0", "/dev/block/253:2"),
        *("/dev/disk/by-uuid/1", "/dev/disk/by-label/home", "/dev/disk/by-id/lvm-pv-uuid-x", "/dev/disk/by-diskseq/9"),
    ],
)
def test_names_that_may_change(name):
    assert naming.unstable(name)


@pytest.mark.parametrize(
    "name", ["/dev/vg/log", "/dev/mapper/x", "/dev/disk/by-id/sda", "/dev/md/home", "/dev/rbd/pool/image"]
)
def test_names_that_stay(name):
    assert not naming.unstable(name)


def test_a_mapped_device_has_its_name(host):
    host.mapped("vg-log", 3)
    assert naming.known_as("253:3") == naming.lasting("253:3") == "/dev/mapper/vg-log"


def test_a_disk_is_found_by_its_links(host, tmp_path, monkeypatch):
    host.device("sda", 8)
    host.device("sdb", 8)
    (tmp_path / "by-id").mkdir()
    numbers = {str(tmp_path / "by-id" / name): host.facts["/dev/sda"].number for name in ("wwn-long-one", "ata-x")}
    for link in numbers:
        open(link, "w").close()
    (tmp_path / "by-id" / "other").touch()
    plain = naming.devices.resolved
    monkeypatch.setattr(naming.devices, "resolved", lambda name: numbers.get(name) or plain(name))
    monkeypatch.setattr(naming, "LINKS", (tmp_path / "none", tmp_path / "by-id"))
    assert naming.lasting("/dev/sda") == str(tmp_path / "by-id" / "ata-x")
    assert naming.lasting("/dev/sdb") == "/dev/sdb"


def test_what_lies_on_every_leg_names_none(host, monkeypatch):
    # a file system's uuid is that of each leg and of the mirror: udev's link leads to any of them
    host.device("sda", 8)
    assert "by-uuid" not in {folder.name for folder in naming.LINKS}
    found = {"by-id": ["lvm-pv-uuid-x", "wwn-of-the-disk"], "by-path": ["pci-1"]}

    class Folder(type(naming.LINKS[0])):
        def iterdir(self):
            return (self / name for name in found[self.name])

    number = host.facts["/dev/sda"].number
    plain = naming.devices.resolved
    monkeypatch.setattr(naming.devices, "resolved", lambda name: number if "/disk/" in name else plain(name))
    monkeypatch.setattr(naming, "LINKS", tuple(Folder(f"/dev/disk/{name}") for name in found))
    assert naming.lasting("/dev/sda") == "/dev/disk/by-id/wwn-of-the-disk"
    found["by-id"].pop()
    assert naming.lasting("/dev/sda") == "/dev/disk/by-path/pci-1"


def test_a_number_without_a_device_stays_one(host):
    assert naming.known_as("9:9") == naming.lasting("9:9") == "9:9"
