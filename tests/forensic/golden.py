# SPDX-License-Identifier: LGPL-2.1-or-later
"""Outputs that somebody read and found good, in tests/data/golden; GOLDEN=write in the environment writes them anew."""

import os
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "data" / "golden"


def golden(name: str, made: str) -> None:
    """Compare with the file of this name."""
    path = FOLDER / name
    if os.environ.get("GOLDEN") == "write":
        path.write_text(made)
    assert made == path.read_text()
