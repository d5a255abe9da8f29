# SPDX-License-Identifier: LGPL-2.1-or-later
"""What an image is made of, and what is known of it.

Lives here: bytes at places on a device of some size, which may be larger than memory. Does not know logs.
"""

from dataclasses import dataclass

from diskulog.exits import Exit
from diskulog.forensic.belief import Belief


@dataclass(frozen=True, slots=True)
class Recipe:
    """The bytes that are not zero, as (offset, bytes) in order, on a device of this size."""

    size_bytes: int
    pieces: tuple[tuple[int, bytes], ...]

    def content(self) -> bytes:
        """Return all of it; a sparse one does not fit in memory."""
        made = bytearray(self.size_bytes)
        for offset, piece in self.pieces:
            made[offset : offset + len(piece)] = piece
        return bytes(made)


def whole(data: bytes) -> Recipe:
    """Make a recipe of an image in memory."""
    return Recipe(len(data), ((0, bytes(data).rstrip(b"\0")),))


def sparse(data: bytes, size_bytes: int, *more: tuple[int, bytes]) -> Recipe:
    """Make a recipe of the start of a large device, and of some bytes further on; the rest are holes."""
    return Recipe(size_bytes, ((0, bytes(data).rstrip(b"\0")), *more))


@dataclass(frozen=True, slots=True)
class Damaged:
    """An image: ``how`` it is made, the ``story`` of what happened, what ``inspect`` ends with, who wrote it last.

    ``belief`` is None for what is no log. ``heavy`` ones hold so much that a reader takes a second or more.
    """

    name: str
    recipe: Recipe
    how: str
    story: str
    code: Exit
    belief: Belief | None = None
    heavy: bool = False
