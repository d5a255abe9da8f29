# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon is asked, and what it answers becomes metrics; one that does not answer is a metric too.

Lives here: the way from the control socket to families. Does not know who wants them, or how they are written.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from diskulog.control import client, mirrors, model
from diskulog.control.model import Log
from diskulog.errors import DiskulogError
from diskulog.metrics import families
from diskulog.metrics.families import Family

WAIT_SECONDS: Final = 5.0  # Prometheus gives a scrape ten: a daemon that hangs must be told before that


def once(socket: Path) -> tuple[Family, ...]:
    """Ask now; raises as the client does."""
    answer = model.answer(client.status(socket, WAIT_SECONDS))
    return families.of_answer(answer, _mirror_name, time.time())


def nothing() -> tuple[Family, ...]:
    """Return what is to be said while no daemon answers."""
    return families.of_nobody(time.time())


def always(socket: Path, tell: Callable[[str], None]) -> Callable[[], tuple[Family, ...]]:
    """Return a function that asks and never fails; it tells why there is no answer, once for each reason."""
    told: list[str] = [""]

    def ask() -> tuple[Family, ...]:
        try:
            found, reason = once(socket), ""
        except DiskulogError as failure:
            found, reason = nothing(), str(failure)
        if reason != told[0]:
            tell(reason or f"the daemon answers at {socket}")
        told[0] = reason
        return found

    return ask


def _mirror_name(log: Log) -> str | None:
    # without dmsetup's tables: these are root's, and a scrape must not start a process for each log
    found = mirrors.mirror_of(log.uuid, log.log_device, ())
    return found.name if found else None
