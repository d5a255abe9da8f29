# SPDX-License-Identifier: LGPL-2.1-or-later
import errno
import os
import stat
from pathlib import Path

import pytest

from diskulog.errors import DeviceError
from diskulog.exits import Exit, UsageError, exit_for
from diskulog.forensic import output


@pytest.fixture
def path(tmp_path):
    return tmp_path / "picture"


def names(path):
    return sorted(found.name for found in path.parent.iterdir())


def test_a_new_file(path):
    output.check(str(path), "--svg", "log")
    before = os.umask(0o027)
    try:
        output.write(str(path), b"drawn")
    finally:
        os.umask(before)
    assert path.read_bytes() == b"drawn"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert names(path) == ["picture"]


def test_a_regular_file_is_replaced(path):
    path.write_bytes(b"what was there before")
    output.check(str(path), "--svg", "log")
    output.write(str(path), b"drawn")
    assert path.read_bytes() == b"drawn"


@pytest.mark.parametrize("kind", ["directory", "FIFO", "link", "character device"])
def test_nothing_else_is_replaced(path, kind):
    match kind:
        case "directory":
            path.mkdir()
        case "FIFO":
            os.mkfifo(path)
        case "link":
            path.symlink_to("elsewhere")
        case _:
            path = Path("/dev/null")
    with pytest.raises(UsageError, match=f"--png {path}: is there and is no regular file"):
        output.check(str(path), "--png", "log")


def test_the_log_itself_under_any_name(path, tmp_path):
    path.write_bytes(b"log")
    other = tmp_path / "other"
    other.hardlink_to(path)
    with pytest.raises(UsageError, match="is the log itself"):
        output.check(str(other), "--svg", str(path))
    kept = os.dup(0)
    try:
        with path.open("rb") as file:
            os.dup2(file.fileno(), 0)
        with pytest.raises(UsageError, match="is the log itself"):
            output.check(str(path), "--svg", "-")
    finally:
        os.dup2(kept, 0)
        os.close(kept)


@pytest.mark.parametrize("name", ["", "-"])
def test_what_is_no_name(name):
    with pytest.raises(UsageError, match="is not the name of a file"):
        output.check(name, "--svg", "log")


def test_a_name_that_no_file_can_have(tmp_path):
    with pytest.raises(DeviceError, match="cannot write"):
        output.check("a\0b", "--svg", "log")
    with pytest.raises(DeviceError, match="File name too long"):
        output.check(str(tmp_path / ("x" * 300)), "--svg", "log")


def test_a_folder_that_is_not_there(path):
    with pytest.raises(DeviceError, match=r"cannot write .*none/picture: No such file") as caught:
        output.write(str(path.parent / "none" / "picture"), b"")
    assert exit_for(caught.value) is Exit.USAGE


@pytest.mark.parametrize("door", ["fsync", "rename"])
def test_a_failure_leaves_what_was_there(path, monkeypatch, door):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    path.write_bytes(b"before")
    monkeypatch.setattr(*{"fsync": (os, "fsync"), "rename": (Path, "rename")}[door], fail)
    with pytest.raises(DeviceError, match=r"cannot write .*No space left") as caught:
        output.write(str(path), b"drawn")
    assert exit_for(caught.value) is Exit.IO_ERROR
    assert path.read_bytes() == b"before"
    assert names(path) == ["picture"]


def test_an_interruption_leaves_nothing_either(path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        output.write(str(path), b"drawn")
    assert names(path) == []
