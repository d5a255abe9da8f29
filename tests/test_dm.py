# SPDX-License-Identifier: LGPL-2.1-or-later
"""The ioctls of device mapper, as bytes: what goes in, what comes out. The real ones are asked in the VM."""

import errno
import fcntl
import struct

import pytest

from diskulog import dm
from diskulog.errors import DeviceError
from diskulog.exits import Exit, UsageError, exit_for

HEADER = struct.Struct("=3I II I i I I I Q 128s 129s 7x")


class Kernel:
    """Stands in for the ioctl."""

    def __init__(self, monkeypatch):
        self.asked = []
        self.flags, self.targets, self.error, self.full_below = 0, [], None, 0
        monkeypatch.setattr(fcntl, "ioctl", self.ioctl)

    def ioctl(self, fd, request, buffer):
        fields = HEADER.unpack_from(buffer)
        self.asked.append((request & 0xFF, fields, bytes(buffer[fields[4] :])))
        assert request >> 30 == 3
        assert request >> 16 & 0x3FFF == HEADER.size == 312
        assert request >> 8 & 0xFF == 0xFD
        assert len(buffer) == fields[3]
        if self.error:
            raise OSError(self.error, "refused")
        full = 1 << 8 if len(buffer) < self.full_below else 0
        data = b""
        for kind, words in self.targets:
            text = words.encode() + b"\0"
            text += bytes(-len(text) % 8)
            following = len(data) + 40 + len(text)
            data += struct.pack("=QQiI16s", 0, 8000, 0, following, kind.encode()) + text
        header = HEADER.pack(
            4, 45, 0, fields[3], 312, len(self.targets), 1, self.flags | full, 7, 0, 253 << 8 | 5, b"m", b"LVM-x"
        )
        buffer[: len(header) + len(data)] = header + data
        return 0


@pytest.fixture
def kernel(monkeypatch):
    return Kernel(monkeypatch)


@pytest.fixture
def mapper(kernel):
    return dm.KernelMapper(3)


def test_info(kernel, mapper):
    kernel.flags = 1 << 1 | 1 << 5 | 1 << 6
    assert mapper.info("m") == dm.Info("m", "LVM-x", "253:5", True, True, True, False)
    kernel.flags = 1
    assert mapper.info("m") == dm.Info("m", "LVM-x", "253:5", False, False, False, True)
    number, fields, _ = kernel.asked[0]
    assert (number, fields[:3], fields[11].rstrip(b"\0")) == (7, (4, 0, 0), b"m")


def test_tables_and_status(kernel, mapper):
    kernel.targets = [("mirror", "disk 2 253:2 8"), ("linear", "253:0 0 ")]
    assert mapper.table("m") == "0 8000 mirror disk 2 253:2 8\n0 8000 linear 253:0 0"
    assert mapper.table("m", inactive=True)
    assert mapper.status("m")
    # STATUS_TABLE, QUERY_INACTIVE_TABLE, NOFLUSH
    assert [(number, fields[7]) for number, fields, _ in kernel.asked] == [(12, 16), (12, 16 | 4096), (12, 2048)]


def test_a_table_that_is_longer_than_the_buffer_is_asked_for_again(kernel, mapper):
    kernel.targets, kernel.full_below = [("mirror", "disk")], 60000
    assert mapper.table("m") == "0 8000 mirror disk"
    assert len(kernel.asked) == 2


def test_load(kernel, mapper):
    line = "0 8000 mirror disk 2 253:2 8 2 253:0 0 253:1 0"
    mapper.load("m", line, read_only=False)
    mapper.load("m", line, read_only=True)
    (number, fields, data), (_, read_only, _) = kernel.asked
    assert (number, fields[5], fields[7], read_only[7]) == (9, 1, 0, 1)
    assert struct.unpack_from("=QQiI16s", data)[:2] == (0, 8000)
    assert data[24:40].rstrip(b"\0") == b"mirror"
    assert data[40:].rstrip(b"\0") == b"disk 2 253:2 8 2 253:0 0 253:1 0"


def test_suspend_resume_clear(kernel, mapper):
    mapper.suspend("m")
    mapper.resume("m")
    mapper.clear("m")
    skip_and_no_flush = 1 << 10 | 1 << 11
    assert [(number, fields[7]) for number, fields, _ in kernel.asked] == [
        (6, 2 | skip_and_no_flush),
        (6, skip_and_no_flush),
        (10, 0),
    ]


@pytest.mark.parametrize(
    ("number", "kind", "code"),
    [
        (errno.ENXIO, UsageError, Exit.USAGE),
        (errno.EINVAL, DeviceError, Exit.IO_ERROR),
        (errno.EPERM, DeviceError, Exit.NO_PERMISSION),
        (errno.EBUSY, DeviceError, Exit.REFUSED),
    ],
)
def test_a_refusal_says_what_was_asked(kernel, mapper, number, kind, code):
    kernel.error = number
    with pytest.raises(kind, match=r"^m: ") as raised:
        mapper.suspend("m")
    assert exit_for(raised.value) == code


@pytest.mark.parametrize("name", ["", "x" * 128, "a\0b"])
def test_what_is_no_name_is_not_asked_for(kernel, mapper, name):
    with pytest.raises(UsageError):
        mapper.info(name)
    assert kernel.asked == []


def test_the_control_node_may_be_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(dm, "CONTROL", str(tmp_path / "none"))
    with pytest.raises(DeviceError, match="cannot ask device mapper"), dm.opened():
        pass
    (tmp_path / "some").touch()
    monkeypatch.setattr(dm, "CONTROL", str(tmp_path / "some"))
    with dm.opened() as mapper:
        assert isinstance(mapper, dm.KernelMapper)
