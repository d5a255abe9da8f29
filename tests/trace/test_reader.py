# SPDX-License-Identifier: LGPL-2.1-or-later
import os
from pathlib import Path

import pytest

from diskulog.errors import BadLogError, DeviceError
from diskulog.exits import UsageError
from diskulog.trace import reader
from diskulog.trace.record import End, Lost, header_line, line
from tests.traces import HEADER, heard, write

RECORDS = [heard(8, bytes(8), at=1.0), Lost(1.5, 3), heard(9, at=2.0), End(3.0, 2, 3)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "t.trace", RECORDS)


def test_a_trace_is_read_as_often_as_it_is_asked_for(path):
    with reader.opened(str(path)) as trace:
        assert trace.header == HEADER
        assert not trace.ended
        for _ in range(2):
            assert list(trace.records()) == RECORDS
            assert (trace.damage, trace.ended) == (None, True)


def test_a_trace_without_its_end_was_not_ended(path):
    write(path, RECORDS[:-1])
    with reader.opened(str(path)) as trace:
        assert list(trace.records()) == RECORDS[:-1]
        assert (trace.damage, trace.ended) == (None, False)


def test_a_trace_is_readable_up_to_wherever_it_was_cut(path):
    whole = path.read_bytes()
    first = len(header_line(HEADER))
    starts = [first + sum(len(line(record)) for record in RECORDS[:number]) for number in range(len(RECORDS) + 1)]
    for size in range(first, len(whole) + 1):
        path.write_bytes(whole[:size])
        with reader.opened(str(path)) as trace:
            complete = sum(1 for start in starts[1:] if start <= size)
            assert list(trace.records()) == RECORDS[:complete]
            if size in starts:
                assert trace.damage is None
            else:
                assert trace.damage == f"{path}: line {complete + 2} is cut off; only what comes before it is known"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\n", "is not JSON"),
        (b"{}\n", "'at' is missing"),
        (b"\0" * 100 + b"\n", "is not JSON"),
        (b"x" * 20000 + b"\n", "is too long"),
        (b'{"at":0.5,"lost":1}\n', "is older than the one before"),
    ],
    ids=["empty", "nothing", "zeros", "long", "older"],
)
def test_a_damaged_line_ends_it_and_is_named(path, content, reason):
    path.write_bytes(path.read_bytes() + content + line(heard(8, at=9.0)).encode())
    with reader.opened(str(path)) as trace:
        assert list(trace.records()) == RECORDS
        assert trace.damage.startswith(f"{path}: line 6 {reason}")
        assert "\n" not in trace.damage


@pytest.mark.parametrize("content", [b"", b"\0" * 5000, b"x" * 50000, b"[1]\n", b'{"diskulog_trace":9}\n'], ids=len)
def test_what_is_no_trace_is_refused_with_the_reason(path, content):
    path.write_bytes(content)
    with pytest.raises(BadLogError, match="cannot be read as a trace: its first line is"), reader.opened(str(path)):
        pass


def test_what_is_no_regular_file_is_usage(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for name in (tmp_path, tmp_path / "fifo", "/dev/null"):
        with pytest.raises(UsageError, match="is no regular file"), reader.opened(str(name)):
            pass


@pytest.mark.parametrize("name", ["/nowhere/at/all", "a\0b"])
def test_what_cannot_be_opened_says_why(name):
    with pytest.raises(DeviceError, match="cannot open"), reader.opened(name):
        pass


def test_a_read_that_fails_says_so(path, monkeypatch):
    class Failing:
        def readline(self, size):
            raise OSError(5, "Input/output error")

    with pytest.raises(DeviceError, match="cannot read t: Input/output error"):
        reader.Trace("t", Failing())
