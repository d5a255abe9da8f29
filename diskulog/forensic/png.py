# SPDX-License-Identifier: LGPL-2.1-or-later
"""A picture as PNG, from its first byte to its last.

Lives here: the format's chunks, points and letters. Does not know logs.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import Final

from diskulog.forensic import font, picture
from diskulog.forensic.picture import Picture, Words

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_LEVEL: Final = 9
_BITS: Final = 8
_PALETTE_COLOURS: Final = 3  # the colour type
_SCALE: Final = 2  # points of a letter's point
_COLOURS: Final = (*(picture.PALETTE[level] for level in sorted(picture.PALETTE)), picture.PAPER, picture.INK)
_PAPER: Final = len(_COLOURS) - 2
_INK: Final = len(_COLOURS) - 1


def render(found: Picture) -> bytes:
    """Return the file."""
    return _SIGNATURE + b"".join(_chunks(found))


def _chunks(found: Picture) -> Iterator[bytes]:
    yield _chunk(b"IHDR", struct.pack(">IIBBBBB", picture.WIDTH, found.height, _BITS, _PALETTE_COLOURS, 0, 0, 0))
    yield _chunk(b"PLTE", b"".join(colour.to_bytes(3, "big") for colour in _COLOURS))
    yield _chunk(b"tEXt", b"Title\0" + _ascii(found.title).encode())
    unfiltered = b"".join(b"\0" + row for row in _rows(found))
    yield _chunk(b"IDAT", zlib.compress(unfiltered, _LEVEL))
    yield _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _rows(found: Picture) -> list[bytearray]:
    rows = [bytearray([_PAPER]) * picture.WIDTH for _ in range(found.height)]
    for box in found.boxes:
        for row in rows[box.y : box.y + box.height]:
            row[box.x : box.x + box.width] = bytes([box.level]) * box.width
    for words in found.words:
        _write(rows, words)
    return rows


def _write(rows: list[bytearray], words: Words) -> None:
    """Put letters on the rows; what does not fit is cut off."""
    room = (picture.WIDTH - picture.MARGIN - words.x) // picture.CHAR_WIDTH
    for place, letter in enumerate(_ascii(words.text)[:room]):
        for number, points in enumerate(font.POINTS[letter]):
            ink = b"".join(bytes([_INK if point == "#" else _PAPER]) * _SCALE for point in points)
            for row in rows[words.y + number * _SCALE : words.y + (number + 1) * _SCALE]:
                x = words.x + place * picture.CHAR_WIDTH
                row[x : x + len(ink)] = ink


def _ascii(text: str) -> str:
    """Spell out what there are no letters for."""
    return text.encode("ascii", "backslashreplace").decode()
