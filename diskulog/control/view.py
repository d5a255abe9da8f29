# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon's answer beside what this host says of the mirrors: what is listed, chosen, and worth a word.

Lives here: the join, names that people give, messages with what to do. Does not know sockets, sysfs or layout.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from diskulog.control.mirrors import Mirror
from diskulog.control.model import Answer, Leg, Log, Message, ShownLog, StatusDocument
from diskulog.exits import Exit, UsageError

_OLD_SECONDS: Final = 10.0  # the worker writes its figures every second or so


@dataclass(frozen=True, slots=True)
class Shown:
    """A log, and the mirror that it belongs to if that could be found."""

    log: Log
    mirror: Mirror | None

    @property
    def title(self) -> str:
        """Return what people call it."""
        return self.mirror.name if self.mirror else self.log.uuid

    @property
    def failed(self) -> bool:
        """Tell whether its writes can no longer be logged."""
        return self.log.state == "failed" or self.log.health == "D"

    @property
    def in_sync(self) -> bool:
        """Tell whether nothing is left to copy."""
        return not self.failed and 0 < self.log.region_count == self.log.in_sync_count


def join(answer: Answer, mirror_of: Callable[[Log], Mirror | None]) -> tuple[Shown, ...]:
    """Put logs beside their mirrors, by name; a table that is not active yet comes behind the one that is."""
    found = [Shown(log, mirror_of(log)) for log in answer.logs]
    return tuple(sorted(found, key=lambda shown: (shown.title, shown.log.state == "inactive", shown.log.luid)))


def chosen(found: Sequence[Shown], words: Sequence[str], number_of: Callable[[str], str | None]) -> tuple[Shown, ...]:
    """Return the logs that are meant by mirror names, uuids or devices; all of them where none is named.

    Raises:
        UsageError: when a word means none of them.
    """
    wanted: set[str] = set()
    for word in words:
        meant = {shown.log.luid for shown in found if _means(word, number_of(word), shown)}
        if not meant:
            known = ", ".join(dict.fromkeys(shown.title for shown in found)) or "none"
            raise UsageError(f"{word}: no mirror, uuid or log device that the daemon serves; it serves: {known}")
        wanted |= meant
    return tuple(shown for shown in found if not words or shown.log.luid in wanted)


def _means(word: str, number: str | None, shown: Shown) -> bool:
    log, mirror = shown.log, shown.mirror
    devices = {log.log_device, mirror.device if mirror else None} - {None}
    names = {log.uuid, *devices, *((mirror.name, f"/dev/mapper/{mirror.name}") if mirror else ())}
    return word in names or number in devices


def messages(answer: Answer, found: Iterable[Shown]) -> tuple[Message, ...]:
    """Say what an administrator should know, and what to do about it."""
    return (*_of_the_daemon(answer), *(message for shown in found for message in _of_a_log(shown)))


def _of_the_daemon(answer: Answer) -> Iterator[Message]:
    age = answer.daemon.age_seconds or 0.0
    if answer.daemon.worker_pid is None:
        text = "no worker runs just now: requests wait; look at the daemon's log if this lasts"
        yield Message(severity="warning", text=text, luid=None)
    if age > _OLD_SECONDS:
        text = f"the worker's figures are {age:.0f} s old: it is busy, or it hangs; look at the daemon's log"
        yield Message(severity="warning", text=text, luid=None)


def _of_a_log(shown: Shown) -> Iterator[Message]:
    mirror, name = shown.mirror, shown.mirror.name if shown.mirror else "NAME"
    unhandled = mirror is not None and mirror.handle_errors is False
    if shown.failed:
        device = f"the log device {shown.log.log_device}" if shown.log.log_device else "the log"
        then = "the kernel writes on, unlogged" if unhandled else "the mirror's writes wait"
        remedy = f"'diskulog replace-log {name} NEWDEV' gives it another log"
        text = f"{shown.title}: {device} has failed, and {then}; {remedy}"
        yield Message(severity="error", text=text, luid=shown.log.luid)
    if unhandled:
        text = (
            f"{shown.title}: the mirror's table lacks 'handle_errors': if its log fails, the kernel writes on, "
            "unlogged; load its table again with '1 handle_errors' at the end, then suspend and resume it"
        )
        yield Message(severity="warning", text=text, luid=shown.log.luid)


def exit_status(found: Iterable[Message]) -> Exit:
    """PROBLEM when any message is an error."""
    return Exit.PROBLEM if any(message.severity == "error" for message in found) else Exit.FINE


def document(
    answer: Answer, found: Iterable[Shown], told: Sequence[Message], node: Callable[[str], str | None]
) -> StatusDocument:
    """Fill the JSON; ``node`` gives a device's path."""
    logs = [_shown_log(shown, node) for shown in found]
    return StatusDocument(exit_status=exit_status(told), daemon=answer.daemon, logs=logs, messages=list(told))


def failure(status: Exit, text: str) -> StatusDocument:
    """Fill the JSON of a command that got no answer."""
    message = Message(severity="error", text=text, luid=None)
    return StatusDocument(exit_status=status, daemon=None, logs=[], messages=[message])


def _shown_log(shown: Shown, node: Callable[[str], str | None]) -> ShownLog:
    log, mirror = shown.log, shown.mirror
    return ShownLog(
        **log.model_dump(),
        mirror=mirror.name if mirror else None,
        mirror_device=mirror.device if mirror else None,
        log_node=node(log.log_device) if log.log_device else None,
        legs=[Leg(device=number, node=node(number)) for number in (mirror.legs if mirror else ())],
        handle_errors=mirror.handle_errors if mirror else None,
    )
