# SPDX-License-Identifier: LGPL-2.1-or-later
"""Clears that wait: held outside the mapping until the legs were flushed (on-disk rule 4).

Lives here: which clears are held, in which round, and since when. Does not know bitmaps, devices or threads.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from bitarray import bitarray


@dataclass(frozen=True, slots=True)
class ClearPolicy:
    """How long and how many clears are held, and how long a flush of the legs may take.

    A clear is held for ``hold_seconds`` at most. A round that is due takes those along that were held for half of it:
    few rounds do then, and a region that is written again sooner costs the log no I/O at all.
    """

    hold_seconds: float = 5.0
    max_held: int = 4096
    leg_flush_timeout_seconds: float = 10.0


@dataclass(slots=True)
class HeldClears:
    """The clears of one log.

    ``waiting`` has them with the time of each, the oldest first; ``closing`` is the round whose leg flush is under way,
    and was collected before that flush began. ``bits`` has a 1 for each region whose clear is held, where it outlives
    this process; those of ``max_held`` regions and more have no time, and are found there when a round is made. A mark
    drops its region from all. Losing any of them costs a resync of the region, never data.
    """

    policy: ClearPolicy
    waiting: dict[int, float] = field(default_factory=dict)
    closing: set[int] = field(default_factory=set)
    round_running: bool = False
    round_number: int = 0  # a round whose number has passed may not store what it was to cover
    disabled: bool = False  # a leg could not be flushed: nothing is stored until an activation
    rest_seconds: float = 0.0  # monotonic; no round begins before that
    timeless: int = 0  # how many are in ``bits`` alone
    bits: bitarray = field(default_factory=bitarray)

    def hold(self, region: int, now_seconds: float) -> None:
        """Hold a clear."""
        if self.disabled or self.bits[region]:
            # held already: nothing marked it since, or it would have left; a round's word is as good
            return
        self.bits[region] = 1
        if self._full():
            self.timeless += 1
        else:
            self.waiting[region] = now_seconds

    def mark(self, region: int) -> None:
        """Forget a region's held clear, because it is being written again."""
        if self.bits[region]:
            self.bits[region] = 0
            if region in self.closing:
                self.closing.discard(region)
            elif self.waiting.pop(region, None) is None:
                self.timeless -= 1

    def holds(self, region: int) -> bool:
        """Tell whether the region is clean as far as the kernel said, though not yet on the medium."""
        return bool(self.bits[region])

    @property
    def collected(self) -> bool:
        """Whether any clear waits for a round."""
        return bool(self.waiting) or self.timeless > 0

    @property
    def held_count(self) -> int:
        """How many clears are held."""
        return len(self.waiting) + len(self.closing) + self.timeless

    def due(self, now_seconds: float) -> bool:
        """Tell whether a round should begin now."""
        if self.round_running or not self.collected:
            return False
        if self.timeless or self._full():
            return True
        oldest = next(iter(self.waiting.values()))
        return now_seconds >= max(oldest + self.policy.hold_seconds, self.rest_seconds)

    def _full(self) -> bool:
        return len(self.waiting) >= self.policy.max_held

    def begin_round(self, now_seconds: float = math.inf) -> int:
        """Number a round of those held long enough, or all: a leg flush that begins after this call covers ``closing``.

        What an earlier round still had is covered anew, and that round's own number has passed.
        """
        young = now_seconds - self.policy.hold_seconds / 2
        at_least = (self.policy.max_held + 1) // 2 if self._full() else 0
        for region, since in tuple(self.waiting.items()):
            if since > young and len(self.closing) >= at_least:
                break
            del self.waiting[region]
            self.closing.add(region)
        if self.timeless:
            self._collect_timeless(self.policy.max_held if now_seconds < math.inf else math.inf)
        self.round_running = True
        self.round_number += 1
        return self.round_number

    def _collect_timeless(self, limit: float) -> None:
        # not all of them, for a set of millions would be made: the next round is due at once
        for region in self.bits.search(1):
            if region not in self.waiting and region not in self.closing:
                self.closing.add(region)
                self.timeless -= 1
                if not self.timeless or len(self.closing) >= limit:
                    break

    def take_round(self, number: int) -> Iterable[int]:
        """Hand out what is left of a round after its leg flush; nothing when a later round began or a flush failed.

        Whoever takes them says ``forget`` when they are stored: until then the next worker would hold them still.
        """
        if number != self.round_number:
            return ()
        taken, self.closing = self.closing, set()
        if self.disabled:
            self.forget(taken)
            return ()
        return taken

    def forget(self, regions: Iterable[int]) -> None:
        """Say that clears which were taken are stored, or given up."""
        for region in regions:
            self.bits[region] = 0

    def end_round(self, number: int, now_seconds: float) -> None:
        """Let the next round begin, half of ``hold_seconds`` from now unless the collection is full."""
        if number == self.round_number:
            self.round_running = False
            self.rest_seconds = now_seconds + self.policy.hold_seconds / 2

    def drop(self) -> None:
        """Forget every held clear."""
        if self.timeless:
            self.bits.setall(0)
        self.forget(self.waiting)
        self.forget(self.closing)
        self.timeless = 0
        self.waiting.clear()
        self.closing.clear()

    def reset(self, disabled: bool = False) -> None:
        """Begin anew, as RESUME does; a round under way has passed."""
        self.drop()
        self.round_number += 1
        self.round_running = False
        self.rest_seconds = 0.0
        self.disabled = disabled

    def adopt(self, regions: Iterable[int], now_seconds: float) -> None:
        """Go on with what the last worker held, as if it had come now."""
        for region in regions:
            self.bits[region] = 0
            self.hold(region, now_seconds)
