# SPDX-License-Identifier: LGPL-2.1-or-later
"""The held clears of one log where the next worker finds them: a bit for each region, in the run directory.

Lives here: which clears survive a worker. Does not know rounds, or when a clear may be stored (``clears``).
"""

import logging
from contextlib import suppress
from pathlib import Path

from bitarray import bitarray
from bitarray.util import zeros

from diskulog.runfile import RunFile, Whose

logger = logging.getLogger("diskulog.log")

_MAGIC = b"dulgheld"
_FLUSHING = 1


class KeptClears:
    """Keeps ``logstore.Kept`` in a file. Where there is no room for one, held clears die with the worker."""

    def __init__(self, run_directory: Path, whose: Whose, region_count: int) -> None:
        """Take whose clears; nothing is opened yet."""
        self._file = RunFile(run_directory / "held", whose, _MAGIC, region_count, 1)
        self._region_count = region_count

    def begin(self) -> bitarray:
        """Forget what an earlier life held; return the bits, all zero."""
        try:
            self._file.create()
        except OSError as error:
            logger.warning("clears that are held will die with the worker: %s", error)
            self._file.close()
            return zeros(self._region_count, endian="little")
        return self._file.bitmaps[0]

    def resume(self) -> tuple[bitarray, int]:
        """Return the bits as the last worker left them, and how many are dropped for it ended in a flush of the legs.

        The outcome of that flush is known to nobody, and a cache reports a loss once.
        """
        try:
            self._file.open()
        except (OSError, ValueError):
            return self.begin(), 0
        bits, dropped = self._file.bitmaps[0], 0
        if self._file.flag == _FLUSHING:
            dropped = bits.count()
            bits.setall(0)  # before the flag, which the next worker would go by if this one died here
        self._file.flag = 0
        return bits, dropped

    def flushing(self, begins: bool) -> None:
        """Note that a flush of the legs begins, or that its outcome is known."""
        self._file.flag = _FLUSHING if begins else 0

    def remove(self) -> None:
        """Forget everything: the log has ended, or nobody knows what became of its regions."""
        with suppress(OSError):
            self._file.remove()
