# SPDX-License-Identifier: LGPL-2.1-or-later
import json
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskulog.trace.record import (
    MAX_LINE_BYTES,
    End,
    Heard,
    Lost,
    datagram,
    header_from,
    header_line,
    line,
    record_from,
)
from tests import fake_kernel, schemas
from tests.traces import HEADER, heard, of_a_kernel


def again(record):
    schemas.line("trace", line(record))
    return record_from(line(record).encode())


@pytest.mark.parametrize("kernel", ["6.12", "6.1"])
def test_what_real_kernels_send_comes_back_but_for_a_number_that_nobody_reads(kernel):
    for record in of_a_kernel(kernel)[:-1]:
        found = again(record)
        assert found.at_seconds == record.at_seconds
        assert found.datagram[:8] + found.datagram[12:] == record.datagram[:8] + record.datagram[12:]
        assert '"raw"' not in line(record)
        assert len(line(record)) < 256


def test_a_line_is_readable():
    assert json.loads(line(heard(8, bytes([5, *bytes(7)]), at=0.25, seq=7))) == {
        "at": 0.25,
        "seq": 7,
        "type": "IN_SYNC",
        "luid": "ffff888000001000",
        "uuid": "LVM-s0me-m1rror",
        "data": "0500000000000000",
    }


@pytest.mark.parametrize(
    "record",
    [
        heard(8, b"x" * 8, version=2),
        heard(200, b""),
        heard(9, b"", uuid=b"\xff\xfe utf"),
        heard(1, b"1024 disk /dev/\xc3\xa9 256"),
        Heard(3.5, b"too short"),
        Heard(3.5, b""),
        Heard(4.0, bytes(4096)),
        Heard(4.0, heard(9, b"12345678").datagram[:-4]),  # its size lies
        Heard(4.0, heard(9, b"", error=-5).datagram),
        Lost(1.5, 12),
        Lost(1.5, None),
        End(2.0, 3, 4),
    ],
    ids=repr,
)
def test_each_record_comes_back_as_it_was(record):
    assert again(record) == record
    assert len(line(record)) <= MAX_LINE_BYTES


@given(st.binary(max_size=600))
def test_any_datagram_comes_back_whole(content):
    assert again(Heard(1.0, content)) == Heard(1.0, content)


@given(st.integers(0, 255), st.binary(max_size=128), st.binary(max_size=332), st.integers(0, 2**32 - 1))
def test_any_request_comes_back_whole(kind, uuid, data, seq):
    whole = fake_kernel.datagram(kind, uuid, 2**64 - 1, data, seq=seq)
    assert again(Heard(0.0, whole)).datagram == whole


def test_a_request_can_be_built():
    assert datagram(5, b"u", 1, b"1 core 2") == fake_kernel.datagram(1, b"u", 5, b"1 core 2", seq=0)


def test_the_header_comes_back():
    for header in (HEADER, replace(HEADER, uuid="u", ring=5)):
        schemas.line("trace", header_line(header))
        assert header_from(header_line(header).encode()) == header


BAD_HEADERS = {
    b"": "is not JSON",
    b"{": "is not JSON",
    b"[" * 5000: "is not JSON",
    b"\xff\xfe": "is not JSON",
    b"[]": "is no JSON object",
    b"{}": "is no trace",
    b'{"diskulog_trace":2}': "is a trace of version 2; this diskulog knows 1",
    b'{"diskulog_trace":[[]]}': "is a trace of version",
    b'{"diskulog_trace":1}': "'boot_id' is missing",
    b'{"diskulog_trace":1,"boot_id":5}': "'boot_id' is missing or not what it should be",
    b'{"diskulog_trace":1,"boot_id":"00"}': "names no boot",
    b'{"diskulog_trace":1,"boot_id":"zz"}': "hexadecimal",
}


@pytest.mark.parametrize(("content", "reason"), BAD_HEADERS.items(), ids=str)
def test_a_header_that_cannot_be_is_named(content, reason):
    with pytest.raises(ValueError, match=reason):
        header_from(content)


@pytest.mark.parametrize(
    "change",
    [{"start": -1}, {"start": "now"}, {"start": 1e300}, {"host": None}, {"kernel": 6}, {"uuid": 5}, {"ring": -5}],
    ids=str,
)
def test_a_header_with_a_bad_field_is_refused(change):
    fields = json.loads(header_line(HEADER)) | change
    with pytest.raises(ValueError, match=r"'(start|host|kernel|uuid|ring)' is"):
        header_from(json.dumps(fields).encode())


GOOD = json.loads(line(heard(8, bytes(8))))
BAD_FIELDS = [
    {"at": None},
    {"at": float("nan")},
    {"at": float("inf")},
    {"at": -0.5},
    {"at": True},
    {"at": 1e10},
    {"seq": -1},
    {"seq": 2**32},
    {"seq": 1.5},
    {"type": 256},
    {"type": "NOTHING"},
    {"type": None},
    {"luid": "x"},
    {"luid": "-5"},
    {"luid": "1" * 17},
    {"luid": 5},
    {"uuid": "u" * 129},
    {"uuid": "a\0b"},
    {"uuid": "\ud800"},
    {"data": "0"},
    {"data": "00" * 600},
    {"version": -1},
]


@pytest.mark.parametrize("change", BAD_FIELDS, ids=str)
def test_a_request_that_cannot_be_is_refused(change):
    with pytest.raises(ValueError, match=r"."):
        record_from(json.dumps(GOOD | change).encode())


@pytest.mark.parametrize(
    "content",
    [
        b"{}",
        b'{"at":1}',
        b'{"at":1,"raw":5}',
        b'{"at":1,"raw":"0"}',
        b'{"at":1,"lost":-1}',
        b'{"at":1,"lost":"many"}',
        b'{"at":1,"end":5}',
        b'{"at":1,"end":{}}',
        b'{"at":1,"end":{"requests":1,"lost":-1}}',
        b'{"at":' + b"9" * 5000 + b"}",
    ],
    ids=lambda content: content[:20],
)
def test_a_record_that_cannot_be_is_refused(content):
    with pytest.raises(ValueError, match=r"."):
        record_from(content)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_record_or_a_reason(content):
    with suppress(ValueError):
        record_from(content)
