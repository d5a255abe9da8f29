# SPDX-License-Identifier: LGPL-2.1-or-later
"""How a mirror stands before it moves: its tables, its legs, its logs, the daemon.

Lives here: whom to ask what, in an order in which nothing hangs. Decides nothing.
"""

import re
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from diskulog import dm
from diskulog.control import client, model
from diskulog.dm import Mapper
from diskulog.errors import DiskulogError, RefusedError
from diskulog.exits import NoDaemonError
from diskulog.moving import logs, table
from diskulog.moving.medium import Medium
from diskulog.moving.situation import GOOD, Served, Situation
from diskulog.moving.table import Kind, Table

_MODULE: Final = Path("/sys/module/dm_log_userspace")
_LOAD: Final = ("modprobe", "--quiet", "dm-log-userspace")
_NUMBER: Final = re.compile(r"\d+:\d+")
_OLD_SECONDS: Final = 10.0  # of figures that the daemon's worker writes every second


@dataclass(frozen=True, slots=True)
class Status:
    """What the kernel says of a mirror: a letter for each leg, one for the log, how many regions are in sync.

    ``log_number`` is the log device's ``major:minor``, empty where it is in memory or not told.
    """

    legs: str
    log_letter: str
    in_sync_count: int
    log_number: str = ""


def load_module() -> None:
    """Load the kernel's module for logs in user space, if it is one and not there yet.

    Loading a table would do it, by a program that may lie on the mirror that is suspended then.
    """
    if not _MODULE.exists():
        with suppress(OSError):  # the table is refused then, and the mirror goes on as before
            subprocess.run(_LOAD, stdin=subprocess.DEVNULL, capture_output=True, check=False)


@dataclass(frozen=True, slots=True)
class Doors:
    """Who is asked: dm, the daemon for its logs, the host for a device's node and number and the kernel's module."""

    mapper: Mapper
    served: Callable[[], tuple[Served, ...]]
    node: Callable[[str], str] = logs.node
    number_of: Callable[[str], str] = logs.number_of
    load_module: Callable[[], None] = load_module


def served(socket: Path) -> tuple[Served, ...]:
    """Return the logs of the daemon that answers there.

    Raises:
        NoDaemonError: when none does, or its worker does not.
        DiskulogError: as ``client.status``.
    """
    answer = model.answer(client.status(socket))
    age = answer.daemon.age_seconds
    if answer.daemon.worker_pid is None or age is None or age > _OLD_SECONDS:
        raise NoDaemonError(
            f"control socket {socket}: the daemon's worker does not answer just now; look at the daemon's log"
        )
    return tuple(Served(log.uuid, log.log_device, log.state, log.health) for log in answer.logs)


def status(mapper: Mapper, name: str) -> Status:
    """Ask the kernel how a mirror stands. Where its log is in user space the daemon must be known to answer.

    Raises:
        RefusedError: when the answer is no mirror's.
        DiskulogError: as ``Mapper.status``.
    """
    text = mapper.status(name)
    words = text.split()
    try:
        ratio = 4 + int(words[3])  # behind the legs' names
        log = words[ratio + 3 :]  # "3 disk 253:2 A", "1 core"; what is in memory cannot fail
        letter = GOOD if int(log[0]) == 1 else log[-1]
        number = log[2] if int(log[0]) > 2 and _NUMBER.fullmatch(log[2]) else ""
        return Status(words[ratio + 2], letter, int(words[ratio].partition("/")[0]), number)
    except (ValueError, IndexError) as cause:
        raise RefusedError(name, f"its status cannot be understood: {text}", "look at 'dmsetup status'") from cause


def situation(doors: Doors, name: str, to: Kind | None, device: str | None, fresh_uuid: str) -> Situation:
    """Look at a mirror that is to go to a log of this kind, or of its own, on ``device`` or where its log is.

    Raises:
        RefusedError: when it is no mirror with a log that is known here.
        NoDaemonError: when a daemon is needed and none answers.
        DiskulogError: when something cannot be asked or read.
    """
    mapper = doors.mapper
    name = name.removeprefix(dm.PREFIX)
    info = mapper.info(name)
    if not info.has_table:
        raise RefusedError(name, "has no table", "name a mirror that is active")
    live = table.parse(name, mapper.table(name), doors.number_of)
    # before anything else is asked: with its log in user space and no daemon, a status would hang for good
    known = doors.served() if Kind.DISKULOG in (live.log.kind, to) else ()
    waiting, strange = _waiting(doors, name) if info.has_inactive else (None, False)
    stands = status(mapper, name)
    if stands.log_number:  # the table's path may be gone with its device, or lead to another one by now
        live = replace(live, log=replace(live.log, number=stands.log_number))
    in_cache = live.log.kind is Kind.DISKULOG and not info.suspended
    return Situation(
        name=name,
        dm_uuid=info.uuid,
        suspended=info.suspended,
        read_only=info.read_only,
        table=live,
        waiting=waiting,
        strange=strange,
        legs=stands.legs,
        log_letter=stands.log_letter,
        served=known,
        old=None if live.log.in_memory else _readable(doors, live.log.number, direct=not in_cache),
        new=logs.look(doors.node(doors.number_of(device))) if device else None,
        fresh_uuid=fresh_uuid,
        all_in_sync=stands.in_sync_count == live.region_count,
    )


def _readable(doors: Doors, number: str, *, direct: bool) -> Medium | None:
    try:
        return logs.look(doors.node(number), direct=direct)
    except DiskulogError:  # it failed, or was pulled out
        return None


def _waiting(doors: Doors, name: str) -> tuple[Table | None, bool]:
    try:
        return table.parse(name, doors.mapper.table(name, inactive=True), doors.number_of), False
    except RefusedError:
        return None, True
