# SPDX-License-Identifier: LGPL-2.1-or-later
import pytest

from diskulog.errors import DeviceError, RefusedError
from diskulog.exits import UsageError, exit_for
from diskulog.mirrors import dm

LINE = "0 8 mirror userspace 4 u disk 7:2 8 2 7:0 0 7:1 0 1 handle_errors"
LVM = "0 8 mirror core 1 8 2 7:3 0 7:4 0"


def test_mirrors_and_their_lines(host):
    host.mirror("home", f"{LINE} ", 0)
    host.mirror("vg-lv", LVM, 1)
    with (host.state / "tables").open("a") as file:
        file.write(f"vg-lv: 8{LVM[1:]}\nodd: 0 8 mirror of a later kernel\n\n")
    lvm, home = sorted(dm.mirrors(), key=lambda mirror: mirror.userspace)
    assert (home.name, home.line.text(), home.userspace) == ("home", LINE, True)
    assert (lvm.name, len(lvm.lines), lvm.userspace) == ("vg-lv", 2, False)
    assert dm.mirror("home") == home
    with pytest.raises(UsageError, match="odd: there is no mirror of this name"):
        dm.mirror("odd")


def test_no_mirrors(host):
    (host.state / "tables").write_text("No devices found\n")
    assert dm.mirrors() == ()


def test_names_and_how_many_have_one_open(host):
    host.mirror("home", LINE)
    (host.state / "others").write_text("swap\nNo devices found\n")
    (host.state / "open-home").write_text("3\n")
    assert dm.names() == {"home", "swap"}
    assert dm.open_count("home") == 3
    assert dm.open_count("swap") == 0


def test_create_and_remove(host):
    dm.create("home", LINE)
    assert dm.mirror("home").line.text() == LINE
    dm.remove("home")
    assert dm.mirrors() == ()
    assert host.commands == [f"create home --table {LINE}", "remove --retry home"]


@pytest.mark.parametrize(
    ("said", "kind", "code", "sentence"),
    [
        (
            "device-mapper: reload ioctl on home failed\nCommand failed.",
            RefusedError,
            4,
            "dmesg, and",
        ),
        ("Device or resource busy", RefusedError, 4, "home: it, or a device of its table, is in use"),
        ("", RefusedError, 4, "it does not say why"),
        ("/dev/mapper/control: open failed: Permission denied", DeviceError, 7, "cannot ask dm"),
        ("/dev/mapper/control: open failed: No such device", DeviceError, 2, "cannot ask dm"),
    ],
)
def test_failures(host, said, kind, code, sentence):
    (host.state / "said").write_text(said)
    for act in (lambda: dm.create("home", LINE), lambda: dm.remove("home")):
        with pytest.raises(kind, match=sentence) as failed:
            act()
        assert exit_for(failed.value) == code


def test_a_question_that_fails(host):
    (host.state / "said").write_text("what")
    with pytest.raises(DeviceError, match="dmsetup table: what"):
        dm.mirrors()
