# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the images of two legs and a log say after a power cut.

Lives here: where the legs differ, which regions the log calls dirty (read twice, by ``diskulog inspect`` and by hand),
and whether the one covers the other. Does not know virtual machines, or why the power was cut.
"""

import json
import os
import shutil
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SECTOR_BYTES = 512
LOG_BYTES = 64 * 1024
NAMES = ("leg-a", "leg-b", "log")  # in the guest: vda, vdb, vdc

_PROBLEM_FOUND = 1  # diskulog's exit code
_PYTHON = Path(__file__).resolve().parent.parent / ".venv/bin/python"
# by hand, from the kernel's dm-log.c: magic, version, number of regions; a bit a region from byte 1024, 1 is clean
_HEADER = struct.Struct("<IIQ")
_MAGIC = 0x4D695272
_BITMAP_OFFSET_BYTES = 1024


class MissError(Exception):
    """What diskulog promises does not hold."""


class LostMarkError(MissError):
    """A region whose legs differ is clean in the log."""


@dataclass(frozen=True)
class Images:
    """Three image files in a folder."""

    folder: Path
    region_size_sectors: int
    length_sectors: int

    @property
    def paths(self) -> list[Path]:
        """The files, in the order in which the VM gets them."""
        return [self.folder / name for name in NAMES]

    @property
    def region_count(self) -> int:
        """Regions, the last of which may be short."""
        return -(-self.length_sectors // self.region_size_sectors)

    def create(self) -> None:
        """Make legs that differ everywhere, and a blank log."""
        size_bytes = self.length_sectors * SECTOR_BYTES
        contents = os.urandom(size_bytes), bytes(size_bytes), bytes(LOG_BYTES)
        for path, content in zip(self.paths, contents, strict=True):
            path.write_bytes(content)

    def copy_to(self, folder: Path) -> None:
        """Copy them to another folder."""
        folder.mkdir(exist_ok=True)
        for path in self.paths:
            shutil.copyfile(path, folder / path.name)

    def sectors_of(self, regions: frozenset[int]) -> int:
        """Count the sectors of some regions."""
        last = self.region_count - 1
        short = self.region_count * self.region_size_sectors - self.length_sectors if last in regions else 0
        return len(regions) * self.region_size_sectors - short


@dataclass(frozen=True)
class Finding:
    """The regions in which the legs differ, and those that the log calls dirty and out of sync."""

    apart: frozenset[int]
    dirty: frozenset[int]
    out_of_sync: frozenset[int]
    region_count: int

    @property
    def torn(self) -> frozenset[int]:
        """Regions that were in sync, and that a write has left apart."""
        return self.apart - self.out_of_sync


def blank(images: Images) -> Finding:
    """Give what is to be found before the first boot: everything is out of sync."""
    everything = frozenset(range(images.region_count))
    return Finding(everything, everything, everything, images.region_count)


def apart(images: Images) -> frozenset[int]:
    """Find the regions in which the legs differ."""
    first, second = (path.read_bytes() for path in images.paths[:2])
    size_bytes = images.region_size_sectors * SECTOR_BYTES
    starts = range(0, images.length_sectors * SECTOR_BYTES, size_bytes)
    pieces = (slice(start, start + size_bytes) for start in starts)
    return frozenset(region for region, piece in enumerate(pieces) if first[piece] != second[piece])


def not_clean(log: bytes) -> frozenset[int]:
    """Read the clean bitmap by hand, for the regions that are dirty: a mistake of our reader must not hide a miss."""
    magic, _, count = _HEADER.unpack_from(log)
    if magic != _MAGIC:
        raise MissError(f"the log's magic is {magic:#x}")
    bitmap = log[_BITMAP_OFFSET_BYTES:]
    return frozenset(region for region in range(count) if not bitmap[region // 8] >> region % 8 & 1)


def inspected(log: Path) -> tuple[frozenset[int], frozenset[int]]:
    """Ask ``diskulog inspect`` for the regions that are dirty, and for those out of sync."""
    command = [_PYTHON if _PYTHON.exists() else sys.executable, "-m", "diskulog", "inspect", "--json", log]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, cwd=_PYTHON.parents[2])
    if done.returncode == _PROBLEM_FOUND:
        raise MissError(f"diskulog inspect finds fault with the log: {done.stdout}")
    done.check_returncode()
    said = json.loads(done.stdout)
    dirty, out_of_sync = (
        frozenset(region for first, count in said[key] for region in range(first, first + count))
        for key in ("dirty", "out_of_sync")
    )
    return dirty, out_of_sync


def judge(images: Images) -> Finding:
    """Check the promise on the images: every region whose legs differ is dirty in the log.

    Raises:
        MissError: it is not, or the two readers of the log disagree.
    """
    log = images.paths[2]
    by_hand, (dirty, out_of_sync) = not_clean(log.read_bytes()), inspected(log)
    found = Finding(apart(images), dirty, out_of_sync, images.region_count)
    if lost := found.apart - by_hand:
        raise LostMarkError(f"the legs differ in regions {listed(lost)}, which the log calls clean")
    if dirty != by_hand | out_of_sync:  # clean and out of sync reads as dirty, and is no damage
        raise MissError(f"inspect and the clean bitmap disagree about regions {listed(dirty ^ by_hand)}")
    return found


def check_equal(images: Images, when: str) -> None:
    """Check that the legs are equal.

    Raises:
        MissError: they are not.
    """
    if differing := apart(images):
        raise MissError(f"{when} the legs still differ in regions {listed(differing)}")


def listed(regions: frozenset[int], limit: int = 12) -> str:
    """Name regions, the first few of them."""
    first = sorted(regions)[:limit]
    more = f" and {len(regions) - limit} more" if len(regions) > limit else ""
    return ", ".join(map(str, first)) + more
