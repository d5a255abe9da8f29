# SPDX-License-Identifier: LGPL-2.1-or-later
import errno
import fcntl
import os

import pytest

from diskulog.errors import DeviceError, RefusedError
from diskulog.exits import UsageError
from diskulog.forensic import legs, source
from diskulog.forensic.comparison import PIECE_BYTES
from diskulog.forensic.legs import LegReadError
from diskulog.mirrortable import LegName
from diskulog.units import MIB, SECTOR_BYTES
from tests.loops import attached


@pytest.fixture
def files(tmp_path):
    """Two legs of 3 MiB and a bit, with different content."""
    made = []
    for name in ("a", "b"):
        path = tmp_path / name
        path.write_bytes(os.urandom(3 * MIB + 1536))
        made.append(path)
    return made


def content(found, at, length):
    with found.lent(at, length) as views:
        return [bytes(view) for view in views]


# names


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("/dev/sda", LegName("/dev/sda")),
        ("/dev/sda:2048", LegName("/dev/sda", 2048)),
        ("a:b:7", LegName("a:b", 7)),
        ("a:b", LegName("a:b")),
        ("a:", LegName("a:")),
        (":5", LegName(":5")),
        ("a\0b:5", LegName("a\0b", 5)),
        ("x" * 5000 + ":5", LegName("x" * 5000, 5)),
    ],
)
def test_names(text, name):
    assert legs.parse(text) == name


def test_a_device_whose_own_name_ends_like_an_offset(tmp_path):
    path = tmp_path / "scsi-0:0:0:0"
    path.write_bytes(b"")
    assert legs.parse(str(path)) == LegName(str(path))


# reading


@pytest.mark.parametrize("direct", [True, False], ids=["past the cache", "buffered"])
@pytest.mark.parametrize(("at", "length"), [(0, MIB), (512, 1024), (MIB - 512, MIB), (3 * MIB, 512), (5 * 512, 512)])
@pytest.mark.parametrize("offset", [0, 1, 2])
def test_each_leg_is_read_where_the_mirror_lies_in_it(files, monkeypatch, direct, at, length, offset):
    if not direct:
        monkeypatch.setattr(os, "O_DIRECT", 0)
    names = [LegName(str(files[0])), LegName(str(files[1]), offset)]
    with legs.opened(names, "log") as found:
        first, second = content(found, at, length)
    assert first == files[0].read_bytes()[at : at + length]
    assert second == files[1].read_bytes()[at + offset * 512 :][:length]


def test_a_file_system_without_direct_io_is_read_all_the_same(files, monkeypatch):
    plain, flags = os.open, []

    def opens(name, how, *more):
        flags.append(how & os.O_DIRECT)
        if how & os.O_DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        return plain(name, how, *more)

    monkeypatch.setattr(os, "open", opens)
    with legs.opened([LegName(str(path)) for path in files], "log") as found:
        assert content(found, 0, 512) == [path.read_bytes()[:512] for path in files]
    assert flags == [os.O_DIRECT, 0, os.O_DIRECT, 0]


def test_a_device_without_direct_io_is_not(files, monkeypatch):
    def fails(*_):
        raise DeviceError("cannot open x", OSError(errno.EINVAL, "Invalid argument"))

    monkeypatch.setattr(source, "opened", fails)
    with pytest.raises(DeviceError, match="Invalid argument"), legs.opened([LegName("/dev/null")] * 2, "log"):
        pass


def test_a_leg_that_became_shorter(files):
    with legs.opened([LegName(str(path)) for path in files], "log") as found:
        os.truncate(files[1], MIB)
        with pytest.raises(
            LegReadError, match=f"cannot read {files[1]} at byte 1048576: it has become shorter"
        ) as failed:
            content(found, MIB, 512)
        assert failed.value.leg == 1
        assert failed.value.errno == errno.EIO
        assert content(found, 0, 512) == [path.read_bytes()[:512] for path in files]


def test_a_leg_that_fails_is_named_and_the_others_are_awaited(files, monkeypatch):
    plain = os.preadv
    with legs.opened([LegName(str(path)) for path in files], "log") as found:
        bad = next(iter(found)).file.fd

        def reads(fd, buffers, position):
            if fd == bad:
                raise OSError(errno.EIO, "Input/output error")
            return plain(fd, buffers, position)

        monkeypatch.setattr(os, "preadv", reads)
        with pytest.raises(LegReadError, match="a at byte 4096: Input/output error") as failed:
            content(found, 4096, 512)
        assert failed.value.leg == 0


def test_a_bug_in_a_thread_is_no_read_error(files, monkeypatch):
    def breaks(*_):
        raise ZeroDivisionError("what")

    monkeypatch.setattr(os, "preadv", breaks)
    with legs.opened([LegName(str(path)) for path in files], "log") as found, pytest.raises(ZeroDivisionError):
        content(found, 0, 512)


def test_short_reads_are_continued(files, monkeypatch):
    plain = os.preadv
    monkeypatch.setattr(os, "preadv", lambda fd, buffers, at: plain(fd, [buffers[0][:8192]], at))
    with legs.opened([LegName(str(path)) for path in files], "log") as found:
        assert content(found, 0, MIB) == [path.read_bytes()[:MIB] for path in files]


def test_an_exception_while_views_are_lent_is_the_one_that_is_seen(files):
    def interrupted(found):
        with found.lent(0, 512) as views:
            assert len(views) == 2
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), legs.opened([LegName(str(path)) for path in files], "log") as found:
        interrupted(found)


# what cannot be


def test_room(files):
    with legs.opened([LegName(str(files[0]), 3), LegName(str(files[1]))], "log") as found:
        assert found.shortest_bytes() == 3 * MIB
        found.check_room(3 * MIB)
        with pytest.raises(
            RefusedError, match=r"leg .*a from sector 3: is too short: it has 3145728 bytes there, .*3145729"
        ):
            found.check_room(3 * MIB + 1)


def test_an_offset_beyond_the_end(files):
    names = [LegName(str(files[0]), 10**9), LegName(str(files[1]))]
    with legs.opened(names, "log") as found, pytest.raises(RefusedError, match="it has 0 bytes there"):
        found.check_room(512)


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two(files, count):
    with (
        pytest.raises(UsageError, match="at least two legs"),
        legs.opened([LegName(str(path)) for path in files[:count]], "log"),
    ):
        pass


def test_the_same_leg_twice(files, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(files[0])
    with (
        pytest.raises(UsageError, match="link is named twice"),
        legs.opened([LegName(str(files[0])), LegName(str(link))], "log"),
    ):
        pass
    with legs.opened([LegName(str(files[0])), LegName(str(link), 1)], "log"):
        pass  # two pieces of one disk: odd, but legs all the same


def test_the_log_as_a_leg(files):
    names = [LegName(str(files[0])), LegName(str(files[1]), 5)]
    with pytest.raises(UsageError, match="b is the log"), legs.opened(names, str(files[1])):
        pass


@pytest.mark.parametrize("kind", ["missing", "directory", "-"])
def test_what_cannot_be_a_leg(files, tmp_path, kind):
    name = {"missing": str(tmp_path / "no"), "directory": str(tmp_path), "-": "-"}[kind]
    with pytest.raises((UsageError, DeviceError)), legs.opened([LegName(str(files[0])), LegName(name)], "log"):
        pass


# devices


@pytest.mark.loop
@pytest.mark.parametrize("sector", [512, 4096])
def test_devices_are_read_past_the_cache(files, sector):
    for path in files:
        os.truncate(path, 3 * MIB)
    options = ("--sector-size", str(sector))
    with attached(files[0], *options) as first, attached(files[1], *options) as second:
        names = [LegName(first, 8), LegName(second)]
        with legs.opened(names, "log") as found:
            for leg in found:
                assert os.O_DIRECT & fcntl.fcntl(leg.file.fd, fcntl.F_GETFL)
                assert leg.align_bytes == sector
            assert found.shortest_bytes() == 3 * MIB - 4096
            assert content(found, 4096, PIECE_BYTES) == [
                files[0].read_bytes()[8192 : 8192 + PIECE_BYTES],
                files[1].read_bytes()[4096 : 4096 + PIECE_BYTES],
            ]
            assert content(found, 512, SECTOR_BYTES)[1] == files[1].read_bytes()[512:1024]
