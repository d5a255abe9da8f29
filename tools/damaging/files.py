# SPDX-License-Identifier: LGPL-2.1-or-later
"""Images as files.

Lives here: writing one, with holes and always at the same time. Does not know what it writes.
"""

import os
from pathlib import Path
from typing import Final

from tools.damaging.recipe import Recipe

TIME_SECONDS: Final = 1_700_000_000


def write(path: Path, recipe: Recipe) -> None:
    """Write an image, with holes where it has nothing; it bears the same time whenever it is written."""
    with path.open("wb") as file:
        for offset, piece in recipe.pieces:
            file.seek(offset)
            file.write(piece)
        file.truncate(recipe.size_bytes)
    os.utime(path, (TIME_SECONDS, TIME_SECONDS))
