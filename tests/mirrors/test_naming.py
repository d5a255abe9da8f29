# SPDX-License-Identifier: LGPL-2.1-or-later
import pytest

from diskulog.mirrors import naming


@pytest.mark.parametrize("name", ["/dev/sda", "/dev/nvme0n1p2", "/dev/loop3", "/dev/dm-4", "8:0", "/dev/md0"])
def test_names_that_may_change(name):
    assert naming.unstable(name)


@pytest.mark.parametrize("name", ["/dev/vg/log", "/dev/mapper/x", "/dev/disk/by-id/sda", "/dev/md/home"])
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


def test_a_number_without_a_device_stays_one(host):
    assert naming.known_as("9:9") == naming.lasting("9:9") == "9:9"
