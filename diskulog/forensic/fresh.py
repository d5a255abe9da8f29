# SPDX-License-Identifier: LGPL-2.1-or-later
"""``format``: a log as it is before the first life of its mirror.

Lives here: what a new log says. Does not know where it is written, and asks nobody.
"""

from diskulog import ondisk
from diskulog.exits import UsageError
from diskulog.forensic import adopt, bitmap, image
from diskulog.forensic.image import Image
from diskulog.ondisk import Extension, Header, State
from diskulog.units import MAX_REGION_COUNT, region_size_possible


def log(uuid: str, region_size_sectors: int, region_count: int, *, in_sync: bool, now_seconds: int) -> Image:
    """Make a log of which every region is dirty and out of sync, or with ``in_sync`` clean; closed.

    Raises:
        UsageError: when no mirror can have such a uuid, regions of this size, or so many.
    """
    adopt.check_uuid(uuid)
    if not region_size_possible(region_size_sectors):
        raise UsageError(f"--region-size {region_size_sectors}: must be a power of two from 2 to 2^31 sectors")
    if not 1 <= region_count <= MAX_REGION_COUNT:
        raise UsageError(f"--regions {region_count}: must be from 1 to {MAX_REGION_COUNT}")
    length = region_size_sectors * region_count
    geometry = ondisk.choose_geometry(region_count, ondisk.needed_bytes(region_count, 1), 1)
    extension = Extension(
        uuid=uuid,
        region_size_sectors=region_size_sectors,
        target_length_sectors=length,
        region_count=region_count,
        sync_offset_bytes=geometry.sync_offset_bytes,
        sync_capacity_bytes=geometry.sync_capacity_bytes,
        state=State.CLOSED,
        created_seconds=now_seconds,
    )
    bits = bitmap.made("a new log", region_count, [] if in_sync else [(0, region_count)])
    return image.assembled("a new log", Header(nr_regions=region_count), extension, region_count, bits, bits)
