# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the kernel needs of an answer.

Lives here: who waits for one, and what must hold of it. Does not know who made it.
"""

import errno
import struct
from collections.abc import Hashable

from diskulog import wire
from tests import fake_kernel as kernel

_SIZES = {  # of the payload of a success and of an error; None: text, which ends with a NUL
    **dict.fromkeys((kernel.GET_REGION_SIZE, kernel.IS_CLEAN, kernel.IN_SYNC, kernel.GET_SYNC_COUNT), (8, 8)),
    **dict.fromkeys((kernel.GET_RESYNC_WORK, kernel.IS_REMOTE_RECOVERING), (16, 16)),
    **dict.fromkeys((kernel.STATUS_INFO, kernel.STATUS_TABLE), (None, 64)),
    kernel.CTR: (None, 0),
}


def awaited(datagram: bytes) -> int | None:
    """The seq under which the kernel waits for an answer to a datagram; None when nobody does."""
    if len(datagram) < kernel.HEADERS:
        return None
    idx, val, seq, _, length, _ = kernel.CN_MSG.unpack_from(datagram, kernel.NLMSGHDR.size)
    if (kernel.NLMSGHDR.unpack_from(datagram)[1], idx, val) != (3, 7, 1):
        return None
    whole = len(datagram) >= kernel.FRAME and length >= kernel.ULOG.size
    return kernel.ULOG.unpack_from(datagram, kernel.HEADERS)[4] if whole else seq


def check_reply(datagram: bytes, reply: bytes) -> Hashable:
    """Insist on what the kernel needs of the reply to a datagram; return what of it is worth telling apart."""
    answer = kernel.parse_reply(reply)
    if len(reply) == kernel.HEADERS:
        assert answer.error == -errno.EINVAL, f"a bare refusal with error {answer.error}"
        return "refused"
    assert reply[36:180] == datagram[36:180], "luid, uuid or version are not the request's"
    assert reply[184:192] == datagram[184:192], "seq or type are not the request's"
    kind, size = answer.type & 0xFF, len(answer.data)
    wanted = _SIZES.get(kind, (0, 0))[answer.error != 0]
    assert wanted is None or size == wanted, f"type {kind}: {size} bytes beside error {answer.error}, not {wanted}"
    assert answer.error in (0, -errno.EINVAL, -errno.EIO, -errno.ESRCH), f"type {kind}: error {answer.error}"
    if kind == kernel.CTR:
        assert answer.error != -errno.ESRCH, "a first CTR is never answered ESRCH"
        string = wire.unframe(datagram).data
        assert not string.endswith(b"\0") or (answer.error, size) == (0, 0), "a reconnection must succeed, empty"
        assert size <= kernel.DM_NAME_LEN, "the device's name is too long"
    if wanted is None and size:
        assert answer.data.endswith(b"\0"), f"type {kind}: text without its NUL"
    if kind in (kernel.IS_CLEAN, kernel.IN_SYNC):
        assert answer.error in (0, -errno.ESRCH), f"type {kind}: error {answer.error} corrupts silently"
        assert answer.data in (bytes(8), struct.pack("=q", 1)), f"type {kind}: neither 0 nor 1"
    return kind, answer.error
