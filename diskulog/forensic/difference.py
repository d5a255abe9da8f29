# SPDX-License-Identifier: LGPL-2.1-or-later
"""``diff``: what became dirty, clean, in sync and out of sync between two logs.

Lives here: two logs in, their difference out, as words and ranges. Does not know where they were read, or whether as
devices, images or dumps.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Final

from bitarray import bitarray

from diskulog.exits import Exit
from diskulog.forensic import belief, dump
from diskulog.forensic.bitmap import Regions
from diskulog.forensic.image import Image
from diskulog.printable import printable

# what a log says of itself that differs between any two moments of its life, beside its bits
_OF_THE_MOMENT: Final = frozenset(
    {"bit_count", "state", "generation", "resumed_seconds", "closed_seconds", "host_name"}
)


def _implied(before: bitarray, after: bitarray) -> bitarray:
    return ~before | after


@dataclass(frozen=True)
class Difference:
    """What changed from ``before`` to ``after``; the bits of the regions that both have."""

    before: Image
    after: Image

    @cached_property
    def facts(self) -> dict[str, tuple[str | int | None, str | int | None]]:
        """What the logs say of themselves and differ in, what it was and what it is."""
        was, now = dump.facts(self.before), dump.facts(self.after)
        names = [*was, *(name for name in now if name not in was)]
        return {name: (was.get(name), now.get(name)) for name in names if was.get(name) != now.get(name)}

    @cached_property
    def changes(self) -> dict[str, Regions]:
        """The regions that changed, as those whose bit is 0, by the JSON's names."""
        found = _both_ways("dirty", "clean", belief.clean_regions(self.before), belief.clean_regions(self.after))
        was, now = belief.sync_regions(self.before), belief.sync_regions(self.after)
        if was is not None and now is not None:
            found |= _both_ways("out_of_sync", "in_sync", was, now)
        return found

    @property
    def exit_status(self) -> Exit:
        """PROBLEM when anything differs that is not of the moment, as times are, and whether the log is in use."""
        said = self.facts.keys() - _OF_THE_MOMENT
        return Exit.PROBLEM if said or any(regions.zeros for regions in self.changes.values()) else Exit.FINE


def _both_ways(lost: str, won: str, before: Regions, after: Regions) -> dict[str, Regions]:
    count = min(before.count, after.count)
    return {
        f"became_{lost}": Regions(count, (before, after), _implied),
        f"became_{won}": Regions(count, (after, before), _implied),
    }


def text(found: Difference, limit: int) -> Iterator[str]:
    """Yield the difference for people; at most ``limit`` ranges of each kind, 0 for all."""
    for name, (was, now) in found.facts.items():
        yield f"{name}: {printable(json.dumps(was))} -> {printable(json.dumps(now))}\n"
    for name, regions in found.changes.items():
        if regions.zeros:
            yield f"{name.replace('_', ' ')}: {regions.zeros} of {regions.count} regions\n"
            yield from (f"  {_span(*each)}\n" for each in islice(regions.ranges(), limit or None))
            left = regions.range_count - limit
            if limit and left > 0:
                yield f"  ... and {left} more range{'s' * (left != 1)} (--limit 0 shows all)\n"
    if not found.facts and not any(regions.zeros for regions in found.changes.values()):
        yield "no difference\n"


def _span(first: int, count: int) -> str:
    return str(first) if count == 1 else f"{first}-{first + count - 1}"


def as_json(found: Difference, status: int) -> Iterator[str]:
    """Yield the difference as one JSON document; ``status`` is what the command ends with."""
    document = {
        "format_version": 1,
        "command": "diff",
        "exit_status": status,
        "facts": found.facts,
        "counts": {name: regions.zeros for name, regions in found.changes.items()},
    }
    yield json.dumps(document)[:-1]
    for name, regions in found.changes.items():
        yield f', "{name}": ['
        yield from dump.listed(f"[{first}, {count}]" for first, count in regions.ranges())
        yield "]"
    yield "}\n"
