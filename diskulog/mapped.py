# SPDX-License-Identifier: LGPL-2.1-or-later
"""A log as it lies in memory: two windows of its device, the bits over them, and the head in place.

Lives here: storing into the mapping and msyncing pieces of it. Does not know why, or in which order (``store``).
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace

from bitarray import bitarray

from diskulog import ondisk
from diskulog.media import Device, Window
from diskulog.ondisk import CLEAN_OFFSET_BYTES, HEAD_BYTES, Extension, Geometry, Header


class MappedLog:
    """The head and the clean bitmap in one window, the sync bitmap in another.

    ``clean`` and ``in_sync`` cover whole 64-bit words, so they may be longer than the log has regions. They refer to
    the windows: nobody may keep them across ``close``.
    """

    def __init__(self, device: Device, geometry: Geometry) -> None:
        """Map both windows; raises DeviceError."""
        self.geometry = geometry
        bitmap = geometry.bitmap_bytes
        self._head = device.map(0, CLEAN_OFFSET_BYTES + bitmap)
        self._sync = device.map(geometry.sync_offset_bytes, bitmap)
        self.clean = _bits_over(self._head, CLEAN_OFFSET_BYTES, bitmap)
        self.in_sync = _bits_over(self._sync, geometry.sync_offset_bytes, bitmap)

    def close(self) -> None:
        """Unmap; nothing is stored or written back here."""
        # the bits first: a mapping cannot be closed while anything refers to it
        self.clean = self.in_sync = bitarray(endian="little")
        self._head.close()
        self._sync.close()

    # -- storing ---------------------------------------------------------------------------------------------------

    def fill_from(self, device: Device) -> None:
        """Store every page anew as the medium has it; the page cache may be stale (on-disk rule 7)."""
        for window in (self._head, self._sync):
            window.view[:] = device.read(window.offset_bytes, len(window.view))

    def rewrite(self) -> None:
        """Store every page anew as it stands, so that the next msync writes it."""
        for window in (self._head, self._sync):
            window.view[:] = bytes(window.view)

    def store_sync(self, bits: bitarray) -> None:
        """Store the whole sync bitmap, its padding zero."""
        _fill(self.in_sync, bits)

    def store_clean(self, bits: bitarray) -> None:
        """Store the whole clean bitmap, its padding zero."""
        _fill(self.clean, bits)

    def store_extension(self, extension: Extension) -> None:
        """Store the extension by one assignment, and make it durable."""
        start = ondisk.EXTENSION_OFFSET_BYTES
        self._head.view[start : start + ondisk.EXTENSION_BYTES] = extension.pack()
        self._head.sync(0, HEAD_BYTES)

    def store_header(self) -> None:
        """Store the kernel's header alone, and make it durable."""
        header = Header(nr_regions=self.geometry.region_count).pack()
        self._head.view[: len(header)] = header
        self._head.sync(0, len(header))

    def store_head(self, extension: Extension) -> None:
        """Store header and extension by one assignment, keeping what is reserved, and make them durable."""
        header = Header(nr_regions=extension.region_count).pack()
        reserved = bytes(self._head.view[len(header) : ondisk.EXTENSION_OFFSET_BYTES])
        self._head.view[:HEAD_BYTES] = header + reserved + extension.pack()
        self._head.sync(0, HEAD_BYTES)

    # -- making durable --------------------------------------------------------------------------------------------

    def commit_regions(self, first_region: int, last_region: int) -> None:
        """Make the clean bits from one region to another durable, with one msync."""
        first = CLEAN_OFFSET_BYTES + first_region // 8
        self._head.sync(first, CLEAN_OFFSET_BYTES + last_region // 8 + 1 - first)

    def commit_clean(self) -> None:
        """Make the whole first window durable."""
        self._head.sync(self._head.offset_bytes, len(self._head.view))

    def commit_sync(self) -> None:
        """Make the whole sync bitmap durable."""
        self._sync.sync(self._sync.offset_bytes, len(self._sync.view))

    # -- looking ---------------------------------------------------------------------------------------------------

    def head(self) -> bytes:
        """Copy the first 1024 bytes."""
        return bytes(self._head.view[:HEAD_BYTES])

    def checksummed(self, extension: Extension) -> Extension:
        """Return the extension with the checksums of both bitmaps as they stand."""
        count, bitmap = self.geometry.region_count, self.geometry.bitmap_bytes
        at = self.geometry.sync_offset_bytes - self._sync.offset_bytes
        return replace(
            extension,
            clean_crc32=ondisk.bitmap_crc32(self._head.view[CLEAN_OFFSET_BYTES : CLEAN_OFFSET_BYTES + bitmap], count),
            sync_crc32=ondisk.bitmap_crc32(self._sync.view[at : at + bitmap], count),
        )


def _bits_over(window: Window, offset_bytes: int, length_bytes: int) -> bitarray:
    at = offset_bytes - window.offset_bytes
    return bitarray(buffer=window.view[at : at + length_bytes], endian="little")


def _fill(target: bitarray, bits: bitarray) -> None:
    target[: len(bits)] = bits
    target[len(bits) :] = 0


def store_zeros(bits: bitarray, regions: Iterable[int]) -> None:
    """Make regions dirty in a bitmap; those beyond its end are ignored."""
    for region in regions:
        with suppress(IndexError):
            bits[region] = 0
