# SPDX-License-Identifier: LGPL-2.1-or-later
"""Text from anywhere, fit for a terminal.

Lives here: escaping. Does not know where a text comes from or goes to.
"""


def printable(text: str) -> str:
    """Escape what would move a terminal's cursor or break a line: names and uuids come from untrusted bytes."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
