# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which cuts are made, and what each of them hit.

Lives here: the kinds of cut, drawing them by lot. Does not know virtual machines or images.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from powercut_images import Finding


@dataclass(frozen=True)
class Kind:
    """When a kind of cut is made: up to so many seconds after an event, or after one of its first repetitions."""

    event: str
    seconds: float
    hit: str  # what such a cut is to hit, see ``hits``
    events: int = 1


KINDS = {
    "writes": Kind("writing", 3.0, "apart"),
    "worker": Kind("worker killed", 0.9, "worker"),
    "clears": Kind("round", 0.8, "round", events=3),
    "resync": Kind("writing", 4.0, "resync"),
}


@dataclass(frozen=True)
class Cut:
    """One cut as it was drawn; the last boot of a chain is one of kind ``end``."""

    number: int
    kind: str
    mode: str
    slow_leg: str
    lot: random.Random


def drawn(seed: int, count: int, kinds: list[str], modes: list[str]) -> Iterator[Cut]:
    """Draw cuts: every kind once in a shuffle, the modes in turn."""
    lot = random.Random(seed)
    shuffle: list[str] = []
    for number in range(1, count + 1):
        shuffle = shuffle or lot.sample(kinds, len(kinds))
        kind = shuffle.pop()
        slow_leg = "b" if kind == "resync" else lot.choice("ab")  # the leg that a resync writes
        yield Cut(number, kind, modes[number % len(modes)], slow_leg, random.Random(lot.random()))


def hits(events: list[str], found: Finding) -> set[str]:
    """What a cut hit, by what the guest told until then and by what is on the images."""
    round_event = next((event for event in reversed(events) if event.startswith("round")), "")
    happened = {
        "apart": bool(found.torn),
        "worker": "worker killed" in events,
        "no worker": "worker killed" in events and "worker back" not in events,
        "round": round_event in ("round", "round stores"),
        "stores": round_event == "round stores",
        "resync": bool(found.out_of_sync),
    }
    return {name for name, true in happened.items() if true}
