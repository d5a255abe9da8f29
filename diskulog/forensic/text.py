# SPDX-License-Identifier: LGPL-2.1-or-later
"""What people read: a report as aligned lines and tables of ranges.

Lives here: layout and wording of text, all of it plain ASCII; the map is a part. Does not judge, does not print.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import islice
from typing import Final, NamedTuple
from uuid import UUID

from diskulog.forensic import chart
from diskulog.forensic.bitmap import Regions
from diskulog.forensic.chart import Terminal
from diskulog.forensic.report import DEFAULT_RATE, Report
from diskulog.ondisk import Extension
from diskulog.printable import printable
from diskulog.units import SECTOR_BYTES, human_bytes

DEFAULT_LIMIT: Final = 20
_ROWS_ALIGNED: Final = 4096  # a table of any length is laid out in parts: its columns may widen from one to the next
_LONG_UNITS: Final = (("days", 86400), ("h", 3600), ("min", 60))


class Units(StrEnum):
    """What ranges are counted in."""

    REGIONS = "regions"
    SECTORS = "sectors"
    BYTES = "bytes"


@dataclass(frozen=True, slots=True)
class Layout:
    """What of a report is printed, and how.

    At most ``limit`` ranges of each kind, 0 for all; ``units`` of None shows regions, with bytes where they are known.
    ``terminal`` draws the map for one; ``raw`` is what ``raw.lines`` makes of the first bytes.
    """

    limit: int = DEFAULT_LIMIT
    units: Units | None = None
    terminal: Terminal | None = None
    rate: int = DEFAULT_RATE
    raw: Iterable[str] | None = None


def render(subject: Report, layout: Layout) -> str:
    """Return the whole text of ``inspect``, as ``pieces`` yields it."""
    return "".join(pieces(subject, layout))


def pieces(subject: Report, layout: Layout) -> Iterator[str]:
    """Yield the text of ``inspect`` line by line."""
    for number, part in enumerate(_parts(subject, layout)):
        if number:
            yield "\n"
        for line in part:
            yield f"{line}\n"


def _parts(subject: Report, layout: Layout) -> Iterator[Iterable[str]]:
    yield _block(summary(subject, layout.rate))
    if layout.raw is not None:
        yield layout.raw
    if layout.terminal is not None and subject.image.bit_count:
        yield chart.draw(subject, layout.terminal)
    if subject.dirty_count:
        yield _ranges(subject, "dirty regions", subject.clean, layout)
    if subject.in_sync is not None and subject.out_of_sync_count:
        yield _ranges(subject, "out-of-sync regions", subject.in_sync, layout)
    yield (f"{message.severity}: {printable(message.text)}" for message in subject.messages)


def _block(rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    width = max(len(key) for key, _ in rows) + 2
    return (f"{key + ':':<{width}}{printable(value)}" for key, value in rows)


def summary(subject: Report, rate: int) -> list[tuple[str, str]]:
    """Return what there is to say in short: names and values, the latter as they are in the log, not yet printable."""
    image, extension = subject.image, subject.image.extension
    mirror = subject.mirror_bytes
    checksums = ", ".join(f"{name.replace('_', ' ')} {verdict}" for name, verdict in subject.checksums.items())
    return [
        ("device", f"{image.name}{f', from byte {image.offset_bytes} on' if image.offset_bytes else ''}"),
        ("dialect", subject.dialect),
        ("uuid", extension.uuid if extension else "not known"),
        ("regions", "not known yet" if image.region_count is None else str(image.region_count)),
        ("region size", _region_size(subject)),
        ("mirror", "not known" if mirror is None else human_bytes(mirror)),
        ("state", subject.state),
        ("live", f"yes, held by {', '.join(image.holders)}" if image.live else "no"),
        *(_history(extension) if extension else []),
        ("clean", _amount(subject, subject.clean, 1)),
        ("dirty", _amount(subject, subject.clean, 0)),
        ("in sync", "not known" if subject.in_sync is None else _amount(subject, subject.in_sync, 1)),
        ("out of sync", "not known" if subject.in_sync is None else _amount(subject, subject.in_sync, 0)),
        ("resync", _resync(subject, rate)),
        ("checksums", checksums),
    ]


def _resync(subject: Report, rate: int) -> str:
    """Say what the next activation will copy."""
    count, size, seconds = subject.resync_count, subject.resync_bytes, subject.resync_seconds(rate)
    if count is None:
        return "not known while live" if subject.image.live else "not known"
    if not count:
        return "nothing"
    words = f"{count} region{'s' * (count != 1)}"
    if size is None or seconds is None:
        return f"{words} (--region-size tells how much that is)"
    return f"{words}, {human_bytes(size)}, about {duration(seconds)} at {human_bytes(rate)}/s"


def duration(seconds: int) -> str:
    """Render a time for people, in a unit that leaves two digits or so."""
    for unit, length in _LONG_UNITS:
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds} s"


def _region_size(subject: Report) -> str:
    size, extension = subject.region_size_sectors, subject.image.extension
    if size is None:
        return "not known"
    stored = extension is not None and extension.region_size_sectors
    return f"{human_bytes(size * SECTOR_BYTES)} ({size} sectors{'' if stored else ', as given'})"


def _amount(subject: Report, regions: Regions, value: int) -> str:
    count = regions.ones if value else regions.zeros
    if not regions.count:
        return "0"
    size = subject.bytes_of(regions, value)
    tail = f", {human_bytes(size)}" if size is not None else ""
    return f"{count} ({percent(count, regions.count)}){tail}"


def percent(count: int, total: int) -> str:
    """Render a share so that 0 % and 100 % mean none and all."""
    share = 100 * count / total
    if 0 < count < total:
        share = min(max(share, 0.1), 99.9)
    return f"{share:.1f} %"


def _history(extension: Extension) -> list[tuple[str, str]]:
    return [
        ("created", moment(extension.created_seconds)),
        ("opened", moment(extension.resumed_seconds)),
        ("closed", moment(extension.closed_seconds)),
        ("host", extension.host_name or "not known"),
        ("boot", str(UUID(bytes=extension.boot_id)) if any(extension.boot_id) else "not known"),
        ("generation", str(extension.generation)),
    ]


def moment(seconds: int) -> str:
    """Render seconds since 1970 in UTC; 0 is never, and what no calendar holds stays a number."""
    if seconds == 0:
        return "never"
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return f"{seconds} seconds since 1970"


def _ranges(subject: Report, title: str, regions: Regions, layout: Layout) -> Iterator[str]:
    total, limit = regions.range_count, layout.limit
    yield f"{title} ({total} range{'s' * (total != 1)})"
    spans = islice(regions.ranges(), limit or None)
    columns = _COLUMNS[layout.units if layout.units or subject.region_size_sectors else Units.REGIONS]
    yield from table(columns.header, (columns.row(subject, *found) for found in spans))
    if 0 < limit < total:
        more = total - limit
        yield f"  ... and {more} more range{'s' * (more != 1)} (--limit 0 shows all)"


def _in_regions(_: Report, first: int, count: int) -> list[str]:
    return [str(first), str(count)]


def _in_sectors(subject: Report, first: int, count: int) -> list[str]:
    return [str(size // SECTOR_BYTES) for size in subject.span_bytes(first, count) or ()]


def _in_bytes(subject: Report, first: int, count: int) -> list[str]:
    start, length = subject.span_bytes(first, count) or (0, 0)
    return [str(start), str(length), human_bytes(length)]


def _in_both(subject: Report, first: int, count: int) -> list[str]:
    return _in_regions(subject, first, count) + _in_bytes(subject, first, count)


class _Columns(NamedTuple):
    header: list[str]
    row: Callable[[Report, int, int], list[str]]


_COLUMNS: Final[dict[Units | None, _Columns]] = {
    None: _Columns(["first region", "regions", "offset in bytes", "length in bytes", ""], _in_both),
    Units.REGIONS: _Columns(["first region", "regions"], _in_regions),
    Units.SECTORS: _Columns(["first sector", "sectors"], _in_sectors),
    Units.BYTES: _Columns(["offset in bytes", "length in bytes", ""], _in_bytes),
}


def table(header: Sequence[str], rows: Iterator[Sequence[str]]) -> Iterator[str]:
    """Lay out rows under a header, right-aligned, however many there are."""
    lines, widths = [header], [0] * len(header)
    while lines := [*lines, *islice(rows, _ROWS_ALIGNED)]:
        widths = [max(width, *map(len, column)) for width, *column in zip(widths, *lines, strict=True)]
        for line in lines:
            yield "  " + "   ".join(map(str.rjust, line, widths)).rstrip()
        lines = []
