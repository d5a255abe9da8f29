# SPDX-License-Identifier: LGPL-2.1-or-later
"""Logging to standard error, for a terminal or for journald.

Lives here: handlers and formats. Does not know what is logged.
"""

import logging
import sys

_LEVELS = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))


def log_to_stderr(level: str) -> None:
    """Send everything of ours from this level on to standard error, and nothing of others."""
    # journald reads the level from the prefix; a terminal gets the time instead
    handler = logging.StreamHandler(sys.stderr)
    plain = sys.stderr.isatty()
    handler.setFormatter(_Journald("%(asctime)s %(message)s" if plain else "%(message)s", prefix=not plain))
    root = logging.getLogger("diskulog")
    root.handlers[:] = [handler]
    root.propagate = False
    root.setLevel(level.upper())


class _Journald(logging.Formatter):
    """Every line led by ``<N>``, the syslog level (sd-daemon(3)), those of a traceback too."""

    def __init__(self, text: str, prefix: bool) -> None:
        super().__init__(text)
        self._prefix = prefix

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if not self._prefix:
            return text
        number = next((number for level, number in _LEVELS if record.levelno >= level), 7)
        return "\n".join(f"<{number}>{line}" for line in text.splitlines())
