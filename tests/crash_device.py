# SPDX-License-Identifier: LGPL-2.1-or-later
"""A log device in memory that can lose power at any moment, and a mirror on it whose legs have volatile caches.

Two images: ``live`` is what the page cache holds and every window shows, ``durable`` what the medium holds. A page that
was stored may reach the medium on its own at any time, in any version it had since it was last written, and a power
cut may tear it at ``grain_bytes``. Every store into a window and both sides of every sync are a step; ``on_step`` sees
them all.
"""

import errno
import itertools
import math
import random
from collections.abc import Callable, Iterator

from bitarray import bitarray

from diskulog import mapped
from diskulog.errors import DeviceError
from diskulog.units import round_down, round_up

EIO = OSError(errno.EIO, "Input/output error")
_TORN_BYTES = 64  # a store that is caught half done


class WatchedBits(bitarray):
    """Bits over a window that tell the device of every store."""

    on_store: Callable[[str], None] | None = None

    def __setitem__(self, index, value):
        super().__setitem__(index, value)
        if self.on_store:
            self.on_store("bits stored")


def watch_bits(monkeypatch) -> None:
    """Make every store into a mapped bitmap a step of its CrashDevice."""
    plain = mapped._bits_over

    def watched(window, offset_bytes, length_bytes):
        if not isinstance(window, CrashWindow):
            return plain(window, offset_bytes, length_bytes)
        at = offset_bytes - window.offset_bytes
        bits = WatchedBits(buffer=window.view[at : at + length_bytes], endian="little")
        bits.on_store = window.device.step
        return bits

    monkeypatch.setattr(mapped, "_bits_over", watched)


class _View:
    """Stands for the memoryview of a window: slices are real memory, stores are seen."""

    def __init__(self, window: "CrashWindow", memory: memoryview) -> None:
        self.window, self.memory = window, memory

    def __len__(self) -> int:
        return len(self.memory)

    def __bytes__(self) -> bytes:
        return bytes(self.memory)

    def __getitem__(self, index):
        return self.memory[index]

    def __setitem__(self, index: slice, value: bytes) -> None:
        start, stop, _ = index.indices(len(self.memory))
        device, at = self.window.device, self.window.offset_bytes
        # A page that is caught half done is caught with what the cache held: for a whole window that may be stale, and
        # the page is then only right when the store is through. That (a store of microseconds) is not played here.
        whole = stop - start == len(self.memory)
        half = round_down((stop - start) // 2, device.page_bytes if whole else _TORN_BYTES)
        device.dirty.update(device.pages(at + start, half))
        self.memory[start : start + half] = value[:half]
        device.step("half stored")
        device.dirty.update(device.pages(at + start, stop - start))
        self.memory[start + half : stop] = value[half:]
        device.step("stored")


class CrashWindow:
    """A mapped piece of a CrashDevice."""

    def __init__(self, device: "CrashDevice", offset_bytes: int, length_bytes: int) -> None:
        self.device, self.offset_bytes = device, offset_bytes
        self._memory = memoryview(device.live)[offset_bytes : offset_bytes + length_bytes]
        self.view = _View(self, self._memory)

    def sync(self, offset_bytes: int, length_bytes: int) -> None:
        end = self.offset_bytes + len(self.view)
        assert self.offset_bytes <= offset_bytes, "sync before its window"
        assert offset_bytes + length_bytes <= end, "sync behind its window"
        self.device.sync(offset_bytes, length_bytes)

    def close(self) -> None:
        self._memory.release()
        self.device.windows.remove(self)
        if not self.device.windows:
            # a bytearray that anybody still looks at cannot change its size, as a mapping cannot be closed
            self.device.live.append(0)
            self.device.live.pop()


class CrashDevice:
    """Keeps ``diskulog.media.Device``."""

    def __init__(
        self,
        durable: bytes,
        *,
        live: bytes | None = None,
        page_bytes: int = 4096,
        grain_bytes: int = 512,
        block_bytes: int = 512,
        number: str = "7:0",
    ) -> None:
        self.durable, self.live = bytearray(durable), bytearray(durable if live is None else live)
        self.size_bytes, self.block_bytes, self.number = len(durable), block_bytes, number
        self.page_bytes, self.grain_bytes = page_bytes, min(grain_bytes, page_bytes)
        self.dirty: set[int] = set()  # pages; a clean page that differs from the medium is stale, or was lied about
        self.windows: list[CrashWindow] = []
        self.syncs: list[tuple[int, int]] = []
        self.unreadable: list[range] = []
        self.good_syncs = 0  # so many that write anything succeed,
        self.failing_syncs = 0  # then so many fail, and what they should have written is called clean
        self.sync_failed = False
        self.map_failure: OSError | None = None
        self.on_step: Callable[[str], None] | None = None
        self.closed = False
        self.latches: dict[tuple[bytes, int, str], FakeLatch] = {}
        self._seen = bytes(self.live)
        self._versions: dict[int, list[bytes]] = {}

    # -- diskulog.media.Device ---------------------------------------------------------------------------------------

    def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        assert not self.closed
        if any(bad.start < offset_bytes + length_bytes and offset_bytes < bad.stop for bad in self.unreadable):
            raise DeviceError("log device: read", EIO)
        self._write_back(offset_bytes, length_bytes)
        return bytes(self.durable[offset_bytes : offset_bytes + length_bytes]).ljust(length_bytes, b"\0")

    def forget_cache(self) -> None:
        assert not self.windows, "forgotten under its windows"
        assert not self.closed

    def map(self, offset_bytes: int, length_bytes: int) -> CrashWindow:
        assert not self.closed
        if self.map_failure or offset_bytes + length_bytes > self.size_bytes:
            raise DeviceError("log device: map", self.map_failure or OSError(errno.ENXIO, "too small"))
        start = round_down(offset_bytes, self.page_bytes)
        end = min(round_up(offset_bytes + length_bytes, self.page_bytes), self.size_bytes)
        window = CrashWindow(self, start, end - start)
        self.windows.append(window)
        return window

    def close(self) -> None:
        assert not self.windows, "closed under its windows"
        self.closed = True

    # -- what a page cache does --------------------------------------------------------------------------------------

    def pages(self, offset_bytes: int, length_bytes: int) -> range:
        return range(offset_bytes // self.page_bytes, -(-(offset_bytes + length_bytes) // self.page_bytes))

    def step(self, what: str) -> None:
        """Notice what was stored, then let the test look."""
        if self.live != self._seen:
            for at in range(0, self.size_bytes, self.grain_bytes):
                grain = self.live[at : at + self.grain_bytes]
                if grain != self._seen[at : at + self.grain_bytes]:
                    self._versions.setdefault(at, []).append(bytes(grain))
                    self.dirty.add(at // self.page_bytes)
            self._seen = bytes(self.live)
        for page in self.dirty:  # a page is written as a whole, also what was there before the store
            start = page * self.page_bytes
            for at in range(start, min(start + self.page_bytes, self.size_bytes), self.grain_bytes):
                grain = self.live[at : at + self.grain_bytes]
                if at not in self._versions and grain != self.durable[at : at + self.grain_bytes]:
                    self._versions[at] = [bytes(grain)]
        if self.on_step:
            self.on_step(what)

    def sync(self, offset_bytes: int, length_bytes: int) -> None:
        self.step("before a sync")
        self.syncs.append((offset_bytes, length_bytes))
        self._write_back(offset_bytes, length_bytes)
        self.step("after a sync")

    def _write_back(self, offset_bytes: int, length_bytes: int) -> None:
        self._notice_quietly()
        written = self.dirty & set(self.pages(offset_bytes, length_bytes))
        self.dirty -= written
        failed = bool(written) and self.good_syncs <= 0 < self.failing_syncs
        self.good_syncs -= bool(written)
        self.failing_syncs -= failed
        for page in written:
            span = slice(page * self.page_bytes, (page + 1) * self.page_bytes)
            if not failed:
                self.durable[span] = self.live[span]
            for at in range(span.start, span.stop, self.grain_bytes):
                self._versions.pop(at, None)
        if failed:
            self.sync_failed = True
            raise DeviceError("log device: write-back", EIO)

    def _notice_quietly(self) -> None:
        watcher, self.on_step = self.on_step, None
        self.step("")
        self.on_step = watcher

    # -- crashes -----------------------------------------------------------------------------------------------------

    def crash_images(self, limit: int = 32, seed: int = 0) -> Iterator[bytes]:
        """Give what the medium may hold if the power goes now: all mixtures when they are few, else a choice."""
        self._notice_quietly()
        places = sorted(self._versions)
        versions = [(bytes(self.durable[at : at + self.grain_bytes]), *self._versions[at]) for at in places]
        if math.prod(map(len, versions)) <= limit:
            chosen = itertools.product(*versions)
        else:
            chosen = iter(_choice(versions, limit, random.Random(seed)))
        for contents in chosen:
            image = bytearray(self.durable)
            for at, content in zip(places, contents, strict=True):
                image[at : at + len(content)] = content
            yield bytes(image)


def _choice(versions: list[tuple[bytes, ...]], limit: int, chance: random.Random) -> list[tuple[bytes, ...]]:
    """Nothing, everything, each alone, all but each, and random mixtures; at least ``limit`` of them."""
    old, new = [v[0] for v in versions], [v[-1] for v in versions]
    found = [tuple(old), tuple(new)]
    for at, several in enumerate(versions):
        found += [(*old[:at], one, *old[at + 1 :]) for one in several[1:]]
        found.append((*new[:at], old[at], *new[at + 1 :]))
    found += [tuple(chance.choice(v) for v in versions) for _ in range(max(limit - len(found), limit // 4))]
    return found


class FakeLatch:
    """Keeps ``diskulog.media.Latch``; survives a worker as long as its device does."""

    def __init__(self) -> None:
        self.failed = False

    def set(self) -> None:
        self.failed = True

    def is_set(self) -> bool:
        return self.failed

    def clear(self) -> None:
        self.failed = False


class FakeMirror:
    """Keeps ``diskulog.media.Mirror``; counts what it is asked."""

    def __init__(self) -> None:
        self.looks = self.flushes = 0
        self.open = False
        self.is_suspended = self.is_held = True
        self.failure: DeviceError | None = None
        self.on_flush: Callable[[], None] | None = None

    def look(self) -> None:
        self.looks += 1
        self.open = True

    def flush_legs(self) -> None:
        self.flushes += 1
        if self.failure:
            raise self.failure
        if self.on_flush:
            self.on_flush()

    def suspended(self) -> bool:
        return self.is_suspended

    def held(self) -> bool:
        return self.is_held

    def close(self) -> None:
        self.open = False
