# SPDX-License-Identifier: LGPL-2.1-or-later
"""What runs dmsetup, with scripts in its place."""

import os

import pytest

from diskulog import dmsetup
from diskulog.dmsetup import AnsweredNoError, NotInstalledError
from diskulog.errors import DeviceError
from diskulog.exits import Exit, exit_for


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Put a script in the place of dmsetup."""

    def make(body):
        path = tmp_path / "dmsetup"
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    return make


def test_what_it_prints(program):
    program('echo "$LC_ALL $@"; printf "\\377"')
    assert dmsetup.ask("table", "--", "-v") == "C table -- -v\n\udcff"
    assert dmsetup.mirror_tables() == "C table --target mirror\n\udcff"


def test_it_reads_nothing_of_our_input(program, tmp_path):
    program("cat")
    (tmp_path / "input").write_text("a table")
    ours = os.dup(0)
    with (tmp_path / "input").open() as file:
        os.dup2(file.fileno(), 0)
    try:
        assert dmsetup.ask("table") == ""
    finally:
        os.dup2(ours, 0)
        os.close(ours)


def test_what_it_is_told(program, tmp_path):
    program(f'echo "$@" >{tmp_path}/told')
    dmsetup.act("remove", "home")
    assert (tmp_path / "told").read_text() == "remove home\n"


@pytest.mark.parametrize(
    ("said", "kind", "code", "sentence"),
    [
        ("Device x not found\nCommand failed.", AnsweredNoError, Exit.IO_ERROR, "dmsetup table: Device x not found"),
        ("", AnsweredNoError, Exit.IO_ERROR, "dmsetup table: it does not say why"),
        ("what\nDevice or resource busy", AnsweredNoError, Exit.IO_ERROR, "dmsetup table: what"),
        ("version ioctl on  failed: Permission denied", DeviceError, Exit.NO_PERMISSION, "cannot ask dm: version"),
        ("version ioctl: Operation not permitted", DeviceError, Exit.NO_PERMISSION, "cannot ask dm: version"),
        ("reload ioctl on m failed: Permission denied", AnsweredNoError, Exit.IO_ERROR, "dmsetup table: reload ioctl"),
        ("/dev/mapper/control: open failed: Permission denied", DeviceError, Exit.NO_PERMISSION, "cannot ask dm: /dev"),
        ("/dev/mapper/control: open failed: No such device", DeviceError, Exit.USAGE, "cannot ask dm: /dev"),
    ],
)
def test_failures(program, said, kind, code, sentence):
    program(f"echo '{said}' >&2; exit 1")
    for call in (dmsetup.ask, dmsetup.act):
        with pytest.raises(DeviceError, match=sentence) as failed:
            call("table")
        assert type(failed.value) is kind
        assert exit_for(failed.value) == code
        assert getattr(failed.value, "busy", False) == ("busy" in said)


def test_without_dmsetup(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotInstalledError, match="dmsetup is not installed") as failed:
        dmsetup.ask("table")
    assert exit_for(failed.value) is Exit.USAGE


def test_one_that_cannot_be_run(tmp_path, monkeypatch):
    (tmp_path / "dmsetup").write_text("")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError, match="cannot run dmsetup: Permission denied"):
        dmsetup.ask("table")
    with pytest.raises(DeviceError, match=r"cannot run dmsetup.*null byte"):
        dmsetup.ask("table", "x\0y")


def test_one_that_hangs_is_not_waited_for(program, monkeypatch):
    program("exec sleep 60")
    monkeypatch.setattr(dmsetup, "ASK_SECONDS", 0.2)
    with pytest.raises(DeviceError, match=r"dmsetup table: no answer within 0 s; process .* waits for the kernel"):
        dmsetup.ask("table")
