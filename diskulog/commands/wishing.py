# SPDX-License-Identifier: LGPL-2.1-or-later
"""The options that describe a new mirror, which ``table`` and ``mirror create`` have in common.

Lives here: their names, their help, and the wish that they make. Does not know what becomes of it.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from diskulog.commands import console
from diskulog.exits import UsageError

if TYPE_CHECKING:
    from diskulog.mirrors.planning import Plan
    from diskulog.mirrors.wish import Wish

Legs = Annotated[list[str], typer.Argument(metavar="LEG", show_default=False)]
Log = Annotated[str | None, typer.Option(metavar="DEV", help="The device for the log.")]
Core = Annotated[bool, typer.Option("--core", help="Keep the log in memory; a crash then copies everything.")]
Uuid = Annotated[str | None, typer.Option(metavar="U", help="The mirror's name in its log; made up if not given.")]
RegionSize = Annotated[
    int | None, typer.Option(metavar="SECTORS", help="Of 512 bytes; a power of two; chosen if not given.")
]
Length = Annotated[int | None, typer.Option(metavar="SECTORS", help="What the smallest leg has, if not given.")]
KeepLog = Annotated[
    bool, typer.Option("--keep-log", help="Go on with the log on DEV: these are its legs, copy only what is dirty.")
]
ForceSync = Annotated[bool, typer.Option("--sync", help="Copy everything, whatever the log says.")]
NoSync = Annotated[bool, typer.Option("--nosync", help="The legs are equal already; nothing is copied.")]
Plain = Annotated[bool, typer.Option("--plain", help="Without integrated_flush: one more request a write.")]


def wish(
    legs: list[str],
    *,
    log: str | None,
    core: bool,
    uuid: str | None,
    region_size: int | None,
    length: int | None,
    keep_log: bool,
    sync: bool,
    nosync: bool,
    plain: bool,
) -> "Wish":
    """Make a wish of the options.

    Raises:
        UsageError: when two of them contradict each other.
    """
    from diskulog.ctr import Sync
    from diskulog.forensic.legs import parse
    from diskulog.mirrors.wish import Wish

    if (log is None) != core:
        raise UsageError("say where the log is to be: --log DEV on a device, or --core in memory")
    if sync and nosync:
        raise UsageError("--sync and --nosync: say one of them at most")
    word = Sync.SYNC if sync else Sync.NOSYNC if nosync else Sync.DEFAULT
    return Wish(tuple(map(parse, legs)), log, uuid, region_size, length, word, plain, keep_log)


def planned(wished: "Wish") -> "Plan":
    """Check a wish against the devices, and say what was chosen to standard error."""
    from diskulog.mirrors import planning, served

    found = planning.plan(wished, served.by_number(), served.by_uuid())
    for note in found.notes:
        console.complain(note)
    return found
