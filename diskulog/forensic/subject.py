# SPDX-License-Identifier: LGPL-2.1-or-later
"""The log that ``verify`` holds to its word: what of it is asked, and a fresh look at one region while it is live.

Lives here: region size and length from log, table and options; reading one region's bits again. Does not read legs.
"""

import os
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from diskulog import ondisk, sysfs
from diskulog.errors import RefusedError
from diskulog.exits import UsageError
from diskulog.forensic.comparison import Layout
from diskulog.forensic.image import Image
from diskulog.forensic.source import FileSource, Source
from diskulog.units import SECTOR_BYTES, div_up

_MIN_REGION_SECTORS: Final = 2
# what no suspend, resume or write changes in an extension
_FIXED: Final = attrgetter("uuid", "region_size_sectors", "region_count", "sync_offset_bytes")


@dataclass(frozen=True, slots=True)
class Told:
    """What the command line or a table says of a mirror; None where it does not."""

    region_size_sectors: int | None = None
    length_sectors: int | None = None
    uuid: str | None = None


def check_told(told: Told) -> None:
    """Refuse sizes that no mirror has.

    Raises:
        UsageError: naming the option.
    """
    size, length = told.region_size_sectors, told.length_sectors
    if size is not None and (size < _MIN_REGION_SECTORS or size & (size - 1)):
        raise UsageError(f"--region-size {size}: must be a power of two of sectors, {_MIN_REGION_SECTORS} or more")
    if length is not None and length < 1:
        raise UsageError(f"--length {length}: must be 1 sector or more")


def complete(image: Image, told: Told) -> Told:
    """Bring together what the log says and what was told; the length may stay unknown.

    Raises:
        UsageError: when a size is missing that the log does not know.
        RefusedError: when the log says something else, or was never active.
    """
    if image.region_count is None:
        raise RefusedError(image.name, "the mirror was never active (a fresh log of LVM)", "there is nothing to verify")
    found = _of_log(image)
    for what, says, was_told in (
        ("uuid", found.uuid, told.uuid),
        ("region size in sectors", found.region_size_sectors, told.region_size_sectors),
        ("length in sectors", found.length_sectors, told.length_sectors),
    ):
        if None not in (says, was_told) and says != was_told:
            raise RefusedError(
                image.name,
                f"its {what} is {says} in the log, and was given as {was_told}",
                "name the log of the mirror",
            )
    size = found.region_size_sectors or told.region_size_sectors
    if size is None:
        raise UsageError(
            f"{image.name}: the region size is not in this log: give it with --region-size SECTORS, as in the table of "
            "the mirror, or name the mirror with --mirror"
        )
    length = found.length_sectors or told.length_sectors
    if length is not None and div_up(length, size) != image.region_count:
        raise RefusedError(
            image.name,
            f"it counts {image.region_count} regions, {length} sectors in regions of {size} are {div_up(length, size)}",
            "check --length and --region-size",
        )
    return Told(size, length, found.uuid or told.uuid)


def _of_log(image: Image) -> Told:
    """What the log itself knows; of the length nothing, when its number of regions has changed since."""
    extension = image.extension
    if extension is None:
        return Told()
    size, length = extension.region_size_sectors or None, extension.target_length_sectors or None
    if size and length and div_up(length, size) != image.region_count:
        length = None
    return Told(size, length, extension.uuid)


def layout(image: Image, told: Told, shortest_leg_bytes: int) -> Layout:
    """Cut the mirror into regions; where its length is not known, it ends where the shortest leg does."""
    region, count = (told.region_size_sectors or 0) * SECTOR_BYTES, image.bit_count
    if told.length_sectors is not None:
        return Layout(region, count, told.length_sectors * SECTOR_BYTES)
    least = (count - 1) * region + SECTOR_BYTES if count else 0
    return Layout(region, count, min(count * region, max(shortest_leg_bytes, least)))


class LiveLog:
    """A log that is open, to be asked again for one region."""

    def __init__(self, source: Source, image: Image) -> None:
        """Take the source that the image was read from, still open."""
        self._source, self._image = source, image

    def live(self) -> bool:
        """Tell whether a device is built on the log now."""
        if not isinstance(self._source, FileSource):
            return False
        return bool(sysfs.holders(os.fstat(self._source.fd).st_rdev))

    def is_clean(self, region: int) -> bool:
        """Tell whether the log calls a region clean and in sync at this moment.

        Raises:
            RefusedError: when it has become the log of something else.
            DeviceError: when it cannot be read.
        """
        self._refuse_another()
        clean = self._bit(ondisk.CLEAN_OFFSET_BYTES, region)
        extension = self._image.extension
        if self._image.sync is None or extension is None:
            return clean
        return clean and self._bit(extension.sync_offset_bytes, region)

    def _bit(self, offset_bytes: int, region: int) -> bool:
        byte = self._source.read(offset_bytes + region // 8, 1)
        return bool(byte and byte[0] >> region % 8 & 1)

    def _refuse_another(self) -> None:
        # twice, for the extension may be stored at this very moment
        if not (self._is_the_same() or self._is_the_same()):
            raise RefusedError(self._image.name, "the log was given another size or owner meanwhile", "start again")

    def _is_the_same(self) -> bool:
        head = self._source.read(0, ondisk.HEAD_BYTES)
        if ondisk.dialect(head) is not self._image.dialect:
            return False
        now, before = ondisk.unpack_extension(head), self._image.extension
        same_owner = now is before if now is None or before is None else _FIXED(now) == _FIXED(before)
        return same_owner and ondisk.unpack_header(head).nr_regions == self._image.header.nr_regions
