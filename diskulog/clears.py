# SPDX-License-Identifier: LGPL-2.1-or-later
"""Clears that wait: held outside the mapping until the legs were flushed (on-disk rule 4).

Lives here: which clears are held, in which round, and since when. Does not know bitmaps, devices or threads.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol


class KeptBits(Protocol):
    """A bit for each region, 1 while its clear is held: what the next worker goes by."""

    def __getitem__(self, region: int, /) -> int:
        """Return a region's bit."""

    def __setitem__(self, region: int, value: int, /) -> None:
        """Set a region's bit."""


@dataclass(frozen=True, slots=True)
class ClearPolicy:
    """How long and how many clears are held, and how long a flush of the legs may take."""

    hold_seconds: float = 5.0
    max_held: int = 4096
    leg_flush_timeout_seconds: float = 10.0


@dataclass(slots=True)
class HeldClears:
    """The clears of one log.

    ``waiting`` collects; ``closing`` is the round whose leg flush is under way, and was collected before that flush
    began. A mark drops its region from both. Losing any of them costs a resync of the region, never data.
    ``bits`` says the same of each region, where it outlives this process.
    """

    policy: ClearPolicy
    waiting: set[int] = field(default_factory=set)
    closing: set[int] = field(default_factory=set)
    round_running: bool = False
    round_number: int = 0  # a round whose number has passed may not store what it was to cover
    disabled: bool = False  # a leg could not be flushed: nothing is stored until an activation
    due_seconds: float | None = None  # monotonic; when the next round should begin
    dropped: int = 0
    bits: KeptBits = field(default_factory=lambda: defaultdict[int, int](int))

    def hold(self, region: int, now_seconds: float) -> None:
        """Hold a clear; over the bound it is dropped, which is safe."""
        if self.disabled or region in self.closing:
            # in closing already: nothing marked it since, or it would have left; the round's word is as good
            return
        if len(self.waiting) >= self.policy.max_held:
            self.dropped += 1
            return
        self.waiting.add(region)
        self.bits[region] = 1
        if self.due_seconds is None:
            self.due_seconds = now_seconds + self.policy.hold_seconds

    def mark(self, region: int) -> None:
        """Forget a region's held clear, because it is being written again."""
        if self.bits[region]:
            self.bits[region] = 0
            self.waiting.discard(region)
            self.closing.discard(region)

    def holds(self, region: int) -> bool:
        """Tell whether the region is clean as far as the kernel said, though not yet on the medium."""
        return region in self.waiting or region in self.closing

    @property
    def held_count(self) -> int:
        """How many clears are held."""
        return len(self.waiting) + len(self.closing)

    def due(self, now_seconds: float) -> bool:
        """Tell whether a round should begin now."""
        if self.round_running or not self.waiting:
            return False
        full = len(self.waiting) >= self.policy.max_held
        return full or (self.due_seconds is not None and now_seconds >= self.due_seconds)

    def begin_round(self) -> int:
        """Close the collection and number it: a leg flush that begins after this call covers all of ``closing``.

        What an earlier round still had is covered anew, and that round's own number has passed.
        """
        self.closing |= self.waiting
        self.waiting = set()
        self.round_running = True
        self.round_number += 1
        self.due_seconds = None
        return self.round_number

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
        """Let the next round begin; what came meanwhile waits its time from now."""
        if number != self.round_number:
            return
        self.round_running = False
        if self.waiting:
            self.due_seconds = now_seconds + self.policy.hold_seconds

    def drop(self) -> None:
        """Forget every held clear."""
        self.forget(self.waiting)
        self.forget(self.closing)
        self.waiting.clear()
        self.closing.clear()
        self.due_seconds = None

    def reset(self, disabled: bool = False) -> None:
        """Begin anew, as RESUME does; a round under way has passed."""
        self.drop()
        self.round_number += 1
        self.round_running = False
        self.disabled = disabled

    def adopt(self, regions: Iterable[int], now_seconds: float) -> None:
        """Go on with what the last worker held, as if it had come now."""
        self.waiting.update(regions)
        if self.waiting:
            self.due_seconds = now_seconds + self.policy.hold_seconds
