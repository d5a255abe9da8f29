# SPDX-License-Identifier: LGPL-2.1-or-later
import re
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskulog.forensic import chart, density
from diskulog.forensic.chart import Terminal
from diskulog.forensic.density import Level
from diskulog.forensic.report import report
from diskulog.ondisk import State
from tests import images
from tests.forensic.golden import golden

MIXED = images.diskulog(
    4096,
    dirty=[*range(100, 300), *range(1000, 1400, 3), *range(2000, 2300, 2), *range(3000, 3400, 7)],
    out_of_sync=range(3500, 3600),
    state=State.OPEN,
)


def drawn(data, columns=80, **shows):
    return "".join(f"{line}\n" for line in chart.draw(report(images.loaded(bytes(data))), Terminal(columns, **shows)))


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize("blocks", [False, True], ids=["plain", "blocks"])
def test_a_map_that_was_read(columns, blocks):
    golden(f"map-{columns}-{'blocks' if blocks else 'plain'}.txt", drawn(MIXED, columns, blocks=blocks))


def test_the_map_of_a_small_kernel_log_in_a_narrow_terminal():
    assert drawn(images.kernel(20, dirty=[19]), columns=1).splitlines() == [
        "map, 1 region a cell", "   0  ........", "   8  ........", "  16  ...#", "  . clean", "  # all dirty",
    ]  # fmt: skip


def test_colours_surround_runs_and_change_nothing_else():
    coloured = drawn(MIXED, colour=True)
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == drawn(MIXED)
    assert coloured.count("\x1b[0m") * 2 == coloured.count("\x1b[")
    assert "\x1b[1;31m!" in coloured
    assert coloured.count("\x1b[") < len(drawn(MIXED))  # not one for each cell


@given(st.integers(1, 70_000), st.integers(0, 700))
def test_a_map_fits_its_terminal(count, columns):
    lines = drawn(images.kernel(count, size=16384), columns).splitlines()
    cells = [line for line in lines[1:] if re.match(r" +\d+  ", line)]
    assert len(cells) <= chart.LINES
    assert all(len(line) <= max(columns, 9 + len(str(count)) + 4) for line in lines[1:] if line in cells)


@pytest.mark.parametrize(
    ("dirty", "level"),
    [
        (0, Level.CLEAN), (1, Level.FEW), (2, Level.FEW), (3, Level.SOME), (4, Level.SOME), (5, Level.MANY),
        (7, Level.MANY), (8, Level.ALL),
    ],
)  # fmt: skip
def test_the_level_of_a_cell(dirty, level):
    subject = report(images.loaded(bytes(images.kernel(8, dirty=range(dirty)))))
    assert list(density.levels(subject, 8)) == [level]


def test_one_region_out_of_sync_is_enough():
    subject = report(images.loaded(bytes(images.diskulog(64, out_of_sync=[40]))))
    assert list(density.levels(subject, 32)) == [Level.CLEAN, Level.OUT_OF_SYNC]


@given(st.integers(1, 2**32 - 1), st.integers(1, 10_000))
def test_there_are_no_more_cells_than_asked_for(count, most):
    subject = SimpleNamespace(image=SimpleNamespace(bit_count=count))
    per_cell = density.regions_a_cell(subject, most)
    assert (per_cell - 1) * most < count <= per_cell * most
