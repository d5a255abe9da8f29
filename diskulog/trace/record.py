# SPDX-License-Identifier: LGPL-2.1-or-later
"""The lines of a trace: what was heard, when, and what was lost.

Lives here: records to lines and back, and the bytes of a request again. Does not know files or sockets.

A trace is JSON, a line each, only ever appended to. The first line is the header, with the version of this format.
``at`` is in seconds since the header's ``start`` (seconds since 1970), and never falls. A request has the fields of its
``dm_ulog_request``, the payload as hex; what could not be built again from these is kept whole, as ``raw``.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple

from diskulog import wire
from diskulog.wire import Request, RequestType

VERSION: Final = 1
MAX_LINE_BYTES: Final = 16384
MAX_AT_SECONDS: Final = 1e9
_MAGIC: Final = "diskulog_trace"
_PLAIN_VERSION: Final = 3
_NL_SEQ: Final = slice(8, 12)  # counts the connector's own messages; nobody reads it


@dataclass(frozen=True, slots=True)
class Header:
    """Whose trace it is; ``uuid`` is the only log that was listened to, None when it was all of them."""

    boot_id: bytes
    host: str
    kernel: str
    start_seconds: float
    uuid: str | None = None
    ring: int | None = None  # only so many requests were kept, the last ones


class Heard(NamedTuple):
    """A datagram of the kernel."""

    at_seconds: float
    datagram: bytes


class Lost(NamedTuple):
    """Requests that did not fit the tracer's buffer; ``requests`` is None when nobody knows how many."""

    at_seconds: float
    requests: int | None


class End(NamedTuple):
    """The trace was ended in order; a trace without this was cut off, or is still being written."""

    at_seconds: float
    requests: int
    lost: int


Record = Heard | Lost | End


def text(uuid: bytes) -> str:
    """Return a uuid as text that gives back its bytes."""
    return uuid.decode("utf-8", "surrogateescape")


# -- to lines ------------------------------------------------------------------------------------------------------


def header_line(header: Header) -> str:
    """Return the first line."""
    return _line(
        {
            _MAGIC: VERSION,
            "boot_id": header.boot_id.hex(),
            "host": header.host,
            "kernel": header.kernel,
            "start": round(header.start_seconds, 6),
            "uuid": header.uuid,
            "ring": header.ring,
        }
    )


def line(record: Record) -> str:
    """Return the line of a record."""
    at = round(record.at_seconds, 6)
    if isinstance(record, Heard):
        return _heard_line(at, record.datagram)
    if isinstance(record, Lost):
        return _line({"at": at, "lost": record.requests})
    return _line({"at": at, "end": {"requests": record.requests, "lost": record.lost}})


def _line(fields: dict[str, Any]) -> str:
    return json.dumps(fields, separators=(",", ":")) + "\n"


def _heard_line(at: float, heard: bytes) -> str:
    # what json.dumps would make of these fields, in a third of its time: this runs beside the daemon
    request = wire.unframe(heard)
    if not isinstance(request, Request) or not _same(heard, _rebuild(request)):
        return f'{{"at":{at},"raw":"{heard.hex()}"}}\n'
    luid, uuid, version, seq, number, data, _ = request
    special = "" if version == _PLAIN_VERSION else f',"version":{version}'
    return (
        f'{{"at":{at},"seq":{seq},"type":{_TYPES.get(number, number)},"luid":"{luid:x}","uuid":{_quoted(uuid)}'
        f'{special},"data":"{data.hex()}"}}\n'
    )


_TYPES: Final = {int(kind): f'"{kind.name}"' for kind in RequestType}


@lru_cache(maxsize=1024)
def _quoted(uuid: bytes) -> str:
    return json.dumps(text(uuid))


def _same(one: bytes, other: bytes) -> bool:
    return one[: _NL_SEQ.start] + one[_NL_SEQ.stop :] == other[: _NL_SEQ.start] + other[_NL_SEQ.stop :]


# -- and back ------------------------------------------------------------------------------------------------------


def header_from(content: bytes) -> Header:
    """Read the first line.

    Raises:
        ValueError: with the reason.
    """
    fields = _object(content)
    if _MAGIC not in fields:
        raise ValueError("is no trace")
    if fields[_MAGIC] != VERSION:
        raise ValueError(f"is a trace of version {fields[_MAGIC]!r:.40}; this diskulog knows {VERSION}")
    boot_id = bytes.fromhex(_is(fields, "boot_id", str))
    if len(boot_id) != 16:
        raise ValueError("names no boot")
    start, uuid = _number(fields, "start", 1e11), fields.get("uuid")
    if uuid is not None and not isinstance(uuid, str):
        raise ValueError("'uuid' is not what it should be")
    ring = None if fields.get("ring") is None else int(_number(fields, "ring", 2**63))
    return Header(boot_id, _is(fields, "host", str), _is(fields, "kernel", str), start, uuid, ring)


def record_from(content: bytes) -> Record:
    """Read any other line.

    Raises:
        ValueError: with the reason.
    """
    fields = _object(content)
    at = _number(fields, "at", MAX_AT_SECONDS)
    if "type" in fields:
        return Heard(at, _rebuilt(fields))
    if "raw" in fields:
        return Heard(at, bytes.fromhex(_is(fields, "raw", str)))
    if "lost" in fields:
        return Lost(at, None if fields["lost"] is None else _integer(fields, "lost"))
    if "end" in fields:
        end = _is(fields, "end", dict)
        return End(at, _integer(end, "requests", 2**63), _integer(end, "lost", 2**63))
    raise ValueError("says nothing of what was heard")


def _object(content: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError):
        raise ValueError("is not JSON") from None
    if not isinstance(fields, dict):
        raise ValueError("is no JSON object")  # noqa: TRY004 - a reason like the others
    return fields


def _rebuilt(fields: dict[str, Any]) -> bytes:
    kind = fields["type"]
    names = RequestType.__members__
    number = int(names[kind]) if isinstance(kind, str) and kind in names else _integer(fields, "type", 2**8)
    luid = int(_is(fields, "luid", str), 16)
    uuid = _is(fields, "uuid", str).encode("utf-8", "surrogateescape")
    data = bytes.fromhex(_is(fields, "data", str))
    version = _integer(fields, "version") if "version" in fields else _PLAIN_VERSION
    if not 0 <= luid < 2**64 or len(uuid) >= wire.UUID_BYTES or b"\0" in uuid or len(data) > wire.MAX_REQUEST_BYTES:
        raise ValueError("holds a request that cannot be")
    return _rebuild(Request(luid, uuid, version, _integer(fields, "seq"), number, data, b""))


def datagram(luid: int, uuid: bytes, number: int, data: bytes) -> bytes:
    """Build a request that nobody sent."""
    return _rebuild(Request(luid, uuid, _PLAIN_VERSION, 0, number, data, b""))


def _rebuild(request: Request) -> bytes:
    # as the connector multicasts it, padded to 4 bytes
    size, seq = len(request.data), request.seq
    frame = wire.FRAME.pack(
        wire.FRAME_BYTES + size,
        wire.NLMSG_DONE,
        0,
        seq,
        0,
        wire.CN_IDX_DM,
        wire.CN_VAL_DM_USERSPACE_LOG,
        seq,
        0,
        wire.REQUEST_BYTES + size,
        0,
        request.luid,
        request.uuid,
        request.version,
        0,
        seq,
        request.type,
        size,
    )
    return frame + request.data + bytes(-size % 4)


def _is(fields: dict[str, Any], key: str, kind: type) -> Any:
    value = fields.get(key)
    if not isinstance(value, kind):
        raise ValueError(f"{key!r} is missing or not what it should be")  # noqa: TRY004 - a reason like the others
    return value


def _integer(fields: dict[str, Any], key: str, limit: int = 2**32) -> int:
    value = fields.get(key)
    if type(value) is not int or not 0 <= value < limit:
        raise ValueError(f"{key!r} is missing or not a number that it can be")
    return value


def _number(fields: dict[str, Any], key: str, limit: float) -> float:
    value: Any = fields.get(key)
    if type(value) not in (int, float) or not 0 <= value <= limit:  # also what is not a number: NaN
        raise ValueError(f"{key!r} is missing or not a number that it can be")
    return float(value)
