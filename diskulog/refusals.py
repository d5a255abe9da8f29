# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a request is answered that cannot be done: the errno on the wire, or the least harmful answer, and a line.

Lives here: which error becomes which reply. Does not know how the request failed, other logs, or sockets.
"""

import logging
from errno import EINVAL, EIO, ESRCH

from diskulog import wire
from diskulog.complaints import Complaints
from diskulog.dirtylog import DirtyLog
from diskulog.errors import BadRequestError, DiskulogError, LogFailedError, RefusedError
from diskulog.wire import Request
from diskulog.wire import RequestType as _T

logger = logging.getLogger("diskulog.server")


def refusal(request: Request, error: DiskulogError, complain: Complaints, log: DirtyLog | None) -> bytearray:
    """Say why, and reply with an error where the kernel can take one."""
    name = wire.shown(request.uuid)
    if isinstance(error, RefusedError) or request.type == _T.CTR:
        logger.error("log %s: refused: %s", name, error)
    elif isinstance(error, BadRequestError):
        complain.say(f"bad {request.type}", "bad request of type %d: %s", request.type, error)
    elif isinstance(error, LogFailedError):
        complain.say(f"failed {name}", "log %s: FAILED: %s", name, error)
    if request.type in wire.MAY_FAIL:
        # -EAGAIN would come again for ever, and -ESRCH means that no daemon is there
        return wire.error_reply(request, EINVAL if error.errno == EINVAL else EIO)
    return least_harmful(request, log)


def least_harmful(request: Request, log: DirtyLog | None) -> bytearray:
    """Reply as protocol.md's table says, when nothing better is known."""
    return wire.fallback_reply(request, log.region_count if log is not None else None)


def unknown_log(request: Request) -> bytearray:
    """Reply about a log that is not known here."""
    # -ESRCH makes the kernel construct and resume the log, and ask again. Not so for these: dm only warns, and a
    # reconnection whose NUL CTR the last daemon answered would take it for "not in sync".
    if request.type in (_T.DTR, _T.PRESUSPEND, _T.POSTSUSPEND, _T.RESUME):
        return wire.reply(request)
    known = 1 <= request.type <= _T.IS_REMOTE_RECOVERING
    return wire.error_reply(request, ESRCH if known else EINVAL)
