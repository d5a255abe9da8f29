# SPDX-License-Identifier: LGPL-2.1-or-later
"""The JSON of ``inspect --json``: fixed fields, version 1; its schema is published.

Lives here: the shape that scripts rely on, and how a report fills it. Judges nothing.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Annotated, Final, Literal, NamedTuple
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from diskulog.exits import Exit
from diskulog.forensic.bitmap import Regions
from diskulog.forensic.report import DEFAULT_RATE, ERROR, DialectWord, Report, Severity, StateWord, Verdict

Count = Annotated[int, Field(ge=0)]
Run = Annotated[tuple[Count, Count], Field(description="[first region, count]")]

_RANGES_A_PIECE: Final = 4096


class _Part(BaseModel):
    # additions do not change format_version, so the schema does not forbid what it does not name
    model_config = ConfigDict(frozen=True)


class MessagePart(_Part):
    """One finding; an error makes exit_status 1 where it would be 0."""

    severity: Severity
    text: str


class ChecksumsPart(_Part):
    """``none``: there is none, or none that holds in this state."""

    extension: Verdict
    clean_bitmap: Verdict
    sync_bitmap: Verdict


class LogPart(_Part):
    """A log; null where the log does not say. Times are seconds since 1970."""

    device: str
    offset_bytes: Count = Field(description="where the log begins in the device")
    size_bytes: Count | None = Field(description="from there on; null for a pipe")
    dialect: DialectWord
    uuid: str | None
    region_size_sectors: Count | None = Field(description="as stored, or as given with --region-size")
    target_length_sectors: Count | None
    region_count: Count | None = Field(description="null for LVM's fresh log, which does not know it yet")
    clean_count: Count = Field(description="regions that are clean, and in sync where that is known")
    dirty_count: Count
    in_sync_count: Count | None
    out_of_sync_count: Count | None
    resync_count: Count | None = Field(description="regions that the next activation resyncs; null while live")
    resync_bytes: Count | None = Field(description="what that copies; null too without a region size")
    resync_seconds: Count | None = Field(description="how long that takes at resync_bytes_per_second, rounded up")
    resync_bytes_per_second: Count = Field(description="as given with --rate")
    state: StateWord
    live: bool
    holders: list[str]
    checksums: ChecksumsPart
    sync_offset_bytes: Count | None
    generation: Count | None
    created_seconds: Count | None
    resumed_seconds: Count | None
    closed_seconds: Count | None
    host_name: str | None
    boot_id: str | None


class InspectDocument(_Part):
    """What ``diskulog inspect --json`` prints; ``log`` is null when nothing could be read."""

    format_version: Literal[1] = 1
    command: Literal["inspect"] = "inspect"
    exit_status: Annotated[int, Field(ge=0, le=max(Exit))]
    log: LogPart | None
    dirty: list[Run]
    out_of_sync: list[Run] = Field(description="empty where in_sync_count is null")
    messages: list[MessagePart]


class Document(NamedTuple):
    """A document whose ranges are left out, and where they come from: there may be more than memory holds."""

    rest: InspectDocument
    ranges: Mapping[str, Regions]


def document(subject: Report, rate: int = DEFAULT_RATE) -> Document:
    """Fill the JSON from a report; ``rate`` is the bytes a second that a resync copies."""
    rest = InspectDocument(
        exit_status=subject.exit_status,
        log=_log(subject, rate),
        dirty=[],
        out_of_sync=[],
        messages=[MessagePart(severity=severity, text=_encodable(text)) for severity, text, _ in subject.messages],
    )
    found = {"dirty": subject.clean, "out_of_sync": subject.in_sync}
    return Document(rest, {name: regions for name, regions in found.items() if regions is not None})


def failure(status: Exit, text: str) -> Document:
    """Fill the JSON of a command that could not read a log."""
    message = MessagePart(severity=ERROR, text=_encodable(text))
    return Document(InspectDocument(exit_status=status, log=None, dirty=[], out_of_sync=[], messages=[message]), {})


def render(found: Document) -> str:
    """Return the JSON text, as ``pieces`` yields it."""
    return "".join(pieces(found))


def pieces(found: Document) -> Iterator[str]:
    """Yield the JSON text of one field after the other, of ranges a few thousand at a time."""
    before = "{"
    for name in InspectDocument.model_fields:
        yield before
        if name in found.ranges:
            yield f'"{name}":['
            yield from _runs(found.ranges[name].ranges())
            yield "]"
        else:
            yield _shown(found.rest.model_dump_json(include={name})[1:-1])
        before = ","
    yield "}"


def _shown(written: str) -> str:
    """Escape what would move a terminal's cursor and what JSON lets pass: controls from 127 on, marks of direction."""
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in written)


def _runs(ranges: Iterable[tuple[int, int]]) -> Iterator[str]:
    # pairs of integers have one form in JSON; the model would make objects of each
    written = (f"[{first},{count}]" for first, count in ranges)
    before = ""
    while piece := ",".join(islice(written, _RANGES_A_PIECE)):
        yield before + piece
        before = ","


def schema() -> str:
    """Return the JSON schema of version 1, as published in ``diskulog/schema``."""
    return json.dumps(InspectDocument.model_json_schema(mode="serialization"), indent=2)


def _log(subject: Report, rate: int) -> LogPart:
    image, extension = subject.image, subject.image.extension
    return LogPart(
        device=_encodable(image.name),
        offset_bytes=image.offset_bytes,
        size_bytes=image.size_bytes,
        dialect=subject.dialect,
        uuid=_encodable(extension.uuid) if extension else None,
        region_size_sectors=subject.region_size_sectors,
        target_length_sectors=(extension.target_length_sectors or None) if extension else None,
        region_count=image.region_count,
        clean_count=subject.clean_count,
        dirty_count=subject.dirty_count,
        in_sync_count=subject.in_sync_count,
        out_of_sync_count=subject.out_of_sync_count,
        resync_count=subject.resync_count,
        resync_bytes=subject.resync_bytes,
        resync_seconds=subject.resync_seconds(rate),
        resync_bytes_per_second=rate,
        state=subject.state,
        live=image.live,
        holders=list(image.holders),
        checksums=ChecksumsPart(**subject.checksums),
        sync_offset_bytes=extension.sync_offset_bytes if extension else None,
        generation=extension.generation if extension else None,
        created_seconds=extension.created_seconds if extension else None,
        resumed_seconds=extension.resumed_seconds if extension else None,
        closed_seconds=extension.closed_seconds if extension else None,
        host_name=_encodable(extension.host_name) if extension else None,
        boot_id=str(UUID(bytes=extension.boot_id)) if extension else None,
    )


def _encodable(text: str) -> str:
    """Spell out the bytes of a name that are no UTF-8, which JSON cannot hold."""
    return text.encode("utf-8", "backslashreplace").decode()
