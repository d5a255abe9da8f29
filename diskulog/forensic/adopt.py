# SPDX-License-Identifier: LGPL-2.1-or-later
"""``adopt``: telling diskulog that the kernel's own log wrote a log after it, so that clean regions stay clean.

Lives here: the decision, an image in, a plan out. Does not ask, write or print.
"""

from dataclasses import dataclass, replace
from typing import Final

from diskulog import ondisk
from diskulog.errors import BadLogError, RefusedError
from diskulog.exits import UsageError
from diskulog.forensic import belief
from diskulog.forensic.belief import Belief
from diskulog.forensic.image import Image
from diskulog.ondisk import Extension, Geometry, State

MAX_UUID_BYTES: Final = 128


@dataclass(frozen=True, slots=True)
class Plan:
    """What adopting a log comes to: ``sector`` replaces its extension, None when there is nothing to do."""

    summary: str
    sector: bytes | None = None
    warning: str | None = None


_NOTHING: Final = {
    Belief.KERNEL: "it is a kernel log, whose clean bitmap is taken at the next activation",
    Belief.RELEASED: "it is released already, its clean bitmap is taken at the next activation",
    Belief.CLOSED: "diskulog closed it and nobody wrote since",
}
_EVIDENCE: Final = {
    Belief.CHANGED: "a bitmap changed after diskulog closed it",
    Belief.RESIZED: "its number of regions changed since diskulog used it",
    Belief.MISPLACED: "its extension puts the sync bitmap where it cannot be",
    Belief.OPEN: "diskulog did not close it",
    Belief.DAMAGED: "its extension is damaged",
}


def plan(image: Image, uuid: str | None, block_bytes: int) -> Plan:
    """Decide what adopting means for a log, on what the device holds.

    ``uuid`` replaces the mirror's uuid; None keeps it. ``block_bytes`` is the device's logical block size.

    Raises:
        RefusedError: when a damaged extension leaves no uuid, or the device cannot hold both bitmaps.
        UsageError: when ``uuid`` cannot be a mirror's.
    """
    if uuid is not None:
        check_uuid(uuid)
    found = belief.judge(image)
    extension = image.extension
    nothing = _NOTHING.get(found)
    if nothing is not None:
        if extension is None or uuid in (None, extension.uuid):
            return Plan(f"nothing to adopt: {nothing}")
        renamed = extension.changed(uuid=uuid or "", live_token=bytes(8))
        return Plan(f"the uuid becomes {uuid}, was {extension.uuid}; nothing else to adopt", renamed.pack())
    if extension is None:
        extension = _fresh(image, uuid)
    released = _released(image, extension, uuid, block_bytes)
    kept = belief.clean_regions(replace(image, sync=None)).ones
    summary = f"{_EVIDENCE[found]}; adopted, {kept} of {image.bit_count} regions stay clean at the next activation"
    return Plan(summary, released.pack(), _risk(image, kept) if found is Belief.OPEN else None)


def check_uuid(uuid: str) -> None:
    """Refuse what no table of a mirror can hold as its uuid.

    Raises:
        UsageError: with the reason.
    """
    # dm's table words: no blanks, and DM_UUID_LEN with its NUL
    size = len(uuid.encode("utf-8", "surrogateescape"))
    if not 1 <= size <= MAX_UUID_BYTES or not uuid.isprintable() or any(char.isspace() for char in uuid):
        raise UsageError(f"--uuid: must be 1 to {MAX_UUID_BYTES} bytes without blanks, as in the table of the mirror")


def _fresh(image: Image, uuid: str | None) -> Extension:
    """Stand in for an extension that is damaged: sizes of 0 are not known, the next activation fills them in."""
    if uuid is None:
        raise RefusedError(
            image.name,
            "its extension is damaged, the uuid of its mirror is not known",
            "give it with --uuid, as in the table of the mirror",
        )
    return Extension(uuid, 0, 0, 0, 0, 0, State.RELEASED, generation=0)


def _released(image: Image, extension: Extension, uuid: str | None, block_bytes: int) -> Extension:
    count = extension.region_count if image.region_count is None else image.region_count
    size = image.size_bytes or 0
    geometry = Geometry(count, extension.sync_offset_bytes, extension.sync_capacity_bytes)
    if not ondisk.fits(geometry, size):  # the clean bitmap grew over the sync bitmap, or there never was one
        try:
            geometry = ondisk.choose_geometry(count, size, block_bytes)
        except BadLogError as cause:
            raise RefusedError(image.name, str(cause), "use a larger device") from cause
    length = extension.target_length_sectors
    if count != extension.region_count:
        length = count * extension.region_size_sectors
    return extension.changed(
        uuid=extension.uuid if uuid is None else uuid,
        target_length_sectors=length if length < 2**64 else 0,  # of sizes that cannot be: not known
        region_count=count,
        sync_offset_bytes=geometry.sync_offset_bytes,
        sync_capacity_bytes=geometry.sync_capacity_bytes,
        state=State.RELEASED,
        boot_id=bytes(16),  # no live log of this boot may be found again in it
        live_token=bytes(8),
        clean_crc32=0,
        sync_crc32=0,
    )


def _risk(image: Image, kept: int) -> str:
    believed = belief.clean_regions(image).ones
    return (
        f"after a mere crash of diskulog's host nothing must be adopted; "
        f"it would call {kept - believed} regions in sync that may not be: "
        "go on only if the kernel's own log used this mirror after the crash"
    )
