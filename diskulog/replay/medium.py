# SPDX-License-Identifier: LGPL-2.1-or-later
"""A log device in memory over an image that is never written: what the medium holds, what is mapped, what was msynced.

Lives here: ``media.Device`` and ``Window`` over pages that are copied when they are first written. Does not know what
the bytes mean.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from diskulog import ondisk
from diskulog.errors import RefusedError
from diskulog.exits import UsageError
from diskulog.forensic import source
from diskulog.forensic.source import FileSource
from diskulog.units import MIB, SECTOR_BYTES, div_up, round_down, round_up

PAGE_BYTES: Final = 4096


class Medium:
    """The bytes of a device after a power cut now; also a source that a log is read from, as ``inspect`` would."""

    holders: tuple[str, ...] = ()
    is_block = False

    def __init__(self, image: FileSource) -> None:
        """Take the image; its pages are read when they are asked for."""
        self.name = image.name
        self.size_bytes: int = image.size_bytes
        self.block_bytes = image.block_bytes
        self._image = image
        self._pages: dict[int, bytes] = {}
        self._windows: list[MemoryWindow] = []
        self.msyncs = 0  # so many so far

    def on_medium(self, offset_bytes: int, length_bytes: int) -> bytes:
        """Return what a power cut now would leave; beyond the end is zero."""
        end = offset_bytes + length_bytes
        numbers = range(offset_bytes // PAGE_BYTES, div_up(end, PAGE_BYTES))
        pages = [self._pages.get(number) for number in numbers]
        if None in pages:
            start, wanted = numbers.start * PAGE_BYTES, len(numbers) * PAGE_BYTES
            there = self._image.read(start, wanted).ljust(wanted, b"\0") if wanted else b""
            slices = (there[at : at + PAGE_BYTES] for at in range(0, wanted, PAGE_BYTES))
            pages = [old if page is None else page for old, page in zip(slices, pages, strict=True)]
        skip = offset_bytes % PAGE_BYTES
        return b"".join(page for page in pages if page is not None)[skip : skip + length_bytes]

    def store(self, offset_bytes: int, data: bytes) -> None:
        """Write whole pages; the last one of the device may be short."""
        for at in range(0, len(data), PAGE_BYTES):
            self._pages[(offset_bytes + at) // PAGE_BYTES] = data[at : at + PAGE_BYTES].ljust(PAGE_BYTES, b"\0")

    def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        """Read past the page cache, which has mapped pages of that piece written back first, as Linux does."""
        for window in self._windows:
            window.write_back(offset_bytes, length_bytes)
        readable = max(min(length_bytes, self.size_bytes - offset_bytes), 0)
        return self.on_medium(offset_bytes, readable)

    def bypass_cache(self) -> None:
        """Do nothing: ``read`` is always past it."""

    def map(self, offset_bytes: int, length_bytes: int) -> "MemoryWindow":
        """Map a piece, rounded outwards to pages."""
        window = MemoryWindow(self, offset_bytes, length_bytes)
        self._windows.append(window)
        return window

    def unmap(self, window: "MemoryWindow") -> None:
        """Forget a window; what was stored in it stays in the page cache and reaches the medium some time."""
        window.write_back(0, self.size_bytes)
        self._windows.remove(window)

    def patch(self, offset_bytes: int, data: bytes) -> None:
        """Change some bytes of the copy before anything runs on it."""
        start = round_down(offset_bytes, PAGE_BYTES)
        page = bytearray(self.on_medium(start, round_up(offset_bytes + len(data), PAGE_BYTES) - start))
        page[offset_bytes - start : offset_bytes - start + len(data)] = data
        self.store(start, bytes(page))

    def pieces(self) -> Iterator[bytes]:
        """Yield all bytes as a reader of the device finds them, mapped pages included."""
        for at in range(0, self.size_bytes, MIB):
            yield self.read(at, min(MIB, self.size_bytes - at))


class MemoryWindow:
    """Whole pages, mapped: stores reach the medium with ``sync``, or when somebody reads past the cache."""

    def __init__(self, medium: Medium, offset_bytes: int, length_bytes: int) -> None:
        """Take the pages as they lie on the medium."""
        self.offset_bytes = round_down(offset_bytes, PAGE_BYTES)
        end = min(round_up(offset_bytes + length_bytes, PAGE_BYTES), medium.size_bytes)
        self._medium = medium
        self._memory = bytearray(medium.read(self.offset_bytes, end - self.offset_bytes))
        self.view = memoryview(self._memory)

    def sync(self, offset_bytes: int, length_bytes: int) -> None:
        """Write the pages of these bytes."""
        self._medium.msyncs += 1
        self.write_back(offset_bytes, length_bytes)

    def write_back(self, offset_bytes: int, length_bytes: int) -> None:
        """Write the pages that these bytes of the device touch, as far as they are mapped here."""
        start = max(round_down(offset_bytes, PAGE_BYTES) - self.offset_bytes, 0)
        end = min(round_up(offset_bytes + length_bytes, PAGE_BYTES) - self.offset_bytes, len(self._memory))
        if start < end:
            self._medium.store(self.offset_bytes + start, bytes(self._memory[start:end]))

    def close(self) -> None:
        """Unmap."""
        self._medium.unmap(self)
        self.view.release()


class MemoryDevice:
    """One opening of the medium, under the number that a table gave it."""

    def __init__(self, medium: Medium, number: str) -> None:
        """Take the medium, and how the kernel calls it."""
        self.number = number
        self.size_bytes = medium.size_bytes
        self.block_bytes = medium.block_bytes
        self._medium = medium

    def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        """Read the medium; beyond the end is zero."""
        return self._medium.read(offset_bytes, length_bytes).ljust(length_bytes, b"\0")

    def forget_cache(self) -> None:
        """Do nothing: nobody writes past this cache."""

    def map(self, offset_bytes: int, length_bytes: int) -> MemoryWindow:
        """Map a piece."""
        return self._medium.map(offset_bytes, length_bytes)

    def close(self) -> None:
        """Do nothing: the medium stays."""


@contextmanager
def opened(name: str) -> Iterator[Medium]:
    """Open an image.

    Raises:
        UsageError: it is no file or device, or standard input.
        RefusedError: it is a device in use, which changes while it is read.
        DeviceError: it cannot be opened or read.
    """
    if name == source.STDIN:
        raise UsageError("replay reads its image more than once: name a file, not '-'")
    with source.opened(name) as found:
        assert isinstance(found, FileSource)  # anything else is standard input
        if found.holders:
            held = ", ".join(found.holders)
            raise RefusedError(name, f"is in use by {held} and changes", "copy it (dd), and name the copy")
        if found.is_block:
            found.bypass_cache()
        if found.size_bytes < SECTOR_BYTES:
            raise UsageError(f"{name} is empty: name an image of a log, or of a blank device")
        yield Medium(found)


def head_of(medium: Medium) -> bytes:
    """Return the first 1024 bytes."""
    return medium.read(0, ondisk.HEAD_BYTES)
