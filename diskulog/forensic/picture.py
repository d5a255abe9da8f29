# SPDX-License-Identifier: LGPL-2.1-or-later
"""A picture of a log for a report: a few lines of text, a grid of cells, a legend; the same log, the same picture.

Lives here: what is on it and where. Does not know file formats (``svg``, ``png``).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from textwrap import wrap
from typing import Final, NamedTuple

from diskulog.forensic import density, text
from diskulog.forensic.density import Level
from diskulog.forensic.report import Report
from diskulog.printable import printable

WIDTH: Final = 832  # pixels, as all that follows
MARGIN: Final = 32
LINE_HEIGHT: Final = 20
CHAR_WIDTH: Final = 12
GRID_WIDTH: Final = WIDTH - 2 * MARGIN
_MAX_COLUMNS: Final = 128  # cells; a power of two divides GRID_WIDTH, and gives even numbers of regions
_MIN_COLUMNS: Final = 8
_MAX_CELL: Final = 48
_LINE_CHARS: Final = GRID_WIDTH // CHAR_WIDTH
_LINES_A_ROW: Final = 4  # a name may have thousands of characters
_TOLD: Final = ("uuid", "host", "regions", "region size", "mirror", "state", "opened", "closed",
                "clean", "dirty", "in sync", "out of sync", "resync", "checksums")  # fmt: skip

# from light to dark in the order of the levels, and purple: told apart by the colour-blind and in print
PALETTE: Final = {
    Level.CLEAN: 0xE4EEE0,
    Level.FEW: 0xFDE08A,
    Level.SOME: 0xFDB055,
    Level.MANY: 0xE06010,
    Level.ALL: 0x993404,
    Level.OUT_OF_SYNC: 0x5E3C99,
}
PAPER: Final = 0xFFFFFF
INK: Final = 0x202020


class Words(NamedTuple):
    """A line of text; ``y`` is its upper edge."""

    x: int
    y: int
    text: str


class Box(NamedTuple):
    """A rectangle in the colour of a level."""

    x: int
    y: int
    width: int
    height: int
    level: Level


@dataclass(frozen=True, slots=True)
class Picture:
    """What is drawn, from the upper left corner on."""

    title: str
    words: tuple[Words, ...]
    boxes: tuple[Box, ...]
    height: int


def draw(subject: Report, rate: int) -> Picture:
    """Lay a report out."""
    words: list[Words] = []
    boxes: list[Box] = []
    y = MARGIN
    for line in _lines(subject, rate):
        words.append(Words(MARGIN, y, line))
        y += LINE_HEIGHT
    if subject.image.bit_count:
        columns = _columns(subject.image.bit_count)
        per_cell = density.regions_a_cell(subject, columns * columns // 2)
        words.append(
            Words(MARGIN, y + LINE_HEIGHT, f"one cell: {density.cell_words(subject, per_cell)}, {columns} in a row")
        )
        y += 3 * LINE_HEIGHT
        boxes += _grid(subject, per_cell, columns, y)
        y = max(box.y + box.height for box in boxes) + LINE_HEIGHT
        for level, meaning in density.legend(subject, per_cell):
            boxes.append(Box(MARGIN, y, LINE_HEIGHT - 4, LINE_HEIGHT - 4, level))
            words.append(Words(MARGIN + 2 * LINE_HEIGHT, y, meaning))
            y += LINE_HEIGHT
    return Picture(_title(subject), tuple(words), tuple(boxes), y + MARGIN)


def _title(subject: Report) -> str:
    return f"dirty log {printable(subject.image.name)}"


def _lines(subject: Report, rate: int) -> Iterator[str]:
    rows = [f"{key}: {value}" for key, value in text.summary(subject, rate) if key in _TOLD]
    for row in (_title(subject), *rows):
        yield from wrap(printable(row), _LINE_CHARS, max_lines=_LINES_A_ROW, placeholder=" ...")


def _columns(count: int) -> int:
    """Choose a grid that is twice as wide as high."""
    columns = _MIN_COLUMNS
    while columns < _MAX_COLUMNS and columns * columns // 2 < count:
        columns *= 2
    return columns


def _grid(subject: Report, per_cell: int, columns: int, top: int) -> Iterator[Box]:
    size = min(GRID_WIDTH // columns, _MAX_CELL)
    cells = enumerate(density.levels(subject, per_cell))
    for (row, level), run in groupby(cells, lambda cell: (cell[0] // columns, cell[1])):
        places = [place for place, _ in run]
        x = MARGIN + places[0] % columns * size
        yield Box(x, top + row * size, len(places) * size, size, level)
