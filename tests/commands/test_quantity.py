# SPDX-License-Identifier: LGPL-2.1-or-later
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskulog.commands.quantity import amount, spans
from diskulog.exits import UsageError


@pytest.mark.parametrize(
    ("word", "count"),
    [
        ("0", 0), ("4096", 4096), ("8s", 4096), ("1K", 1024), ("1k", 1024), ("100M", 100 * 2**20), ("1G", 2**30),
        ("2T", 2**41), ("1KiB", 1024), ("1MB", 2**20), ("5B", 5), (str(2**63 - 1), 2**63 - 1),
    ],
)  # fmt: skip
def test_an_amount(word, count):
    assert amount(word, "--offset") == count


@pytest.mark.parametrize(
    "word", ["", "x", "-1", "+1", "1.5M", "1 M", "M", "1P", "1S", "\u0663", "1" * 20, "0x10", "1\n"]
)
def test_what_is_no_amount(word):
    with pytest.raises(UsageError, match=r"^--rate .*: is no amount; write 4096, 64K"):
        amount(word, "--rate")


@pytest.mark.parametrize(("word", "least"), [("0", 1), (str(2**63), 0), ("9" * 19 + "T", 0)])
def test_an_amount_that_cannot_be(word, least):
    with pytest.raises(UsageError, match=f"must be from {least} to 2"):
        amount(word, "--rate", least)


@given(st.text(max_size=8))
def test_any_word_is_an_amount_or_refused(word):
    with suppress(UsageError):
        assert amount(word, "--rate") >= 0


# ranges


@pytest.mark.parametrize(
    ("words", "found"),
    [("5", [(5, 5)]), ("5-9,17", [(5, 9), (17, 17)]), (" 0 , 3-3", [(0, 0), (3, 3)]), ("9,1-2", [(9, 9), (1, 2)])],
)
def test_ranges_are_read(words, found):
    assert spans(words, "--regions") == found


@pytest.mark.parametrize("words", ["", "x", "5-", "-5", "9-5", "1,,2", "1.5", "0x10", "\u0665", "1-2-3", "9" * 21])
def test_what_is_no_range_is_a_usage_error(words):
    with pytest.raises(UsageError, match="--regions"):
        spans(words, "--regions")
