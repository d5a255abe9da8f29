# SPDX-License-Identifier: LGPL-2.1-or-later
"""Makes the mirrors of a mirrortab, each for itself: one that fails stops no other.

Lives here: the order, waiting for devices, what counts as the same table. Does not print.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Final

from diskulog import ctr, sysfs
from diskulog.errors import DiskulogError
from diskulog.exits import Exit
from diskulog.mirrors import devices, dm, tab
from diskulog.mirrors.dm import Mirror
from diskulog.mirrors.tab import Entry
from diskulog.mirrortable import MirrorLine

_POLL_SECONDS: Final = 0.2
_NOBODY: Final = "no daemon answers; start it ('systemctl start diskulog')"


class State(Enum):
    """What became of a line."""

    ASSEMBLED = "assembled"
    THERE = "is there already"
    ANOTHER = "is there with another table"
    FAILED = "not assembled"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one line, and why."""

    name: str
    state: State
    text: str = ""


def exit_status(outcomes: Iterable[Outcome]) -> Exit:
    """PROBLEM when one could not be assembled, REFUSED when one is there with another table."""
    states = {outcome.state for outcome in outcomes}
    if State.FAILED in states:
        return Exit.PROBLEM
    return Exit.REFUSED if State.ANOTHER in states else Exit.FINE


def until(truth: Callable[[], bool], seconds: float) -> bool:
    """Wait until something is true, so long at most; return whether it is."""
    end = time.monotonic() + seconds
    while not truth():
        if time.monotonic() >= end:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def assemble(
    entries: Iterable[Entry], wait_seconds: float, *, dry_run: bool, answered: bool = True
) -> Iterator[Outcome]:
    """Make each mirror that is not there, in the order of the file, waiting so long in all for devices.

    ``answered`` says whether there is a daemon; without one, those that need it are not tried.

    Raises:
        DeviceError: when dm cannot be asked which are there.
    """
    end = time.monotonic() + wait_seconds
    there = {mirror.name: mirror for mirror in dm.mirrors()}
    by_uuid = dm.uuids(there.values())
    names = dm.names()
    for entry in entries:
        if entry.line is None:
            yield Outcome(entry.name, State.FAILED, f"line {entry.number}: {entry.problem}")
        elif entry.name in names:
            yield _compared(entry.name, there.get(entry.name), entry.line)
        elif entry.line.uuid in by_uuid:  # the daemon knows a log by it, and would take it from the one for the other
            text = f"its uuid {entry.line.uuid} is that of mirror {by_uuid[entry.line.uuid]}, which is there"
            yield Outcome(entry.name, State.FAILED, text)
        elif entry.line.userspace and not answered:
            yield Outcome(entry.name, State.FAILED, _NOBODY)
        else:
            yield _made(entry.name, entry.line, end - time.monotonic(), dry_run)


def _compared(name: str, live: Mirror | None, wanted: MirrorLine) -> Outcome:
    if live is not None and len(live.lines) == 1 and alike(live.line, wanted):
        waits = devices.is_suspended(devices.mapped().get(name, ""))
        text = f"warning: it is suspended, and whoever uses it waits; 'dmsetup resume {name}' ends that"
        return Outcome(name, State.THERE, text if waits else "")
    what = "; 'diskulog mirror save' prints the one that it has" if live else ", and is no mirror"
    return Outcome(name, State.ANOTHER, f"nothing changed{what}")


def _made(name: str, line: MirrorLine, wait_seconds: float, dry_run: bool) -> Outcome:
    try:
        if line.userspace:
            ctr.parse(line.constructor().encode("utf-8", "surrogateescape"), clustered_single_host=True)
        if not until(lambda: not missing(line), wait_seconds):
            return Outcome(name, State.FAILED, f"not there: {', '.join(missing(line))}")
        if not dry_run:
            dm.create(name, line.text())
    except DiskulogError as failure:
        return Outcome(name, State.FAILED, str(failure))
    found = tab.cautions(line)
    return Outcome(name, State.ASSEMBLED, f"warning: {'; '.join(found)}" if found else "")


def missing(line: MirrorLine) -> list[str]:
    """List the devices of a line that are not there."""
    named = [*(leg.device for leg in line.legs), *([line.log] if line.log else [])]
    return [each for each in named if not _is_there(each)]


def _is_there(device: str) -> bool:
    if device.startswith("/"):
        return Path(device).is_block_device()
    return sysfs.node(device) is not None


def alike(one: MirrorLine, other: MirrorLine) -> bool:
    """Tell whether two lines make the same mirror, whatever they call its devices and said of its first time."""
    return _numbered(one) == _numbered(other)


def _numbered(line: MirrorLine) -> MirrorLine:
    legs = tuple(replace(leg, device=devices.resolved(leg.device)) for leg in line.legs)
    log = None if line.log is None else devices.resolved(line.log)
    return replace(line.lasting(), legs=legs, log=log, features=tuple(sorted(line.features)))
