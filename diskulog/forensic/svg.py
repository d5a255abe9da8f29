# SPDX-License-Identifier: LGPL-2.1-or-later
"""A picture as SVG.

Lives here: its elements, and what XML cannot hold. Does not know logs.
"""

from collections.abc import Iterator
from html import escape
from typing import Final

from diskulog.forensic import picture
from diskulog.forensic.picture import Picture

_FONT: Final = 'font-family="monospace" font-size="16"'
_BASELINE: Final = 15  # below a line's upper edge


def render(found: Picture) -> bytes:
    """Return the file."""
    return ("\n".join(_elements(found)) + "\n").encode("utf-8", "backslashreplace")


def _elements(found: Picture) -> Iterator[str]:
    width, height = picture.WIDTH, found.height
    yield f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
    yield f"<title>{escape(found.title)}</title>"
    yield f'<rect width="{width}" height="{height}" fill="{_colour(picture.PAPER)}"/>'
    for level, colour in picture.PALETTE.items():  # one path for all boxes of a colour: the file stays small
        outlines = [
            f"M{box.x} {box.y}h{box.width}v{box.height}h-{box.width}z" for box in found.boxes if box.level is level
        ]
        if outlines:
            yield f'<path fill="{_colour(colour)}" shape-rendering="crispEdges" d="{" ".join(outlines)}"/>'
    for words in found.words:
        place = f'x="{words.x}" y="{words.y + _BASELINE}"'
        yield f'<text {place} fill="{_colour(picture.INK)}" {_FONT}>{escape(words.text)}</text>'
    yield "</svg>"


def _colour(value: int) -> str:
    return f"#{value:06x}"
