# SPDX-License-Identifier: LGPL-2.1-or-later
"""The legs of a mirror, open to be read past the page cache and in parallel.

Lives here: how the command line names them, the checks that they can be this mirror's, aligned reads. Never writes;
does not compare.
"""

import errno as errnos
import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from diskulog.errors import DeviceError, DiskulogError, RefusedError
from diskulog.exits import UsageError
from diskulog.forensic import source
from diskulog.forensic.comparison import PIECE_BYTES
from diskulog.forensic.source import FileSource
from diskulog.mirrortable import LegName
from diskulog.units import SECTOR_BYTES, human_bytes, round_down, round_up

_FILE_ALIGN_BYTES: Final = 4096  # what any file system takes for direct I/O


class LegReadError(DiskulogError):
    """A leg would not give some bytes; ``leg`` is its number among the legs."""

    def __init__(self, leg: int, cause: DeviceError) -> None:
        """Keep which leg it was."""
        super().__init__(str(cause))
        self.leg = leg
        self.errno = cause.errno


def parse(text: str) -> LegName:
    """Take ``DEVICE`` or ``DEVICE:OFFSET_SECTORS`` apart; what exists under the whole name is a device."""
    found = re.fullmatch(r"(.+):([0-9]{1,18})", text, re.ASCII | re.DOTALL)
    if not found or _exists(text):
        return LegName(text)
    return LegName(found[1], int(found[2]))


def _exists(name: str) -> bool:
    with suppress(OSError, ValueError):
        return Path(name).exists()
    return False


@dataclass(frozen=True, slots=True)
class Leg:
    """One leg behind an open descriptor, with memory of its own to read into."""

    name: LegName
    file: FileSource
    align_bytes: int
    buffer: memoryview

    @property
    def room_bytes(self) -> int:
        """How much of a mirror it can hold."""
        return self.file.size_bytes - self.name.offset_sectors * SECTOR_BYTES

    def fill(self, at_bytes: int, length_bytes: int) -> int:
        """Read bytes of the mirror into the buffer, and return where in it they begin.

        Raises:
            DeviceError: when the leg fails, or ends before.
        """
        wanted = at_bytes + self.name.offset_sectors * SECTOR_BYTES
        start = round_down(wanted, self.align_bytes)
        size = round_up(wanted + length_bytes, self.align_bytes) - start
        needed, got = wanted + length_bytes - start, 0
        while got < needed:
            with self.buffer[got:size] as window:
                count = self._read_into(window, start + got)
            got += count
            if not count or got % self.align_bytes:  # the end
                break
        if got < needed:
            raise DeviceError(
                f"cannot read {self.file.name} at byte {start + got}", OSError(errnos.EIO, "it has become shorter")
            )
        return wanted - start

    def _read_into(self, window: memoryview, position_bytes: int) -> int:
        try:
            return os.preadv(self.file.fd, [window], position_bytes)
        except OSError as cause:
            raise DeviceError(f"cannot read {self.file.name} at byte {position_bytes}", cause) from cause


class Legs:
    """All legs of a mirror; a piece is read from all of them at once."""

    def __init__(self, legs: Sequence[Leg], threads: ThreadPoolExecutor) -> None:
        """Take legs that are open."""
        self._legs, self._threads = legs, threads

    def __iter__(self) -> Iterator[Leg]:
        return iter(self._legs)

    @contextmanager
    def lent(self, at_bytes: int, length_bytes: int) -> Iterator[list[memoryview]]:
        """Read the same bytes of the mirror from each leg, and lend them.

        Raises:
            LegReadError: when a leg fails; the first one of several.
        """
        waiting = [self._threads.submit(leg.fill, at_bytes, length_bytes) for leg in self._legs]
        wait(waiting)  # all of them, also when one fails: the buffers are used again
        for number, reading in enumerate(waiting):
            failure = reading.exception()
            if isinstance(failure, DeviceError):
                raise LegReadError(number, failure) from failure
        begins = [reading.result() for reading in waiting]
        with ExitStack() as until_compared:  # a view that outlives this would keep the memory from being given back
            yield [
                until_compared.enter_context(leg.buffer[begin : begin + length_bytes])
                for leg, begin in zip(self._legs, begins, strict=True)
            ]

    def shortest_bytes(self) -> int:
        """How much of a mirror the shortest leg can hold."""
        return min(leg.room_bytes for leg in self._legs)

    def check_room(self, needed_bytes: int) -> None:
        """Refuse legs that cannot be this mirror's.

        Raises:
            RefusedError: when one is too short.
        """
        for leg in self._legs:
            if leg.room_bytes < needed_bytes:
                raise RefusedError(
                    f"leg {leg.name.device} from sector {leg.name.offset_sectors}",
                    f"is too short: it has {max(leg.room_bytes, 0)} bytes there, "
                    f"the mirror needs {needed_bytes} ({human_bytes(needed_bytes)})",
                    "name a leg of this mirror, with its offset as in the mirror's table",
                )


@contextmanager
def opened(names: Sequence[LegName], log: str) -> Iterator[Legs]:
    """Open legs to be read; devices past the page cache, and files too where their file system can.

    Raises:
        UsageError: for fewer than two, for the same one twice, for the log itself, and for what is no device or file.
        DeviceError: when one cannot be opened.
    """
    if len(names) < 2:
        raise UsageError("verify: name at least two legs to compare")
    with ExitStack() as until_done:
        legs = [_open(name, until_done) for name in names]
        _refuse_the_same(legs, log)
        threads = until_done.enter_context(ThreadPoolExecutor(len(legs), thread_name_prefix="verify-"))
        yield Legs(legs, threads)


def _open(name: LegName, until_done: ExitStack) -> Leg:
    if name.device == source.STDIN:
        raise UsageError("a leg cannot be standard input: name a block device or an image file")
    file = _open_direct(name.device, until_done)
    align = file.block_bytes if file.is_block else _FILE_ALIGN_BYTES
    buffer = until_done.enter_context(source.aligned_buffer(PIECE_BYTES + 2 * align))
    return Leg(name, file, align, buffer)


def _open_direct(device: str, until_done: ExitStack) -> FileSource:
    try:
        file = until_done.enter_context(source.opened(device, os.O_DIRECT))
    except DeviceError as cause:
        if cause.errno != errnos.EINVAL or not Path(device).is_file():
            raise
        # a file system without direct I/O: nobody goes past the cache of such a file
        file = until_done.enter_context(source.opened(device))
    assert isinstance(file, FileSource)  # only standard input is a stream
    return file


def _refuse_the_same(legs: Sequence[Leg], log: str) -> None:
    seen: dict[tuple[tuple[int, int], int], str] = {}
    with suppress(OSError, ValueError):
        seen = {(_identity(os.stat(log)), -1): log}  # noqa: PTH116 - a device name, not a place in a tree
    logs = {identity for identity, _ in seen}
    for leg in legs:
        identity = _identity(os.fstat(leg.file.fd))
        if identity in logs:
            raise UsageError(f"leg {leg.name.device} is the log: name the legs after it")
        if (identity, leg.name.offset_sectors) in seen:
            raise UsageError(f"leg {leg.name.device} is named twice, and would be compared with itself")
        seen[identity, leg.name.offset_sectors] = leg.name.device


def _identity(found: os.stat_result) -> tuple[int, int]:
    return (0, found.st_rdev) if found.st_rdev else (found.st_dev, found.st_ino)
