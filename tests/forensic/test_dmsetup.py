# SPDX-License-Identifier: LGPL-2.1-or-later
import pytest

from diskulog import sysfs
from diskulog.errors import DeviceError, RefusedError
from diskulog.exits import Exit, UsageError, exit_for
from diskulog.forensic import dmsetup


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Put a script in the place of dmsetup."""

    def make(body: str) -> None:
        path = tmp_path / "dmsetup"
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    return make


def test_the_table_is_what_it_prints(program):
    program('echo "$@"')
    assert dmsetup.table("-v") == "table -- -v\n"


@pytest.mark.parametrize(
    ("said", "kind", "code", "sentence"),
    [
        ("Device x not found\nCommand failed.", UsageError, Exit.USAGE, "no such mirror.*Device x not found"),
        ("", UsageError, Exit.USAGE, "it does not say why"),
        ("/dev/mapper/control: open failed: Permission denied", DeviceError, Exit.NO_PERMISSION, "cannot ask dm: /dev"),
        ("/dev/mapper/control: open failed: No such device", DeviceError, Exit.USAGE, "cannot ask dm.*No such device"),
    ],
)
def test_failures(program, said, kind, code, sentence):
    program(f"echo '{said}' >&2; exit 1")
    with pytest.raises(kind, match=sentence) as failed:
        dmsetup.table("x")
    assert exit_for(failed.value) == code


def test_without_dmsetup(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="not installed: name DEV and its legs"):
        dmsetup.table("x")


def test_a_dmsetup_that_cannot_be_run(tmp_path, monkeypatch):
    (tmp_path / "dmsetup").write_text("")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError, match="cannot run dmsetup: Permission denied"):
        dmsetup.table("x")
    with pytest.raises(DeviceError, match="null byte"):
        dmsetup.table("x\0y")


def test_nodes(tmp_path, monkeypatch):
    monkeypatch.setattr(sysfs, "SYS_BLOCK", tmp_path)
    (tmp_path / "devices" / "cciss!c0d0").mkdir(parents=True)
    (tmp_path / "104:0").symlink_to(tmp_path / "devices" / "cciss!c0d0")
    assert dmsetup.node("m", "104:0") == "/dev/cciss/c0d0"
    assert dmsetup.node("m", "/dev/sda") == "/dev/sda"
    with pytest.raises(RefusedError, match="m: its device 9:9 is not there"):
        dmsetup.node("m", "9:9")


def test_the_tables_of_all_mirrors(program):
    program('echo "m: $@"; printf "\\377"')
    assert dmsetup.mirrors() == "m: table --target mirror\n\N{REPLACEMENT CHARACTER}"
    program("echo 'open failed: Permission denied' >&2; exit 1")
    with pytest.raises(DeviceError, match="dmsetup table: open failed: Permission denied"):
        dmsetup.mirrors()


def test_the_tables_of_all_mirrors_without_dmsetup(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError, match="cannot run dmsetup"):
        dmsetup.mirrors()
