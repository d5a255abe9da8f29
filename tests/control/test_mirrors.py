# SPDX-License-Identifier: LGPL-2.1-or-later
"""Mirrors found in a sysfs that a test made."""

import pytest

from diskulog import dmsetup, sysfs
from diskulog.control import mirrors
from diskulog.control.mirrors import Mirror
from diskulog.errors import DeviceError
from diskulog.mirrortable import Named, parse

HOME = Mirror("vg-home", "253:5", ("7:0", "7:1"), None)


@pytest.fixture
def sys(tmp_path, monkeypatch):
    """A function that makes a dm device which stands on others."""
    devices, numbers = tmp_path / "block", tmp_path / "dev"
    numbers.mkdir()
    monkeypatch.setattr(sysfs, "SYS_BLOCK", numbers)
    monkeypatch.setattr(sysfs, "LOOPS", devices)

    def device(number):
        folder = devices / f"d{number.replace(':', '-')}"
        if not folder.exists():
            (folder / "holders").mkdir(parents=True)
            (folder / "slaves").mkdir()
            (folder / "dev").write_text(f"{number}\n")
            (numbers / number).symlink_to(folder)
        return folder

    def mapped(number, name, *below):
        (device(number) / "dm").mkdir()
        (device(number) / "dm" / "name").write_text(f"{name}\n")
        for other in below:
            (device(number) / "slaves" / device(other).name).symlink_to(device(other))
            (device(other) / "holders" / device(number).name).symlink_to(device(number))

    return mapped


def table(name="vg-home", uuid="U", legs=("7:1", "7:0"), handles=True):
    words = " ".join(f"{leg} 0" for leg in legs)
    return Named(name, parse(f"0 9 mirror userspace 3 {uuid} core 8 {len(legs)} {words} {'1 handle_errors' * handles}"))


def test_the_mirror_on_a_log_device(sys):
    sys("253:5", "vg-home", "7:2", "7:0", "7:1")
    assert mirrors.mirror_of("U", "7:2", ()) == HOME
    assert mirrors.mirror_of("U", "7:3", ()) is None
    assert mirrors.mirror_of("U", "7:0", ()) == Mirror("vg-home", "253:5", ("7:1", "7:2"), None)


def test_its_table_says_the_order_of_the_legs_and_whether_errors_are_handled(sys):
    sys("253:5", "vg-home", "7:2", "7:0", "7:1", "7:9")  # 7:9 is of the table that is to come
    known = [table(name="other"), table(handles=False), table(uuid="V")]
    assert mirrors.mirror_of("U", "7:2", known) == Mirror("vg-home", "253:5", ("7:1", "7:0"), False)
    assert mirrors.mirror_of("U", "7:2", [table(legs=("8:8", "7:1"))]).legs == ("7:0", "7:1", "7:9")


def test_what_else_stands_on_the_log_device_is_no_mirror(sys):
    sys("253:3", "snapshot", "7:2")
    sys("253:4", "concatenation", "7:2", "7:8")
    assert mirrors.mirror_of("U", "7:2", ()) is None
    sys("253:5", "vg-home", "7:2", "7:0", "7:1")
    assert mirrors.mirror_of("U", "7:2", ()) == HOME


def test_legs_on_one_device_are_a_mirror_all_the_same(sys):
    sys("253:5", "vg-home", "7:2", "7:0")
    assert mirrors.mirror_of("U", "7:2", ()) is None
    known = [table(legs=("7:0", "7:0"))]
    assert mirrors.mirror_of("U", "7:2", known) == Mirror("vg-home", "253:5", ("7:0", "7:0"), True)


def test_the_mirror_of_a_core_log_is_known_by_its_table_alone(sys):
    sys("253:5", "vg-home", "7:0", "7:1")
    assert mirrors.mirror_of("U", None, ()) is None
    assert mirrors.mirror_of("U", None, [table()]) == Mirror("vg-home", "253:5", ("7:1", "7:0"), True)
    assert mirrors.mirror_of("U", None, [table(name="gone")]) == Mirror("gone", None, ("7:1", "7:0"), True)
    assert mirrors.mirror_of("U", None, [table(), table(name="twin")]) is None  # whose is it?


def test_without_leave_to_ask_dm_there_are_no_tables(monkeypatch):
    def fails():
        raise DeviceError("dmsetup table", PermissionError(13, "Permission denied"))

    monkeypatch.setattr(dmsetup, "mirror_tables", fails)
    assert mirrors.found_tables() == ()
    monkeypatch.setattr(dmsetup, "mirror_tables", lambda: "m: 0 9 mirror userspace 3 U core 8 2 7:1 0 7:0 0\n")
    assert mirrors.found_tables() == (table("m", handles=False),)


def test_a_uuid_is_spelled_as_the_daemon_does_it_in_json(monkeypatch):
    monkeypatch.setattr(dmsetup, "mirror_tables", lambda: "m: 0 9 mirror userspace 3 U\udcff core 8 2 7:1 0 7:0 0\n")
    assert [found.line.uuid for found in mirrors.found_tables()] == ["U\N{REPLACEMENT CHARACTER}"]


def test_the_number_of_a_node(tmp_path, loop_device):
    assert mirrors.number_of("home") is None
    assert mirrors.number_of("a\0b") is None
    assert mirrors.number_of("/dev/null") is None
    name = loop_device(bytes(4096))
    (tmp_path / "link").symlink_to(name)
    assert mirrors.number_of(str(tmp_path / "link")) == mirrors.number_of(name)
    assert mirrors.number_of(name).startswith("7:")
