# SPDX-License-Identifier: LGPL-2.1-or-later
"""What each request asks of one log: payload in, payload out.

Lives here: the table of requests that do not change a log's life. Does not know other logs, replies or sockets.
"""

from collections.abc import Callable
from typing import Final

from diskulog import wire
from diskulog.dirtylog import DirtyLog, Phase
from diskulog.wire import RequestType as _T
from diskulog.work import Steps

Handler = Callable[[DirtyLog, bytes], bytes | Steps]


def _presuspend(log: DirtyLog, _: bytes) -> bytes:
    if log.phase is Phase.LIVE:
        log.phase = Phase.PRESUSPENDED
    return b""


def _get_region_size(log: DirtyLog, _: bytes) -> bytes:
    return wire.u64(log.args.region_size_sectors)


def _is_clean(log: DirtyLog, data: bytes) -> bytes:
    return wire.flag(log.is_clean(wire.region(data)))


def _in_sync(log: DirtyLog, data: bytes) -> bytes:
    return wire.flag(log.region_in_sync(wire.region(data)))


def _flush(log: DirtyLog, data: bytes) -> bytes | Steps:
    if data:  # integrated_flush: the marks travel with the flush
        log.mark(wire.regions(data))
    return log.flush()


def _mark_region(log: DirtyLog, data: bytes) -> bytes:
    log.mark(wire.regions(data))
    return b""


def _clear_region(log: DirtyLog, data: bytes) -> bytes:
    log.clear(wire.regions(data))
    return b""


def _get_resync_work(log: DirtyLog, _: bytes) -> bytes:
    return wire.resync_work(log.resync_work())


def _set_region_sync(log: DirtyLog, data: bytes) -> bytes | Steps:
    region, in_sync = wire.region_sync(data)
    if in_sync:
        log.set_in_sync(region)
        return b""
    return log.set_out_of_sync(region)


def _get_sync_count(log: DirtyLog, _: bytes) -> bytes:
    return wire.u64(log.in_sync_count())


def _status_info(log: DirtyLog, _: bytes) -> bytes:
    if log.args.log_type == "core":
        return wire.string("1 core")
    return wire.string(f"3 disk {_device_number(log)} {'D' if log.failed else 'A'}")


def _status_table(log: DirtyLog, _: bytes) -> bytes:
    args = log.args
    words = [args.type_word, _device_number(log) if args.log_type == "disk" else "", str(args.region_size_sectors)]
    words += [args.sync.value, "block_on_error" if args.block_on_error else ""]
    return wire.string(" ".join(word for word in words if word) + " ")


def _is_remote_recovering(log: DirtyLog, data: bytes) -> bytes:
    wire.region(data)
    return wire.remote_recovering(log.in_sync_hint())


def _device_number(log: DirtyLog) -> str:
    return getattr(log.store, "device_number", None) or "0:0"


HANDLERS: Final[dict[int, Handler]] = {
    _T.PRESUSPEND: _presuspend,
    _T.GET_REGION_SIZE: _get_region_size,
    _T.IS_CLEAN: _is_clean,
    _T.IN_SYNC: _in_sync,
    _T.FLUSH: _flush,
    _T.MARK_REGION: _mark_region,
    _T.CLEAR_REGION: _clear_region,
    _T.GET_RESYNC_WORK: _get_resync_work,
    _T.SET_REGION_SYNC: _set_region_sync,
    _T.GET_SYNC_COUNT: _get_sync_count,
    _T.STATUS_INFO: _status_info,
    _T.STATUS_TABLE: _status_table,
    _T.IS_REMOTE_RECOVERING: _is_remote_recovering,
}
