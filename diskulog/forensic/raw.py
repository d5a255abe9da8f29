# SPDX-License-Identifier: LGPL-2.1-or-later
"""The first 1024 bytes of a log, one row a field: where it lies, its bytes, what they say.

Lives here: layout of a hexdump, and a value's words. It believes nothing, so that it can show what is no log.
"""

import struct
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple
from uuid import UUID

from diskulog import ondisk
from diskulog.forensic.text import moment
from diskulog.ondisk import State
from diskulog.printable import printable

_BYTES_A_ROW: Final = 8
_HEX_WIDTH: Final = 3 * _BYTES_A_ROW - 1
_RESERVED: Final = "reserved"
_FOREIGN: Final = "not zero"


class _Field(NamedTuple):
    offset: int
    name: str
    code: str  # of struct


class _Part(NamedTuple):
    title: str
    fields: tuple[_Field, ...]


def _laid_out(offset: int, fields: tuple[tuple[str, str], ...]) -> tuple[_Field, ...]:
    made = []
    for name, code in fields:
        made.append(_Field(offset, name, code))
        offset += struct.calcsize("<" + code)
    return tuple(made)


def _gap(offset: int, end: int) -> _Field:
    return _Field(offset, _RESERVED, f"{end - offset}s")


_EXTENSION: Final = _laid_out(ondisk.EXTENSION_OFFSET_BYTES, ondisk.EXTENSION_FIELDS)
_EXTENSION_END: Final = _EXTENSION[-1].offset + struct.calcsize("<" + _EXTENSION[-1].code)
_CHECKSUM_AT: Final = ondisk.EXTENSION_OFFSET_BYTES + ondisk.EXTENSION_CHECKSUM_OFFSET_BYTES
_PARTS: Final = (
    _Part("the kernel's header", _laid_out(0, (("magic", "I"), ("version", "I"), ("nr_regions", "Q")))),
    _Part("reserved, the kernel carries it along", (_gap(ondisk.HEADER.size, ondisk.EXTENSION_OFFSET_BYTES),)),
    _Part(
        "diskulog's extension",
        (*_EXTENSION, _gap(_EXTENSION_END, _CHECKSUM_AT), _Field(_CHECKSUM_AT, "checksum", "I")),
    ),
)


def lines(head: bytes) -> Iterator[str]:
    """Yield the rows of whatever bytes there are, at most those of header and extension."""
    for part in _PARTS:
        if part.fields[0].offset < len(head):
            yield f"{part.title}:"
            for field in part.fields:
                yield from _rows(field, head)
    if len(head) < ondisk.HEAD_BYTES:
        yield f"the bytes end here, at {len(head)} of {ondisk.HEAD_BYTES}"


def _rows(field: _Field, head: bytes) -> Iterator[str]:
    length = struct.calcsize("<" + field.code)
    data = head[field.offset : field.offset + length]
    words = _words(field, data, head) if len(data) == length else "cut off"
    free = field.name == _RESERVED and words == _FOREIGN  # bytes without a meaning: perhaps somebody else's text
    before, skipping = b"", False
    for at in range(0, len(data), _BYTES_A_ROW):
        row = data[at : at + _BYTES_A_ROW]
        if before.startswith(row):  # as hexdump(1) does it
            if not skipping:
                yield f"{'*':>6}"
            skipping = True
            continue
        before, skipping = row, False
        first = f"{length:>5}  {field.name:<21}" if at == 0 else " " * 28
        said = [_as_text(row)] * free + [words] * (at == 0)
        yield f"{field.offset + at:>6}{first}  {row.hex(' '):<{_HEX_WIDTH}}  {'  '.join(said)}".rstrip()


def _as_text(row: bytes) -> str:
    return f"|{''.join(chr(byte) if 0x20 <= byte < 0x7F else '.' for byte in row):<{_BYTES_A_ROW}}|"


def _words(field: _Field, data: bytes, head: bytes) -> str:
    where = (field.offset, field.name)
    if where in _AT:
        return _AT[where](data, head)
    if field.name in _NAMED:
        return _NAMED[field.name](data)
    return str(_number(data))


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little")


def _kernel_magic(data: bytes, _: bytes) -> str:
    return f"{_number(data):#010x}, {'a' if _number(data) == ondisk.MAGIC else 'not a'} dirty log's"


def _extension_magic(data: bytes, _: bytes) -> str:
    if data == ondisk.EXTENSION_MAGIC:
        return _text(data)
    fill = data[0] if data.count(data[0]) == len(data) else None
    none = ", no extension" if fill in (0x00, 0xFF) else ", not an extension's"
    return _text(data) + none


def _checksum(data: bytes, head: bytes) -> str:
    sector = head[ondisk.EXTENSION_OFFSET_BYTES :]
    return f"{_hex(data)}, {'ok' if ondisk.extension_checksum_ok(sector) else 'bad'}"


def _regions(data: bytes, _: bytes) -> str:
    return "2^64-1, fresh from LVM" if _number(data) == ondisk.ALL_REGIONS else str(_number(data))


def _version(*known: int) -> Callable[[bytes, bytes], str]:
    return lambda data, _: f"{_number(data)}{'' if _number(data) in known else ', not known'}"


def _text(data: bytes) -> str:
    stripped = data.rstrip(b"\0")
    if not stripped or stripped.count(0xFF) == len(data):
        return "empty" if not stripped else "all ones"
    return f'"{printable(stripped.decode("utf-8", "backslashreplace"))}"'


def _fill(data: bytes) -> str:
    return {0: "all zero", 0xFF * len(data): "all ones"}.get(sum(data), _FOREIGN)


def _state(data: bytes) -> str:
    known = {state.value: state.name.lower() for state in State}
    return f"{_number(data)} {known.get(_number(data), 'not known')}"


def _hex(data: bytes) -> str:
    return f"{_number(data):#010x}"


def _bits(data: bytes) -> str:
    return f"{_number(data):#x}" if any(data) else "none"


def _time(data: bytes) -> str:
    return moment(_number(data))


_AT: Final[dict[tuple[int, str], Callable[[bytes, bytes], str]]] = {
    (0, "magic"): _kernel_magic,
    (4, "version"): _version(1, ondisk.VERSION),
    (8, "nr_regions"): _regions,
    (ondisk.EXTENSION_OFFSET_BYTES, "magic"): _extension_magic,
    (ondisk.EXTENSION_OFFSET_BYTES + len(ondisk.EXTENSION_MAGIC), "version"): _version(ondisk.EXTENSION_VERSION),
    (_CHECKSUM_AT, "checksum"): _checksum,
}
_NAMED: Final[dict[str, Callable[[bytes], str]]] = {
    _RESERVED: _fill,
    "compatible": _bits,
    "incompatible": _bits,
    "state": _state,
    "uuid": _text,
    "host_name": _text,
    "boot_id": lambda data: str(UUID(bytes=data)),
    "live_token": lambda data: data.hex(),
    "created_seconds": _time,
    "resumed_seconds": _time,
    "closed_seconds": _time,
    "clean_crc32": _hex,
    "sync_crc32": _hex,
}
