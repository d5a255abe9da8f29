# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a standard output can show: colours, blocks, its width."""

import io
import sys

import pytest

from diskulog.commands import screen


class Screen(io.TextIOWrapper):
    def __init__(self, encoding, terminal):
        super().__init__(io.BytesIO(), encoding)
        self.terminal = terminal

    def isatty(self):
        return self.terminal


@pytest.fixture(autouse=True)
def surroundings(monkeypatch):
    for name in ("NO_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


@pytest.mark.parametrize(
    ("shown", "variables", "colour"),
    [
        (True, {}, True), (False, {}, False), (True, {"NO_COLOR": "1"}, False), (True, {"NO_COLOR": ""}, True),
        (True, {"TERM": "dumb"}, False), (False, {"NO_COLOR": ""}, False),
    ],
)  # fmt: skip
def test_colour_is_for_terminals_that_want_it(monkeypatch, shown, variables, colour):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stdout", Screen("utf-8", shown))
    assert screen.terminal().colour is colour


@pytest.mark.parametrize(
    ("encoding", "blocks"), [("utf-8", True), ("ascii", False), ("iso8859-15", False), ("cp437", True), (None, False)]
)
def test_blocks_are_for_encodings_that_have_them(monkeypatch, encoding, blocks):
    monkeypatch.setattr(sys, "stdout", Screen(encoding, True) if encoding else io.StringIO())
    assert screen.terminal().blocks is blocks


def test_the_width(monkeypatch):
    monkeypatch.setenv("COLUMNS", "123")
    assert screen.terminal().columns == 123


def test_an_output_that_is_closed_shows_nothing(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    found = screen.terminal()
    assert (found.blocks, found.colour) == (False, False)
