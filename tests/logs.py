# SPDX-License-Identifier: LGPL-2.1-or-later
"""Logs for the tests of the store: constructor arguments, hosts, and images of every kind, small enough to crash."""

from collections.abc import Iterable
from dataclasses import replace

from bitarray import bitarray

from diskulog import ondisk
from diskulog.ctr import CtrArgs, Sync
from diskulog.logstore import Opening
from diskulog.media import Host
from diskulog.ondisk import Extension, Header, State
from diskulog.store import DiskStore
from tests.crash_device import CrashDevice, FakeLatch, FakeMirror

UUID = b"LVM-0123456789"
REGION_SECTORS = 8
BOOT, NEXT_BOOT = bytes(range(16)), bytes(range(16, 32))
LUID, OTHER_LUID = 0xFFFF_8880_1234_5678, 0xFFFF_8880_1234_9999
SIZE = 16 * 1024
COUNT = 100  # regions of most logs


def table(count: int, sync: Sync = Sync.DEFAULT, region_sectors: int = REGION_SECTORS) -> CtrArgs:
    """A constructor's arguments for that many regions, the last one short."""
    return CtrArgs(count * region_sectors - 1, "disk", "disk", "7:0", region_sectors, sync)


def opening(args: CtrArgs, luid: int = LUID, *, reconnect: bool = False, uuid: bytes = UUID) -> Opening:
    return Opening(args, uuid, luid, reconnect, frozenset())


def host(boot: bytes = BOOT, now: float = 1_700_000_000.0) -> Host:
    return Host(boot, "anvil", lambda: now)


def store_on(
    device: CrashDevice,
    args: CtrArgs,
    luid: int = LUID,
    boot: bytes = BOOT,
    mirror: FakeMirror | None = None,
    reconnect: bool = False,
) -> DiskStore:
    latches = [device.latches.setdefault((boot, luid, what), FakeLatch()) for what in ("log", "legs")]
    return DiskStore(device, mirror or FakeMirror(), opening(args, luid, reconnect=reconnect), host(boot), *latches)


def ones(count: int, zeros: Iterable[int] = ()) -> bitarray:
    bits = bitarray(count, endian="little")
    bits.setall(1)
    for zero in zeros:
        bits[zero] = 0
    return bits


def zeros(count: int, ones: Iterable[int] = ()) -> bitarray:
    return ~globals()["ones"](count, ones)


def regions(bits: bitarray) -> set[int]:
    """The regions whose bit is 1."""
    return set(bits.search(1))


def put(image: bytearray, offset: int, content: bytes) -> None:
    image[offset : offset + len(content)] = content


def kernel_log(count: int, dirty: Iterable[int] = (), size: int = SIZE, nr_regions: int | None = None) -> bytearray:
    """What the kernel's own log leaves."""
    image = bytearray(size)
    put(image, 0, Header(nr_regions=count if nr_regions is None else nr_regions).pack())
    put(image, ondisk.CLEAN_OFFSET_BYTES, ondisk.bits_to_bytes(ones(count, dirty)))
    return image


def extension(count: int, size: int = SIZE, **changes: object) -> Extension:
    geometry = ondisk.choose_geometry(count, size, 512)
    args = table(count)
    made = Extension(
        uuid=UUID.decode(),
        region_size_sectors=args.region_size_sectors,
        target_length_sectors=args.target_length_sectors,
        region_count=count,
        sync_offset_bytes=geometry.sync_offset_bytes,
        sync_capacity_bytes=geometry.sync_capacity_bytes,
        state=State.CLOSED,
    )
    return replace(made, **changes)


def diskulog_log(
    count: int,
    dirty: Iterable[int] = (),
    out_of_sync: Iterable[int] = (),
    size: int = SIZE,
    **changes: object,
) -> bytearray:
    """What diskulog leaves; the checksums fit unless ``changes`` says otherwise."""
    image = kernel_log(count, dirty, size)
    clean = ondisk.bits_to_bytes(ones(count, dirty))
    sync = ondisk.bits_to_bytes(ones(count, out_of_sync))
    made = extension(
        count,
        size,
        clean_crc32=ondisk.bitmap_crc32(clean, count),
        sync_crc32=ondisk.bitmap_crc32(sync, count),
    )
    made = replace(made, **changes)
    put(image, made.sync_offset_bytes, sync)
    put(image, ondisk.EXTENSION_OFFSET_BYTES, made.pack())
    return image


def extension_of(image: bytes) -> Extension:
    found = ondisk.unpack_extension(bytes(image[: ondisk.HEAD_BYTES]))
    assert found is not None, "the image has no extension that can be believed"
    return found


def activated(image: bytes, args: CtrArgs, boot: bytes = NEXT_BOOT, luid: int = OTHER_LUID) -> DiskStore:
    """The log as another boot finds it: checked as at its CTR, then live."""
    store = store_on(CrashDevice(image), args, luid, boot)
    store.check()
    store.activate(luid, fresh=True)
    return store


def bits(store: DiskStore) -> tuple[set[int], set[int]]:
    """The regions that are clean, and those in sync."""
    return regions(store.clean), regions(store.in_sync)


def clean_on(image: bytes) -> set[int]:
    return regions(ondisk.bits_from(image[1024:], COUNT))


def sync_on(image: bytes) -> set[int]:
    return regions(ondisk.bits_from(image[extension_of(image).sync_offset_bytes :], COUNT))


def live(
    image: bytes | None = None, luid: int = LUID, boot: bytes = BOOT, count: int = COUNT, **how
) -> tuple[CrashDevice, DiskStore]:
    device = CrashDevice(diskulog_log(count, {3}, {4}) if image is None else image, **how)
    store = store_on(device, table(count), luid, boot)
    store.activate(luid, fresh=True)
    return device, store


def after_death(device: CrashDevice, luid: int = LUID, boot: bytes = BOOT, count: int = COUNT) -> DiskStore:
    """A new worker over the page cache that the dead one left."""
    device.windows.clear()
    return store_on(device, table(count), luid, boot, reconnect=True)
