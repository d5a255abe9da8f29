# SPDX-License-Identifier: LGPL-2.1-or-later
import struct
import xml.dom.minidom
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskulog.forensic import font, picture, png, svg
from diskulog.forensic.density import Level
from diskulog.forensic.picture import MARGIN, PALETTE
from diskulog.forensic.report import DEFAULT_RATE, report
from diskulog.ondisk import State
from tests import images
from tests.forensic.golden import golden

BUSY = images.diskulog(300, dirty=[*range(40, 90), *range(120, 160, 3)], out_of_sync=[200, 201], state=State.OPEN)


def drawn(data, rate=DEFAULT_RATE):
    return picture.draw(report(images.loaded(bytes(data))), rate)


# what is drawn


def test_it_tells_whose_log_it_is_and_how_it_stands():
    said = "\n".join(words.text for words in drawn(BUSY).words)
    for part in (
        images.UUID, "anvil", "regions: 300", "state: open", "opened: 2023-11-14 22:15:00 UTC", "dirty: 66",
        "out of sync: 2", "resync: 66 regions", "one cell: 1 region (512.0 KiB), 32 in a row", "clean",
    ):  # fmt: skip
        assert part in said


@pytest.mark.parametrize("count", [1, 7, 8, 300, 8192, 8193, 100_000, 2**23])
def test_every_cell_lies_in_the_grid_and_none_is_missing(count):
    found = drawn(images.kernel(count, dirty=[0, count // 2], size=2 * 2**20))
    legend = [words.text.startswith("one cell") for words in reversed(found.words)].index(True)
    boxes = found.boxes[:-legend]
    size = boxes[0].height
    cells = sum(box.width // size for box in boxes)
    assert cells == -(-count // max(-(-count // 8192), 1))
    for box in found.boxes:
        assert box.x >= MARGIN
        assert box.x + box.width <= picture.WIDTH - MARGIN
        assert box.y + box.height <= found.height - MARGIN
    assert {box.level for box in boxes} >= ({Level.CLEAN} if count > 2 else set())


def test_nothing_to_draw():
    found = drawn(images.kernel(0))
    assert found.boxes == ()
    assert png.render(found).startswith(b"\x89PNG")
    xml.dom.minidom.parseString(svg.render(found))


def test_the_same_log_is_the_same_picture():
    assert png.render(drawn(BUSY)) == png.render(drawn(BUSY))
    assert svg.render(drawn(BUSY)) == svg.render(drawn(BUSY))


def test_a_name_of_any_length_leaves_room():
    found = drawn(images.diskulog(uuid="x y" * 40))
    assert all(len(words.text) <= 64 for words in found.words)
    long = images.loaded(bytes(images.kernel(8)))
    object.__setattr__(long, "name", "/n" * 4000)
    assert picture.draw(report(long), 1).height < 1200


# SVG


def test_the_svg_that_was_looked_at():
    golden("picture.svg", svg.render(drawn(BUSY)).decode())


@given(st.text(max_size=30))
def test_svg_holds_any_uuid(uuid):
    uuid = uuid.encode("utf-8", "ignore").decode().rstrip("\0")
    made = svg.render(drawn(images.diskulog(16, size=16384, uuid=uuid)))
    assert xml.dom.minidom.parseString(made).documentElement.tagName == "svg"


def test_svg_escapes():
    made = svg.render(drawn(images.diskulog(16, uuid='<script>"&\udcff')))
    assert b"<script>" not in made
    assert b"&lt;script&gt;&quot;&amp;\\udcff" in made


# PNG


def decoded(data):
    """Chunks and rows of a PNG, by the specification: nothing of the writer is used."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, {}
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + size]
        assert struct.unpack_from(">I", data, at + 8 + size)[0] == zlib.crc32(kind + body)
        chunks[kind] = body
        at += 12 + size
    width, height, bits, colour, *rest = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert (bits, colour, rest) == (8, 3, [0, 0, 0])
    raw = zlib.decompress(chunks[b"IDAT"])
    assert len(raw) == height * (width + 1)
    rows = [raw[y * (width + 1) : (y + 1) * (width + 1)] for y in range(height)]
    assert all(row[0] == 0 for row in rows)
    return chunks, [row[1:] for row in rows]


def test_the_points_of_a_png_are_the_boxes():
    found = drawn(BUSY)
    chunks, rows = decoded(png.render(found))
    assert (len(rows), len(rows[0])) == (found.height, picture.WIDTH)
    for box in found.boxes:
        colour = rows[box.y][box.x]
        assert int.from_bytes(chunks[b"PLTE"][3 * colour : 3 * colour + 3], "big") == PALETTE[box.level]
        assert rows[box.y + box.height - 1][box.x + box.width - 1] == colour
    assert list(chunks) == [b"IHDR", b"PLTE", b"tEXt", b"IDAT", b"IEND"]
    assert chunks[b"tEXt"] == b"Title\0dirty log memory"


def test_letters_are_written():
    found = picture.Picture("t", (picture.Words(MARGIN, 4, "Ai\u00e9"),), (), 30)
    _, rows = decoded(png.render(found))
    ink = max(max(row) for row in rows)
    lines = ["".join("#" if point == ink else "." for point in row[MARGIN : MARGIN + 24 : 2]) for row in rows[4:18:2]]
    assert lines == [
        ".###....#...", "#...#.......", "#...#..##...", "#####...#...", "#...#...#...", "#...#...#...", "#...#..###..",
    ]  # fmt: skip
    assert any(ink in row[MARGIN + 24 :] for row in rows)  # the third is spelled out


def test_text_that_is_too_long_is_cut_off():
    _, rows = decoded(png.render(picture.Picture("t", (picture.Words(MARGIN, 4, "#" * 500),), (), 30)))
    assert len({len(row) for row in rows}) == 1


def test_the_font_has_printable_ascii_and_no_letter_twice():
    assert "".join(font.POINTS) == "".join(map(chr, range(0x20, 0x7F)))
    assert len(set(font.POINTS.values())) == len(font.POINTS)
    for rows in font.POINTS.values():
        assert len(rows) == font.HEIGHT
        assert all(len(row) == font.WIDTH and set(row) <= {"#", "."} for row in rows)
