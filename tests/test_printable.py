# SPDX-License-Identifier: LGPL-2.1-or-later
"""Text from anywhere is escaped before a terminal sees it."""

import pytest

from diskulog.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("home mirror-1", "home mirror-1"),
        ("größe", "größe"),
        ("a\udcff\u202e b", "a\\udcff\\u202e b"),
        ("\x1b[2J\nuuid: good\x07", "\\x1b[2J\\nuuid: good\\x07"),
        ("\x7f\x85\u2028", "\\x7f\\x85\\u2028"),
    ],
)
def test_what_moves_a_cursor_or_breaks_a_line_is_escaped(text, shown):
    assert printable(text) == shown
    assert printable(text).isprintable()
