# SPDX-License-Identifier: LGPL-2.1-or-later
"""The bytes on the wire: nlmsghdr + cn_msg + dm_ulog_request + payload, both ways.

Lives here: frames, request types, payload shapes, what an error reply carries. Does not know sockets or logs.
"""

import struct
from enum import IntEnum
from errno import EINVAL, EIO, ESRCH
from typing import Final, NamedTuple

from diskulog.errors import BadRequestError

# nlmsghdr, cn_msg, dm_ulog_request (linux/netlink.h, linux/connector.h, linux/dm-log-userspace.h); native byte order
FRAME = struct.Struct("=IHHIIIIIIHHQ129s3xIiIII")
_CN_FRAME = struct.Struct("=IHHIIIIIIHH")
NLMSGHDR_BYTES = 16
CN_HEADER_BYTES = 36  # nlmsghdr and cn_msg
REQUEST_BYTES = 160
FRAME_BYTES = CN_HEADER_BYTES + REQUEST_BYTES
MAX_REQUEST_BYTES = 512 + NLMSGHDR_BYTES  # DM_ULOG_PREALLOCED_SIZE counts cn_msg, dm_ulog_request and data
MAX_REGIONS = (512 - 20 - REQUEST_BYTES) // 8
NLMSG_DONE = 3
CN_IDX_DM = 7
CN_VAL_DM_USERSPACE_LOG = 1
VERSIONS = range(1, 4)
UUID_BYTES = 129
_TYPE_MASK = 0xFF
# of a size that no request has: an empty one would turn a FLUSH whose marks are lost into a success
_UNREADABLE_PAYLOAD: Final = b"?"

# where a request is patched to become its own reply
_NL_LENGTH = struct.Struct("=I")
_CN_LENGTH = struct.Struct("=H")
_CN_LENGTH_AT = 32
_ERROR = struct.Struct("=i")
_ERROR_AT = CN_HEADER_BYTES + 144
_DATA_SIZE_AT = CN_HEADER_BYTES + 156

_WHOSE = struct.Struct("=Q129s3xIi")
_U64 = struct.Struct("=Q")
_S64 = struct.Struct("=q")
_REGION_AND_STATE = struct.Struct("=Qq")
_STATE_AND_REGION = struct.Struct("=qQ")


class RequestType(IntEnum):
    """The DM_ULOG_* numbers without their prefix."""

    CTR = 1
    DTR = 2
    PRESUSPEND = 3
    POSTSUSPEND = 4
    RESUME = 5
    GET_REGION_SIZE = 6
    IS_CLEAN = 7
    IN_SYNC = 8
    FLUSH = 9
    MARK_REGION = 10
    CLEAR_REGION = 11
    GET_RESYNC_WORK = 12
    SET_REGION_SYNC = 13
    GET_SYNC_COUNT = 14
    STATUS_INFO = 15
    STATUS_TABLE = 16
    IS_REMOTE_RECOVERING = 17


_T = RequestType

# The kernel keeps an error reply's data_size as the capacity of the retry: an error carries zeros of the full size.
ERROR_PAYLOAD_BYTES: Final[dict[int, int]] = {
    _T.GET_REGION_SIZE: 8,
    _T.IS_CLEAN: 8,
    _T.IN_SYNC: 8,
    _T.GET_SYNC_COUNT: 8,
    _T.GET_RESYNC_WORK: 16,
    _T.IS_REMOTE_RECOVERING: 16,
    _T.STATUS_INFO: 64,
    _T.STATUS_TABLE: 64,
}

# What to answer when nothing better is known; an error to IN_SYNC other
# than -ESRCH corrupts silently, one to CLEAR aborts a flush, one to IS_REMOTE_RECOVERING requeues a write for ever.
FALLBACK_ERROR: Final = {
    _T.CTR: EINVAL,
    _T.GET_REGION_SIZE: EINVAL,
    _T.IN_SYNC: ESRCH,
    _T.IS_CLEAN: ESRCH,
    _T.FLUSH: EIO,
    _T.MARK_REGION: EIO,
    _T.STATUS_INFO: EIO,
    _T.STATUS_TABLE: EIO,
}

# Requests whose failure the kernel handles; any other gets the least harmful answer instead.
MAY_FAIL: Final = frozenset({_T.CTR, _T.RESUME, _T.GET_REGION_SIZE, _T.FLUSH, _T.MARK_REGION})


class Request(NamedTuple):
    """One request: ``uuid`` without its NULs, ``type`` with the reserved bits gone, ``head`` to build the reply on."""

    luid: int
    uuid: bytes
    version: int
    seq: int
    type: int
    data: bytes
    head: bytes


class Unreadable(NamedTuple):
    """A datagram of the kernel's connector too short for a request; ``seq`` is the connector's."""

    seq: int
    reason: str


def unframe(datagram: bytes | bytearray | memoryview) -> Request | Unreadable | None:
    """Take a datagram apart: a request, something to refuse, or None when it is not for us at all.

    The kernel never sends what ends as ``Unreadable``; its waiting caller is answered all the same.
    """
    size = len(datagram)
    if size < CN_HEADER_BYTES:
        return None
    nl_length, nl_type, _, _, _, idx, val, cn_seq, _, cn_length, _ = _CN_FRAME.unpack_from(datagram)
    if idx != CN_IDX_DM or val != CN_VAL_DM_USERSPACE_LOG or nl_type != NLMSG_DONE:
        return None
    if size < FRAME_BYTES or cn_length < REQUEST_BYTES:
        return Unreadable(cn_seq, f"{min(size - CN_HEADER_BYTES, cn_length)} bytes are no dm_ulog_request")
    fields = FRAME.unpack_from(datagram)
    luid, uuid, version, _, seq, request_type, data_size = fields[11:]
    end = FRAME_BYTES + data_size
    # a lying size: the request keeps its type, and is answered by it as one whose payload cannot be read
    readable = end <= min(size, nl_length, CN_HEADER_BYTES + cn_length)
    data = bytes(datagram[FRAME_BYTES:end]) if readable else _UNREADABLE_PAYLOAD
    return Request(
        luid,
        uuid.split(b"\0", 1)[0],
        version,
        seq,
        request_type & _TYPE_MASK,
        data,
        bytes(datagram[:FRAME_BYTES]),
    )


# a table, for a codec would be imported, from a file, when the first message is written
_SHOWN: Final = tuple(chr(byte) if byte in range(0x20, 0x7F) else f"\\x{byte:02x}" for byte in range(256))


def shown(uuid: bytes) -> str:
    """Return a uuid as messages show it: what is not printable ASCII as escapes, so that a line stays a line."""
    return "".join(map(_SHOWN.__getitem__, uuid))


def whose(luid: int, uuid: bytes, version: int) -> bytes:
    """Pack what tells the log in a plain request: its bytes from luid to error, which is 0."""
    return _WHOSE.pack(luid, uuid, version, 0)


def reply(request: Request, payload: bytes = b"", error: int = 0) -> bytearray:
    """Build the reply on the request's own head; ``error`` is a positive errno or 0.

    ``data_size`` is always the payload's length: the kernel copies as much without checking.
    """
    size = len(payload)
    frame = bytearray(request.head)
    _NL_LENGTH.pack_into(frame, 0, FRAME_BYTES + size)
    _CN_LENGTH.pack_into(frame, _CN_LENGTH_AT, REQUEST_BYTES + size)
    _ERROR.pack_into(frame, _ERROR_AT, -error)
    _NL_LENGTH.pack_into(frame, _DATA_SIZE_AT, size)
    frame += payload
    return frame


def error_reply(request: Request, error: int) -> bytearray:
    """Build an error reply with the zero payload of the full size that the kernel expects."""
    return reply(request, bytes(ERROR_PAYLOAD_BYTES.get(request.type, 0)), error)


def fallback_reply(request: Request, region_count: int | None = None) -> bytearray:
    """Answer after the table "when nothing better is known": the least harmful thing the kernel can be told."""
    known = _known(request.type)
    if known is _T.CTR and request.data.endswith(b"\0"):
        return reply(request)  # a reconnect that fails would come again for ever
    if known is _T.GET_RESYNC_WORK:
        return reply(request, resync_work(None))
    if known is _T.GET_SYNC_COUNT:
        return reply(request, u64(0))
    if known is _T.IS_REMOTE_RECOVERING:
        return reply(request, remote_recovering(max((region_count or 1) - 1, 0)))
    if known is None:
        return reply(request, b"", EINVAL)
    return error_reply(request, FALLBACK_ERROR.get(known, 0))


def bare_refusal(seq: int, error: int) -> bytes:
    """Refuse a request whose body cannot be read: a ``cn_msg`` without data, its ``ack`` is the error."""
    return _CN_FRAME.pack(CN_HEADER_BYTES, NLMSG_DONE, 0, seq, 0, CN_IDX_DM, CN_VAL_DM_USERSPACE_LOG, seq, error, 0, 0)


def _known(request_type: int) -> RequestType | None:
    return RequestType(request_type) if 1 <= request_type <= RequestType.IS_REMOTE_RECOVERING else None


def regions(data: bytes) -> tuple[int, ...]:
    """Unpack a list of regions (MARK, CLEAR, an integrated FLUSH).

    Raises:
        BadRequestError: when the size is no multiple of 8.
    """
    count, rest = divmod(len(data), 8)
    if rest:
        raise BadRequestError(f"{len(data)} bytes are no list of 64-bit regions")
    return struct.unpack(f"={count}Q", data)


def region(data: bytes) -> int:
    """Unpack one region (IS_CLEAN, IN_SYNC, IS_REMOTE_RECOVERING).

    Raises:
        BadRequestError: when the payload is not 8 bytes.
    """
    if len(data) != 8:
        raise BadRequestError(f"{len(data)} bytes are not one 64-bit region")
    return int(_U64.unpack(data)[0])


def region_sync(data: bytes) -> tuple[int, bool]:
    """Unpack SET_REGION_SYNC's region and state.

    Raises:
        BadRequestError: when the payload is not 16 bytes.
    """
    if len(data) != _REGION_AND_STATE.size:
        raise BadRequestError(f"{len(data)} bytes are not a region and its state")
    number, state = _REGION_AND_STATE.unpack(data)
    return number, state != 0


def u64(value: int) -> bytes:
    """Pack GET_REGION_SIZE's and GET_SYNC_COUNT's answer."""
    return _U64.pack(value)


ZERO: Final = _S64.pack(0)
ONE: Final = _S64.pack(1)


def flag(value: object) -> bytes:
    """Pack IS_CLEAN's and IN_SYNC's answer: exactly 0 or 1 (dm-region-hash.c tests ``r == 1``)."""
    return ONE if value else ZERO


def resync_work(work: int | None) -> bytes:
    """Pack GET_RESYNC_WORK's answer; None says that there is nothing to do."""
    return _STATE_AND_REGION.pack(0, 0) if work is None else _STATE_AND_REGION.pack(1, work)


def remote_recovering(in_sync_hint: int) -> bytes:
    """Pack IS_REMOTE_RECOVERING's answer: nobody else recovers on one host, so only the hint varies."""
    return _STATE_AND_REGION.pack(0, in_sync_hint)


def string(text: str) -> bytes:
    """Pack a device name or a status: NUL-terminated, and the NUL counts."""
    return text.encode("ascii") + b"\0"
