# SPDX-License-Identifier: LGPL-2.1-or-later
"""A trace as a file that is read, whatever was done to it: up to the first line that cannot be believed.

Lives here: opening, bounded lines, what is wrong with them. Does not know what a record means.
"""

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from diskulog.errors import BadLogError, DeviceError
from diskulog.exits import UsageError
from diskulog.trace.record import MAX_LINE_BYTES, End, Header, Record, header_from, record_from

_BLOCK_BYTES: Final = 1 << 20


class Trace:
    """An open trace. ``records`` may be called again, and then begins anew."""

    def __init__(self, name: str, file: BinaryIO) -> None:
        """Read the header.

        Raises:
            BadLogError: it is no trace, or one of a version that is not known.
            DeviceError: it cannot be read.
        """
        self.name = name
        self._file = file
        self.damage: str | None = None  # why the last reading stopped before the end
        self.ended = False  # whether the last reading met the trace's own end
        content = self._next_line()
        try:
            self.header: Header = header_from(content)
        except ValueError as reason:
            raise BadLogError(f"{name} cannot be read as a trace: its first line {reason}") from None
        self._start = file.tell()

    def records(self) -> Iterator[Record]:
        """Yield what was recorded, up to the end or to the first line that is damaged; ``damage`` then says why."""
        self._file.seek(self._start)
        self.damage, self.ended = None, False
        number, latest = 1, 0.0
        while content := self._next_line():
            number += 1
            if not content.endswith(b"\n"):
                too_long = len(content) == MAX_LINE_BYTES
                self._stop(number, "is too long" if too_long else "is cut off")
                return
            try:
                record = record_from(content)
                if record.at_seconds < latest:
                    raise ValueError("is older than the one before")
            except ValueError as reason:
                self._stop(number, str(reason))
                return
            latest = record.at_seconds
            self.ended = isinstance(record, End)
            yield record

    def _stop(self, number: int, reason: str) -> None:
        self.damage = f"{self.name}: line {number} {reason}; only what comes before it is known"

    def _next_line(self) -> bytes:
        try:
            return self._file.readline(MAX_LINE_BYTES)
        except OSError as cause:
            raise DeviceError(f"cannot read {self.name}", cause) from cause


@contextmanager
def opened(name: str) -> Iterator[Trace]:
    """Open a trace.

    Raises:
        UsageError: it is no regular file.
        BadLogError: it is no trace, or one of a version that is not known.
        DeviceError: it cannot be opened or read.
    """
    try:
        # looked at before it is opened: opening a FIFO waits
        if not stat.S_ISREG(Path(name).stat().st_mode):
            raise UsageError(f"{name} is no regular file: name one that 'diskulog trace --out' wrote")
        file = open(name, "rb", buffering=_BLOCK_BYTES)  # noqa: SIM115 - closed below
    except (OSError, ValueError) as cause:  # ValueError: a NUL in the name
        failure = cause if isinstance(cause, OSError) else OSError(2, str(cause))
        raise DeviceError(f"cannot open {name}", failure) from cause
    with file:
        yield Trace(name, file)
