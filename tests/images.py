# SPDX-License-Identifier: LGPL-2.1-or-later
"""Log images built in memory, one function a kind; and a check that a reader left a file alone."""

import hashlib
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from bitarray import bitarray

from diskulog import ondisk
from diskulog.forensic.image import Image, load
from diskulog.forensic.source import StreamSource, opened
from diskulog.ondisk import Extension, Header, State
from diskulog.units import MIB

UUID = "LVM-s0me-m1rror"
REGION_SIZE_SECTORS = 1024
DEVICE_BYTES = MIB
BOOT = bytes(range(16))


def bits(count: int, zeros: Iterable[int] = ()) -> bitarray:
    made = bitarray(count, endian="little")
    made.setall(1)
    for zero in zeros:
        made[zero] = 0
    return made


def kernel(count: int = 1000, dirty: Iterable[int] = (), version: int = 2, size: int = DEVICE_BYTES) -> bytearray:
    image = bytearray(size)
    image[:16] = Header(version=version, nr_regions=count).pack()
    clean = ondisk.bits_to_bytes(bits(count, dirty))
    image[1024 : 1024 + len(clean)] = clean
    return image


def extension(count: int = 1000, state: State = State.CLOSED, size: int = DEVICE_BYTES, **changes: object) -> Extension:
    geometry = ondisk.choose_geometry(count, size, 512)
    made = Extension(
        UUID,
        REGION_SIZE_SECTORS,
        max(count * REGION_SIZE_SECTORS - 24, 0),
        count,
        geometry.sync_offset_bytes,
        geometry.sync_capacity_bytes,
        state,
        generation=7,
        created_seconds=1_700_000_000,
        resumed_seconds=1_700_000_100,
        closed_seconds=1_700_000_200,
        boot_id=BOOT,
        live_token=b"livetokn",
        host_name="anvil",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def diskulog(
    count: int = 1000,
    dirty: Iterable[int] = (),
    out_of_sync: Iterable[int] = (),
    state: State = State.CLOSED,
    size: int = DEVICE_BYTES,
    **changes: object,
) -> bytearray:
    image = kernel(count, dirty, size=size)
    made = extension(count, state, size)
    sync = ondisk.bits_to_bytes(bits(count, out_of_sync))
    image[made.sync_offset_bytes : made.sync_offset_bytes + len(sync)] = sync
    if state is State.CLOSED:
        clean = bytes(image[1024 : 1024 + len(sync)])
        made = replace(made, clean_crc32=ondisk.bitmap_crc32(clean, count), sync_crc32=ondisk.bitmap_crc32(sync, count))
    image[512:1024] = replace(made, **changes).pack()  # type: ignore[arg-type]
    return image


def damaged(**arguments: object) -> bytearray:
    image = diskulog(**arguments)  # type: ignore[arg-type]
    image[600] ^= 1
    return image


def changed(dirty: Iterable[int] = (5,), **arguments: object) -> bytearray:
    """A log that somebody marked after diskulog closed it."""
    image = diskulog(**arguments)  # type: ignore[arg-type]
    for region in dirty:
        image[1024 + region // 8] &= ~(1 << region % 8)
    return image


def resized(count: int, old: int = 1000, size: int = DEVICE_BYTES, state: State = State.CLOSED) -> bytearray:
    """A log that the kernel's own log grew or shrank after diskulog."""
    image = diskulog(old, state=state, size=size)
    fresh = kernel(count, size=size)
    image[:16] = fresh[:16]
    end = 1024 + ondisk.bitmap_bytes(count)
    image[1024:end] = fresh[1024:end]
    return image


def lvm_fresh(fill: int, size: int = DEVICE_BYTES) -> bytearray:
    image = bytearray([fill]) * size
    image[:16] = Header(nr_regions=ondisk.ALL_REGIONS).pack()
    return image


def big_endian() -> bytearray:
    image = kernel()
    image[:16] = struct.pack(">IIQ", ondisk.MAGIC, 2, 1000)
    return image


def claims(count: int, size: int = DEVICE_BYTES) -> bytearray:
    image = bytearray(size)
    image[:16] = Header(nr_regions=count).pack()
    return image


class MemorySource(StreamSource):
    """Bytes in memory as a source of known size that can go back."""

    def __init__(self, data: bytes, holders: tuple[str, ...] = (), is_block: bool = False) -> None:
        super().__init__("memory", -1, len(data), is_block, holders)
        self.data = bytes(data)
        self.bypassed = 0

    def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        return self.data[offset_bytes : offset_bytes + length_bytes]

    def bypass_cache(self) -> None:
        self.bypassed += 1


def loaded(data: bytes, holders: tuple[str, ...] = (), is_block: bool = False) -> Image:
    return load(MemorySource(data, holders, is_block))


def loaded_from(path: Path) -> Image:
    with opened(str(path)) as source:
        return load(source)


@contextmanager
def untouched(path: Path) -> Iterator[None]:
    """Prove that a reader changed neither the bytes nor the times of writing of a file."""

    def state() -> tuple[str, int, int]:
        found = path.stat()
        return hashlib.sha256(path.read_bytes()).hexdigest(), found.st_mtime_ns, found.st_ctime_ns

    before = state()
    yield
    assert state() == before
