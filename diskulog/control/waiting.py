# SPDX-License-Identifier: LGPL-2.1-or-later
"""``wait --synced``: whether what is waited for is there, may still come, or cannot.

Lives here: the decision over the daemon's answers, one after the other. Does not know clocks, sockets, how one waits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from diskulog.control.model import Daemon
from diskulog.control.view import Shown
from diskulog.forensic.text import percent

_NOT_HEARD_OF: Final = "not heard of since the daemon was restarted"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What cannot come to be in sync, and what is not yet; done when both are empty."""

    failed: tuple[str, ...]
    waiting: tuple[str, ...]


class Waiting:
    """Remembers what was not in sync: a daemon that was started anew knows a log again when the kernel asks for it."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._unfinished: dict[str, str] = {}  # uuid: title
        self._daemon: tuple[int, float] | None = None
        self._may_come_back: set[str] = set()

    def look(self, daemon: Daemon, found: Sequence[Shown]) -> Verdict:
        """Judge the logs that are waited for, as they stand now."""
        identity = (daemon.pid, daemon.started_seconds)
        if self._daemon not in (None, identity):
            self._may_come_back |= self._unfinished.keys()
        self._daemon = identity
        looked_at = _active(found)
        there = {shown.log.uuid for shown in looked_at}
        self._may_come_back -= there
        missing = {uuid: title for uuid, title in self._unfinished.items() if uuid not in there}
        unfinished = [shown for shown in looked_at if not shown.in_sync]
        self._unfinished = missing | {shown.log.uuid: shown.title for shown in unfinished}
        failed = [f"{shown.title}: its log has failed" for shown in unfinished if shown.failed]
        gone = [f"{title}: went away" for uuid, title in missing.items() if uuid not in self._may_come_back]
        waiting = [f"{shown.title} ({_how(shown)})" for shown in unfinished if not shown.failed]
        away = [f"{title} ({_NOT_HEARD_OF})" for uuid, title in missing.items() if uuid in self._may_come_back]
        return Verdict((*failed, *gone), (*waiting, *away))


def _active(found: Sequence[Shown]) -> list[Shown]:
    """Leave out a table that waits to take another's place."""
    active = {shown.log.uuid for shown in found if shown.log.state != "inactive"}
    return [shown for shown in found if shown.log.state != "inactive" or shown.log.uuid not in active]


def _how(shown: Shown) -> str:
    log = shown.log
    if log.in_sync_count is None:
        return log.state
    share = percent(log.in_sync_count, log.region_count or 1)
    held = f", {log.state}" if log.state != "live" else ""
    return f"{log.in_sync_count} of {log.region_count} regions, {share}{held}"
