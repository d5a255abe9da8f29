# SPDX-License-Identifier: LGPL-2.1-or-later
"""What moving a mirror to another log comes to: a situation in, steps out, or a refusal.

Lives here: which steps in which order; ``refusals`` has why not. Asks nobody and changes nothing.
"""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from diskulog.moving import medium, refusals
from diskulog.moving.situation import Situation, Target
from diskulog.moving.table import WHO, Kind, Log, Table, check
from diskulog.ondisk import Dialect


class Step(Enum):
    """What is done; the sentence is what a dry run says. A stop between any two harms nothing."""

    CLEAR = "drop the table that waits, which an earlier try left"
    PREPARE = "write a log to the new device of which everything is dirty"
    SUSPEND = "suspend the mirror without flushing: its I/O waits from here on"
    LOAD = "load the new table, which waits"
    SETTLE = "wait until the kernel's own log has written its last clear"
    CLOSED = "check that diskulog closed the log"
    RESTORE = "take the old log back into use, for an earlier try took it out"
    COPY = "copy what the old log calls clean to the new one"
    AGREE = "if everything is in sync, load the table again so that the new log begins with that"
    RELEASE = "say in the log's extension that its clean bitmap is the whole truth"
    RETIRE = "take the old log out of use, so that no table believes it again"
    RESUME = "resume with the new table: the I/O goes on"
    CONFIRM = "check that the new log is at work"


# while these are done whoever wants may interrupt: nothing waits, or a suspend waits for a write that hangs
AT_EASE: Final = frozenset({Step.CLEAR, Step.PREPARE, Step.SUSPEND, Step.CONFIRM})


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, all of it in ``steps``; none is left where the mirror is as wanted. ``notes`` are worth a word."""

    name: str
    old: Table
    new: Table
    steps: tuple[Step, ...]
    summary: str
    notes: tuple[str, ...] = ()
    failed: bool = False
    read_only: bool = False

    @property
    def same_device(self) -> bool:
        """Whether the log stays where it is."""
        return self.old.log.number == self.new.log.number


def plan(found: Situation, target: Target) -> Plan:
    """Decide what to do.

    Raises:
        RefusedError: when it would not be safe, with the reason and what to do instead.
    """
    refusals.refuse_memory_to_device(found, target)
    old, name = found.table, found.name
    new = old.with_log(_new_log(found, target))
    made = Plan(name, old, new, (), _summary(new, old), _notes(found, new), found.failed, found.read_only)
    if new.log.kind is old.log.kind and made.same_device and (not found.failed or not target.failed):
        refusals.refuse_what_waits(found)
        where = f"on {old.log.device}" if old.log.device else "in memory"
        return replace(made, summary=f"nothing to do: its log is {WHO[old.log.kind]} {where} already")
    refusals.refuse_the_mirror(found, target, new)
    check(name, new)
    if old.log.in_memory:
        return replace(made, steps=tuple(_in_memory(found)))
    if made.same_device:
        refusals.refuse_the_same_device(found, new)
    else:
        refusals.refuse_the_new_device(found, target, new)
    return replace(made, steps=tuple(_steps(found, made)))


def _new_log(found: Situation, target: Target) -> Log:
    old = found.table.log
    if old.in_memory:
        return _new_log_in_memory(found, target)
    device, number = target.device or old.device, target.number or old.number
    new = Log(target.kind, device, number, old.region_size_sectors)
    if target.kind is Kind.KERNEL:
        return new
    own = old.type_word if old.kind is Kind.DISKULOG else "disk"
    return replace(new, uuid=target.uuid or old.uuid or _uuid_before(found), type_word=own)


def _new_log_in_memory(found: Situation, target: Target) -> Log:
    # what it knows cannot be handed over; that nothing is left to know can be said
    old, options = found.table.log, ("nosync",) if found.all_in_sync else ()
    new = Log(target.kind, "", "", old.region_size_sectors, type_word="core", options=options)
    return new if target.kind is Kind.KERNEL else replace(new, uuid=target.uuid or _uuid_before(found))


def _uuid_before(found: Situation) -> str:
    if found.old and found.old.extension:
        return found.old.extension.uuid
    return (found.waiting.log.uuid if found.waiting else "") or _uuid_of_a_try(found) or found.fresh_uuid


def _uuid_of_a_try(found: Situation) -> str:
    # made up by an earlier try, which left the mirror suspended: no table was ever resumed with that log
    there = found.new.extension if found.new and found.suspended else None
    if there is None or there.resumed_seconds or not medium.is_for(there, found.table):
        return ""
    return there.uuid


def _summary(new: Table, old: Table) -> str:
    if new.log.in_memory:
        return f"its log, which is in memory, goes from {WHO[old.log.kind]} to {WHO[new.log.kind]}"
    who, device = WHO[new.log.kind], new.log.device
    uuid = f" under the uuid {new.log.uuid}" if new.log.uuid and new.log.uuid != old.log.uuid else ""
    return f"its log goes from {WHO[old.log.kind]} on {old.log.device} to {who} on {device}{uuid}"


def _notes(found: Situation, new: Table) -> tuple[str, ...]:
    old, notes = found.table, []
    if not old.handles_errors:
        notes.append("its table lacks 'handle_errors', without which a failed log is ignored; the new one has it")
    if old.log.in_memory and not found.all_in_sync:
        notes.append(f"what its log knows ends with it: all {old.region_count} regions will be resynced")
    if old.log.options and not old.log.in_memory:
        dropped = " ".join(old.log.options)
        notes.append(
            f"the new table leaves out '{dropped}', which speaks of a mirror that is set up for the first time"
        )
    if found.failed and old.log.number != new.log.number:
        notes.append(f"nothing of the failed log is believed: all {old.region_count} regions will be resynced")
    return tuple(notes)


def _steps(found: Situation, made: Plan) -> list[Step]:
    return [*(_on_the_same_device if made.same_device else _on_another_device)(found, made), Step.RESUME, Step.CONFIRM]


def _on_the_same_device(found: Situation, made: Plan) -> list[Step]:
    # loaded first: what is refused is refused before anything waits
    begin = [] if found.suspended else [*_clear(found), Step.LOAD, Step.SUSPEND]
    return [*begin, _at_rest(made), *([Step.RELEASE] if _to_release(found, made) else [])]


def _on_another_device(found: Situation, made: Plan) -> list[Step]:
    # Loaded last: a resume by whoever it is must not bring the new log to life before the old one is out of use.
    # Where an earlier try stopped all is done again: who knows who loaded a table that waits, and what lies there? The
    # truth is in the old log for as long as the mirror is suspended with it, out of use or not.
    retired = found.old is not None and medium.is_retired(found.old, made.old)
    begin = [Step.PREPARE] if found.suspended else [Step.PREPARE, Step.SUSPEND]
    if found.failed:  # nothing of it is known
        return [*_clear(found), *begin, *([] if retired else [Step.RETIRE]), Step.LOAD]
    restore = [Step.RESTORE] if retired else []
    return [*_clear(found), *restore, *begin, _at_rest(made), Step.COPY, Step.RETIRE, Step.LOAD]


def _in_memory(found: Situation) -> list[Step]:
    begin = [Step.LOAD] if found.suspended else [*_clear(found), Step.LOAD, Step.SUSPEND]
    return [*begin, Step.AGREE, Step.RESUME, Step.CONFIRM]


def _clear(found: Situation) -> list[Step]:
    return [Step.CLEAR] if found.waiting else []


def _at_rest(made: Plan) -> Step:
    return Step.SETTLE if made.old.log.kind is Kind.KERNEL else Step.CLOSED


def _to_release(found: Situation, made: Plan) -> bool:
    # a log that only the kernel ever wrote is taken as it stands (on-disk rule 13)
    assert found.old is not None
    return made.new.log.kind is Kind.KERNEL or found.old.dialect is not Dialect.KERNEL
