# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes that go on while something goes wrong: how many, how long the longest took, what must be read back.

Lives here: one thread that writes blocks past the page cache. Does not know mirrors, legs or logs.
"""

import mmap
import os
import random
import threading
import time
from types import TracebackType

BLOCK_BYTES = 4096


class Writer:
    """A context in which random blocks of a device are written, one after another, until it ends.

    ``longest_seconds`` includes a write that is still under way. ``acknowledged`` maps an offset to the last byte
    value whose write ended.
    """

    def __init__(self, device: str, length_bytes: int, seed: int = 1) -> None:
        self.count = 0
        self.errors: list[OSError] = []
        self.acknowledged: dict[int, int] = {}
        self._longest = 0.0
        self._began: float | None = None
        self._chance = random.Random(seed)
        self._blocks = length_bytes // BLOCK_BYTES
        self._fd = os.open(device, os.O_WRONLY | os.O_DIRECT)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Writer":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(60)
        if kind is None:
            assert not self._thread.is_alive(), "a write never ended"
        if not self._thread.is_alive():
            os.close(self._fd)

    @property
    def longest_seconds(self) -> float:
        began = self._began
        return max(self._longest, time.monotonic() - began if began else 0.0)

    def forget_longest(self) -> None:
        """Measure the longest write from now on."""
        self._longest = 0.0

    def _run(self) -> None:
        with mmap.mmap(-1, BLOCK_BYTES) as block:
            while not self._stop.is_set():
                value, offset = self._chance.randrange(256), self._chance.randrange(self._blocks) * BLOCK_BYTES
                block[:] = bytes([value]) * BLOCK_BYTES
                self._began = time.monotonic()
                try:
                    os.pwritev(self._fd, [block], offset)
                except OSError as error:
                    self.errors.append(error)
                    return
                finally:
                    self._longest = max(self._longest, time.monotonic() - self._began)
                    self._began = None
                self.acknowledged[offset] = value
                self.count += 1


def writes_in(writer: Writer, seconds: float) -> int:
    """Count the writes that end within a time."""
    before = writer.count
    time.sleep(seconds)
    return writer.count - before


def wrong_blocks(writer: Writer, device: str) -> list[int]:
    """List the offsets at which a device does not hold what was acknowledged; call when the writer has ended."""
    fd = os.open(device, os.O_RDONLY | os.O_DIRECT)
    try:
        with mmap.mmap(-1, BLOCK_BYTES) as block:
            wrong = []
            for offset, value in writer.acknowledged.items():
                os.preadv(fd, [block], offset)
                if block[:] != bytes([value]) * BLOCK_BYTES:
                    wrong.append(offset)
            return wrong
    finally:
        os.close(fd)
