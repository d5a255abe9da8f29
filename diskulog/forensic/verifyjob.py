# SPDX-License-Identifier: LGPL-2.1-or-later
"""One run of ``verify`` put together: log, legs, what was told, state, and the outcome.

Lives here: what is opened in which order, what is checked before the first read, and that no state is lost. Does not
know the command line, and compares nothing itself.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from diskulog.exits import Exit, UsageError
from diskulog.forensic import belief, dmtable, image, legs, source, subject
from diskulog.forensic.comparison import Layout, Selection, Tally
from diskulog.forensic.image import Image
from diskulog.forensic.legs import Legs
from diskulog.forensic.pace import Pace
from diskulog.forensic.report import ERROR, INFO, WARNING, Message, report
from diskulog.forensic.subject import LiveLog, Told
from diskulog.forensic.verify import Run
from diskulog.forensic.verifystate import Identity, StateFile
from diskulog.mirrortable import LegName


@dataclass(frozen=True, slots=True)
class Asked:
    """What to verify: the log, its legs, and what is known of the mirror besides."""

    log: str
    legs: tuple[LegName, ...]
    told: Told


@dataclass(frozen=True, slots=True)
class How:
    """How to go about it. ``begin`` is given the bytes to come and the tally, and returns what ``Run.show`` calls."""

    begin: Callable[[int, Tally], Callable[[int], None]]
    pace: Pace
    regions: tuple[int, int] | None = None  # the first and the last
    state: Path | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came out of a run."""

    image: Image
    told: Told
    layout: Layout
    legs: tuple[tuple[LegName, int], ...]  # with their size in bytes
    regions: tuple[int, int]  # the first, and the one after the last
    tally: Tally
    finished: bool
    messages: tuple[Message, ...]

    @property
    def exit_status(self) -> Exit:
        """The gravest of what happened."""
        if not self.finished:
            return Exit.REFUSED
        if self.tally.unread_count:
            return Exit.IO_ERROR
        return Exit.PROBLEM if self.tally.differing_count else Exit.FINE


def of_mirror(name: str) -> Asked:
    """Find log, legs and sizes of a mirror in its table.

    Raises:
        UsageError: when there is no such mirror.
        RefusedError: when it has no log on a device.
        DeviceError: when dm cannot be asked.
    """
    found = dmtable.parse(name, dmtable.table(name))
    devices = tuple(LegName(dmtable.node(name, leg.device), leg.offset_sectors) for leg in found.legs)
    return Asked(
        dmtable.node(name, found.log), devices, Told(found.region_size_sectors, found.length_sectors, found.uuid)
    )


def perform(asked: Asked, how: How) -> Outcome:
    """Compare the legs.

    Raises:
        DiskulogError: when it cannot begin, or the log fails on the way; what was done by then is in the state.
    """
    subject.check_told(asked.told)
    with ExitStack() as until_done:
        log = until_done.enter_context(source.opened(asked.log))
        found = image.load(log)
        told = subject.complete(found, asked.told)
        opened = until_done.enter_context(legs.opened(asked.legs, asked.log))
        layout = subject.layout(found, told, opened.shortest_bytes())
        opened.check_room(layout.length_bytes)
        selection = _selection(found, how.regions)
        names = tuple((leg.name, leg.file.size_bytes) for leg in opened)
        identity = Identity(
            told.uuid,
            layout.region_count,
            layout.region_bytes,
            layout.length_bytes,
            (selection.first, selection.end),
            tuple((name.device, name.offset_sectors, size) for name, size in names),
        )
        tally, save, done = _state(how.state, identity)
        show = how.begin(selection.bytes_from(tally.next_region, layout), tally)
        run = Run(layout, selection, opened, LiveLog(log, found), how.pace, tally, show, save)
        with how.pace.watching():
            try:
                finished = run.go()
            except BaseException:
                save()
                raise
            (done if finished else save)()
        messages = tuple(_messages(found, told, opened, selection))
        return Outcome(found, told, layout, names, (selection.first, selection.end), tally, finished, messages)


def _selection(found: Image, regions: tuple[int, int] | None) -> Selection:
    first, last = regions or (0, found.bit_count - 1)
    if regions and last >= found.bit_count:
        raise UsageError(f"--regions {first}-{last}: {found.name} has the regions 0 to {found.bit_count - 1}")
    return Selection(belief.clean_regions(found), belief.sync_regions(found), first, last + 1)


def _state(path: Path | None, identity: Identity) -> tuple[Tally, Callable[[], None], Callable[[], None]]:
    """Return the tally to go on with, how it is saved, and what to do at the end."""
    fresh = Tally(next_region=identity.regions[0])
    if path is None:
        return fresh, lambda: None, lambda: None
    file = StateFile(path)
    tally = file.load(identity) or fresh

    def save() -> None:
        file.save(identity, tally)

    save()  # now, rather than find out after hours that it cannot be
    return tally, save, file.remove


def _messages(found: Image, told: Told, opened: Legs, selection: Selection) -> list[Message]:
    judged = report(found)
    said = [
        Message(WARNING, f"the log is not believed at the next activation, its bits are compared as they stand: {text}")
        for severity, text, _ in judged.messages
        if severity == ERROR
    ]
    if found.live:
        said.append(Message(INFO, f"live, held by {', '.join(found.holders)}: what differed was looked at again"))
    else:
        said += [
            Message(WARNING, f"leg {leg.name.device} is in use by {', '.join(leg.file.holders)}, and the log is not")
            for leg in opened
            if leg.file.holders
        ]
    if told.length_sectors is None and selection.end == found.bit_count:
        said.append(
            Message(INFO, "the mirror's length is not known: the last region was compared as far as the legs go")
        )
    return said
