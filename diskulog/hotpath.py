# SPDX-License-Identifier: LGPL-2.1-or-later
"""The requests that a mirror's I/O waits for, answered in place: the datagram is patched and is its own reply.

Lives here: IN_SYNC, MARK, CLEAR, FLUSH and resync of a log that is live and sound, when no I/O is needed. Does not know
sockets, other requests, errors or a log's life: what is not plain is left as it came, for ``server``.
"""

import struct
from collections.abc import Callable, Container
from typing import Final, NamedTuple

from diskulog import figures
from diskulog.dirtylog import DirtyLog
from diskulog.wire import CN_IDX_DM, CN_VAL_DM_USERSPACE_LOG, FRAME_BYTES, MAX_REGIONS, NLMSG_DONE
from diskulog.wire import RequestType as _T
from diskulog.world import Entry

# The pieces of wire.FRAME that are compared as they lie there, without making numbers of them: nlmsg_len to
# nlmsg_flags; idx and val; cn_msg.len and flags; luid to error; request_type and data_size.
_PIECES: Final = struct.Struct("=8s8x8s8x4s148s4x8s")
_IDS: Final = struct.pack("=II", CN_IDX_DM, CN_VAL_DM_USERSPACE_LOG)
# where the same numbers lie in views of the frame as u32, u16
_NL_LENGTH_U32: Final = 0
_CN_LENGTH_U16: Final = 16
_DATA_SIZE_U32: Final = 48
_CN_HEADER_BYTES: Final = 36
_REGION_BYTES: Final = 8

Handler = Callable[[Entry, DirtyLog, int], memoryview | None]


class _Shape(NamedTuple):
    """What a plain request of one type and length looks like, and who answers it."""

    size: int
    nl_header: bytes
    cn_length: bytes
    handler: Handler
    numbers: int  # of 64 bits, in its payload
    kind: int
    counts: int  # the word of the log's figures that counts its numbers; 0: none does


class HotPath:
    """Answers what lies in ``buffer``, one request at a time. It answers as ``server`` would, or not at all.

    Each line here is passed for each read of a mirror, mostly with cold caches, so that less code counts for more than
    fast code: a request is known again by its bytes.
    """

    def __init__(self, known: dict[bytes, Entry], holding: Container[Entry], buffer: memoryview) -> None:
        """Take the logs by their bytes in a request, those whose clears have a timer, and the buffer of requests."""
        self._known = known
        self._holding = holding
        self._buffer = buffer
        self._words = buffer[: _DATA_SIZE_U32 * 4 + 4].cast("I")
        self._halves = buffer[: _CN_LENGTH_U16 * 2 + 2].cast("H")
        self._regions = buffer[FRAME_BYTES : FRAME_BYTES + 8 * MAX_REGIONS].cast("Q")
        self._replies = [buffer[: FRAME_BYTES + 8 * count] for count in range(3)]
        lengths = range(1, MAX_REGIONS + 1)
        table: list[tuple[_T, int, Handler]] = [
            (_T.IN_SYNC, 1, self._in_sync),
            (_T.FLUSH, 0, self._flush),
            *((_T.FLUSH, count, self._flush) for count in lengths),
            *((_T.MARK_REGION, count, self._mark_region) for count in lengths),
            *((_T.CLEAR_REGION, count, self._clear_region) for count in lengths),
            (_T.GET_RESYNC_WORK, 0, self._get_resync_work),
            (_T.SET_REGION_SYNC, 2, self._set_region_sync),
            (_T.IS_REMOTE_RECOVERING, 1, self._is_remote_recovering),
        ]
        self._shapes: dict[bytes, _Shape] = {}
        for kind, count, handler in table:
            length = count * _REGION_BYTES
            size = FRAME_BYTES + length
            headers = struct.pack("=IHH", size, NLMSG_DONE, 0), struct.pack("=HH", size - _CN_HEADER_BYTES, 0)
            counts = figures.REGIONS_COUNTED.get(kind) if count else None
            shape = _Shape(size, *headers, handler, count, int(kind), counts or 0)
            self._shapes[struct.pack("=II", kind, length)] = shape

    def answer(self, size: int) -> memoryview | None:
        """Answer the request of so many bytes in the buffer; return its reply there, or None: then it is as it came."""
        nl_header, ids, cn_length, whose, what = _PIECES.unpack_from(self._buffer)
        entry = self._known.get(whose)
        shape = self._shapes.get(what)
        if entry is None or shape is None or entry.busy:
            return None
        log = entry.log
        if log is None or not log.sound:
            return None
        plain_size, plain_header, plain_length, handler, count, kind, counts = shape
        if size != plain_size or nl_header != plain_header or cn_length != plain_length or ids != _IDS:
            return None
        try:
            reply = handler(entry, log, count)
            if reply is not None:
                words = log.words
                words[kind] += 1
                if counts:
                    words[counts] += count
            return reply
        except Exception:  # the server meets it again, and tells
            return None

    # -- each leaves the request as it came, when it is not here: the server begins it anew ---------------------------

    def _in_sync(self, _: Entry, log: DirtyLog, count: int) -> memoryview | None:
        regions = self._regions
        region = regions[0]
        if region >= log.region_count:
            return None
        regions[0] = log.store.in_sync[region]
        return self._replies[1]

    def _flush(self, _: Entry, log: DirtyLog, count: int) -> memoryview | None:
        if log.marks.pending:
            return None
        if count:
            clean, held, region_count = log.store.clean, log.clears.bits, log.region_count
            written_again = []
            for region in self._regions[:count]:
                if region >= region_count or clean[region]:
                    return None  # its mark must be made durable
                if held[region]:
                    written_again.append(region)
            for region in written_again:
                log.clears.mark(region)
        return self._payload(0)

    def _mark_region(self, _: Entry, log: DirtyLog, count: int) -> memoryview | None:
        log.mark(self._regions[:count].tolist())
        return self._payload(0)

    def _clear_region(self, entry: Entry, log: DirtyLog, count: int) -> memoryview | None:
        if entry not in self._holding:  # the server winds up its timer
            return None
        regions = self._regions[:count].tolist()
        if max(regions) >= log.region_count:
            return None
        log.clear(regions)
        return self._payload(0)

    def _get_resync_work(self, _: Entry, log: DirtyLog, count: int) -> memoryview | None:
        region = log.resync_work()
        self._regions[0], self._regions[1] = (0, 0) if region is None else (1, region)
        return self._payload(2)

    def _set_region_sync(self, _: Entry, log: DirtyLog, count: int) -> memoryview | None:
        region, in_sync = self._regions[:2]
        if not in_sync:
            return None  # it must be made durable
        log.set_in_sync(region)
        return self._payload(0)

    def _is_remote_recovering(self, _: Entry, log: DirtyLog, count: int) -> memoryview | None:
        self._regions[0], self._regions[1] = 0, log.in_sync_hint()
        return self._payload(2)

    def _payload(self, count: int) -> memoryview:
        size = FRAME_BYTES + count * _REGION_BYTES
        self._words[_NL_LENGTH_U32] = size
        self._halves[_CN_LENGTH_U16] = size - _CN_HEADER_BYTES
        self._words[_DATA_SIZE_U32] = count * _REGION_BYTES
        return self._replies[count]
