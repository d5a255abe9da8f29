# SPDX-License-Identifier: LGPL-2.1-or-later
"""Why a mirror may not move: every reason, with what to do instead.

Lives here: the refusals. Asks nobody; the facts come in.
"""

from typing import Final

from diskulog.errors import RefusedError
from diskulog.moving import medium
from diskulog.moving.medium import Medium
from diskulog.moving.situation import GOOD, Situation, Target
from diskulog.moving.table import Kind, Table
from diskulog.ondisk import Dialect

_LVM: Final = "LVM-"


def refuse_memory_to_device(found: Situation, target: Target) -> None:
    """Refuse a device for a log in memory; raises as ``refuse_the_mirror``."""
    if found.table.log.in_memory and target.device:
        raise RefusedError(
            found.name,
            "its log is in memory only, and what it knows cannot be moved to a device",
            "make the mirror again with a log on a device",
        )


def refuse_what_waits(found: Situation) -> None:
    """Refuse to call a mirror well that an earlier try left suspended; raises as ``refuse_the_mirror``."""
    if found.suspended:
        raise RefusedError(found.name, "is suspended: its I/O waits", _as_before(found))


def _as_before(found: Situation) -> str:
    drop = f"'dmsetup clear {found.name}', then " if found.waiting or found.strange else ""
    return f"{drop}'dmsetup resume {found.name}'"


def _still_waiting(found: Situation) -> str:
    if not found.suspended or (found.old and medium.is_retired(found.old, found.table)):
        return ""
    return f"; its I/O waits, and goes on as before with {_as_before(found)}"


def refuse_the_mirror(found: Situation, target: Target, new: Table) -> None:
    """Refuse a mirror that may not move at all.

    Raises:
        RefusedError: with the reason, and what to do instead.
    """
    name, log = found.name, found.table.log
    if found.dm_uuid.startswith(_LVM) or log.uuid.startswith(_LVM):
        raise RefusedError(
            name, "belongs to LVM, which would load its own table over this one", "use lvconvert (--mirrorlog)"
        )
    if found.read_only:
        raise RefusedError(name, "is read-only", "make it writable first")
    if set(found.legs) != {GOOD}:
        raise RefusedError(
            name,
            f"a leg failed (the kernel says {found.legs or 'nothing'} of its {len(found.table.legs)} legs), "
            "and a new table would forget which one is good",
            f"replace the leg first ('dmsetup status' shows which one){_still_waiting(found)}",
        )
    if found.strange or (found.waiting and not found.waiting.same_as(new)):
        raise RefusedError(
            name, "another table waits for its resume", f"'dmsetup clear {name}' drops it; then try again"
        )
    retired = found.old is not None and medium.is_retired(found.old, found.table)
    if found.suspended and found.waiting is None and (not retired or log.in_memory or new.log.number == log.number):
        raise RefusedError(name, "is suspended, and no table waits", f"'dmsetup resume {name}' first")
    if found.failed and not target.failed:
        raise RefusedError(name, "its log failed", f"give it another one first: 'diskulog replace-log {name} NEWDEV'")
    if log.kind is Kind.DISKULOG and found.entry is None:
        raise RefusedError(name, "the daemon does not serve its log", "look at 'diskulog status' and the daemon's log")
    others = [each for each in found.served if each.uuid == new.log.uuid and each.state != "inactive"]
    if log.uuid != new.log.uuid and others:
        raise RefusedError(name, f"another mirror's log has the uuid {new.log.uuid!r}", "name another one with --uuid")


def refuse_the_same_device(found: Situation, new: Table) -> None:
    """Refuse a log device that cannot go from one to the other; raises as ``refuse_the_mirror``."""
    name, log, there = found.name, new.log, found.old
    if found.failed:
        raise RefusedError(
            name,
            f"its log on {log.device} failed",
            "name another device; or, if it works again, suspend and resume the mirror ('dmsetup suspend --noflush')",
        )
    if there is None:
        raise RefusedError(name, f"its log on {log.device} cannot be read", "look at it with 'diskulog check'")
    _refuse_too_small(name, there, new)
    if log.kind is Kind.KERNEL:
        return
    if there.unknown:
        raise RefusedError(name, f"the log on {log.device}: {there.unknown}", "use a newer diskulog")
    extension = there.extension
    if extension is None:
        return
    if extension.uuid != log.uuid:
        raise RefusedError(
            name,
            f"the log on {log.device} has the uuid {extension.uuid!r} from an earlier time with diskulog",
            "leave out --uuid",
        )
    if extension.region_size_sectors not in (0, log.region_size_sectors):
        raise RefusedError(
            name,
            f"the log on {log.device} was kept by diskulog with regions of {extension.region_size_sectors} sectors, "
            f"the mirror has {log.region_size_sectors}",
            "move it to another device (--log)",
        )


def refuse_the_new_device(found: Situation, target: Target, new: Table) -> None:
    """Refuse a device that cannot become the log; raises as ``refuse_the_mirror``."""
    name, there, device = found.name, found.new, new.log.device
    if there is None:
        raise RefusedError(name, f"{device} cannot be read", "name another device")
    if new.log.number in {leg.device for leg in found.table.legs}:
        raise RefusedError(name, f"{device} is one of its legs", "name another device")
    if name in there.below:
        raise RefusedError(name, f"{device} stands on the mirror itself: each would wait for the other", "name another")
    others = [holder for holder in there.holders if holder != name]
    if others:
        raise RefusedError(name, f"{device} is in use, held by {', '.join(others)}", "name another device")
    _refuse_too_small(name, there, new)
    if there.what and not target.overwrite and not _left_by_us(found, there, new):
        raise RefusedError(name, f"{device} holds {there.what}", "name another device, or say --overwrite")


def _left_by_us(found: Situation, there: Medium, new: Table) -> bool:
    """Tell whether a device may become the log though it holds something: a log of this very mirror, or half of one."""
    if there.stopped or there.nothing_clean:
        return True
    if found.waiting and found.waiting.same_as(new) and there.dialect in (Dialect.KERNEL, Dialect.DISKULOG):
        return True
    uuid = there.extension.uuid if there.extension else None
    return bool(new.log.uuid) and uuid in (new.log.uuid, medium.retired_uuid(new.log.uuid))


def _refuse_too_small(name: str, there: Medium, new: Table) -> None:
    needed = medium.needed_bytes(new, there.block_bytes)
    if there.size_bytes < needed:
        reason = f"{new.log.device} has {there.size_bytes} bytes, a log of {new.region_count} regions needs {needed}"
        raise RefusedError(name, reason, "use a larger device")
