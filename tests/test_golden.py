# SPDX-License-Identifier: LGPL-2.1-or-later
"""Datagrams that real kernels sent (tools/record_datagrams.py), against the codec, the fake kernel and the server."""

from collections import Counter
from pathlib import Path

import pytest

from diskulog import wire
from diskulog.ctr import is_reconnect
from diskulog.wire import Request, RequestType
from tests import fake_kernel

_DATA = Path(__file__).parent / "data"
KERNELS = pytest.mark.parametrize("kernel", ["6.12", "6.1"])
# no caller in dm-raid1, and answered inside the kernel
_NEVER_SENT = {RequestType.IS_CLEAN, RequestType.STATUS_TABLE}


def recorded(kernel: str) -> list[bytes]:
    return [bytes.fromhex(line) for line in (_DATA / f"datagrams-{kernel}.txt").read_text().splitlines()]


def requests(kernel: str) -> list[Request]:
    found = [wire.unframe(datagram) for datagram in recorded(kernel)]
    assert all(isinstance(request, Request) for request in found)
    return found  # type: ignore[return-value]


@KERNELS
def test_every_recorded_datagram_is_a_request_of_version_3(kernel: str) -> None:
    assert {request.version for request in requests(kernel)} == {3}
    assert {request.uuid for request in requests(kernel)} == {b"UUID-plain", b"UUID-integrated", b"UUID-long"}


@KERNELS
def test_every_type_that_a_kernel_sends_was_recorded(kernel: str) -> None:
    seen = {RequestType(request.type) for request in requests(kernel)}
    assert seen == set(RequestType) - _NEVER_SENT


@KERNELS
def test_the_payloads_have_the_shapes_that_the_codec_expects(kernel: str) -> None:
    shapes = {
        RequestType.IN_SYNC: wire.region,
        RequestType.IS_REMOTE_RECOVERING: wire.region,
        RequestType.MARK_REGION: wire.regions,
        RequestType.CLEAR_REGION: wire.regions,
        RequestType.FLUSH: wire.regions,
        RequestType.SET_REGION_SYNC: wire.region_sync,
    }
    read = Counter()
    for request in requests(kernel):
        if request.type in shapes:
            shapes[RequestType(request.type)](request.data)
            read[request.type] += 1
        elif request.type != RequestType.CTR:
            assert request.data == b""
    assert set(read) == set(shapes)
    flushes = [request for request in requests(kernel) if request.type == RequestType.FLUSH]
    assert any(request.data for request in flushes if request.uuid == b"UUID-integrated")
    assert not any(request.data for request in flushes if request.uuid == b"UUID-plain")


@KERNELS
def test_only_the_reconnect_ctr_carries_its_nul(kernel: str) -> None:
    strings = [request.data for request in requests(kernel) if request.type == RequestType.CTR]
    assert Counter(strings) == {b"1024 disk /dev/ram2 256": 5, b"1024 disk /dev/ram2 256\0": 1}
    assert [is_reconnect(string) for string in strings] == [False] * 5 + [True]


@KERNELS
def test_the_fake_kernel_builds_the_very_same_bytes(kernel: str) -> None:
    for datagram, request in zip(recorded(kernel), requests(kernel), strict=True):
        built = fake_kernel.datagram(request.type, request.uuid, request.luid, request.data, seq=request.seq)
        # nlmsg_seq counts the connector's own messages; nobody reads it
        assert built[:8] + built[12:] == datagram[:8] + datagram[12:]
