# SPDX-License-Identifier: LGPL-2.1-or-later
import pytest

from diskulog.exits import UsageError
from diskulog.forensic.amounts import parse_bytes, parse_range


@pytest.mark.parametrize(
    ("text", "size"),
    [("1", 1), ("4096", 4096), ("64K", 65536), ("64k", 65536), ("10MiB", 10 << 20), ("3G", 3 << 30), ("2TIB", 2 << 40)],
)
def test_bytes(text, size):
    assert parse_bytes("--rate", text) == size


@pytest.mark.parametrize("text", ["", "0", "0K", "-5", "1.5M", "M", "5X", "5 M", "5MB", "٣", "9" * 30, "5iB5"])
def test_what_is_no_amount(text):
    with pytest.raises(UsageError, match=r"^--rate .*: must be a number of bytes from 1 up"):
        parse_bytes("--rate", text)


@pytest.mark.parametrize(("text", "found"), [("0-99", (0, 99)), ("7", (7, 7)), ("3-3", (3, 3))])
def test_range(text, found):
    assert parse_range("--regions", text) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "FIRST-LAST"), ("a-b", "FIRST-LAST"), ("-5", "FIRST-LAST"), ("5-", "FIRST"), ("9-3", "before")],
)
def test_what_is_no_range(text, said):
    with pytest.raises(UsageError, match=f"^--regions {text}: .*{said}"):
        parse_range("--regions", text)
