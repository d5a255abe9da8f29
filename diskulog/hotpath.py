# SPDX-License-Identifier: LGPL-2.1-or-later
"""The requests that a mirror's I/O waits for, answered in place: the datagram is patched and is its own reply.

Lives here: IN_SYNC, MARK, CLEAR, FLUSH and resync of a log that is live and sound, when no I/O is needed. Does not know
sockets, other requests, errors or a log's life: what is not plain is left as it came, for ``server``.
"""

import struct
from collections.abc import Callable, Container
from typing import Final

from diskulog.dirtylog import DirtyLog
from diskulog.wire import CN_IDX_DM, CN_VAL_DM_USERSPACE_LOG, FRAME_BYTES, MAX_REGIONS, NLMSG_DONE, VERSIONS
from diskulog.wire import RequestType as _T
from diskulog.world import Entry

# of wire.FRAME what must be looked at: the three lengths, who asks, whom, what
_HEAD: Final = struct.Struct("=IH10xII8xH2xQ129s3xIi4xII")
_DATA_END: Final = FRAME_BYTES + 8 * MAX_REGIONS
_CN_HEADER_BYTES: Final = 36
# where the same numbers lie in views of the frame as u32, u16
_NL_LENGTH_U32: Final = 0
_CN_LENGTH_U16: Final = 16
_DATA_SIZE_U32: Final = 48
_REGION_BYTES: Final = 8

NOT_HERE: Final = 0


class HotPath:
    """Answers what lies in ``buffer``, one request at a time. It answers as ``server`` would, or not at all."""

    def __init__(self, entries: dict[int, Entry], holding: Container[Entry], buffer: memoryview) -> None:
        """Take the table of logs, those whose held clears have a timer, and the buffer of requests."""
        self._entries = entries
        self._holding = holding
        self._buffer = buffer
        self._words = buffer[: _DATA_SIZE_U32 * 4 + 4].cast("I")
        self._halves = buffer[: _CN_LENGTH_U16 * 2 + 2].cast("H")
        self._regions = buffer[FRAME_BYTES:_DATA_END].cast("Q")
        self._table: dict[int, Callable[[Entry, DirtyLog, int], int]] = {
            _T.IN_SYNC: self._in_sync,
            _T.FLUSH: self._flush,
            _T.MARK_REGION: self._mark_region,
            _T.CLEAR_REGION: self._clear_region,
            _T.GET_RESYNC_WORK: self._get_resync_work,
            _T.SET_REGION_SYNC: self._set_region_sync,
            _T.IS_REMOTE_RECOVERING: self._is_remote_recovering,
        }

    def answer(self, size: int) -> int:
        """Answer the request of so many bytes in the buffer; return its reply's size there, or NOT_HERE."""
        if size < FRAME_BYTES:
            return NOT_HERE
        nl_length, nl_type, idx, val, cn_length, luid, uuid, version, error, kind, data_size = _HEAD.unpack_from(
            self._buffer
        )
        entry = self._entries.get(luid)
        if (
            entry is None
            or entry.busy
            or entry.wire_uuid != uuid
            or nl_length != size
            or cn_length != size - _CN_HEADER_BYTES
            or data_size != size - FRAME_BYTES
            or nl_type != NLMSG_DONE
            or idx != CN_IDX_DM
            or val != CN_VAL_DM_USERSPACE_LOG
            or version not in VERSIONS
            or error
        ):
            return NOT_HERE
        log = entry.log
        if log is None or not log.sound:
            return NOT_HERE
        handler = self._table.get(kind)
        if handler is None:
            return NOT_HERE
        try:
            return handler(entry, log, data_size)
        except Exception:  # the server meets it again, and tells
            return NOT_HERE

    # -- each leaves the request as it came, when it is not here: the server begins it anew ---------------------------

    def _in_sync(self, _: Entry, log: DirtyLog, data_size: int) -> int:
        if data_size != _REGION_BYTES:
            return NOT_HERE
        region = self._regions[0]
        if region >= log.region_count:
            return NOT_HERE
        self._regions[0] = log.store.in_sync[region]
        return FRAME_BYTES + _REGION_BYTES

    def _flush(self, _: Entry, log: DirtyLog, data_size: int) -> int:
        if log.marks.pending:
            return NOT_HERE
        if data_size:
            count, rest = divmod(data_size, _REGION_BYTES)
            if rest or count > MAX_REGIONS:
                return NOT_HERE
            clean, held, region_count = log.store.clean, log.clears.bits, log.region_count
            for region in self._regions[:count] if count > 1 else (self._regions[0],):
                if region >= region_count or clean[region]:
                    return NOT_HERE  # its mark must be made durable
                if held[region]:
                    log.clears.mark(region)
        return self._no_payload()

    def _mark_region(self, _: Entry, log: DirtyLog, data_size: int) -> int:
        regions = self._all_regions(log, data_size)
        if not regions:
            return NOT_HERE
        log.mark(regions)
        return self._no_payload()

    def _clear_region(self, entry: Entry, log: DirtyLog, data_size: int) -> int:
        if entry not in self._holding:  # the server winds up its timer
            return NOT_HERE
        regions = self._all_regions(log, data_size)
        if not regions:
            return NOT_HERE
        log.clear(regions)
        return self._no_payload()

    def _get_resync_work(self, _: Entry, log: DirtyLog, data_size: int) -> int:
        if data_size:
            return NOT_HERE
        region = log.resync_work()
        self._regions[0], self._regions[1] = (0, 0) if region is None else (1, region)
        return self._payload(2 * _REGION_BYTES)

    def _set_region_sync(self, _: Entry, log: DirtyLog, data_size: int) -> int:
        if data_size != 2 * _REGION_BYTES or not self._regions[1]:
            return NOT_HERE  # out of sync must be made durable
        log.set_in_sync(self._regions[0])
        return self._no_payload()

    def _is_remote_recovering(self, _: Entry, log: DirtyLog, data_size: int) -> int:
        if data_size != _REGION_BYTES:
            return NOT_HERE
        self._regions[0], self._regions[1] = 0, log.in_sync_hint()
        return self._payload(2 * _REGION_BYTES)

    def _all_regions(self, log: DirtyLog, data_size: int) -> list[int]:
        """List the regions of a request; none when they are not plain."""
        count, rest = divmod(data_size, _REGION_BYTES)
        if rest or count > MAX_REGIONS:
            return []
        regions = self._regions[:count].tolist()
        return regions if not regions or max(regions) < log.region_count else []

    def _no_payload(self) -> int:
        return self._payload(0)

    def _payload(self, length: int) -> int:
        size = FRAME_BYTES + length
        self._words[_NL_LENGTH_U32] = size
        self._halves[_CN_LENGTH_U16] = size - _CN_HEADER_BYTES
        self._words[_DATA_SIZE_U32] = length
        return size
