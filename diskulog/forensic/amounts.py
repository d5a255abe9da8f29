# SPDX-License-Identifier: LGPL-2.1-or-later
"""Amounts as people type them: bytes with a suffix, ranges of regions, sectors of 512 bytes.

Lives here: parsing, and one line that says what is wrong. Does not know what an amount is for.
"""

import re
from typing import Final

from diskulog.exits import UsageError
from diskulog.units import KIB

_SUFFIXES: Final = {"": 1, "K": KIB, "M": KIB**2, "G": KIB**3, "T": KIB**4}
_AMOUNT: Final = re.compile(r"([0-9]{1,18})([KMGT]?)(?:iB)?", re.IGNORECASE | re.ASCII)
_RANGE: Final = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,18}))?", re.ASCII)


def parse_bytes(option: str, text: str) -> int:
    """Read ``64K``, ``10MiB`` or ``4096`` as bytes, 1 or more; the suffixes are powers of 1024.

    Raises:
        UsageError: when it is no amount, or 0; it names ``option``.
    """
    found = _AMOUNT.fullmatch(text)
    size = int(found[1]) * _SUFFIXES[found[2].upper()] if found else 0
    if not size:
        raise UsageError(f"{option} {text}: must be a number of bytes from 1 up, with K, M, G or T if you like: 50M")
    return size


def parse_range(option: str, text: str) -> tuple[int, int]:
    """Read ``3-17`` or ``5`` as the first and the last of a range.

    Raises:
        UsageError: when it is no range, or its end comes before its begin; it names ``option``.
    """
    found = _RANGE.fullmatch(text)
    if not found:
        raise UsageError(f"{option} {text}: must be FIRST-LAST, two regions, or one region: 0-99")
    first, last = int(found[1]), int(found[2] or found[1])
    if last < first:
        raise UsageError(f"{option} {text}: the last region comes before the first")
    return first, last
