# SPDX-License-Identifier: LGPL-2.1-or-later
"""``restore``: what is to be said before a dump becomes a log.

Lives here: what a log that is there knows better than the dump, and what no mirror can take. Does not ask or write.
"""

from collections.abc import Iterator

from diskulog.exits import UsageError
from diskulog.forensic import adopt, repair
from diskulog.forensic.difference import Difference
from diskulog.forensic.image import Image
from diskulog.units import region_size_possible


def newer(there: Image, dumped: Image) -> str | None:
    """Say what a log knows that a dump of the same mirror does not; None when nothing is lost by the dump."""
    believed, _ = repair.believable(there)
    if believed.bit_count != dumped.bit_count:
        return f"has {believed.bit_count} regions, and the dump {dumped.bit_count}"
    lost = Difference(believed, dumped).changes["became_clean"].zeros
    return f"calls {lost} regions dirty which the dump calls clean" if lost else None


def doubts(dumped: Image) -> Iterator[str]:
    """Name what no mirror's table can agree with, so that the log cannot be activated."""
    extension = dumped.extension
    if extension is None:
        return
    try:
        adopt.check_uuid(extension.uuid)
    except UsageError:
        yield f"no table can have the uuid {extension.uuid!r}: the log will not be activated"
    if extension.region_size_sectors and not region_size_possible(extension.region_size_sectors):
        yield f"no mirror has regions of {extension.region_size_sectors} sectors: the log will not be activated"
