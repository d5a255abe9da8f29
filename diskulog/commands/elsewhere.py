# SPDX-License-Identifier: LGPL-2.1-or-later
"""A log that another host may have in use, which nobody can see from here.

Lives here: the warning of it. Does not know what is to be written.
"""

import os

from diskulog.commands import console
from diskulog.forensic.image import Image
from diskulog.ondisk import State


def warn_of_another_host(found: Image) -> None:
    """Say that a log was not closed on the host that opened it, unless that is this one."""
    extension = found.extension
    if extension and extension.state is State.OPEN and extension.host_name not in ("", os.uname().nodename):
        console.complain(f"warning: {found.name} was not closed on host {extension.host_name}: is it in use there?")
