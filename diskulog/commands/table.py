# SPDX-License-Identifier: LGPL-2.1-or-later
"""``diskulog table``: a checked table line for a new mirror.

Lives here: that it is printed. Does not know what is checked.
"""

from typing import Final

from diskulog.commands import console, wishing

HELP: Final = f"""Print the dmsetup table line of a mirror on these legs, checked.

Nothing is created and nothing is written. The line goes to standard output; what was chosen, and why, to standard
error. LEG is the path of a block device, with :SECTORS if the mirror is to begin later in it. The line always says
handle_errors: without it the kernel goes on without a log when the log fails.

Refused are devices that are mounted or in use, that overlap, or are on a mirror whose log is in user space, and a log
device that holds anything, unless it is the log of these legs and --keep-log is given. Regions are of half a MiB,
unless that makes more than a million of them, or more than the log device has room for.

\b
Examples:
  diskulog table /dev/vg/a /dev/vg/b --log /dev/vg/log
  diskulog table /dev/a /dev/b:2048 --log /dev/l --uuid u --region-size 2048
  dmsetup create home --table "$(diskulog table /dev/a /dev/b --log /dev/l)"
{console.EXIT_CODES}"""


def table(
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
) -> None:
    """Print a line."""
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
    console.emit(wishing.planned(wished).line.text() + "\n")
