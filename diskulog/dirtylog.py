# SPDX-License-Identifier: LGPL-2.1-or-later
"""One log at work: clean and in sync, mark, clear, flush and resync, after the kernel's rules.

Lives here: what a request does to the bits of one log. Does not know the wire, the format, devices, which mark is
durable (``durability``), how held clears become so (``rounds``), or how a log comes to life and ends (``lifecycle``).
"""

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from enum import Enum, auto

from bitarray import bitarray

from diskulog import figures
from diskulog.clears import ClearPolicy, HeldClears
from diskulog.ctr import CtrArgs
from diskulog.durability import Durability
from diskulog.errors import BadRequestError, LogFailedError
from diskulog.logstore import Kept, LogStore
from diskulog.work import Steps

logger = logging.getLogger("diskulog.log")


class Phase(Enum):
    """Where a log stands between CTR and DTR."""

    IDLE = auto()  # constructed or reconnected, never live here: the device must not be touched
    LIVE = auto()
    PRESUSPENDED = auto()  # requests still come, recovery has stopped
    SUSPENDED = auto()  # everything is durable, nothing is stored until RESUME


class DirtyLog:
    """The bits of one log and the rules that requests follow.

    ``blind`` says that there are no bits at all. ``late_marks`` are marks that came after POSTSUSPEND: kept for RESUME,
    stored nowhere. ``words`` are its figures. ``live`` says that requests about regions are answered from the bits,
    ``sound`` that the bits may be changed and made durable (a blind log that is live has failed): plain attributes, for
    every request asks for them.
    """

    def __init__(
        self, args: CtrArgs, store: LogStore, kept: Kept, policy: ClearPolicy, now: Callable[[], float]
    ) -> None:
        """Take a constructor's arguments, what keeps its bits and its held clears, how to hold them, and the clock."""
        self.args = args
        self.store = store
        self.kept = kept
        self.region_count = args.region_count
        self.live = False
        self.sound = False
        self._failed = False
        self.phase = Phase.IDLE
        self.blind = True
        self.clears = HeldClears(policy)
        self.sync_count = 0
        self.clean_count = 0  # on the medium or on its way there: a held clear is not clean
        self.how = ""  # it went live the last time
        self.words = figures.fresh()
        self.recovering: int | None = None
        self.late_marks: set[int] = set()
        self.ignored_clears = 0
        self.now = now
        self._sync_search = 0
        self.marks = Durability(lambda first, last: self.store.commit(first, last))

    @property
    def phase(self) -> Phase:
        """Where it stands between CTR and DTR."""
        return self._phase

    @phase.setter
    def phase(self, phase: Phase) -> None:
        self._phase = phase
        self.live = phase in (Phase.LIVE, Phase.PRESUSPENDED)
        self.sound = self.live and not self._failed

    @property
    def failed(self) -> bool:
        """Whether the log device failed; final until RESUME."""
        return self._failed

    @failed.setter
    def failed(self, failed: bool) -> None:
        self._failed = failed
        self.sound = self.live and not failed

    def go_live(self, how: str = "") -> None:
        """Begin answering: the store's bits were read, checked and made durable (RESUME)."""
        self.how = how
        self.phase = Phase.LIVE
        self.failed = False
        self.blind = False
        self.sync_count = self.store.in_sync.count(1, 0, self.region_count)
        self.clean_count = self.store.clean.count(1, 0, self.region_count)
        self.restart_recovery()
        self.clears.reset(disabled=self.store.legs_failed)
        self.late_marks.clear()
        self.marks.all_durable()

    def keep_clears(self, bits: bitarray) -> None:
        """Hold clears where the next worker finds them, and go on with those that the last one left there."""
        clean, in_sync, held = self.store.clean, self.store.in_sync, set()
        for region in list(bits.search(1)):
            if region < self.region_count and in_sync[region] and not clean[region] and not self.clears.disabled:
                held.add(region)
            else:
                bits[region] = 0
        self.clears.bits = bits
        self.clears.adopt(held, self.now())

    def go_live_failed(self) -> None:
        """Begin answering without bits (on-disk rule 14): in sync, but no mark and no flush succeeds."""
        self.phase = Phase.LIVE
        self._believe_nothing()
        self.blind = True
        self.sync_count = self.clean_count = 0

    def go_idle(self) -> None:
        """Stop touching anything: another luid of this uuid is live on the device."""
        self.phase = Phase.IDLE
        self.blind = True
        self.clears.reset()
        self.clears.bits = bitarray()  # nobody else keeps the mapping alive

    def restart_recovery(self) -> None:
        """Offer every region that is not in sync again, as after a RESUME."""
        self.recovering = None
        self._sync_search = 0

    def fail(self) -> None:
        """Latch a failure of the log device: Linux reports a failed write-back once, and then calls it done."""
        if not self.failed:
            self.words[figures.FAILURES] += 1
            self.store.latch_failure()
        self._believe_nothing()

    def _believe_nothing(self) -> None:
        self.failed = True
        self.marks.fail()
        self.clears.drop()

    # -- questions ------------------------------------------------------------------------------------------------

    def is_clean(self, region: int) -> bool:
        """Tell whether a region is clean for the kernel, held clears included; out of range is not clean."""
        if self.blind or region >= self.region_count:
            return False
        return bool(self.store.clean[region]) or self.clears.holds(region)

    def region_in_sync(self, region: int) -> bool:
        """Tell whether the legs agree about a region: exactly the bit.

        "Not in sync" makes the kernel write to one leg without a mark, so it is never said of a region that may not
        be dirty on the medium: without bits the answer is "in sync", and the mark then fails. Out of range: False.
        """
        if region >= self.region_count:
            return False
        return self.blind or bool(self.store.in_sync[region])

    def in_sync_count(self) -> int:
        """Count the regions in sync; 0 before the first RESUME, or dm-raid1 believes it too early."""
        return self.sync_count if self.phase is not Phase.IDLE else 0

    def in_sync_hint(self) -> int:
        """Give the hint below which writes are not throttled; ``region_count`` would end the recovery."""
        if self.sync_count == self.region_count and self.live:
            return self.region_count
        return self.region_count - 1

    # -- marks, clears, flush --------------------------------------------------------------------------------------

    def mark(self, regions: Iterable[int]) -> None:
        """Make regions not clean in the mapping; durable with the next flush. All of them, or none.

        Raises:
            BadRequestError: a region is out of range.
            LogFailedError: the log device failed before.
        """
        for region in regions:
            if region >= self.region_count:
                raise BadRequestError(f"region {region} of {self.region_count} cannot be marked")
        if self.phase is Phase.SUSPENDED:
            self.late_marks.update(regions)
            return
        if self.failed:
            raise LogFailedError("the log device failed; marks cannot be made durable until RESUME")
        clean, clears = self.store.clean, self.clears
        for region in regions:
            clears.mark(region)
            if clean[region]:
                self._store_dirty(region)

    def _store_dirty(self, region: int) -> None:
        self.store.clean[region] = 0
        self.clean_count -= 1
        self.marks.stored(region)

    def clear(self, regions: Iterable[int]) -> None:
        """Hold clears; never fails, because a failed CLEAR aborts the kernel's whole flush.

        A region that is not in sync stays dirty, one out of range is ignored and counted.
        """
        if not self.sound:
            return
        clean, in_sync = self.store.clean, self.store.in_sync
        for region in regions:
            if region >= self.region_count:
                if not self.ignored_clears:
                    logger.warning(
                        "log on %s: region %d does not exist, its clear is ignored", self.args.device, region
                    )
                self.ignored_clears += 1
            elif in_sync[region] and not clean[region]:
                self.clears.hold(region, self.now())

    def flush(self) -> bytes | Steps:
        """Answer FLUSH: at once when everything marked is known durable, after an msync otherwise.

        Raises:
            LogFailedError: the log device failed before.
        """
        if self.phase is Phase.SUSPENDED:
            return b""
        if self.failed:
            raise LogFailedError("the log device failed; nothing is durable until RESUME")
        return self._until_durable() if self.marks.pending else b""

    def _until_durable(self) -> Steps:
        if not (yield from self.marks.until_durable()):
            self.fail()
            raise LogFailedError(f"its msync failed ({self.marks.cause}); nothing is durable until RESUME")
        return b""

    # -- resync ----------------------------------------------------------------------------------------------------

    def resync_work(self) -> int | None:
        """Give the next region to resync, the one in progress again while it is not done; None when there is none.

        A region whose recovery failed is behind the search and comes again only after a RESUME.
        """
        if not self.sound:
            return None
        if self.recovering is not None:
            return self.recovering
        if self._sync_search >= self.region_count:
            return None
        found = self.store.in_sync.find(0, self._sync_search, self.region_count)
        if found < 0:
            self._sync_search = self.region_count
            return None
        self._sync_search = found + 1
        self.recovering = found
        return found

    def set_in_sync(self, region: int) -> None:
        """Take a region's recovery as done: SET_REGION_SYNC with 1; it stays dirty until its CLEAR."""
        if region == self.recovering:
            self.recovering = None
        if self.blind or not self.live or region >= self.region_count or self.store.in_sync[region]:
            return
        self.store.in_sync[region] = 1
        self.sync_count += 1

    def set_out_of_sync(self, region: int) -> Steps:
        """Take a region as failed on a leg: SET_REGION_SYNC with 0; dirty on the medium before it is answered.

        One that cannot be made dirty stays in sync here: the medium may call it clean, and every mark fails from now.
        """
        self.clears.drop()  # a leg is failing: what its cache was to hold is not to be believed
        if region == self.recovering:
            self.recovering = None
        with suppress(LogFailedError):
            while self.sound and region < self.region_count and self.store.in_sync[region]:
                if self.store.clean[region]:
                    self._store_dirty(region)
                yield from self._until_durable()
                if self.sound and not self.store.clean[region]:  # otherwise a clear came meanwhile
                    self._drop_sync(region)
        return b""

    def _drop_sync(self, region: int) -> None:
        self.clears.mark(region)
        if self.store.in_sync[region]:  # asked twice
            self.store.in_sync[region] = 0
            self.sync_count -= 1
