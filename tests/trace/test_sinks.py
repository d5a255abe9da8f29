# SPDX-License-Identifier: LGPL-2.1-or-later
import os
import stat

import pytest

from diskulog.errors import DeviceError, RefusedError
from diskulog.trace import reader, sinks
from diskulog.trace.record import End
from diskulog.trace.sinks import FileSink, RingSink
from tests.traces import HEADER, heard

RECORDS = [heard(9, at=float(number)) for number in range(10)]
SINKS = pytest.mark.parametrize(
    "make", [FileSink, lambda path, header: RingSink(path, header, 3)], ids=["file", "ring"]
)


def read(path):
    with reader.opened(str(path)) as trace:
        assert trace.header == HEADER
        return list(trace.records())


def test_a_file_has_what_was_taken_at_each_rest(tmp_path):
    sink = FileSink(tmp_path / "t", HEADER)
    assert read(tmp_path / "t") == []
    for number, record in enumerate(RECORDS, 1):
        sink.put(record)
        sink.rest()
        assert read(tmp_path / "t") == RECORDS[:number]
    sink.put(End(99.0, 10, 0))
    sink.write_now()
    assert read(tmp_path / "t")[-1] == End(99.0, 10, 0)


def test_a_ring_has_the_last_ones_when_it_is_written(tmp_path):
    sink = RingSink(tmp_path / "t", HEADER, 3)
    for record in RECORDS:
        sink.put(record)
        sink.rest()
    assert read(tmp_path / "t") == []
    for _ in range(2):
        sink.write_now()
        assert read(tmp_path / "t") == RECORDS[-3:]
    assert [path.name for path in tmp_path.iterdir()] == ["t"]


@SINKS
def test_only_its_owner_may_read_it(tmp_path, make):
    make(tmp_path / "t", HEADER).write_now()
    assert stat.S_IMODE((tmp_path / "t").stat().st_mode) == 0o600


@SINKS
def test_a_file_that_is_there_is_left_alone(tmp_path, make):
    (tmp_path / "t").write_text("mine")
    with pytest.raises(RefusedError, match="exists; name a new file, or remove it"):
        make(tmp_path / "t", HEADER)
    assert (tmp_path / "t").read_text() == "mine"


@SINKS
@pytest.mark.parametrize("name", ["no/where", "a\0b"])
def test_a_file_that_cannot_be_made_says_why(tmp_path, make, name):
    with pytest.raises(DeviceError, match="cannot make"):
        make(tmp_path / name, HEADER)


@SINKS
@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_full_disk_is_said(tmp_path, make, call, monkeypatch):
    sink = make(tmp_path / "t", HEADER)
    sink.put(RECORDS[0])

    def fails(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sinks.os, call, fails)
    with pytest.raises(DeviceError, match=r"cannot write .*: No space left on device"):
        sink.write_now()
    assert [path.name for path in tmp_path.iterdir()] == ["t"]
    monkeypatch.undo()
    assert read(tmp_path / "t") in ([], RECORDS[:1])


def test_a_ring_that_cannot_be_put_in_its_place_says_so(tmp_path, monkeypatch):
    sink = RingSink(tmp_path / "t", HEADER, 3)

    def fails(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(sinks.Path, "replace", fails)
    with pytest.raises(DeviceError, match=r"cannot write .*: Input/output error"):
        sink.write_now()
    assert [path.name for path in tmp_path.iterdir()] == ["t"]


def test_short_writes_go_on(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(sinks.os, "write", lambda fd, data: real(fd, data[:7]))
    sink = FileSink(tmp_path / "t", HEADER)
    sink.put(RECORDS[0])
    sink.rest()
    assert read(tmp_path / "t") == RECORDS[:1]
