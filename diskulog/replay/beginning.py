# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which log of a trace is replayed, and what was true of it before the trace began.

Lives here: the first reading of a trace, and what must be played first when it begins in the middle of a log's life.
Does not know the server.
"""

from dataclasses import dataclass, field, replace
from typing import Final

from diskulog import ctr, ondisk, wire
from diskulog.errors import BadLogError
from diskulog.exits import UsageError
from diskulog.ondisk import Extension, State
from diskulog.printable import printable
from diskulog.trace.reader import Trace
from diskulog.trace.record import Heard, text
from diskulog.wire import Request
from diskulog.wire import RequestType as _T

MAX_LOGS: Final = 1024
MAX_LUIDS: Final = 16384
_SHOWN: Final = 8
# asked first of a table that was loaded before the trace and is resumed in it
_OF_A_NEW_TABLE: Final = frozenset({_T.GET_REGION_SIZE, _T.RESUME})
_FIRST_CTR: Final = -1  # in the place of a type


@dataclass(slots=True)
class Log:
    """One uuid of a trace: how many requests, and the type of the first one of each luid, in order."""

    requests: int = 0
    luids: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Beginning:
    """What is played before the trace: a log that is live, and tables that were loaded."""

    live: int | None
    loaded: tuple[int, ...]
    string: bytes

    @property
    def in_the_middle(self) -> bool:
        """Whether the trace does not show how the log came to life."""
        return self.live is not None or bool(self.loaded)


def survey(trace: Trace) -> dict[bytes, Log]:
    """Read a trace once: its logs.

    Raises:
        BadLogError: it speaks of more logs or tables than any host has.
    """
    logs: dict[bytes, Log] = {}
    for record in trace.records():
        request = wire.unframe(record.datagram) if isinstance(record, Heard) else None
        if isinstance(request, Request):
            log = logs.setdefault(request.uuid, Log())
            log.requests += 1
            log.luids.setdefault(request.luid, _kind(request))
            if len(logs) > MAX_LOGS or len(log.luids) > MAX_LUIDS:
                raise BadLogError(f"{trace.name} speaks of more logs or tables than a host has; is it damaged?")
    return logs


def _kind(request: Request) -> int:
    first = request.type == _T.CTR and not ctr.is_reconnect(request.data)
    return _FIRST_CTR if first else request.type


def choose(logs: dict[bytes, Log], wanted: str | None, head: bytes) -> bytes:
    """Choose the log to replay: the one asked for, else the image's own, else the only one.

    Raises:
        UsageError: there is no such log, or nobody says which.
    """
    extension = ondisk.unpack_extension(head)
    for name in (wanted, extension.uuid if extension else None):
        uuid = None if name is None else name.encode("utf-8", "surrogateescape")
        if uuid is not None and uuid in logs:
            return uuid
        if wanted is not None:
            raise UsageError(f"replay: the trace has no log {printable(wanted)!r}; {_names(logs)}")
    if len(logs) == 1:
        return next(iter(logs))
    raise UsageError(f"replay: {_names(logs)}; choose one with --uuid" if logs else "replay: the trace has no requests")


def _names(logs: dict[bytes, Log]) -> str:
    shown = [printable(text(uuid)) for uuid in list(logs)[:_SHOWN]]
    more = f" and {len(logs) - _SHOWN} more" if len(logs) > _SHOWN else ""
    return f"it has {', '.join(shown)}{more}"


def beginning(log: Log, head: bytes, boot_id: bytes) -> Beginning:
    """Say what must be played first.

    The luid that the image names as live was live; if it names none, the first one is taken for it whose first request
    is not what a table is asked that was just loaded.

    Raises:
        BadLogError: the trace begins in the middle, and the image does not say what the log was constructed with.
    """
    late = {luid: kind for luid, kind in log.luids.items() if kind not in (_FIRST_CTR, _T.DTR)}
    if not late:
        return Beginning(None, (), b"")
    extension = _sound_extension(head)
    named = [luid for luid in late if ondisk.live_token(boot_id, luid) == extension.live_token]
    running = [luid for luid, kind in late.items() if kind not in _OF_A_NEW_TABLE]
    live = next(iter(named + running), None)
    # a reconnection of one that is not live constructs it itself
    loaded = tuple(luid for luid, kind in late.items() if luid != live and kind != _T.CTR)
    length = extension.target_length_sectors or extension.region_count * extension.region_size_sectors
    return Beginning(live, loaded, f"{length} disk 0:0 {extension.region_size_sectors}".encode())


def _sound_extension(head: bytes) -> Extension:
    extension = ondisk.unpack_extension(head)
    if extension is None or ondisk.incompatibility(extension) or not extension.region_size_sectors:
        raise BadLogError(
            "the trace begins in the middle of the log's life (no CTR), and the image does not say how the log was "
            "constructed; name an image that diskulog wrote, or a trace from the mirror's creation on"
        )
    return extension


def opened_by(head: bytes, boot_id: bytes, luid: int) -> bytes:
    """Return the extension's sector as it is while this luid has the log open in this boot."""
    extension = _sound_extension(head)
    token = ondisk.live_token(boot_id, luid)
    open_now = replace(extension, state=State.OPEN, boot_id=boot_id, live_token=token, clean_crc32=0, sync_crc32=0)
    return open_now.pack()
