# SPDX-License-Identifier: LGPL-2.1-or-later
"""What people read of a trace: a line for each request, and regions as ranges.

Lives here: names and payloads of requests as text, all of it plain ASCII. Does not know answers.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Final

from diskulog import wire
from diskulog.errors import BadRequestError
from diskulog.printable import printable
from diskulog.trace.record import End, Header, Heard, Lost, Record, text
from diskulog.wire import Request, RequestType, Unreadable
from diskulog.wire import RequestType as _T

MAX_RANGES: Final = 16
_NAME_WIDTH: Final = len("IS_REMOTE_RECOVERING")


def ranges(regions: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Join regions that follow one another: (first, last), in the order in which they come."""
    first = last = None
    for region in regions:
        if first is None or last is None or region != last + 1:
            if first is not None and last is not None:
                yield first, last
            first = region
        last = region
    if first is not None and last is not None:
        yield first, last


def ranges_text(found: Iterable[tuple[int, int]]) -> str:
    """Write ranges as ``3-5, 9``; of very many only the first."""
    rest = iter(found)
    words = [str(first) if first == last else f"{first}-{last}" for first, last in islice(rest, MAX_RANGES)]
    more = sum(1 for _ in rest)
    return ", ".join(words) + (f" and {more} more ranges" if more else "")


def _region(data: bytes) -> str:
    return str(wire.region(data))


def _regions(data: bytes) -> str:
    return ranges_text(ranges(sorted(wire.regions(data))))


def _region_sync(data: bytes) -> str:
    region, in_sync = wire.region_sync(data)
    return f"{region} {'in sync' if in_sync else 'out of sync'}"


def _string(data: bytes) -> str:
    return printable(repr(text(data)))


_PAYLOADS: Final[dict[int, Callable[[bytes], str]]] = {
    _T.CTR: _string,
    _T.IS_CLEAN: _region,
    _T.IN_SYNC: _region,
    _T.FLUSH: _regions,
    _T.MARK_REGION: _regions,
    _T.CLEAR_REGION: _regions,
    _T.SET_REGION_SYNC: _region_sync,
    _T.IS_REMOTE_RECOVERING: _region,
}


def type_name(number: int) -> str:
    """Name a request type."""
    return RequestType(number).name if 1 <= number <= _T.IS_REMOTE_RECOVERING else f"type {number}"


def payload(request: Request) -> str:
    """Say what a request is about: regions, or a constructor string."""
    try:
        return _PAYLOADS.get(request.type, bytes.hex)(request.data)
    except BadRequestError as error:
        return f"({error})"


def asked(datagram: bytes) -> str:
    """Say what was asked: type and payload."""
    request = wire.unframe(datagram)
    if isinstance(request, Request):
        return f"{type_name(request.type):<{_NAME_WIDTH}}  {payload(request)}".rstrip()
    return f"unreadable: {request.reason}" if isinstance(request, Unreadable) else "no request"


def uuid_of(datagram: bytes) -> bytes | None:
    """Return the uuid of a request; None of what is none."""
    request = wire.unframe(datagram)
    return request.uuid if isinstance(request, Request) else None


def clock(header: Header, at_seconds: float) -> str:
    """Write when it was, in UTC."""
    return _moment(header.start_seconds + at_seconds).strftime("%H:%M:%S.%f")


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def lost_text(record: Lost) -> str:
    """Say how many requests the tracer lost."""
    count = "an unknown number of" if record.requests is None else str(record.requests)
    return f"{count} requests were not heard: they did not fit the tracer's buffer"


def title(header: Header) -> str:
    """Return the first line: when, where, what of."""
    what = "every log" if header.uuid is None else f"log {header.uuid}"
    last = f", the last {header.ring} requests" if header.ring else ""
    start = _moment(header.start_seconds).strftime("%Y-%m-%d %H:%M:%S UTC")
    return printable(f"trace of {what} on {header.host}, Linux {header.kernel}, from {start}{last}") + "\n"


def line(header: Header, record: Record) -> str:
    """Return the line of a record, as the trace alone tells it."""
    when = clock(header, record.at_seconds)
    if isinstance(record, Heard):
        uuid = uuid_of(record.datagram)
        return f"{when}  {printable(text(uuid)) if uuid is not None else '?'}  {asked(record.datagram)}\n"
    if isinstance(record, Lost):
        return f"{when}  ! {lost_text(record)}\n"
    return f"{when}  end: {_totals(record)}\n"


def _totals(record: End) -> str:
    return f"{record.requests} requests, {record.lost} lost"
