# SPDX-License-Identifier: LGPL-2.1-or-later
"""``diskulog mirror create``: a new mirror on legs and a log.

Lives here: the order of refusals, the question. Does not know what is checked, or how dm is told.
"""

import shlex
from typing import Annotated, Final

import typer

from diskulog.commands import console, options, wishing
from diskulog.errors import RefusedError
from diskulog.exits import NoDaemonError

HELP: Final = f"""Make a mirror of these legs.

The options are those of 'diskulog table', which makes the line; this runs it. What is on the first leg stays, and is
copied over the others, so it asks, or takes --yes. Nothing is done while no daemon answers: the kernel would wait.
'diskulog mirror save' prints the line for the mirrortab, so that the mirror is made at each boot.

\b
Examples:
  diskulog mirror create home /dev/vg/a /dev/vg/b --log /dev/vg/log
  diskulog mirror create home /dev/vg/a /dev/vg/b --log /dev/vg/log --dry-run
{console.EXIT_CODES}"""

_NOBODY: Final = (
    "no daemon answers the kernel's requests, and dm would wait for one; start it ('systemctl start diskulog')"
)
Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]


def create(
    name: Name,
    legs: wishing.Legs,
    log: wishing.Log = None,
    core: wishing.Core = False,
    uuid: wishing.Uuid = None,
    region_size: wishing.RegionSize = None,
    length: wishing.Length = None,
    keep_log: wishing.KeepLog = False,
    sync: wishing.ForceSync = False,
    nosync: wishing.NoSync = False,
    plain: wishing.Plain = False,
    yes: options.Yes = False,
    dry_run: options.DryRun = False,
) -> None:
    """Make a mirror."""
    from diskulog.mirrors import dm
    from diskulog.mirrors.wish import check_name

    check_name(name)
    wished = wishing.wish(
        legs,
        log=log,
        core=core,
        uuid=uuid,
        region_size=region_size,
        length=length,
        keep_log=keep_log,
        sync=sync,
        nosync=nosync,
        plain=plain,
    )
    need_daemon(dry_run=dry_run)
    if name in dm.names():
        raise RefusedError(name, "is there already", "name another, or remove it with 'diskulog mirror remove'")
    plan = wishing.planned(wished)
    table = plan.line.text()
    if dry_run:
        console.emit(f"{shlex.join(dm.create_words(name, table))}\n")
        return
    if console.go_on(name, f"becomes a mirror; {plan.fate}", yes=yes, dry_run=False):
        dm.create(name, table)
        console.say(name, f"is a mirror of {len(plan.line.legs)} legs, /dev/mapper/{name}")


def need_daemon(*, dry_run: bool) -> None:
    """Go no further when no daemon answers; a dry run does, with a warning.

    Raises:
        NoDaemonError: when none does.
    """
    from diskulog.mirrors import served

    if served.daemon_answers():
        return
    if not dry_run:
        raise NoDaemonError(_NOBODY)
    console.complain(f"warning: {_NOBODY}")
