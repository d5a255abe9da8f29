# SPDX-License-Identifier: LGPL-2.1-or-later
"""A log as a number of cells, each with a level: how much of it is dirty.

Lives here: what a map and a picture have in common. Does not know glyphs or colours.
"""

from collections.abc import Iterator
from enum import IntEnum
from typing import Final

from diskulog.forensic.report import Report
from diskulog.units import SECTOR_BYTES, div_up, human_bytes


class Level(IntEnum):
    """How much of a cell is dirty; the values are the colours' places in a palette."""

    CLEAN = 0
    FEW = 1
    SOME = 2
    MANY = 3
    ALL = 4
    OUT_OF_SYNC = 5


WORDS: Final = {
    Level.CLEAN: "clean",
    Level.FEW: "up to 1/4 dirty",
    Level.SOME: "up to 1/2 dirty",
    Level.MANY: "over 1/2 dirty",
    Level.ALL: "all dirty",
    Level.OUT_OF_SYNC: "out of sync",
}


def regions_a_cell(subject: Report, most_cells: int) -> int:
    """Say how many regions one cell stands for, so that there are at most ``most_cells``."""
    return max(div_up(subject.image.bit_count, most_cells), 1)


def cell_words(subject: Report, per_cell: int) -> str:
    """Say how much a cell stands for."""
    words = f"{per_cell} region{'s' * (per_cell != 1)}"
    size = subject.region_size_sectors
    return words if size is None else f"{words} ({human_bytes(per_cell * size * SECTOR_BYTES)})"


def levels(subject: Report, per_cell: int) -> Iterator[Level]:
    """Yield the level of each cell, in order; the work is bounded by the bitmaps' size, not by what is in them."""
    count = subject.image.bit_count
    return (_level(subject, first, min(first + per_cell, count)) for first in range(0, count, per_cell))


def _level(subject: Report, first: int, end: int) -> Level:
    if subject.in_sync is not None and subject.in_sync.zeros_in(first, end):
        return Level.OUT_OF_SYNC  # one region is enough: its legs differ
    dirty, count = subject.clean.zeros_in(first, end), end - first
    if dirty in (0, count):
        return Level.ALL if dirty else Level.CLEAN
    return Level.FEW if 4 * dirty <= count else Level.SOME if 2 * dirty <= count else Level.MANY


def legend(subject: Report, per_cell: int) -> list[tuple[Level, str]]:
    """List the levels that cells of this size can have, with their words."""
    possible = [Level.CLEAN, *([Level.FEW, Level.SOME, Level.MANY] if per_cell > 1 else []), Level.ALL]
    if subject.in_sync is not None:
        possible.append(Level.OUT_OF_SYNC)
    return [(level, WORDS[level] + _at_least_one(level, per_cell)) for level in possible]


def _at_least_one(level: Level, per_cell: int) -> str:
    return " (at least one)" if level is Level.OUT_OF_SYNC and per_cell > 1 else ""
