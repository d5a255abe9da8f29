# SPDX-License-Identifier: LGPL-2.1-or-later
"""Power cuts at every point of a recording: the two promises that a log and its mirror's legs are held to.

Lives here: what the media may hold after each entry, and what would be believed of it. Does not know how a recording
is made, or how a log keeps its order.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from bitarray import bitarray

from diskulog import ondisk
from diskulog.ctr import CtrArgs
from diskulog.errors import BadLogError
from diskulog.forensic import belief
from diskulog.forensic.belief import Belief
from tests import images, logs
from tests.crash_device import CrashDevice
from tests.kernel.guest.log_writes import Entry, Piece
from tests.kernel.guest.rig import SECTOR_BYTES

_STATES_AT_ONCE = 64  # more mixtures than that are sampled


@dataclass(frozen=True, slots=True)
class Recording:
    """What was recorded of a mirror; ``before`` is what its legs held at first, ``tables`` the tables it had."""

    entries: list[Entry]
    log: Piece
    legs: tuple[Piece, Piece]
    before: tuple[bytes, bytes]
    tables: tuple[CtrArgs, ...]

    @property
    def region_count(self) -> int:
        return max(args.region_count for args in self.tables)

    def no_regions(self) -> bitarray:
        return bitarray(self.region_count, endian="little")

    def touched(self, leg: Piece, entry: Entry) -> range:
        """Tell the regions that an entry writes to in a leg."""
        at, size = leg.at(entry), self.tables[0].region_size_sectors * SECTOR_BYTES
        return range(0) if at is None else range(at // size, -(-(at + len(entry.data)) // size))


@dataclass
class Findings:
    """What a check saw, and what was wrong."""

    states: int = 0  # of the log's medium, all different
    beliefs: set[Belief | None] = field(default_factory=set)
    at_last: bitarray = field(default_factory=bitarray)  # the regions believed in the end
    became_clean: int = 0
    wrong: list[str] = field(default_factory=list)


# -- what is made of a state -----------------------------------------------------------------------------------------


def believed(image: bytes, args: CtrArgs) -> bitarray:
    """Tell what another boot's activation with this table would call in sync; it must not refuse."""
    store = logs.store_on(CrashDevice(image), args, logs.OTHER_LUID, logs.NEXT_BOOT)
    store.check()
    found = store._judge()
    bits = found.bits.copy()
    bits[found.known :] = found.new_clean
    return bits


def believed_by_kernel(image: bytes) -> bitarray:
    """Tell what the kernel's own log would call in sync: the clean bitmap, as far as the header goes."""
    header = ondisk.unpack_header(image)
    count = header.nr_regions if header.magic == ondisk.MAGIC else 0
    return ondisk.bits_from(image[ondisk.CLEAN_OFFSET_BYTES :], count)


def judged(image: bytes) -> Belief | None:
    """Tell what the forensic reader makes of a state; None while it is blank."""
    try:
        return belief.judge(images.loaded(image))
    except BadLogError:
        assert not any(image), "a log that cannot be read is blank"
        return None


# -- the log's medium ------------------------------------------------------------------------------------------------


class Cuts:
    """Every state that the log's medium can be in, and what would be believed of it."""

    def __init__(self, recording: Recording) -> None:
        size_bytes = recording.log.reserved_sectors * SECTOR_BYTES
        self._recording = recording
        self._device = CrashDevice(bytes(size_bytes), page_bytes=SECTOR_BYTES)
        self._known: dict[bytes, bitarray] = {}
        self.beliefs: set[Belief | None] = set()

    @property
    def states(self) -> int:
        return len(self._known)

    def play(self, entry: Entry) -> None:
        """Apply an entry: a flush makes durable what came before it, FUA what it writes itself."""
        at = self._recording.log.at(entry)
        if entry.flush:
            self._device.sync(0, self._device.size_bytes)
        if at is not None:
            self._device.live[at : at + len(entry.data)] = entry.data
            self._device.step("written")
            if entry.fua:
                self._device.sync(at, len(entry.data))

    def believed(self) -> bitarray:
        """Tell the regions that at least one of the states now possible calls in sync."""
        found = self._recording.no_regions()
        for image in self._device.crash_images(_STATES_AT_ONCE, seed=len(self._known)):
            if image not in self._known:
                self._known[image] = self._judge(image)
            found |= self._known[image]
        return found

    def _judge(self, image: bytes) -> bitarray:
        self.beliefs.add(judged(image))
        found = self._recording.no_regions()
        for bits in (*(believed(image, args) for args in self._recording.tables), believed_by_kernel(image)):
            found[: len(bits)] |= bits
        return found


class Legs:
    """The legs' contents as the recording goes on, and the regions in which they differ."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._contents = [bytearray(content) for content in recording.before]
        self.differ = recording.no_regions()
        self._compare(range(recording.region_count))

    def play(self, entry: Entry) -> None:
        for leg, content in zip(self._recording.legs, self._contents, strict=True):
            at = leg.at(entry)
            if at is not None:
                content[at : at + len(entry.data)] = entry.data
                self._compare(self._recording.touched(leg, entry))

    def _compare(self, regions: Iterable[int]) -> None:
        first, second = self._contents
        size = self._recording.tables[0].region_size_sectors * SECTOR_BYTES
        for region in regions:
            place = slice(region * size, (region + 1) * size)
            self.differ[region] = first[place] != second[place]


def cut_everywhere(recording: Recording) -> Findings:
    """Cut the power after every entry: a region that any state believes must be equal in the legs at that moment.

    To be played with a recording that saw the log's flushes. The legs write through here: what they were told is what
    they hold, so that between one leg's write and the other's the region must be dirty in every state.
    """
    cuts, legs, findings = Cuts(recording), Legs(recording), Findings()
    reach = cuts.believed()
    for number, entry in enumerate(recording.entries):
        legs.play(entry)
        if entry.flush or recording.log.at(entry) is not None:
            cuts.play(entry)
            reach = cuts.believed()
        lost = reach & legs.differ
        if lost.any():
            findings.wrong.append(f"entry {number}: regions {list(lost.search(1))} differ and may be believed")
    findings.states, findings.beliefs, findings.at_last = cuts.states, cuts.beliefs, reach
    return findings


# -- a leg's cache ---------------------------------------------------------------------------------------------------


def clean_while_cached(recording: Recording, leg: Piece) -> Findings:
    """Look for a region that the log calls clean while a write to it may be in a leg's cache and nowhere else.

    To be played with a recording that saw this leg's flushes. Any of the writes after the last one may be lost; where
    there is none in a clean region, the leg holds in every state what it was told. The log writes through here: what it
    is told is on its medium at once, the worst that can be.
    """
    medium = bytearray(recording.log.reserved_sectors * SECTOR_BYTES)
    clean, cached = recording.no_regions(), recording.no_regions()
    seen: set[bytes] = set()
    findings = Findings()
    for number, entry in enumerate(recording.entries):
        if entry.flush:
            cached.setall(0)
        for region in recording.touched(leg, entry):
            cached[region] = 1
        at = recording.log.at(entry)
        if at is not None:
            medium[at : at + len(entry.data)] = entry.data
            seen.add(bytes(medium))
            now = recording.no_regions()
            now[: recording.tables[0].region_count] = believed(bytes(medium), recording.tables[0])
            findings.became_clean += (now & ~clean).count()
            clean = now
        lost = clean & cached
        if lost.any():
            findings.wrong.append(f"entry {number}: regions {list(lost.search(1))} are clean, and in the leg's cache")
    findings.states, findings.at_last = len(seen), clean
    return findings
