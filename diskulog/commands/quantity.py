# SPDX-License-Identifier: LGPL-2.1-or-later
"""Amounts and ranges as people write them: ``4096``, ``100M``, ``512s``, ``5-9,17``.

Lives here: the suffixes, and what is said of a word that is none. Does not know what is measured or numbered.
"""

import re
from typing import Final

from diskulog.exits import UsageError
from diskulog.units import KIB, SECTOR_BYTES

# lvm and dmsetup count in sectors, everybody else in bytes; each step is 1024, whatever the spelling
_FACTORS: Final = {"": 1, "s": SECTOR_BYTES, "K": KIB, "M": KIB**2, "G": KIB**3, "T": KIB**4}
_AMOUNT: Final = re.compile(r"([0-9]{1,19})(s|[KMGTkmgt]?)(?:i?B)?")
_SPAN: Final = re.compile(r"([0-9]{1,20})(?:-([0-9]{1,20}))?")
_MAX_BYTES: Final = 2**63 - 1  # loff_t


def amount(word: str, option: str, least: int = 0) -> int:
    """Return the bytes that ``word`` says.

    Raises:
        UsageError: when it is none, less than ``least``, or more than any file has; ``option`` names the culprit.
    """
    found = _AMOUNT.fullmatch(word)
    if found is None:
        raise UsageError(f"{option} {word!r}: is no amount; write 4096, 64K, 100M, 2G, 1T (of 1024), or 8s (sectors)")
    digits, suffix = found.groups()
    count = int(digits) * _FACTORS[suffix if suffix == "s" else suffix.upper()]
    if not least <= count <= _MAX_BYTES:
        raise UsageError(f"{option} {word}: must be from {least} to 2^63-1 bytes")
    return count


def spans(words: str, option: str) -> list[tuple[int, int]]:
    """Read ``5-9,17``: ranges as (first, last).

    Raises:
        UsageError: when it is anything else; ``option`` names the culprit.
    """
    return [span(word.strip(), option) for word in words.split(",")]


def span(word: str, option: str) -> tuple[int, int]:
    """Read ``5-9`` or ``17``: one range as (first, last); raises as ``spans``."""
    match = _SPAN.fullmatch(word)
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
    if last < first:
        raise UsageError(f"{option} {word!r}: write a number, or FIRST-LAST")
    return first, last
