# SPDX-License-Identifier: LGPL-2.1-or-later
"""What ``inspect`` has to say of an image: counts, ranges, verdicts on checksums, messages, the exit code.

Lives here: the meaning of what was found, in words. Does not know JSON, terminals or devices.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal, NamedTuple

from diskulog.exits import Exit, UsageError
from diskulog.forensic import belief
from diskulog.forensic.belief import Belief
from diskulog.forensic.bitmap import Regions
from diskulog.forensic.image import Image
from diskulog.ondisk import Dialect, State
from diskulog.units import MIB, SECTOR_BYTES, div_up, human_bytes, region_size_possible

Severity = Literal["info", "warning", "error"]
Verdict = Literal["ok", "bad", "none"]
DialectWord = Literal["kernel", "diskulog"]
StateWord = Literal["open", "closed", "unknown"]

DEFAULT_RATE: Final = 100 * MIB  # bytes a second: what a resync makes of ordinary disks

INFO: Final = "info"
WARNING: Final = "warning"
ERROR: Final = "error"


class Message(NamedTuple):
    """One finding; ``error`` alone makes the exit code 1."""

    severity: Severity
    text: str
    name: str = ""  # of its rule in ``findings``


_AFTER: Final = "everything is dirty at the next activation"
_ADOPT: Final = "if it was the kernel's own log, 'diskulog adopt DEV' before that keeps its clean regions"

_MEANING: Final = {
    Belief.RELEASED: Message(
        INFO, "released to the kernel's own log: its clean bitmap is taken as it stands", "released"
    ),
    Belief.OPEN: Message(
        WARNING, "not closed in order: its host or its daemon went away while the log was in use", "not-closed"
    ),
    Belief.CHANGED: Message(
        ERROR, f"a bitmap changed after diskulog closed the log: {_AFTER}; {_ADOPT}", "bitmap-changed"
    ),
    Belief.RESIZED: Message(
        ERROR,
        f"the header counts {{header}} regions, the extension {{extension}}: {_AFTER}; {_ADOPT}",
        "region-count-differs",
    ),
    Belief.MISPLACED: Message(
        ERROR,
        f"the extension puts the sync bitmap at byte {{offset}}, where it cannot be: {_AFTER}; {_ADOPT}",
        "sync-bitmap-misplaced",
    ),
    Belief.DAMAGED: Message(
        ERROR,
        f"the extension is damaged, so uuid, region size and sync bitmap are not known: {_AFTER}; "
        "if the kernel's own log used it last, 'diskulog adopt --uuid UUID DEV' before that keeps its clean regions",
        "extension-damaged",
    ),
}

_STATE_WORDS: Final[dict[State, StateWord]] = {State.OPEN: "open", State.CLOSED: "closed", State.RELEASED: "closed"}
_DIALECT_WORDS: Final[dict[Dialect, DialectWord]] = {
    Dialect.KERNEL: "kernel",
    Dialect.DISKULOG: "diskulog",
    Dialect.DAMAGED: "diskulog",
}


@dataclass(frozen=True)
class Report:
    """An image with its meaning; counts and bitmaps are worked out when they are asked for."""

    image: Image
    belief: Belief
    given_region_size_sectors: int | None = None  # by who asks: the kernel's log does not store it

    @property
    def region_size_sectors(self) -> int | None:
        """Sectors of a region; None where neither the log nor who asks says."""
        stored = self.image.extension.region_size_sectors if self.image.extension else 0
        return stored or self.given_region_size_sectors

    @property
    def dialect(self) -> DialectWord:
        """``kernel`` or ``diskulog``."""
        return _DIALECT_WORDS[self.image.dialect]

    @property
    def state(self) -> StateWord:
        """``open``, ``closed`` or ``unknown``."""
        return _STATE_WORDS[self.image.extension.state] if self.image.extension else "unknown"

    @cached_property
    def clean(self) -> Regions:
        """One bit a region: clean, and in sync where that is known."""
        return belief.clean_regions(self.image)

    @cached_property
    def in_sync(self) -> Regions | None:
        """One bit a region, None where the log does not say."""
        return belief.sync_regions(self.image)

    @property
    def clean_count(self) -> int:
        """Regions that are clean."""
        return self.clean.ones

    @property
    def dirty_count(self) -> int:
        """Regions that are not."""
        return self.clean.zeros

    @property
    def in_sync_count(self) -> int | None:
        """Regions that are in sync."""
        return None if self.in_sync is None else self.in_sync.ones

    @property
    def out_of_sync_count(self) -> int | None:
        """Regions that are not."""
        return None if self.in_sync is None else self.in_sync.zeros

    @property
    def resync_count(self) -> int | None:
        """Regions that the next activation resyncs; None while live, and where the count of regions is not known."""
        if self.image.live or self.image.region_count is None:
            return None
        return self.dirty_count if self.belief in belief.TAKES_CLEAN | belief.TAKES_BOTH else self.image.bit_count

    @property
    def resync_bytes(self) -> int | None:
        """Bytes that it copies; None where their number is not known."""
        if self.resync_count is None:
            return None
        everything = self.belief not in belief.TAKES_CLEAN | belief.TAKES_BOTH
        return self.mirror_bytes if everything else self.bytes_of(self.clean, 0)

    def resync_seconds(self, bytes_per_second: int) -> int | None:
        """How long it takes at this rate, rounded up; None where that is not known."""
        return None if self.resync_bytes is None else div_up(self.resync_bytes, bytes_per_second)

    @cached_property
    def checksums(self) -> dict[str, Verdict]:
        """``ok``, ``bad`` or ``none`` for the extension and each bitmap, which has one only while closed."""
        if self.image.extension is None:
            return {
                "extension": "bad" if self.belief is Belief.DAMAGED else "none",
                "clean_bitmap": "none",
                "sync_bitmap": "none",
            }
        closed = self.belief in (Belief.CLOSED, Belief.CHANGED)
        return {
            "extension": "ok",
            "clean_bitmap": _verdict(belief.clean_checksum_ok(self.image)) if closed else "none",
            "sync_bitmap": _verdict(belief.sync_checksum_ok(self.image)) if closed else "none",
        }

    @cached_property
    def messages(self) -> tuple[Message, ...]:
        """All findings, the gravest first."""
        found = [*_about_belief(self), *_about_life(self), *_about_bits(self), *_about_activation(self)]
        return tuple(sorted(found, key=lambda message: (ERROR, WARNING, INFO).index(message.severity)))

    @property
    def exit_status(self) -> Exit:
        """PROBLEM when any finding is an error."""
        return Exit.PROBLEM if any(message.severity == ERROR for message in self.messages) else Exit.FINE

    def span_bytes(self, first_region: int, count: int) -> tuple[int, int] | None:
        """Return offset and length of a range of regions in the mirror; None when the region size is not known."""
        if self.region_size_sectors is None:
            return None
        region = self.region_size_sectors * SECTOR_BYTES
        start, end = first_region * region, (first_region + count) * region
        extension = self.image.extension
        length = extension.target_length_sectors * SECTOR_BYTES if extension else 0
        if length:  # the last region may be short
            end = min(end, length)
        return start, max(end - start, 0)

    def bytes_of(self, regions: Regions, value: int) -> int | None:
        """Sum up the mirror's bytes behind the regions whose bit is ``value``; None without a region size."""
        if not regions.count:
            return None
        return self._sum_bytes(regions.ones if value else regions.zeros, regions.bit(regions.count - 1) == value)

    @property
    def mirror_bytes(self) -> int | None:
        """Size of the mirror; None without a region size."""
        return self._sum_bytes(self.image.bit_count, True) if self.image.bit_count else None

    def _sum_bytes(self, count: int, with_last: bool) -> int | None:
        """Sum up the bytes of some regions, of which the last may be one."""
        whole, last = self.span_bytes(0, 1), self.span_bytes(self.image.bit_count - 1, 1)
        if whole is None or last is None:
            return None
        return (count - 1) * whole[1] + last[1] if with_last else count * whole[1]


def report(image: Image, region_size_sectors: int | None = None) -> Report:
    """Judge an image; ``region_size_sectors`` is what whoever asks knows of a log that does not say.

    Raises:
        UsageError: when no mirror has such regions, or the log says otherwise.
    """
    made = Report(image, belief.judge(image), region_size_sectors)
    if region_size_sectors is None:
        return made
    if not region_size_possible(region_size_sectors):
        raise UsageError(f"region size: {region_size_sectors} sectors is not a power of two from 2 to 2^31")
    if made.region_size_sectors != region_size_sectors:
        says = f"{image.name} says {made.region_size_sectors} sectors"
        raise UsageError(f"region size: {says}, not {region_size_sectors}; leave it out")
    return made


def _verdict(good: bool) -> Verdict:
    return "ok" if good else "bad"


def _about_belief(subject: Report) -> Iterator[Message]:
    meaning = _MEANING.get(subject.belief)
    if meaning is None or (subject.belief is Belief.OPEN and subject.image.same_boot):
        return
    extension = subject.image.extension
    yield meaning._replace(
        text=meaning.text.format(
            header=subject.image.header.nr_regions,
            extension=extension and extension.region_count,
            offset=extension and extension.sync_offset_bytes,
        )
    )


def _about_life(subject: Report) -> Iterator[Message]:
    image = subject.image
    if image.live:
        seen = (
            "this is memory's state, the device may still say less is clean"
            if image.same_boot
            else "read past the page cache"
        )
        yield Message(WARNING, f"live, held by {', '.join(image.holders)}: it changes while it is read; {seen}", "live")


def _about_bits(subject: Report) -> Iterator[Message]:
    image = subject.image
    for name in belief.stray_bits(image):
        yield Message(ERROR, f"the {name} bitmap has bits set beyond the last region", "stray-bits")
    if image.region_count is None:
        yield Message(
            WARNING,
            "fresh from LVM (2^64-1 regions): the mirror was never active; "
            f"counted are the {image.bit_count} bits read, the mirror has fewer regions",
            "fresh-from-lvm",
        )


def _about_activation(subject: Report) -> Iterator[Message]:
    cost = resync_cost(subject)
    if cost is not None:
        yield Message(INFO, f"at the next activation {cost} will be resynced", "resync")


def resync_cost(subject: Report) -> str | None:
    """Say how much the next activation resyncs: ``24 regions (12.0 MiB)``; None where that is not known."""
    count = subject.resync_count
    if count is None:
        return None
    size = subject.resync_bytes
    return f"{count} region{'s' * (count != 1)}" + (f" ({human_bytes(size)})" if size is not None else "")
