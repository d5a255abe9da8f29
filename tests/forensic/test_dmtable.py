# SPDX-License-Identifier: LGPL-2.1-or-later
import pytest

from diskulog import dmsetup, sysfs
from diskulog.dmsetup import AnsweredNoError, NotInstalledError
from diskulog.errors import DeviceError, RefusedError
from diskulog.exits import Exit, UsageError, exit_for
from diskulog.forensic import dmtable
from diskulog.forensic.dmtable import MirrorTable, parse
from diskulog.mirrortable import LegName

LEGS = (LegName("7:0"), LegName("/dev/sdb1", 2048))
TAIL = "2 7:0 0 /dev/sdb1 2048 1 handle_errors"


@pytest.mark.parametrize(
    ("log", "uuid", "device"),
    [
        ("disk 2 253:2 1024", None, "253:2"),
        ("disk 4 253:2 1024 nosync block_on_error", None, "253:2"),
        ("userspace 4 u-1 disk /dev/loop2 1024", "u-1", "/dev/loop2"),
        ("userspace 5 u-1 integrated_flush disk 7:2 1024", "u-1", "7:2"),
        ("userspace 6 u-1 integrated_flush disk 7:2 1024 sync", "u-1", "7:2"),
        ("userspace 4 u-1 clustered-disk 7:2 1024 ", "u-1", "7:2"),
        ("userspace 4 disk disk 7:2 1024", "disk", "7:2"),
    ],
)
def test_logs_on_devices(log, uuid, device):
    assert parse("m", f"0 131072 mirror {log} {TAIL} \n") == MirrorTable(131072, uuid, device, 1024, LEGS)


def test_more_legs_and_no_features():
    found = parse("m", "0 8 mirror disk 2 7:9 8 3 7:1 0 7:2 8 7:3 16\n")
    assert found.legs == (LegName("7:1"), LegName("7:2", 8), LegName("7:3", 16))


@pytest.mark.parametrize("log", ["core 1 1024", "core 2 1024 nosync", "userspace 3 u core 1024"])
def test_a_log_in_memory(log):
    with pytest.raises(RefusedError, match=r"^m: its log is in memory only"):
        parse("m", f"0 131072 mirror {log} {TAIL}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "its table has 0 targets, a mirror has one; name the mirror, or DEV"),
        ("0 8 linear 7:0 0\n8 8 linear 7:1 0\n", "its table has 2 targets"),
        ("0 8 linear 7:0 0", "is no mirror, but 'linear' from sector 0"),
        ("0 8 error", "is no mirror, but 'error'"),
        (f"8 8 mirror disk 2 7:9 8 {TAIL}", "is no mirror, but 'mirror' from sector 8; name a mirror"),
        ("0 8 mirror", "cannot be understood; name DEV and its legs instead"),
        ("0 8 mirror disk 2 7:9 8 3 7:1 0 7:2", "cannot be understood"),
        (f"0 8 mirror other 2 7:9 8 {TAIL}", "its log is of type 'other'; there is nothing"),
    ],
)
def test_what_is_refused(text, said):
    with pytest.raises(RefusedError, match=said):
        parse("m", text)


def test_the_table_of_a_name(monkeypatch):
    monkeypatch.setattr(dmsetup, "ask", lambda *words: " ".join(words))
    assert dmtable.table("-v") == "table -- -v"


@pytest.mark.parametrize(
    ("failure", "kind", "code", "said"),
    [
        (
            AnsweredNoError("table", "Device x not found\nCommand failed."),
            UsageError,
            Exit.USAGE,
            "--mirror x: there is no such mirror ('dmsetup ls' lists them); dmsetup: Device x not found",
        ),
        (
            NotInstalledError("cannot ask dm: dmsetup is not installed", FileNotFoundError(2, "No such file")),
            UsageError,
            Exit.USAGE,
            "--mirror needs dmsetup, which is not installed: name DEV and its legs instead",
        ),
        (
            DeviceError("cannot ask dm", PermissionError(13, "open failed: Permission denied")),
            DeviceError,
            Exit.NO_PERMISSION,
            "--mirror x: cannot ask dm: open failed: Permission denied",
        ),
    ],
)
def test_without_a_table(monkeypatch, failure, kind, code, said):
    def fails(*_):
        raise failure

    monkeypatch.setattr(dmsetup, "ask", fails)
    with pytest.raises(kind) as failed:
        dmtable.table("x")
    assert (str(failed.value), exit_for(failed.value)) == (said, code)


def test_nodes(tmp_path, monkeypatch):
    monkeypatch.setattr(sysfs, "SYS_BLOCK", tmp_path)
    (tmp_path / "devices" / "cciss!c0d0").mkdir(parents=True)
    (tmp_path / "104:0").symlink_to(tmp_path / "devices" / "cciss!c0d0")
    assert dmtable.node("m", "104:0") == "/dev/cciss/c0d0"
    assert dmtable.node("m", "/dev/sda") == "/dev/sda"
    with pytest.raises(RefusedError, match="m: its device 9:9 is not there"):
        dmtable.node("m", "9:9")
