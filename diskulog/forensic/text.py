# SPDX-License-Identifier: LGPL-2.1-or-later
"""What people read: a report as aligned lines, tables of ranges and a density map.

Lives here: layout and wording of text, all of it plain ASCII. Does not judge, does not print.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Final
from uuid import UUID

from diskulog.forensic.bitmap import Regions
from diskulog.forensic.report import Report
from diskulog.ondisk import Extension
from diskulog.units import SECTOR_BYTES, div_up, human_bytes

MAP_CELLS_PER_LINE: Final = 64
MAP_LINES: Final = 16
_ROWS_ALIGNED: Final = 4096  # a table of any length is laid out in parts: its columns may widen from one to the next
_CLEAN, _PARTLY, _DIRTY, _OUT_OF_SYNC = ".", "+", "#", "!"


def printable(text: str) -> str:
    """Escape what would move a terminal's cursor or break a line: names and uuids come from untrusted bytes."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def render(subject: Report, limit: int, map_columns: int | None = None) -> str:
    """Return the whole text of ``inspect``, as ``pieces`` yields it."""
    return "".join(pieces(subject, limit, map_columns))


def pieces(subject: Report, limit: int, map_columns: int | None = None) -> Iterator[str]:
    """Yield the text of ``inspect`` line by line; at most ``limit`` ranges of each kind, 0 for all.

    ``map_columns`` is the terminal's width; None leaves the map out.
    """
    for number, part in enumerate(_parts(subject, limit, map_columns)):
        if number:
            yield "\n"
        for line in part:
            yield f"{line}\n"


def _parts(subject: Report, limit: int, map_columns: int | None) -> Iterator[Iterable[str]]:
    yield _block(subject)
    if map_columns is not None and subject.image.bit_count:
        yield _map(subject, map_columns)
    if subject.dirty_count:
        yield _ranges(subject, "dirty regions", subject.clean, limit)
    if subject.in_sync is not None and subject.out_of_sync_count:
        yield _ranges(subject, "out-of-sync regions", subject.in_sync, limit)
    yield (f"{message.severity}: {printable(message.text)}" for message in subject.messages)


def _block(subject: Report) -> Iterator[str]:
    image, extension = subject.image, subject.image.extension
    checksums = ", ".join(f"{name.replace('_', ' ')} {verdict}" for name, verdict in subject.checksums.items())
    rows = [
        ("device", printable(image.name)),
        ("dialect", subject.dialect),
        ("state", subject.state),
        ("live", f"yes, held by {printable(', '.join(image.holders))}" if image.live else "no"),
        ("uuid", printable(extension.uuid) if extension else "not known"),
        ("regions", "not known yet" if image.region_count is None else str(image.region_count)),
        ("region size", _region_size(extension)),
        ("clean", _amount(subject, subject.clean, 1)),
        ("dirty", _amount(subject, subject.clean, 0)),
        ("in sync", "not known" if subject.in_sync is None else _amount(subject, subject.in_sync, 1)),
        ("out of sync", "not known" if subject.in_sync is None else _amount(subject, subject.in_sync, 0)),
        ("checksums", checksums),
    ]
    rows += _history(extension) if extension else []
    width = max(len(key) for key, _ in rows) + 2
    return (f"{key + ':':<{width}}{value}" for key, value in rows)


def _region_size(extension: Extension | None) -> str:
    if extension is None or not extension.region_size_sectors:
        return "not known"
    size = extension.region_size_sectors
    return f"{human_bytes(size * SECTOR_BYTES)} ({size} sectors)"


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
        ("generation", str(extension.generation)),
        ("created", moment(extension.created_seconds)),
        ("resumed", moment(extension.resumed_seconds)),
        ("closed", moment(extension.closed_seconds)),
        ("host", printable(extension.host_name) or "not known"),
        ("boot", str(UUID(bytes=extension.boot_id)) if any(extension.boot_id) else "not known"),
    ]


def moment(seconds: int) -> str:
    """Render seconds since 1970 in UTC; 0 is never, and what no calendar holds stays a number."""
    if seconds == 0:
        return "never"
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return f"{seconds} seconds since 1970"


def _ranges(subject: Report, title: str, regions: Regions, limit: int) -> Iterator[str]:
    total = regions.range_count
    yield f"{title} ({total} range{'s' * (total != 1)})"
    header = ["first region", "regions"]
    if subject.span_bytes(0, 1):
        header += ["offset in bytes", "length in bytes", ""]
    yield from table(header, (_row(subject, *found) for found in islice(regions.ranges(), limit or None)))
    if 0 < limit < total:
        more = total - limit
        yield f"  ... and {more} more range{'s' * (more != 1)} (--limit 0 shows all)"


def _row(subject: Report, first: int, count: int) -> list[str]:
    row, span = [str(first), str(count)], subject.span_bytes(first, count)
    return [*row, *map(str, span), human_bytes(span[1])] if span else row


def table(header: Sequence[str], rows: Iterator[Sequence[str]]) -> Iterator[str]:
    """Lay out rows under a header, right-aligned, however many there are."""
    lines, widths = [header], [0] * len(header)
    while lines := [*lines, *islice(rows, _ROWS_ALIGNED)]:
        widths = [max(width, *map(len, column)) for width, *column in zip(widths, *lines, strict=True)]
        for line in lines:
            yield "  " + "   ".join(map(str.rjust, line, widths)).rstrip()
        lines = []


def _map(subject: Report, columns: int) -> Iterator[str]:
    count = subject.image.bit_count
    label_width = len(str(count))
    per_line = max(min(MAP_CELLS_PER_LINE, columns - label_width - 4), 8)
    per_cell = div_up(count, per_line * MAP_LINES)
    cells = "".join(_cell(subject, first, min(first + per_cell, count)) for first in range(0, count, per_cell))
    legend = f"{_CLEAN} clean   {_PARTLY} partly dirty   {_DIRTY} all dirty"
    if subject.in_sync is not None:
        legend += f"   {_OUT_OF_SYNC} out of sync (at least one)"
    yield f"map, {per_cell} region{'s' * (per_cell != 1)} a cell:   {legend}"
    for start in range(0, len(cells), per_line):
        yield f"  {start * per_cell:>{label_width}}  {cells[start : start + per_line]}"


def _cell(subject: Report, first: int, end: int) -> str:
    if subject.in_sync is not None and subject.in_sync.zeros_in(first, end):
        return _OUT_OF_SYNC
    dirty = subject.clean.zeros_in(first, end)
    if dirty == 0:
        return _CLEAN
    return _DIRTY if dirty == end - first else _PARTLY
