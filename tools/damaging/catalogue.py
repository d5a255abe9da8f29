# SPDX-License-Identifier: LGPL-2.1-or-later
"""All images by name.

Lives here: the one table that tests and tools/damage read. Does not know how any of them is made.
"""

from collections.abc import Mapping
from functools import cache
from itertools import chain

from tools.damaging.bitmaps import bitmaps
from tools.damaging.extensions import extensions
from tools.damaging.headers import headers
from tools.damaging.lengths import lengths
from tools.damaging.recipe import Damaged
from tools.damaging.strangers import strangers


@cache
def catalogue() -> Mapping[str, Damaged]:
    """Return the images by their names, in a fixed order."""
    found: dict[str, Damaged] = {}
    for image in chain(headers(), extensions(), bitmaps(), lengths(), strangers()):
        assert image.name not in found, image.name
        found[image.name] = image
    return found
