# SPDX-License-Identifier: LGPL-2.1-or-later
"""How large the regions of a new mirror are, and why.

Lives here: the choice and its reason in words. Does not know devices or table lines.
"""

from dataclasses import dataclass
from typing import Final

from diskulog.ondisk import needed_bytes
from diskulog.units import MIN_REGION_SIZE_SECTORS, SECTOR_BYTES, div_up, human_bytes

# What a write leaves dirty is copied as a whole after a crash, and each region costs four bits of locked memory and two
# on the device: half a MiB is copied in some milliseconds, and a million regions are 256 KiB of log.
USUAL_SECTORS: Final = 1024
MOST_REGIONS: Final = 2**20


@dataclass(frozen=True, slots=True)
class RegionSize:
    """A region size, and the sentence that says why."""

    sectors: int
    reason: str


def choose(length_sectors: int, log_bytes: int | None, block_bytes: int) -> RegionSize:
    """Choose for a mirror of this length; ``log_bytes`` is the room for its log, None for one in memory.

    A log device that cannot hold it at all is not met here: the size is then the largest that is possible.
    """
    size, reason = USUAL_SECTORS, "the usual one: what a crash leaves dirty is copied in pieces of this size"
    while size > length_sectors and size > MIN_REGION_SIZE_SECTORS:
        size, reason = size // 2, "the largest power of two that the mirror can hold"
    while div_up(length_sectors, size) > MOST_REGIONS:
        size, reason = size * 2, f"the smallest that makes no more than {MOST_REGIONS} regions"
    while _too_large(length_sectors, size, log_bytes, block_bytes) and size * 2 <= length_sectors:
        size, reason = size * 2, "the smallest with which the log has room on its device"
    count = div_up(length_sectors, size)
    what = f"region size {size} sectors ({human_bytes(size * SECTOR_BYTES)}), {count} region{'s' * (count != 1)}"
    return RegionSize(size, f"{what}: {reason}")


def _too_large(length_sectors: int, size: int, log_bytes: int | None, block_bytes: int) -> bool:
    return log_bytes is not None and needed_bytes(div_up(length_sectors, size), block_bytes) > log_bytes
