# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the daemon answers, what ``status --json`` prints, and events: fixed fields, version 1; schemas are published.

Lives here: the shapes that scripts rely on, and refusing what has another. Does not know sockets or sysfs.
"""

import json
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from diskulog.errors import DeviceError, DiskulogError, RefusedError
from diskulog.exits import Exit, UnknownVersionError

FORMAT_VERSION: Final = 1

Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(allow_inf_nan=False)]
Epoch = Annotated[float, Field(allow_inf_nan=False, description="seconds since 1970")]
# the kernel's pairs; no other word is ever taken for a device in sysfs
DeviceNumber = Annotated[str, Field(pattern=r"^[0-9]{1,10}:[0-9]{1,10}$", description="major:minor")]
State = Literal["inactive", "live", "suspended", "failed"]
Severity = Literal["info", "warning", "error"]


class _Part(BaseModel):
    # additions do not change format_version; "1" is no number
    model_config = ConfigDict(frozen=True, strict=True)


class Daemon(_Part):
    """The daemon's two processes; counts since its start."""

    version: str
    pid: Count
    worker_pid: Count | None = Field(description="null between two workers")
    started_seconds: Epoch
    worker_restarts: Count
    last_worker_end: str | None = Field(description="how the last worker ended that was replaced")
    age_seconds: Seconds | None = Field(description="how old the worker's figures are; null before the first")
    overruns: Count = Field(description="times that the socket's buffer was full")
    unsent_replies: Count | None = Field(None, description="null: an older daemon does not tell")
    foreign_datagrams: Count = Field(description="what processes sent, and was dropped")
    unreadable_requests: Count
    netlink_port: Count


class Resync(_Part):
    """A resync under way."""

    started_seconds: Epoch
    started_in_sync_count: Count


class Latency(_Part):
    """Of FLUSHes that had something to make durable, from request to reply."""

    count: Count
    sum: Seconds
    median: Seconds | None
    p99: Seconds | None
    worst: Seconds | None
    buckets: list[tuple[Seconds, Count]] = Field(description="[upper bound in seconds, cumulative count]")


class Log(_Part):
    """A log as the daemon knows it; counts since its start, whatever becomes of workers."""

    uuid: str
    luid: str
    log_type: Literal["disk", "core"]
    type_word: str
    log_device: DeviceNumber | None = Field(description="null of a core log")
    region_size_sectors: Count = Field(description="this and the counts are 0 in the moment in which a log is made")
    region_count: Count
    target_length_sectors: Count
    clean_count: Count | None = Field(description="null while the log has no bits: never live, or not read yet")
    in_sync_count: Count | None
    state: State
    health: Literal["A", "D"]
    recovering_region: Count | None
    resync: Resync | None = Field(description="while live and not all in sync")
    last_flush_seconds: Epoch | None = Field(description="the last FLUSH that made something durable")
    flush_latency_seconds: Latency
    requests: dict[str, Count] = Field(description="answered, by the kernel's names")
    marked_regions: Count
    cleared_regions: Count
    held_clears: Count
    failures: Count


class Answer(_Part):
    """What the daemon answers to ``status``."""

    format_version: Literal[1] = FORMAT_VERSION
    daemon: Daemon
    logs: list[Log]


class Event(_Part):
    """Something that happened to a log or the daemon. ``lost`` stands for events that were not read in time."""

    model_config = ConfigDict(frozen=True, strict=True, extra="allow")

    event: str
    time_seconds: Epoch
    uuid: str | None = None
    luid: str | None = None
    log_device: str | None = None
    text: str = ""


class Leg(_Part):
    """A leg, or what sysfs calls a slave of the mirror that is not its log."""

    device: DeviceNumber
    node: str | None


class ShownLog(Log):
    """A log with what this host says of its mirror; null where that cannot be known."""

    mirror: str | None = Field(description="the mirror's name")
    mirror_device: DeviceNumber | None
    log_node: str | None
    legs: list[Leg]
    handle_errors: bool | None = Field(description="whether the mirror's table has it; null without root")


class Message(_Part):
    """One finding; an error makes exit_status 1 where it would be 0."""

    severity: Severity
    text: str
    luid: str | None = Field(description="of the log that it is about")


class StatusDocument(_Part):
    """What ``diskulog status --json`` prints; ``daemon`` is null when none answered."""

    format_version: Literal[1] = FORMAT_VERSION
    command: Literal["status"] = "status"
    exit_status: Annotated[int, Field(ge=0, le=max(Exit))]
    daemon: Daemon | None
    logs: list[ShownLog]
    messages: list[Message]


class _Versioned(_Part):
    format_version: int


class _Complaint(_Part):
    error: str


def answer(line: bytes) -> Answer:
    """Read the answer to ``status``.

    Raises:
        UnknownVersionError: it is of another version.
        RefusedError: the daemon would not give one.
        DeviceError: it is none.
    """
    try:
        return Answer.model_validate_json(line)
    except ValidationError as cause:
        raise _reason(line, cause) from cause


def event(line: bytes) -> Event:
    """Read an event; raises as ``answer``."""
    try:
        return Event.model_validate_json(line)
    except ValidationError as cause:
        raise _reason(line, cause) from cause


def _reason(line: bytes, cause: ValidationError) -> DiskulogError:
    try:
        refusal = _Complaint.model_validate_json(line).error
        return RefusedError("the daemon refuses", refusal, "try again, or look at its log")
    except ValidationError:
        pass
    try:
        found = _Versioned.model_validate_json(line).format_version
    except ValidationError:
        found = FORMAT_VERSION
    if found != FORMAT_VERSION:
        return UnknownVersionError(
            f"the daemon answers in format {found}, and this diskulog knows {FORMAT_VERSION}: use that of the daemon"
        )
    first = cause.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "line"
    return DeviceError("no answer of a diskulog daemon", OSError(f"{where}: {first['msg']}"))


def render(found: StatusDocument | Event) -> str:
    """Return JSON on one line, all of it ASCII that a terminal can show."""
    return json.dumps(found.model_dump(), separators=(",", ":"))


def status_schema() -> str:
    """Return the schema of ``status --json``, as published in ``diskulog/schema``."""
    return json.dumps(StatusDocument.model_json_schema(mode="serialization"), indent=2)


def event_schema() -> str:
    """Return the schema of a line of ``events``, as published in ``diskulog/schema``."""
    return json.dumps(Event.model_json_schema(mode="serialization"), indent=2)
