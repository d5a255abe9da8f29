# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes that go on while something goes wrong: how many, how long the longest took, what must be read back.

Lives here: one thread that writes blocks past the page cache, and fio. Does not know mirrors, legs or logs.
"""

import mmap
import os
import signal
import struct
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType

BLOCK_BYTES = 4096
_NUMBER = struct.Struct("=Q")
_END_SECONDS = 60
_FIO_TOLD_TO_END = 128  # its exit code then; one more for a write that failed


def blocks(length_bytes: int) -> Sequence[int]:
    """List the offsets of every block, in an order that jumps from region to region."""
    count = length_bytes // BLOCK_BYTES
    return [number * 37 % count * BLOCK_BYTES for number in range(count)]


class Writer:
    """A context in which blocks of a device are written in turn, each anew, until it ends; every write must end well.

    ``pause_seconds`` lie between two writes.
    ``longest_seconds`` includes a write that is still under way. ``acknowledged`` maps an offset to the number of its
    last write that ended; a block holds nothing but its number.
    """

    def __init__(self, device: str, offsets_bytes: Sequence[int], pause_seconds: float = 0.0) -> None:
        self.device, self.offsets_bytes = device, offsets_bytes
        self._pause_seconds = pause_seconds
        self.acknowledged: dict[int, int] = {}
        self.count = 0
        self.error: OSError | None = None
        self._longest = 0.0
        self._began: float | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Writer":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(_END_SECONDS)
        if kind is None:
            assert not self._thread.is_alive(), f"a write to {self.device} hangs"
            assert self.error is None, f"a write to {self.device} failed: {self.error}"

    @property
    def longest_seconds(self) -> float:
        began = self._began
        return max(self._longest, time.monotonic() - began if began else 0.0)

    def forget_longest(self) -> None:
        """Measure the longest write from now on."""
        self._longest = 0.0

    def stale(self, device: str) -> list[int]:
        """List where a device, the mirror or a leg, does not hold what was acknowledged; call after the end."""
        fd = os.open(device, os.O_RDONLY | os.O_DIRECT)
        try:
            with mmap.mmap(-1, BLOCK_BYTES) as block:
                found = []
                for offset, number in sorted(self.acknowledged.items()):
                    os.preadv(fd, [block], offset)
                    if block[:] != _block(number):
                        found.append(offset)
                return found
        finally:
            os.close(fd)

    def _run(self) -> None:
        fd = os.open(self.device, os.O_WRONLY | os.O_DIRECT)
        try:
            with mmap.mmap(-1, BLOCK_BYTES) as block:  # aligned, as O_DIRECT wants it
                while not self._stop.wait(self._pause_seconds):
                    offset, number = self.offsets_bytes[self.count % len(self.offsets_bytes)], self.count + 1
                    block[:] = _block(number)
                    self._began = time.monotonic()
                    os.pwritev(fd, [block], offset)
                    self._longest, self._began = max(self._longest, time.monotonic() - self._began), None
                    self.acknowledged[offset] = number
                    self.count = number
        except OSError as error:
            self.error = error
        finally:
            os.close(fd)


def _block(number: int) -> bytes:
    return _NUMBER.pack(number) * (BLOCK_BYTES // _NUMBER.size)


@contextmanager
def fio(device: str, size: str) -> Iterator[subprocess.Popen[bytes]]:
    """A context in which eight writes at once go to places of the first ``size`` bytes; every write must end well."""
    command = ["fio", "--name=w", f"--filename={device}", f"--size={size}", "--rw=randwrite", "--bs=4k", "--direct=1"]
    command += ["--iodepth=8", "--ioengine=libaio", "--time_based", "--runtime=3600", "--output=/dev/null"]
    process = subprocess.Popen(command)
    try:
        yield process
        assert process.poll() is None, f"it ended with {process.returncode}"
        process.send_signal(signal.SIGINT)
        assert process.wait(2 * _END_SECONDS) == _FIO_TOLD_TO_END
    finally:
        process.kill()
        process.wait()


def writes_in(writer: Writer, seconds: float) -> int:
    """Count the writes that end within a time."""
    before = writer.count
    time.sleep(seconds)
    return writer.count - before
