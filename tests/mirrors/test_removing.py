# SPDX-License-Identifier: LGPL-2.1-or-later
import pytest

from diskulog.errors import RefusedError
from diskulog.mirrors import dm, removing, served

LINE = "0 8 mirror userspace 4 u disk /dev/l 8 2 8:0 0 8:1 0 1 handle_errors"


def test_one_that_nobody_uses(host):
    host.mirror("home", LINE)
    removing.check(dm.mirror("home"))


def test_who_uses_one_is_told(host):
    host.mirror("home", LINE, 0)
    (host.root / "mounts").write_text("22 1 253:0 / /home rw - ext4 /dev/mapper/home rw\n")
    host.hold("253:0", "dm-7")
    with pytest.raises(RefusedError, match="home: is in use: mounted on /home, held by dm-7; unmount"):
        removing.check(dm.mirror("home"))


def test_one_that_a_program_has_open(host):
    host.mirror("home", LINE)
    (host.state / "open-home").write_text("1\n")
    with pytest.raises(RefusedError, match="home: is in use: opened by a program"):
        removing.check(dm.mirror("home"))


def test_what_is_not_ours(host):
    host.mirror("kernels", "0 8 mirror core 1 8 2 8:0 0 8:1 0", 0)
    host.mirror("vg-lv", LINE, 1, uuid="LVM-abc")
    with pytest.raises(RefusedError, match="kernels: has the kernel's own log; 'dmsetup remove kernels'"):
        removing.check(dm.mirror("kernels"))
    with pytest.raises(RefusedError, match="vg-lv: belongs to LVM"):
        removing.check(dm.mirror("vg-lv"))


def test_all_of_them_those_on_others_first(host, monkeypatch):
    """``bottom`` is held by ``top`` until that is removed; ``used`` stays."""
    host.mirror("bottom", LINE, 0)
    host.mirror("top", LINE, 1)
    host.mirror("used", LINE, 2)
    host.mirror("kernels", "0 8 mirror core 1 8 2 8:0 0 8:1 0", 3)
    host.hold("253:0", "dm-1")
    host.hold("253:2", "dm-9")
    plain = dm.remove

    def remove(name):
        plain(name)
        if name == "top":
            (host.root / "numbers" / "253:0" / "holders" / "dm-1").rmdir()

    monkeypatch.setattr(dm, "remove", remove)
    assert list(removing.remove_all(dry_run=False)) == [
        ("top", None),
        ("bottom", None),
        ("used", "used: is in use: held by dm-9; unmount or close it first"),
    ]
    assert [mirror.name for mirror in dm.mirrors()] == ["kernels", "used"]


def test_a_dry_run_removes_none(host):
    host.mirror("home", LINE)
    assert list(removing.remove_all(dry_run=True)) == [("home", None)]
    assert host.commands == []


def test_which_devices_are_served(host):
    host.mirror("home", LINE, 0)
    host.mirror("kernels", "0 8 mirror core 1 8 2 8:0 0 8:1 0", 1)
    assert served.by_number() == {"253:0": "home"}
    (host.state / "said").write_text("/dev/mapper/control: open failed: No such device")
    assert served.by_number() == {}


def test_whether_a_daemon_answers(host, monkeypatch):
    assert served.daemon_answers()

    def fail():
        raise FileNotFoundError

    monkeypatch.setattr("diskulog.neighbours.somebody_answers", fail)
    assert not served.daemon_answers()
