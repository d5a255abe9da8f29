# SPDX-License-Identifier: LGPL-2.1-or-later
"""Warnings that may come with every request, written once a minute of a kind.

Lives here: the limit, for a misbehaving sender must not fill the journal. Does not know what is complained about.
"""

import logging
from collections.abc import Callable

_SECONDS = 60.0


class Complaints:
    """Remembers when each kind of warning was written last."""

    def __init__(self, logger: logging.Logger, now: Callable[[], float]) -> None:
        """Take the logger, and the monotonic clock in seconds."""
        self._logger = logger
        self._now = now
        self._written: dict[str, float] = {}

    def say(self, kind: str, text: str, *values: object) -> None:
        """Write a warning, unless one of its kind was written within the last minute."""
        now = self._now()
        if now - self._written.get(kind, -_SECONDS) >= _SECONDS:
            self._written[kind] = now
            self._logger.warning(text, *values)
