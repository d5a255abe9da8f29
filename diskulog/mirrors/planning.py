# SPDX-License-Identifier: LGPL-2.1-or-later
"""From a wish to a checked table line: what the devices say of it, what was chosen and why.

Lives here: the rules, the notes for the administrator. Nothing is written; the devices are open while they are judged.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from diskulog import ctr, ondisk, verdict
from diskulog.ctr import CtrArgs, Sync
from diskulog.errors import RefusedError
from diskulog.exits import UsageError
from diskulog.forensic import content
from diskulog.forensic.source import Source, Through
from diskulog.mirrors import devices, sizing, wish
from diskulog.mirrors.devices import Device
from diskulog.mirrors.wish import Wish
from diskulog.mirrortable import HANDLE_ERRORS, LegName, MirrorLine
from diskulog.ondisk import Dialect
from diskulog.printable import printable
from diskulog.units import SECTOR_BYTES, human_bytes, round_down

_ANOTHER: Final = "name another device, or zero it with dd"
_KEEP: Final = "say --keep-log if these are the legs of that mirror, and only dirty regions are copied; or zero it"
_WAYS_OUT: Final = {
    Dialect.KERNEL: _KEEP,
    Dialect.DISKULOG: _KEEP,
    Dialect.DAMAGED: "'diskulog repair' makes a log of it; or zero it with dd",
}

_NONE: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Plan:
    """A line that passed every check, what was chosen and why, and what becomes of what is on the legs."""

    line: MirrorLine
    notes: tuple[str, ...]
    fate: str


@dataclass(frozen=True, slots=True)
class _Log:
    """The log device while it is open."""

    device: Device
    source: Source
    head: bytes


@dataclass(slots=True)
class _From(Through):
    """A leg from where the mirror begins in it."""

    start_bytes: int

    def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        return self.source.read(self.start_bytes + offset_bytes, length_bytes)


def plan(wished: Wish, served: Mapping[str, str], by_uuid: Mapping[str, str] = _NONE) -> Plan:
    """Check a wish against the devices; ``served`` names the mirrors whose log is in user space, by their number.

    ``by_uuid`` names them by the uuid of their log.

    Raises:
        UsageError: for what no mirror can be.
        RefusedError: for devices that cannot be its legs or its log, or another's uuid, with the way out.
        DeviceError: when one cannot be read.
    """
    wish.check(wished)
    _refuse_the_same(wished)
    with ExitStack() as until_judged:
        legs = [until_judged.enter_context(devices.opened(leg.device)) for leg in wished.legs]
        log = None
        if wished.log is not None:
            device, source = until_judged.enter_context(devices.opened(wished.log))
            log = _Log(device, source, source.read(0, ondisk.HEAD_BYTES))
        found = [device for device, _ in legs]
        everything = [*found, *([log.device] if log else [])]
        _refuse_stacks(everything, served)
        line, notes = _line(wished, found, log)
        _refuse_the_uuid_of(by_uuid.get(line.uuid or ""), line, log)
        if log:
            notes += _judge_log(wished, line, log)
        on_legs = [
            content.look(_From(source, leg.offset_sectors * SECTOR_BYTES))
            for leg, (_, source) in zip(wished.legs, legs, strict=True)
        ]
        notes += _warnings(wished, found)
    kept = log is not None and wished.keep_log and ondisk.dialect(log.head) in (Dialect.KERNEL, Dialect.DISKULOG)
    return Plan(line, tuple(notes), _fate(wished, on_legs, kept=kept))


def _refuse_the_same(wished: Wish) -> None:
    seen: dict[str, str] = {}
    for name, role in [*((leg.device, "leg") for leg in wished.legs), *([(wished.log, "log")] if wished.log else [])]:
        number = devices.resolved(name)
        if number in seen:
            raise UsageError(
                f"{role} {name}: is the same device as {seen[number]}; each leg and the log need their own"
            )
        seen[number] = name


def _refuse_stacks(found: Sequence[Device], served: Mapping[str, str]) -> None:
    for each in found:
        for number in (each.number, *sorted(each.below)):
            if number in served:
                raise RefusedError(
                    each.name,
                    f"is on mirror {served[number]}, whose log is in user space: a daemon would wait for itself",
                    "name a device that is not on such a mirror",
                )
        for other in found:
            if other.number in each.below:
                raise RefusedError(each.name, f"is a part of {other.name}", "name devices that do not overlap")


def _refuse_the_uuid_of(other: str | None, line: MirrorLine, log: _Log | None) -> None:
    # the daemon knows a log by it: each of the two would take the other's log away, again and again
    if other is not None:
        renames = "" if log is None else f"; 'diskulog adopt --uuid NEW {log.device.name}' gives it to a copied log"
        raise RefusedError(f"uuid {line.uuid}", f"is that of mirror {other}", f"give another with --uuid{renames}")


def _line(wished: Wish, legs: Sequence[Device], log: _Log | None) -> tuple[MirrorLine, list[str]]:
    length, notes = _length(wished, legs)
    uuid, size = wished.uuid, wished.region_size_sectors
    extension = ondisk.unpack_extension(log.head) if log and wished.keep_log else None
    if extension is not None:  # what the log says of itself; verdict.refuse compares what was asked for
        uuid, size = uuid or extension.uuid, size or extension.region_size_sectors or None
    if uuid is None:
        uuid = wish.new_uuid()
        notes.append(f"uuid {uuid} was made up now: the log belongs to it, so keep this line")
    if size is None:
        if log and wished.keep_log and ondisk.dialect(log.head) in (Dialect.KERNEL, Dialect.DISKULOG):
            raise UsageError(f"{log.device.name}: this log does not know its region size: give --region-size")
        room = None if log is None else log.device.size_sectors * SECTOR_BYTES
        chosen = sizing.choose(length, room, log.device.block_bytes if log else SECTOR_BYTES)
        size = chosen.sectors
        notes.append(chosen.reason)
    line = MirrorLine(
        length,
        "core" if log is None else "disk",
        None if log is None else log.device.name,
        size,
        wished.legs,
        uuid,
        not wished.plain,
        (wished.sync.value,) if wished.sync.value else (),
        (HANDLE_ERRORS,),
    )
    return line, notes


def _length(wished: Wish, legs: Sequence[Device]) -> tuple[int, list[str]]:
    rooms = [_room(leg, device) for leg, device in zip(wished.legs, legs, strict=True)]
    # dm refuses a device whose blocks the mirror would cut
    block = max(device.block_bytes for device in legs) // SECTOR_BYTES
    askew = [leg for leg in wished.legs if leg.offset_sectors % block]
    if askew:
        raise UsageError(f"leg {askew[0].device}:{askew[0].offset_sectors}: must begin at a multiple of {block}")
    length = wished.length_sectors
    if length is not None:
        short = [leg.device for leg, room in zip(wished.legs, rooms, strict=True) if room < length]
        if short:
            raise RefusedError(
                f"leg {short[0]}",
                f"has room for {min(rooms)} sectors, and the mirror needs {length}",
                "name a larger one, or a smaller --length",
            )
        if length % block:
            raise UsageError(f"--length {length}: must be a multiple of the legs' block of {block} sectors")
        return length, []
    length = round_down(min(rooms), block)
    if length < 1:
        raise RefusedError(f"leg {wished.legs[rooms.index(min(rooms))].device}", "has no room", "name a larger one")
    unused = max(rooms) - length
    said = [f"length {length} sectors ({human_bytes(length * SECTOR_BYTES)}), as the smallest leg has"]
    return length, [*said, f"{unused} sectors of the largest leg stay unused"] if unused else said


def _room(leg: LegName, device: Device) -> int:
    return max(device.size_sectors - leg.offset_sectors, 0)


def _judge_log(wished: Wish, line: MirrorLine, log: _Log) -> list[str]:
    """Refuse a log device that the daemon would refuse, and one with content that nobody asked to keep."""
    args = ctr.parse(line.constructor().encode("utf-8", "surrogateescape"))
    device_bytes, block = log.device.size_sectors * SECTOR_BYTES, log.device.block_bytes
    fits = ondisk.needed_bytes(args.region_count, block) <= device_bytes
    there = content.look(log.source, verdict.blank_ranges(args, device_bytes, block)) if fits else None
    if there and not wished.keep_log:
        raise RefusedError(log.device.name, f"holds {there.what}", _WAYS_OUT.get(ondisk.dialect(log.head), _ANOTHER))
    verdict.refuse(log.head, (line.uuid or "").encode("utf-8", "surrogateescape"), args, device_bytes, block)
    if not wished.keep_log:
        return []
    if not there:
        return [f"{log.device.name} is blank: there is no log to keep"]
    return [f"{log.device.name} holds {there.what}, which is kept", *_resized(args, log)]


def _resized(args: CtrArgs, log: _Log) -> list[str]:
    counted = ondisk.unpack_header(log.head).nr_regions
    if counted in (args.region_count, ondisk.ALL_REGIONS):
        return []
    return [f"warning: the log counts {counted} regions, and this mirror has {args.region_count}: is it its log?"]


def _warnings(wished: Wish, legs: Sequence[Device]) -> list[str]:
    notes = []
    for at, leg in enumerate(legs):
        for other in legs[:at]:
            shared = sorted(leg.disks & other.disks)
            if shared:
                notes.append(
                    f"warning: {other.name} and {leg.name} are on one disk, {shared[0]}, and will fail together"
                )
    if wished.log is None:
        notes.append("warning: a log in memory is lost with the host: everything is copied after a crash or a reboot")
    if wished.sync is Sync.NOSYNC:
        notes.append("warning: nosync: legs that differ now will differ for ever, and give back either content")
    return notes


def _fate(wished: Wish, on_legs: Sequence[content.Content | None], *, kept: bool) -> str:
    """Say what becomes of what is on the legs; ``kept`` says that there is a log to go on with."""
    first, *others = [
        f"{leg.device} ({printable(there.what) if there else 'nothing seen'})"
        for leg, there in zip(wished.legs, on_legs, strict=True)
    ]
    if wished.sync is Sync.NOSYNC:
        return f"{', '.join([first, *others])} are taken for equal, and nothing is copied"
    if kept and wished.sync is not Sync.SYNC:
        return f"what the log calls dirty is copied from {first} over {', '.join(others)}"
    return f"what is on {first} stays, and is copied over {', '.join(others)}"
