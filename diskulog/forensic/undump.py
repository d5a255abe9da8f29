# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reads a dump: its text or its JSON become the log that it was made of.

Lives here: which lines may come where, and a complaint with the line's number. Does not know devices, or where the log
is written.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any, Final, NoReturn

from diskulog import ondisk
from diskulog.errors import BadLogError
from diskulog.forensic import bitmap, dump, image
from diskulog.forensic.image import Image
from diskulog.forensic.source import CHUNK_BYTES, Source
from diskulog.ondisk import ALL_REGIONS, Extension, Header, State
from diskulog.printable import printable
from diskulog.units import MAX_REGION_COUNT, MIB

MAX_LINE_BYTES: Final = 4096
MAX_JSON_BYTES: Final = 16 * MIB  # it is read whole, and becomes twenty times as much; the text is not
_MAX_BYTES: Final = {"uuid": 128, "host_name": 64}
_BITS: Final = {"compatible": 32}
_ALWAYS: Final = {"dialect", "region_count", "bit_count", "dirty_count"}
_OURS: Final = {"state", *dict(dump.FIELDS)}
_KNOWN: Final = _ALWAYS | _OURS | {"out_of_sync_count"}
_STATES: Final = {word: state for state, word in dump.STATES.items()}
Range = tuple[int, int]
Complain = Callable[[str], NoReturn]


def is_dump(start: bytes) -> bool:
    """Tell by its first bytes whether something is a dump."""
    return start.startswith(dump.FIRST_LINE.rpartition(" ")[0].encode()) or start.lstrip()[:1] == b"{"


def load(source: Source) -> Image:
    """Read a dump, text or JSON.

    Raises:
        BadLogError: when it is none, is cut off, or says what cannot be; with the line.
        DeviceError: when it cannot be read.
    """
    start = source.read(0, CHUNK_BYTES)
    return _of_json(source, start) if start.lstrip()[:1] == b"{" else _of_text(source, start)


# -- text ------------------------------------------------------------------------------------------------------------


class _Lines:
    """The lines of a dump that are no remarks, one ahead."""

    def __init__(self, source: Source, start: bytes) -> None:
        self._name = source.name
        self._found = _lines(source, start)
        self.number = 0
        self.next: str | None = ""
        self.advance()

    def advance(self) -> str | None:
        """Go to the next line and return it; None at the end."""
        self.next = None
        for number, line in self._found:
            self.number = number
            if line.strip() and not line.startswith("#"):
                self.next = line.strip()
                break
        return self.next

    def complain(self, what: str) -> NoReturn:
        """Say what is wrong with the line."""
        raise BadLogError(f"{self._name}, line {self.number}: {what}")


def _lines(source: Source, start: bytes) -> Iterator[tuple[int, str]]:
    number, at, rest = 0, len(start), start
    while rest:
        *whole, rest = rest.split(b"\n")
        for line in whole:
            number += 1
            yield number, _decoded(source, number, line)
        if len(rest) > MAX_LINE_BYTES:
            _decoded(source, number + 1, rest)
        chunk = source.read(at, CHUNK_BYTES)
        if not chunk:
            break
        at += len(chunk)
        rest += chunk
    if rest:
        yield number + 1, _decoded(source, number + 1, rest)


def _decoded(source: Source, number: int, line: bytes) -> str:
    if len(line) > MAX_LINE_BYTES or not line.isascii():
        raise BadLogError(f"{source.name}, line {number}: no line of a dump")
    return line.decode()


def _of_text(source: Source, start: bytes) -> Image:
    lines = _Lines(source, start)
    if lines.next is None or not lines.next.startswith(dump.FIRST_LINE.rpartition(" ")[0]):
        raise BadLogError(f"{source.name} is no dump: its first line is not '{dump.FIRST_LINE}'")
    if lines.next != dump.FIRST_LINE:
        lines.complain(f"a dump of another version, '{printable(lines.next)}'; this diskulog knows {dump.FIRST_LINE}")
    lines.advance()
    facts: dict[str, Any] = {}
    while lines.next is not None and lines.next.split()[0] not in (*dump.KINDS, dump.LAST_LINE):
        name, _, value = lines.next.partition(" ")
        if name in facts:
            lines.complain(f"{printable(name)} is said twice")
        if name not in _KNOWN:
            lines.complain(f"{printable(name)} is not known")
        try:
            facts[name] = json.loads(value)
        except (ValueError, RecursionError):
            lines.complain(f"the value of {printable(name)} cannot be read")
        lines.advance()

    def ranges(kind: str) -> Iterator[Range]:
        while lines.next is not None and lines.next.split()[0] == kind:
            words = lines.next.split()[1:]
            if len(words) != 2 or not all(word.isdecimal() and len(word) < 20 for word in words):
                lines.complain(f"'{kind}' is followed by a first region and a count")
            yield int(words[0]), int(words[1])
            lines.advance()

    found = _assembled(source.name, facts, ranges, lines.complain)
    if lines.next is None:
        lines.complain(f"the dump is cut off, its last line is '{dump.LAST_LINE}'")
    if lines.next != dump.LAST_LINE:
        lines.complain(f"'{printable(lines.next)}' is not expected here")
    if lines.advance() is not None:
        lines.complain(f"there is more after '{dump.LAST_LINE}'")
    return found


# -- JSON ------------------------------------------------------------------------------------------------------------


def _of_json(source: Source, start: bytes) -> Image:
    def complain(what: str) -> NoReturn:
        raise BadLogError(f"{source.name}: {what}")

    data = bytearray(start)
    while chunk := source.read(len(data), CHUNK_BYTES):
        data += chunk
        if len(data) > MAX_JSON_BYTES:
            complain(f"a dump of more than {MAX_JSON_BYTES // MIB} MiB; make one without --json")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        complain("no JSON, or cut off")
    if not isinstance(document, dict):
        document = {}
    if document.get("command") != "dump" or document.get("format_version") != dump.FORMAT_VERSION:
        complain("no dump of version 1: made by 'diskulog dump --json'?")

    def ranges(kind: str) -> Iterator[Range]:
        listed = document.get(kind)
        if not isinstance(listed, list):
            complain(f"{kind} is no list of ranges")
        for each in listed:
            match each:
                case [int(first), int(count)] if type(first) is type(count) is int:
                    yield first, count
                case _:
                    complain(f"{kind} is no list of [first region, count]")

    facts = document.get("log")
    if not isinstance(facts, dict):
        complain("'log' is missing")
    unknown = document.keys() - {"format_version", "command", "exit_status", "log", *dump.KINDS}
    if unknown:
        complain(f"{printable(min(unknown))} is not known")
    return _assembled(source.name, facts, ranges, complain)


# -- both ------------------------------------------------------------------------------------------------------------


def _assembled(name: str, facts: dict[str, Any], ranges: Callable[[str], Iterator[Range]], complain: Complain) -> Image:
    ours = facts.get("dialect") == "diskulog"
    if not ours and facts.get("dialect") != "kernel":
        complain('the dialect is neither "diskulog" nor "kernel"')
    synced = ours and facts.get("state") != dump.STATES[State.RELEASED]  # whose sync bitmap is nobody's
    wanted = _ALWAYS | (_OURS if ours else set()) | ({"out_of_sync_count"} if synced else set())
    for what, names in (("is missing", wanted - facts.keys()), ("is not known", facts.keys() - wanted)):
        if names:
            complain(f"{printable(min(names))} {what}")
    count, bit_count = facts["region_count"], facts["bit_count"]
    if not _is_count(bit_count) or (count is not None and not (_is_count(count) and count == bit_count)):
        complain(f"bit_count must be region_count, or where that is null at most {MAX_REGION_COUNT}")
    header = Header(nr_regions=ALL_REGIONS if count is None else count)
    extension = _extension(facts, bit_count, complain) if ours else None
    clean = bitmap.made(name, bit_count, _checked(ranges("dirty"), bit_count, complain))
    sync = bitmap.made(name, bit_count, _checked(ranges("out_of_sync"), bit_count, complain)) if synced else None
    found = image.assembled(name, header, extension, bit_count, clean, sync)
    for counted, regions in dump.counts(found).items():
        if facts[counted] != regions:
            complain(f"{counted} is {printable(str(facts[counted]))}, and the ranges have {regions}: lines are missing")
    return found


def _is_count(value: object) -> bool:
    return isinstance(value, int) and type(value) is int and 0 <= value <= MAX_REGION_COUNT


def _extension(facts: dict[str, Any], count: int, complain: Complain) -> Extension:
    for name, kind in dump.FIELDS:
        if not _FITS[kind](name, facts[name]):
            complain(f"{name}: {_WANTED[kind]}")
    if not isinstance(facts["state"], str) or facts["state"] not in _STATES:
        complain(f"the state is none of {', '.join(_STATES)}")
    geometry = _anywhere(count)
    return Extension(
        state=_STATES[facts["state"]],
        region_count=count,
        sync_offset_bytes=geometry.sync_offset_bytes,
        sync_capacity_bytes=geometry.sync_capacity_bytes,
        **{name: facts[name] for name, _ in dump.FIELDS},
    )


def _is_number(name: str, value: object) -> bool:
    return isinstance(value, int) and type(value) is int and 0 <= value < 2 ** _BITS.get(name, 64)


def _is_text(name: str, value: object) -> bool:
    try:
        data = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else None
    except UnicodeEncodeError:
        return False
    return data is not None and not data.endswith(b"\0") and len(data) <= _MAX_BYTES[name]


_FITS: Final[dict[type, Callable[[str, object], bool]]] = {int: _is_number, str: _is_text}
_WANTED: Final = {
    int: "must be a number that its field in the log can hold",
    str: "must be text that its field in the log can hold, without zeros at the end",
}


def _anywhere(count: int) -> ondisk.Geometry:
    """Place the sync bitmap right behind the other: the device that it is written to decides anew."""
    needed = ondisk.needed_bytes(count, 1)
    return ondisk.choose_geometry(count, needed, 1)


def _checked(ranges: Iterator[Range], region_count: int, complain: Complain) -> Iterator[Range]:
    before = 0
    for first, count in ranges:
        if first < before or count < 1 or first + count > region_count:
            complain(f"{count} regions from {first}: not in order, none, or beyond region {region_count}")
        yield first, count
        before = first + count
