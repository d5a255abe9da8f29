# SPDX-License-Identifier: LGPL-2.1-or-later
"""The bytes on the wire, against layouts that the tests keep for themselves (``fake_kernel``)."""

import errno
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from diskulog import wire
from diskulog.errors import BadRequestError
from diskulog.wire import Request, Unreadable
from tests import fake_kernel as kernel
from tests.fake_kernel import FRAME, HEADERS, Answer, datagram, parse_reply

UUID = b"LVM-mirror-1"
LUID = 0xFFFF888012345678


def u64(*values: int) -> bytes:
    return struct.pack(f"={len(values)}Q", *values)


# (type, request data, decoder or None, decoded, payload of a good reply, what packs it)
CASES = {
    "ctr": (kernel.CTR, b"8192 disk /dev/log 1024", None, None, b"253:2\0", lambda: wire.string("253:2")),
    "dtr": (kernel.DTR, b"", None, None, b"", None),
    "presuspend": (kernel.PRESUSPEND, b"", None, None, b"", None),
    "postsuspend": (kernel.POSTSUSPEND, b"", None, None, b"", None),
    "resume": (kernel.RESUME, b"", None, None, b"", None),
    "region size": (kernel.GET_REGION_SIZE, b"", None, None, u64(1024), lambda: wire.u64(1024)),
    "is clean": (kernel.IS_CLEAN, u64(7), wire.region, 7, struct.pack("=q", 1), lambda: wire.flag(True)),
    "in sync": (kernel.IN_SYNC, u64(2**63), wire.region, 2**63, struct.pack("=q", 0), lambda: wire.flag(0)),
    "flush": (kernel.FLUSH, b"", wire.regions, (), b"", None),
    "integrated flush": (kernel.FLUSH, u64(3, 4), wire.regions, (3, 4), b"", None),
    "mark": (kernel.MARK, u64(9), wire.regions, (9,), b"", None),
    "clear": (kernel.CLEAR, u64(*range(32)), wire.regions, tuple(range(32)), b"", None),
    "work": (kernel.GET_RESYNC_WORK, b"", None, None, struct.pack("=qQ", 1, 5), lambda: wire.resync_work(5)),
    "work at 0": (kernel.GET_RESYNC_WORK, b"", None, None, struct.pack("=qQ", 1, 0), lambda: wire.resync_work(0)),
    "no work": (kernel.GET_RESYNC_WORK, b"", None, None, struct.pack("=qQ", 0, 0), lambda: wire.resync_work(None)),
    "recovered": (kernel.SET_REGION_SYNC, struct.pack("=Qq", 6, 1), wire.region_sync, (6, True), b"", None),
    "leg failed": (kernel.SET_REGION_SYNC, struct.pack("=Qq", 6, 0), wire.region_sync, (6, False), b"", None),
    "sync count": (kernel.GET_SYNC_COUNT, b"", None, None, u64(2**32), lambda: wire.u64(2**32)),
    "status": (kernel.STATUS_INFO, b"", None, None, b"3 disk 253:2 A\0", lambda: wire.string("3 disk 253:2 A")),
    "table": (kernel.STATUS_TABLE, b"", None, None, b"disk 253:2 1024 \0", lambda: wire.string("disk 253:2 1024 ")),
    "hint": (
        kernel.IS_REMOTE_RECOVERING,
        u64(1),
        wire.region,
        1,
        struct.pack("=qQ", 0, 15),
        lambda: wire.remote_recovering(15),
    ),
}


def case(name: str) -> tuple:
    return CASES[name]


def unframed(message: bytes) -> Request:
    request = wire.unframe(message)
    assert isinstance(request, Request)
    return request


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_request_is_read_as_the_kernel_wrote_it(name, version):
    request_type, data, decode, decoded, _, _ = case(name)
    request = unframed(datagram(request_type, UUID, LUID, data, seq=77, version=version))
    assert (request.luid, request.uuid, request.version, request.seq) == (LUID, UUID, version, 77)
    assert (request.type, request.data) == (request_type, data)
    if decode is not None:
        assert decode(request.data) == decoded


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_reply_is_read_by_the_kernel_as_it_was_meant(name, version):
    request_type, data, _, _, payload, pack = case(name)
    packed = pack() if pack else b""
    assert packed == payload
    request = unframed(datagram(request_type, UUID, LUID, data, seq=77, version=version))
    assert parse_reply(wire.reply(request, packed)) == Answer(77, request_type, LUID, UUID, version, 0, payload)


def test_a_reply_is_these_bytes():
    # the fields in order: nlmsghdr, cn_msg, dm_ulog_request; written out once, so that both sides cannot be wrong alike
    request = unframed(datagram(kernel.IN_SYNC, b"u", 0x1122, u64(5), seq=9))
    expected = (
        struct.pack("=IHHII", 204, 3, 0, 9, 0)
        + struct.pack("=IIIIHH", 7, 1, 9, 0, 168, 0)
        + struct.pack("=Q", 0x1122)
        + b"u".ljust(132, b"\0")
        + struct.pack("=IiIII", 3, -errno.EIO, 9, kernel.IN_SYNC, 8)
        + bytes(8)
    )
    assert bytes(wire.reply(request, bytes(8), errno.EIO)) == expected
    assert len(expected) == FRAME + 8


def test_request_types_have_the_header_s_numbers():
    assert [int(kind) for kind in wire.RequestType] == list(kernel.ALL_TYPES)
    for name in ("CTR", "IN_SYNC", "FLUSH", "GET_RESYNC_WORK", "SET_REGION_SYNC", "IS_REMOTE_RECOVERING"):
        assert wire.RequestType[name] == getattr(kernel, name)


def test_limits_are_the_kernel_s():
    assert wire.FRAME_BYTES == FRAME == 196
    assert wire.MAX_REGIONS == 41
    assert wire.MAX_REQUEST_BYTES == 528


@pytest.mark.parametrize("high", [0x100, 0xFFFFFF00, 0x80000000])
def test_reserved_bits_of_the_type_are_ignored_and_sent_back(high):
    request = unframed(datagram(high | kernel.IN_SYNC, UUID, LUID, u64(1)))
    assert request.type == kernel.IN_SYNC
    assert parse_reply(wire.reply(request, wire.ONE)).type == high | kernel.IN_SYNC


def test_a_uuid_may_fill_all_128_characters():
    request = unframed(datagram(kernel.FLUSH, b"u" * 128, LUID))
    assert request.uuid == b"u" * 128
    assert parse_reply(wire.reply(request)).uuid == b"u" * 128


def test_the_padding_of_netlink_is_no_part_of_the_string():
    for length in range(1, 9):
        text = b"x" * length
        request = unframed(datagram(kernel.CTR, UUID, LUID, text))
        assert request.data == text


def test_a_request_can_be_read_from_any_buffer():
    message = datagram(kernel.MARK, UUID, LUID, u64(1, 2))
    for buffer in (message, bytearray(message), memoryview(bytearray(message))):
        assert unframed(buffer).data == u64(1, 2)


@pytest.mark.parametrize("size", range(FRAME + 17))
def test_every_truncation_is_refused_or_answered_by_type(size):
    message = datagram(kernel.MARK, UUID, LUID, u64(1, 2), seq=5)
    assert len(message) == FRAME + 16
    got = wire.unframe(message[:size])
    if size < HEADERS:
        assert got is None
    elif size < FRAME:
        assert isinstance(got, Unreadable)
        assert got.seq == 5
    elif size < FRAME + 16:
        assert isinstance(got, Request)
        assert got.type == kernel.MARK
        with pytest.raises(BadRequestError):
            wire.regions(got.data)
    else:
        assert isinstance(got, Request)
        assert wire.regions(got.data) == (1, 2)


def with_data_size(data: bytes, claimed: int, request_type: int = kernel.FLUSH) -> bytes:
    message = bytearray(datagram(request_type, UUID, LUID, data))
    struct.pack_into("=I", message, FRAME - 4, claimed)
    return bytes(message)


@pytest.mark.parametrize("claimed", [9, 16, 512, 2**31, 2**32 - 1])
def test_a_data_size_beyond_the_datagram_is_read_as_no_payload_that_anything_takes(claimed):
    # an empty one would be a FLUSH without marks, whose success would lose them
    request = unframed(with_data_size(u64(1), claimed))
    for decode in (wire.regions, wire.region, wire.region_sync):
        with pytest.raises(BadRequestError):
            decode(request.data)
    assert request.data
    assert not request.data.endswith(b"\0")


def test_a_data_size_below_the_datagram_s_cuts_the_payload():
    assert wire.regions(unframed(with_data_size(u64(1, 2), 8)).data) == (1,)


@pytest.mark.parametrize(
    ("offset", "code", "value"),
    [(16, "=I", 6), (16, "=I", 0), (20, "=I", 2), (4, "=H", 1), (4, "=H", 2)],
    ids=["idx", "idx 0", "val", "NOOP", "ERROR"],
)
def test_a_message_of_another_connector_or_netlink_s_own_is_none(offset, code, value):
    message = bytearray(datagram(kernel.FLUSH, UUID, LUID))
    struct.pack_into(code, message, offset, value)
    assert wire.unframe(message) is None


@pytest.mark.parametrize("length", [0, 1, 159])
def test_a_cn_msg_too_short_for_a_request_is_unreadable(length):
    message = bytearray(datagram(kernel.FLUSH, UUID, LUID, seq=8))
    struct.pack_into("=H", message, 32, length)
    got = wire.unframe(message)
    assert isinstance(got, Unreadable)
    assert got.seq == 8


@given(st.binary(max_size=600))
def test_noise_is_never_an_exception(noise):
    assert wire.unframe(noise) is None or isinstance(wire.unframe(noise), Request | Unreadable)


@given(
    st.binary(max_size=316),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**16 - 1),
    st.integers(0, 2**32 - 1),
)
@example(b"", 1, 3, 0, 160, FRAME)
def test_a_lying_header_is_never_an_exception_and_its_reply_is_well_formed(
    data, request_type, version, data_size, cn_length, nl_length
):
    message = bytearray(datagram(1, UUID, LUID, data, seq=3, version=version))
    struct.pack_into("=I", message, FRAME - 8, request_type)
    struct.pack_into("=I", message, FRAME - 4, data_size)
    struct.pack_into("=H", message, 32, cn_length)
    struct.pack_into("=I", message, 0, nl_length)
    got = wire.unframe(message)
    assert isinstance(got, Request | Unreadable)
    if isinstance(got, Request):
        assert len(got.data) <= max(len(data) + 3, 1)
        for reply in (wire.reply(got), wire.error_reply(got, errno.EIO), wire.fallback_reply(got, 4)):
            assert parse_reply(reply).seq == 3


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.lists(st.integers(0, 2**64 - 1), max_size=39))
def test_what_goes_in_comes_out(luid, seq, regions):
    request = unframed(datagram(kernel.CLEAR, UUID, luid, u64(*regions), seq=seq))
    assert (request.luid, request.seq, wire.regions(request.data)) == (luid, seq, tuple(regions))
    answer = parse_reply(wire.reply(request))
    assert (answer.luid, answer.seq) == (luid, seq)


@pytest.mark.parametrize("size", [1, 7, 9, 15])
def test_a_list_of_regions_is_whole(size):
    with pytest.raises(BadRequestError, match=f"{size} bytes"):
        wire.regions(bytes(size))


@pytest.mark.parametrize("size", [0, 7, 9, 16])
def test_one_region_is_eight_bytes(size):
    with pytest.raises(BadRequestError):
        wire.region(bytes(size))


@pytest.mark.parametrize("size", [0, 8, 15, 17])
def test_a_region_s_state_is_sixteen_bytes(size):
    with pytest.raises(BadRequestError):
        wire.region_sync(bytes(size))


@pytest.mark.parametrize("state", [-1, 2, 2**40])
def test_any_state_but_zero_is_in_sync(state):
    assert wire.region_sync(struct.pack("=Qq", 1, state)) == (1, True)


@pytest.mark.parametrize("value", [True, 1, 2, "x", 0, False, None])
def test_a_flag_is_exactly_zero_or_one(value):
    assert struct.unpack("=q", wire.flag(value)) == (1 if value else 0,)


# -- errors --------------------------------------------------------------------------------------------------------

# the kernel keeps an error reply's size as the capacity of the retry
ERROR_SIZES = {6: 8, 7: 8, 8: 8, 14: 8, 12: 16, 17: 16, 15: 64, 16: 64}


@pytest.mark.parametrize("request_type", [*kernel.ALL_TYPES, 0, 18, 255])
def test_an_error_carries_zeros_of_the_full_size(request_type):
    request = unframed(datagram(request_type, UUID, LUID, seq=4))
    answer = parse_reply(wire.error_reply(request, errno.ESRCH))
    assert answer.error == -errno.ESRCH
    assert answer.data == bytes(ERROR_SIZES.get(request_type, 0))


FALLBACKS = {
    kernel.CTR: (-errno.EINVAL, b""),
    kernel.DTR: (0, b""),
    kernel.PRESUSPEND: (0, b""),
    kernel.POSTSUSPEND: (0, b""),
    kernel.RESUME: (0, b""),
    kernel.GET_REGION_SIZE: (-errno.EINVAL, bytes(8)),
    kernel.IS_CLEAN: (-errno.ESRCH, bytes(8)),
    kernel.IN_SYNC: (-errno.ESRCH, bytes(8)),
    kernel.FLUSH: (-errno.EIO, b""),
    kernel.MARK: (-errno.EIO, b""),
    kernel.CLEAR: (0, b""),
    kernel.GET_RESYNC_WORK: (0, struct.pack("=qQ", 0, 0)),
    kernel.SET_REGION_SYNC: (0, b""),
    kernel.GET_SYNC_COUNT: (0, u64(0)),
    kernel.STATUS_INFO: (-errno.EIO, bytes(64)),
    kernel.STATUS_TABLE: (-errno.EIO, bytes(64)),
    kernel.IS_REMOTE_RECOVERING: (0, struct.pack("=qQ", 0, 9)),
    0: (-errno.EINVAL, b""),
    18: (-errno.EINVAL, b""),
    255: (-errno.EINVAL, b""),
}


@pytest.mark.parametrize("request_type", FALLBACKS)
def test_the_least_harmful_answer_is_the_protocol_s(request_type):
    request = unframed(datagram(request_type, UUID, LUID))
    answer = parse_reply(wire.fallback_reply(request, 10))
    assert (answer.error, answer.data) == FALLBACKS[request_type]


def test_the_least_harmful_answer_to_a_reconnect_is_success():
    answer = parse_reply(wire.fallback_reply(unframed(datagram(kernel.CTR, UUID, LUID, b"x\0"))))
    assert (answer.error, answer.data) == (0, b"")


@pytest.mark.parametrize(("count", "hint"), [(None, 0), (0, 0), (1, 0), (2**32 - 1, 2**32 - 2)])
def test_the_least_harmful_hint_is_the_last_region(count, hint):
    request = unframed(datagram(kernel.IS_REMOTE_RECOVERING, UUID, LUID, u64(0)))
    assert parse_reply(wire.fallback_reply(request, count)).data == struct.pack("=qQ", 0, hint)


def test_a_bare_refusal_has_no_body_and_is_matched_by_the_connector_s_seq():
    answer = parse_reply(wire.bare_refusal(2**32 - 1, errno.EINVAL))
    assert answer == Answer(2**32 - 1, 0, 0, b"", 0, -errno.EINVAL, b"")


def test_a_uuid_is_shown_whole_and_in_one_line():
    lvm = b"LVM-" + b"x7Y2" * 16
    assert wire.shown(lvm) == lvm.decode()
    assert wire.shown(b"a\nlog b: FAILED\x1b[31m\xff\0") == r"a\x0alog b: FAILED\x1b[31m\xff\x00"
