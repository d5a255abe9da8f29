# SPDX-License-Identifier: LGPL-2.1-or-later
"""The map of a log in the terminal: a glyph a cell, in lines that are as wide as it is.

Lives here: glyphs, colours, widths. Does not know whether there is a terminal: it is told what one can show.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Final, NamedTuple

from diskulog.forensic import density
from diskulog.forensic.density import Level
from diskulog.forensic.report import Report

LINES: Final = 16
_MIN_CELLS_A_LINE: Final = 8
_MAX_CELLS_A_LINE: Final = 256
_CELLS_STEP: Final = 8  # labels are multiples of it


@dataclass(frozen=True, slots=True)
class Terminal:
    """What the output can show."""

    columns: int = 80
    blocks: bool = False
    colour: bool = False


class _Look(NamedTuple):
    plain: str
    block: str
    colour: str  # of a terminal: the parameters of "select graphic rendition"


_LOOKS: Final = {
    Level.CLEAN: _Look(".", "\N{MIDDLE DOT}", "32"),
    Level.FEW: _Look(":", "\N{LIGHT SHADE}", "33"),
    Level.SOME: _Look("+", "\N{MEDIUM SHADE}", "33"),
    Level.MANY: _Look("*", "\N{DARK SHADE}", "33"),
    Level.ALL: _Look("#", "\N{FULL BLOCK}", "33"),
    Level.OUT_OF_SYNC: _Look("!", "!", "1;31"),
}
BLOCKS: Final = "".join(look.block for look in _LOOKS.values())


def draw(subject: Report, terminal: Terminal) -> Iterator[str]:
    """Yield the map's lines: what a cell is, the cells with the number of each line's first region, the legend."""
    label_width = len(str(subject.image.bit_count))
    per_line = _cells_a_line(terminal.columns - label_width - 4)
    per_cell = density.regions_a_cell(subject, per_line * LINES)
    yield f"map, {density.cell_words(subject, per_cell)} a cell"
    levels = list(density.levels(subject, per_cell))
    for start in range(0, len(levels), per_line):
        cells = _painted(levels[start : start + per_line], terminal)
        yield f"  {start * per_cell:>{label_width}}  {cells}"
    yield from _legend(density.legend(subject, per_cell), terminal)


def _cells_a_line(room: int) -> int:
    return min(max(room // _CELLS_STEP * _CELLS_STEP, _MIN_CELLS_A_LINE), _MAX_CELLS_A_LINE)


def _painted(levels: Iterable[Level], terminal: Terminal) -> str:
    runs = ((level, sum(1 for _ in run)) for level, run in groupby(levels))
    return "".join(_glyphs(level, count, terminal) for level, count in runs)


def _glyphs(level: Level, count: int, terminal: Terminal) -> str:
    look = _LOOKS[level]
    glyphs = (look.block if terminal.blocks else look.plain) * count
    return f"\x1b[{look.colour}m{glyphs}\x1b[0m" if terminal.colour else glyphs


def _legend(entries: Iterable[tuple[Level, str]], terminal: Terminal) -> Iterator[str]:
    line, width = "", 0
    for level, words in entries:
        if line and width + len(words) + 5 > terminal.columns:
            yield line
            line, width = "", 0
        line += f"{'   ' if line else '  '}{_glyphs(level, 1, terminal)} {words}"
        width += len(words) + 5
    yield line
