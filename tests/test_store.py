# SPDX-License-Identifier: LGPL-2.1-or-later
import pytest

from diskulog import ondisk
from diskulog.ctr import Sync
from diskulog.errors import DeviceError, LogFailedError, RefusedError
from diskulog.ondisk import ALL_REGIONS, State
from diskulog.store import DiskStore
from diskulog.units import MIB
from tests import logs
from tests.crash_device import EIO, CrashDevice, FakeLatch, FakeMirror
from tests.logs import (
    BOOT,
    COUNT,
    LUID,
    NEXT_BOOT,
    SIZE,
    bits,
    clean_on,
    diskulog_log,
    extension_of,
    kernel_log,
    live,
    ones,
    regions,
    store_on,
    sync_on,
    table,
    zeros,
)

NONE = frozenset()


class TestCheck:
    def test_nothing_is_written(self):
        device = CrashDevice(bytes(SIZE))
        store_on(device, table(COUNT)).check()
        assert device.durable == device.live == bytes(SIZE)
        assert device.syncs == []

    def test_the_medium_is_read_and_not_the_page_cache(self):
        device = CrashDevice(diskulog_log(COUNT), live=b"\xff" * SIZE)
        store_on(device, table(COUNT)).check()
        assert device.durable == diskulog_log(COUNT)

    @pytest.mark.parametrize(
        ("at", "size"),
        [(1024, SIZE), (SIZE // 2, SIZE), (SIZE - 1, SIZE), (MIB - 1, 4 * MIB), (2 * MIB, 4 * MIB)],
    )
    def test_a_device_that_is_not_blank_where_it_would_be_written_is_refused(self, at, size):
        image = bytearray(size)
        image[at] = 1
        with pytest.raises(RefusedError, match="log device: is not blank and holds no log") as refused:
            store_on(CrashDevice(image), table(COUNT)).check()
        first = at // MIB * MIB
        assert f"between bytes {first} and {first + MIB}" in str(refused.value)

    def test_what_lies_elsewhere_on_a_large_device_is_nobodys_business(self):
        image = bytearray(4 * MIB)
        image[MIB] = image[2 * MIB + 4096] = 1
        device = CrashDevice(image)
        store_on(device, table(COUNT)).check()
        assert device.durable == image

    def test_a_device_shorter_than_a_head_is_refused_and_not_read_beyond(self):
        with pytest.raises(RefusedError, match="has 512 bytes"):
            store_on(CrashDevice(bytes(512)), table(COUNT)).check()

    def test_a_log_that_is_refused_at_its_ctr_is_refused_at_its_resume(self):
        image = diskulog_log(COUNT, uuid="LVM-other")
        device = CrashDevice(image)
        with pytest.raises(RefusedError, match="uuid"):
            store_on(device, table(COUNT)).activate(LUID, fresh=True)
        assert device.durable == device.live == image

    def test_a_device_that_cannot_be_read_is_an_error(self):
        device = CrashDevice(diskulog_log(COUNT))
        device.unreadable = [range(512)]
        with pytest.raises(DeviceError, match="read: Input/output error"):
            store_on(device, table(COUNT)).check()


class TestActivation:
    def test_a_blank_device_becomes_a_log_whose_regions_are_dirty(self):
        device, store = live(bytes(SIZE))
        assert bits(store) == (set(), set())
        found = extension_of(device.durable)
        assert (found.state, found.uuid, found.region_count) == (State.OPEN, "LVM-0123456789", COUNT)
        assert (found.region_size_sectors, found.target_length_sectors) == (8, 799)
        assert (found.created_seconds, found.resumed_seconds, found.closed_seconds) == (1_700_000_000, 1_700_000_000, 0)
        assert (found.boot_id, found.host_name) == (BOOT, "anvil")
        assert found.live_token == ondisk.live_token(BOOT, LUID)
        assert ondisk.unpack_header(device.durable).nr_regions == COUNT

    @pytest.mark.parametrize(
        ("sync", "clean"), [(Sync.DEFAULT, set()), (Sync.SYNC, set()), (Sync.NOSYNC, {*range(COUNT)})]
    )
    def test_new_regions_are_clean_with_nosync_only(self, sync, clean):
        device = CrashDevice(bytes(SIZE))
        store = store_on(device, table(COUNT, sync))
        assert store.activate(LUID, fresh=True) == ()
        assert bits(store) == (clean, clean)
        assert clean_on(device.durable) == sync_on(device.durable) == clean

    @pytest.mark.parametrize("state", list(State))
    def test_dirty_is_out_of_sync_in_the_mapping_and_on_the_medium(self, state):
        device, store = live(diskulog_log(COUNT, {3}, {4}, state=state))
        expected = regions(ones(COUNT, {3} if state is State.RELEASED else {3, 4}))
        assert bits(store) == (expected, expected)
        assert clean_on(device.durable) == sync_on(device.durable) == expected
        assert extension_of(device.durable).state is State.OPEN
        assert device.durable == device.live

    def test_nothing_of_the_page_cache_is_believed(self):
        image = diskulog_log(COUNT, {3}, {4})
        device, store = live(image, live=diskulog_log(COUNT))
        assert bits(store)[0] == regions(ones(COUNT, {3, 4}))
        assert device.durable == device.live

    @pytest.mark.parametrize("fill", [0, 0xFF])
    def test_lvms_fresh_log_becomes_ours_and_its_reserved_bytes_stay(self, fill):
        image = bytearray([fill]) * SIZE
        image[:16] = ondisk.Header(nr_regions=ALL_REGIONS).pack()
        device, store = live(image)
        expected = set(range(COUNT)) if fill else set()
        assert bits(store) == (expected, expected)
        assert ondisk.unpack_header(device.durable).nr_regions == COUNT
        assert device.durable[16:512] == image[16:512]

    def test_a_kernel_log_gets_its_extension_and_stays_one_that_the_kernel_can_read(self):
        device, store = live(kernel_log(COUNT, {3, 99}))
        expected = regions(ones(COUNT, {3, 99}))
        assert bits(store) == (expected, expected)
        assert device.durable[:1024][:512] == kernel_log(COUNT)[:512]
        assert device.durable[1024 : 1024 + 16] == kernel_log(COUNT, {3, 99})[1024 : 1024 + 16]
        assert extension_of(device.durable).generation == 2

    def test_the_generation_counts_and_the_creation_is_kept(self):
        device, store = live(bytes(SIZE))
        store.close_log()
        store.release()
        first = extension_of(device.durable)
        other = CrashDevice(device.durable)
        again = DiskStore(
            other,
            FakeMirror(),
            logs.opening(table(COUNT)),
            logs.host(NEXT_BOOT, 1_800_000_000),
            FakeLatch(),
            FakeLatch(),
        )
        again.activate(LUID, fresh=True)
        found = extension_of(other.durable)
        assert found.created_seconds == 1_700_000_000
        assert found.resumed_seconds == 1_800_000_000
        assert found.closed_seconds == 1_700_000_000
        assert found.generation > first.generation

    @pytest.mark.parametrize(("sync", "new"), [(Sync.DEFAULT, set()), (Sync.NOSYNC, set(range(COUNT, 400)))])
    def test_a_mirror_that_grew_keeps_its_log(self, sync, new):
        device = CrashDevice(diskulog_log(COUNT, {3}, {4}))
        store = store_on(device, table(400, sync))
        assert store.activate(LUID, fresh=True) == ("grew from 100 to 400 regions",)
        expected = regions(ones(COUNT, {3, 4})) | new
        assert bits(store) == (expected, expected)
        assert extension_of(device.durable).region_count == 400
        assert ondisk.unpack_header(device.durable).nr_regions == 400

    def test_a_log_that_outgrows_its_place_moves_its_sync_bitmap(self):
        image = diskulog_log(COUNT, {3}, {4}, size=8192) + bytes(24 * 1024)
        device = CrashDevice(image)
        store = store_on(device, table(40_000))
        store.activate(LUID, fresh=True)
        assert bits(store) == (regions(ones(COUNT, {3, 4})),) * 2
        assert extension_of(device.durable).sync_offset_bytes == 16 * 1024
        assert device.durable == device.live

    def test_a_mirror_that_shrank_drops_the_tail_of_its_log(self):
        device = CrashDevice(diskulog_log(1000, {3, 500}))
        store = store_on(device, table(COUNT))
        assert store.activate(LUID, fresh=True) == ("shrank to 100 regions",)
        assert bits(store)[0] == regions(ones(COUNT, {3}))
        assert extension_of(device.durable).region_count == COUNT

    def test_an_extension_that_claims_too_much_does_not_make_the_whole_device_read(self):
        image = diskulog_log(COUNT, region_count=2**60, size=MIB)
        device = CrashDevice(image)
        lengths = []
        plain = device.read
        device.read = lambda offset, length: lengths.append(length) or plain(offset, length)
        store = store_on(device, table(COUNT))
        store.activate(LUID, fresh=True)
        assert bits(store) == (set(), set())
        assert max(lengths) <= 4096

    def test_the_legs_are_looked_at_when_it_is_live(self):
        mirror = FakeMirror()
        store_on(CrashDevice(diskulog_log(COUNT)), table(COUNT), mirror=mirror).activate(LUID, fresh=True)
        assert mirror.open

    @pytest.mark.parametrize("failing", range(3))
    def test_an_activation_whose_msync_fails_can_be_repeated(self, failing):
        image = diskulog_log(COUNT, {3}, {4}, clean_crc32=0)
        device = CrashDevice(image)
        device.good_syncs, device.failing_syncs = failing, 1
        store = store_on(device, table(COUNT))
        with pytest.raises(DeviceError, match="write-back"):
            store.activate(LUID, fresh=True)
        store.activate(LUID, fresh=True)
        assert bits(store) == (set(), set())
        assert device.durable == device.live

    def test_an_activation_that_cannot_map_leaves_nothing_mapped(self):
        device = CrashDevice(diskulog_log(COUNT))
        store = store_on(device, table(COUNT))
        device.map_failure = EIO
        with pytest.raises(DeviceError, match="map"):
            store.activate(LUID, fresh=True)
        store.release()
        assert device.closed


class TestEnd:
    def test_detaching_and_releasing_store_nothing_and_leave_nothing_open(self):
        mirror = FakeMirror()
        device = CrashDevice(diskulog_log(COUNT))
        store = store_on(device, table(COUNT), mirror=mirror)
        store.activate(LUID, fresh=True)
        before, syncs = bytes(device.durable), len(device.syncs)
        store.clean[50] = 0
        store.detach()
        assert device.windows == []
        assert not mirror.open
        assert len(store.clean) == len(store.in_sync) == 0
        store.release()
        store_on(CrashDevice(bytes(SIZE)), table(COUNT)).release()
        assert device.closed
        assert device.durable == before
        assert len(device.syncs) == syncs

    @pytest.mark.parametrize(
        "call",
        [
            lambda store: store.commit(0, 1),
            lambda store: store.commit_all(),
            lambda store: store.close_log(),
            lambda store: store.reopen(NONE),
            lambda store: store.reopen(frozenset({5})),
            lambda store: store.heal(LUID, NONE),
        ],
    )
    def test_a_log_that_gave_way_refuses_work_that_waited_in_its_lane(self, call):
        device, store = live()
        store.detach()
        before = bytes(device.durable)
        with pytest.raises(LogFailedError, match="gave way"):
            call(store)
        assert device.durable == before

    def test_a_log_that_never_lived_cannot_be_opened_again(self):
        device = CrashDevice(diskulog_log(COUNT))
        with pytest.raises(LogFailedError, match="has no extension"):
            store_on(device, table(COUNT)).reopen(NONE)


def test_the_mirrors_word_is_passed_on():
    mirror = FakeMirror()
    store = store_on(CrashDevice(bytes(SIZE)), table(COUNT), mirror=mirror)
    store.flush_legs()
    assert mirror.flushes == 1
    assert store.mirror_suspended()
    assert store.held()
    mirror.is_suspended = mirror.is_held = False
    assert not store.mirror_suspended()
    assert not store.held()
    assert store.device_number == "7:0"
    assert zeros(0) == store.clean
