# SPDX-License-Identifier: LGPL-2.1-or-later
"""``check``: every rule that a log's bytes can break, by name, with what it means and what to do.

Lives here: the rules beyond what ``report`` judges, and the table of explanations. Does not know how a log is read.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from diskulog import ondisk
from diskulog.errors import BadLogError
from diskulog.exits import Exit
from diskulog.forensic.belief import Belief
from diskulog.forensic.bitmap import Regions
from diskulog.forensic.report import ERROR, INFO, WARNING, Message, Report, Severity
from diskulog.forensic.text import moment
from diskulog.ondisk import Extension, State
from diskulog.printable import printable
from diskulog.units import div_up, region_size_possible

_RESERVED: Final = slice(ondisk.HEADER.size, ondisk.EXTENSION_OFFSET_BYTES)
_FAR_FUTURE_SECONDS: Final = 2**33  # some time in 2242
_ORDER: Final = (ERROR, WARNING, INFO)


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that is broken, or a state that whoever reads the log should know of."""

    name: str
    severity: Severity
    text: str
    meaning: str
    remedy: str


# name: what it means, what to do
EXPLAINED: Final[dict[str, tuple[str, str]]] = {
    "not-a-log": (
        "No log begins like this: another thing lies here, or something wrote over the log's header.",
        "Check the name of the device. If it was the log, 'diskulog repair' tells what is left.",
    ),
    "blank": (
        "Nothing was ever written here, or it was wiped: a mirror that is activated on it begins a new log, all dirty.",
        "Check the name of the device.",
    ),
    "stopped": (
        "A command of ours was writing a log here and did not come to its end; no mirror can be activated on it.",
        "Run the command again. 'diskulog repair' tells what is left of it.",
    ),
    "cut-off": (
        "The device or image ends before the bitmaps do: it shrank, or was not copied whole.",
        "Look for the rest. 'diskulog repair' makes a log of what is there, all dirty, if it can still hold one.",
    ),
    "version-not-known": (
        "The header has a version that no kernel has written so far.",
        "Use the software that wrote it.",
    ),
    "feature-not-known": (
        "A later diskulog wrote the log and said that this one must not touch it.",
        "Use a diskulog that is at least as new.",
    ),
    "too-many-regions": (
        "The kernel counts regions in 32 bits: this number was never a log's.",
        "'diskulog repair' if it was the log's header that was damaged.",
    ),
    "extension-damaged": (
        "The kernel's header is there, but diskulog's sector behind it fails its checksum: a torn or foreign write.",
        "'diskulog repair' puts a sound log in its place; 'diskulog adopt' if the kernel's own log was used since.",
    ),
    "region-count-differs": (
        "The kernel's own log, or LVM, resized the log after diskulog; its bits may lie over the sync bitmap.",
        "Before activation: 'diskulog adopt' if the kernel's own log was used; otherwise let everything be resynced.",
    ),
    "sync-bitmap-misplaced": (
        "The sync bitmap would overlap the clean bitmap, or begin where it cannot be mapped.",
        "'diskulog repair' places it anew; everything is dirty then.",
    ),
    "bitmap-changed": (
        "A closed log's checksum does not fit: something wrote to the log, or the device lost or mixed up writes.",
        "'diskulog adopt' if the kernel's own log was used meanwhile; otherwise look for the cause, and 'repair' it.",
    ),
    "not-closed": (
        "The last life of the log ended in a crash, or it is at work on another host now.",
        "Nothing: dirty regions are resynced at the next activation. Do not activate it on two hosts.",
    ),
    "released": (
        "The mirror was handed to the kernel's own log, whose clean bitmap is the truth since.",
        "Nothing.",
    ),
    "live": (
        "A mirror uses the log at this moment: what is read is no single moment's state.",
        "Nothing; for a verdict that lasts, check it again when the mirror is not active.",
    ),
    "stray-bits": (
        "Bits beyond the last region are zero in a sound log; a mirror that grows might take them for clean regions.",
        "'diskulog repair --write' clears them.",
    ),
    "fresh-from-lvm": (
        "LVM made the log and no mirror was active with it yet: the number of regions is written at the first use.",
        "Nothing.",
    ),
    "resync": ("What the next activation costs.", "Nothing."),
    "reserved-not-zero": (
        "Bytes 16 to 511 belong to nobody, and are zero in every log that the kernel or diskulog made.",
        "Nothing, if you know who wrote there; otherwise look for what writes to this device.",
    ),
    "version-1": ("The kernel reads version 1 as 2, and writes 2 at the next activation.", "Nothing."),
    "uuid-empty": (
        "The log does not say whose it is.",
        "'diskulog adopt --uuid UUID' before the next activation, as in the table of the mirror.",
    ),
    "region-size-impossible": (
        "No mirror can have regions of this size: they are powers of two, from 2 sectors on.",
        "Nobody can know the right one from the log: format it anew with the size in the table of the mirror.",
    ),
    "length-differs": (
        "Target length and region size make another number of regions than the log has.",
        "Nothing: all are written anew at the next activation. Byte offsets that are shown may be wrong.",
    ),
    "clean-not-in-sync": (
        "A region that is clean is in sync in every log that was closed in order.",
        "Nothing: such regions are resynced at the next activation. Report it, if only diskulog wrote this log.",
    ),
    "times-impossible": (
        "The clock of the host was wrong when the log was written, or diskulog did not write it.",
        "Nothing: times are for people.",
    ),
    "host-unknown": ("The log was in use, and does not say on which host.", "Nothing."),
    "capacity-differs": (
        "The extension gives the sync bitmap another room than the device has behind it: the device was resized.",
        "Nothing: the room is measured anew at the next activation.",
    ),
}


def findings(subject: Report) -> tuple[Finding, ...]:
    """Return everything that is to be said of a log, the gravest first."""
    found = [*subject.messages, *(message for rule in _RULES for message in rule(subject))]
    found.sort(key=lambda message: _ORDER.index(message.severity))
    return tuple(_explained(message) for message in found)


def exit_status(found: tuple[Finding, ...]) -> Exit:
    """PROBLEM when any finding is an error."""
    return Exit.PROBLEM if any(finding.severity == ERROR for finding in found) else Exit.FINE


def unreadable(failure: BadLogError) -> Finding:
    """Say why there is nothing to check."""
    return _explained(Message(ERROR, str(failure), failure.rule))


def _explained(message: Message) -> Finding:
    return Finding(message.name, message.severity, message.text, *EXPLAINED[message.name])


def _header(subject: Report) -> Iterator[Message]:
    reserved = subject.image.head[_RESERVED]
    if any(reserved) and any(byte != 0xFF for byte in reserved):  # LVM fills logs with ones
        at = next(place for place, byte in enumerate(reserved, _RESERVED.start) if byte)
        yield Message(WARNING, f"bytes 16 to 511 are not zero, the first at byte {at}", "reserved-not-zero")
    if subject.image.header.version == 1:
        yield Message(INFO, "the header has version 1", "version-1")


def _identity(subject: Report) -> Iterator[Message]:
    extension = subject.image.extension
    if extension is not None and not extension.uuid:
        yield Message(WARNING, "the uuid is empty", "uuid-empty")
    if extension is not None and extension.state is State.OPEN and not extension.host_name:
        yield Message(INFO, "the name of the host is empty", "host-unknown")


def _sizes(subject: Report) -> Iterator[Message]:
    extension = subject.image.extension
    if extension is None:
        return
    size, length = extension.region_size_sectors, extension.target_length_sectors
    if size and not region_size_possible(size):
        yield Message(ERROR, f"regions of {size} sectors are impossible", "region-size-impossible")
    elif size and length and div_up(length, size) != extension.region_count:
        text = f"{length} sectors in regions of {size} are {div_up(length, size)} regions, not {extension.region_count}"
        yield Message(WARNING, text, "length-differs")


def _room(subject: Report) -> Iterator[Message]:
    extension, device = subject.image.extension, subject.image.size_bytes
    if extension is None or device is None or subject.image.sync is None:
        return
    room = device - extension.sync_offset_bytes
    if extension.sync_capacity_bytes != room:
        text = f"room for a sync bitmap of {extension.sync_capacity_bytes} bytes, and {room} are there"
        yield Message(INFO, text, "capacity-differs")


def _bits(subject: Report) -> Iterator[Message]:
    image = subject.image
    if subject.belief is Belief.CLOSED:
        count = Regions(image.bit_count, (image.clean,)).ones - subject.clean_count
        if count:
            text = f"{count} region{'s' * (count != 1)} clean but not in sync"
            yield Message(WARNING, text, "clean-not-in-sync")


def _times(subject: Report) -> Iterator[Message]:
    extension = subject.image.extension
    wrong = ", ".join(_wrong_times(extension)) if extension else ""
    if wrong:
        yield Message(INFO, wrong, "times-impossible")


def _wrong_times(extension: Extension) -> Iterator[str]:
    for word in ("created", "resumed", "closed"):
        seconds = getattr(extension, f"{word}_seconds")
        if seconds >= _FAR_FUTURE_SECONDS:
            yield f"{word} {moment(seconds)}"
        elif 0 < seconds < extension.created_seconds:
            yield f"{word} {moment(seconds)}, before it was created"


_RULES: Final[tuple[Callable[[Report], Iterator[Message]], ...]] = (_header, _identity, _sizes, _room, _bits, _times)
_VERDICTS: Final = {
    Exit.FINE: "a sound log",
    Exit.PROBLEM: "damaged",
    Exit.NOT_A_LOG: "not a log that can be read",
}


def text(device: str, status: Exit, found: tuple[Finding, ...]) -> Iterator[str]:
    """Yield a verdict and the findings, for people."""
    yield f"{printable(device)}: {_VERDICTS[status]}\n"
    for finding in found:
        yield f"\n{finding.severity}: {finding.name}: {printable(finding.text)}\n"
        yield f"  means: {finding.meaning}\n  do:    {finding.remedy}\n"


def as_json(device: str, status: Exit, found: tuple[Finding, ...]) -> str:
    """Return the same as a JSON document."""
    document = {
        "format_version": 1,
        "command": "check",
        "exit_status": status,
        "device": device.encode("utf-8", "backslashreplace").decode(),
        "findings": [{name: getattr(each, name) for name in Finding.__slots__} for each in found],
    }
    return json.dumps(document, indent=1) + "\n"
