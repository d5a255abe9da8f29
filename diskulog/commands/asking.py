# SPDX-License-Identifier: LGPL-2.1-or-later
"""How a command asks the running daemon: where its socket is, and its logs beside their mirrors.

Lives here: the way from an option to an answer. Does not know what is done with it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from diskulog.control.mirrors import Mirror
    from diskulog.control.model import Answer, Log
    from diskulog.control.view import Shown
    from diskulog.mirrortable import Named


class Asked(NamedTuple):
    """An answer, and its logs with their mirrors."""

    answer: Answer
    found: tuple[Shown, ...]


def socket_path(named: Path | None) -> Path:
    """Return the socket that was named, else the one in the configuration's run directory.

    Raises:
        DiskulogError: as ``config.load``.
    """
    if named is not None:
        return named
    from diskulog import config
    from diskulog.control import client

    return Path(config.load(None, os.environ).daemon.run_directory) / client.SOCKET_NAME


class Asking:
    """Asks again and again; dm's tables are read only when a log comes that was not there before."""

    def __init__(self, path: Path) -> None:
        """Take the socket."""
        self._path = path
        self._luids: frozenset[str] = frozenset()
        self._tables: tuple[Named, ...] = ()

    def ask(self, wait_seconds: float | None = None) -> Asked:
        """Ask.

        Raises:
            DiskulogError: when there is no answer, see ``client.status`` and ``model.answer``.
        """
        from diskulog.control import client, mirrors, model, view

        seconds = client.ANSWER_SECONDS if wait_seconds is None else min(wait_seconds, client.ANSWER_SECONDS)
        answer = model.answer(client.status(self._path, seconds))
        luids = frozenset(log.luid for log in answer.logs)
        if luids - self._luids:
            self._tables = mirrors.found_tables()
        self._luids = luids
        return Asked(answer, view.join(answer, self._mirror_of))

    def _mirror_of(self, log: Log) -> Mirror | None:
        from diskulog.control import mirrors

        return mirrors.mirror_of(log.uuid, log.log_device, self._tables)
