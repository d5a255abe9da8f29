# SPDX-License-Identifier: LGPL-2.1-or-later
"""A log that lives on: taken over, closed, opened again, healed. Its birth and its end are in test_store."""

import pytest

from diskulog import ondisk
from diskulog.errors import DeviceError, RefusedError
from diskulog.ondisk import State
from diskulog.store import DiskStore
from tests.crash_device import CrashDevice, FakeMirror
from tests.logs import (
    BOOT,
    COUNT,
    LUID,
    NEXT_BOOT,
    OTHER_LUID,
    SIZE,
    after_death,
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
)

NONE = frozenset()


class TestTheSameLuidInThisBoot:
    def test_an_open_log_is_taken_over_with_both_bitmaps_as_they_stand(self):
        device, store = live()
        store.in_sync[3] = 1  # recovered, not yet cleared
        again = after_death(device)
        assert again.reconnect(LUID)
        assert bits(again) == (regions(ones(COUNT, {3, 4})), regions(ones(COUNT, {4})))
        assert device.durable == device.live

    def test_what_a_failed_msync_left_only_in_memory_is_durable_before_the_first_answer(self):
        device, store = live()
        store.clean[50] = 0
        device.failing_syncs = 1
        with pytest.raises(DeviceError):
            store.commit(50, 50)
        store.commit(50, 50)
        assert 50 in clean_on(device.durable), "the medium has lost the mark"
        again = after_death(device)
        assert again.reconnect(LUID)
        assert 50 not in clean_on(device.durable)

    def test_a_failure_of_the_last_worker_is_known_until_a_resume_heals_it(self):
        device, store = live()
        store.clean[50] = 0
        device.failing_syncs = 1
        with pytest.raises(DeviceError):
            store.commit(50, 50)
        store.latch_failure()
        again = after_death(device)
        assert again.reconnect(LUID)
        assert again.failed_before()
        again.heal(LUID, frozenset())
        assert not again.failed_before()
        assert not after_death(device).failed_before()

    def test_a_failed_log_that_is_resumed_by_a_new_worker_believes_neither_medium_nor_mapping_alone(self):
        device, store = live()
        store.clean[50] = 0  # never reaches the medium: its write-back fails, and Linux forgets it
        device.failing_syncs = 1
        with pytest.raises(DeviceError):
            store.commit(50, 50)
        store.latch_failure()
        again = after_death(device)
        again.activate(LUID, False)
        assert not again.failed_before()
        assert 50 not in clean_on(device.durable)
        assert not again.in_sync[50]

    def test_a_heal_that_fails_calls_nothing_out_of_sync_that_the_medium_calls_clean(self):
        device, store = live()
        store.clean[50] = 0
        device.failing_syncs = 1
        with pytest.raises(DeviceError):
            store.commit(50, 50)
        device.failing_syncs = 1
        with pytest.raises(DeviceError):
            store.heal(LUID, frozenset())
        assert 50 in clean_on(device.durable)
        assert store.in_sync[50]

    @pytest.mark.parametrize(
        ("luid", "boot", "count"), [(OTHER_LUID, BOOT, COUNT), (LUID, NEXT_BOOT, COUNT), (LUID, BOOT, COUNT + 1)]
    )
    def test_any_other_luid_boot_or_size_touches_nothing(self, luid, boot, count):
        device, _store = live()
        before = bytes(device.durable)
        assert not after_death(device, luid, boot, count).reconnect(luid)
        assert device.durable == before
        assert device.windows == []

    @pytest.mark.parametrize(
        "change",
        [
            {"uuid": "LVM-other"},
            {"region_size_sectors": 16},
            {"incompatible": 1},
            {"state": State.RELEASED},
            {"sync_capacity_bytes": 8},
        ],
    )
    def test_an_extension_that_says_anything_else_is_not_taken_over(self, change):
        made = {"state": State.OPEN, "boot_id": BOOT, "live_token": ondisk.live_token(BOOT, LUID)}
        mine = diskulog_log(COUNT, **made)
        assert store_on(CrashDevice(mine), table(COUNT), reconnect=True).reconnect(LUID)
        image = diskulog_log(COUNT, **made | change)
        device = CrashDevice(image)
        assert not store_on(device, table(COUNT), reconnect=True).reconnect(LUID)
        assert device.durable == device.live == image

    def test_a_log_that_was_resized_is_not_taken_over(self):
        device, _ = live()
        device.durable[8] = device.live[8] = COUNT - 1
        assert not after_death(device).reconnect(LUID)

    @pytest.mark.parametrize("image", [bytes(SIZE), kernel_log(COUNT)])
    def test_no_extension_is_nobodys(self, image):
        assert not store_on(CrashDevice(image), table(COUNT), reconnect=True).reconnect(LUID)

    def test_a_closed_log_is_not_taken_over_by_a_reconnect(self):
        device, store = live()
        store.close_log()
        before = bytes(device.durable)
        assert not after_death(device).reconnect(LUID)
        assert device.durable == before

    def test_a_closed_log_is_resumed_with_both_bitmaps_as_they_stand(self):
        device, store = live()
        store.in_sync[3] = 1
        store.close_log()
        again = after_death(device)
        assert again.activate(LUID, fresh=False) == ()
        assert bits(again) == (regions(ones(COUNT, {3, 4})), regions(ones(COUNT, {4})))
        assert extension_of(device.durable).state is State.OPEN

    def test_a_closed_log_that_somebody_wrote_is_activated(self):
        device, store = live()
        store.close_log()
        device.durable[1024] = device.live[1024] = 0xFE
        again = after_death(device)
        assert "somebody else wrote it" in again.activate(LUID, fresh=False)[0]
        assert bits(again) == (set(), set())

    def test_an_open_log_is_resumed_with_both_bitmaps_as_they_stand(self):
        device, store = live()
        store.in_sync[3] = 1
        again = after_death(device)
        assert again.activate(LUID, fresh=False) == ()
        assert bits(again) == (regions(ones(COUNT, {3, 4})), regions(ones(COUNT, {4})))

    def test_a_luid_that_was_constructed_again_is_activated(self):
        device, store = live()
        store.in_sync[3] = 1
        again = after_death(device)
        again.activate(LUID, fresh=True)
        assert bits(again) == (regions(ones(COUNT, {3, 4})),) * 2

    def test_a_second_luid_is_activated_and_is_the_one_that_is_live(self):
        device, store = live()
        store.in_sync[3] = 1
        store.detach()
        second = store_on(device, table(COUNT), OTHER_LUID)
        second.activate(OTHER_LUID, fresh=False)
        assert bits(second) == (regions(ones(COUNT, {3, 4})),) * 2
        assert not after_death(device, LUID).reconnect(LUID)
        assert after_death(device, OTHER_LUID).reconnect(OTHER_LUID)


class TestCloseAndReopen:
    def test_closed_is_written_when_all_else_is_durable(self):
        device, store = live()
        store.clean[50] = 0
        store.in_sync[3] = 1
        states = []
        device.on_step = lambda _: states.append((extension_of(device.durable).state, 50 in clean_on(device.durable)))
        store.close_log()
        found = extension_of(device.durable)
        assert found.state is State.CLOSED
        assert found.closed_seconds == 1_700_000_000
        assert found.clean_crc32 == ondisk.bitmap_crc32(device.durable[1024:], COUNT)
        assert found.sync_crc32 == ondisk.bitmap_crc32(device.durable[found.sync_offset_bytes :], COUNT)
        assert (State.CLOSED, True) not in states

    def test_closing_lets_go_of_the_legs_and_reopening_looks_again(self):
        mirror = FakeMirror()
        store = store_on(CrashDevice(diskulog_log(COUNT)), table(COUNT), mirror=mirror)
        store.activate(LUID, fresh=True)
        store.close_log()
        assert not mirror.open
        store.reopen(NONE)
        assert mirror.open

    def test_reopening_keeps_both_bitmaps(self):
        device, store = live()
        store.in_sync[3] = 1
        store.close_log()
        store.reopen(NONE)
        assert bits(store) == (regions(ones(COUNT, {3, 4})), regions(ones(COUNT, {4})))
        found = extension_of(device.durable)
        assert (found.state, found.clean_crc32, found.sync_crc32) == (State.OPEN, 0, 0)

    def test_marks_that_came_while_it_was_closed_are_dirty_before_it_is_open(self):
        device, store = live()
        store.close_log()
        wrong = []
        device.on_step = lambda _: wrong.append(
            extension_of(device.durable).state is State.OPEN and 50 in clean_on(device.durable)
        )
        store.reopen(frozenset({50, 10_000}))
        assert not any(wrong)
        assert wrong
        assert 50 not in clean_on(device.durable)
        assert 50 in regions(store.in_sync)

    def test_a_close_that_fails_is_known_and_healed(self):
        device, store = live()
        store.clean[50] = 0
        device.failing_syncs = 1
        with pytest.raises(DeviceError):
            store.close_log()
        assert extension_of(device.durable).state is State.OPEN
        store.heal(LUID, NONE)
        assert 50 not in clean_on(device.durable)


class TestHeal:
    def failed(self, medium_dirty: bool) -> tuple[CrashDevice, DiskStore]:
        device, store = live()
        store.clean[50] = 0
        device.failing_syncs = 1
        with pytest.raises(DeviceError):
            store.commit(50, 50)
        if medium_dirty:
            device.durable[1024 + 7] = 0  # regions 56 to 63: what the medium really kept
        return device, store

    def test_the_mapping_is_not_believed_where_the_medium_is_dirty_nor_the_medium_where_the_mapping_is(self):
        device, store = self.failed(medium_dirty=True)
        assert store.heal(LUID, frozenset({60, 70})) == (
            "its device had failed; 9 regions that seemed clean are dirty",
        )
        expected = regions(ones(COUNT, {3, 4, 50, *range(56, 64), 70}))
        assert bits(store) == (expected, expected)
        assert clean_on(device.durable) == sync_on(device.durable) == expected
        assert device.durable == device.live
        assert extension_of(device.durable).state is State.OPEN

    def test_a_log_whose_medium_kept_all_is_healed_without_a_word(self):
        _device, store = live()
        assert store.heal(LUID, NONE) == ()
        assert bits(store) == (regions(ones(COUNT, {3, 4})),) * 2

    def test_dirty_is_out_of_sync_after_it(self):
        _device, store = live()
        store.clean[50] = 0
        store.heal(LUID, NONE)
        assert 50 not in bits(store)[1]

    def test_it_fails_when_the_medium_cannot_be_read(self):
        device, store = self.failed(medium_dirty=False)
        device.unreadable = [range(1024, 2048)]
        with pytest.raises(DeviceError, match="read"):
            store.heal(LUID, NONE)
        device.unreadable = []
        store.heal(LUID, NONE)
        assert 50 not in clean_on(device.durable)

    def test_it_fails_again_when_the_msync_does(self):
        device, store = self.failed(medium_dirty=False)
        device.failing_syncs = 1
        with pytest.raises(DeviceError, match="write-back"):
            store.heal(LUID, NONE)
        store.heal(LUID, NONE)
        assert 50 not in clean_on(device.durable)
        assert device.durable == device.live

    def test_a_log_that_became_somebody_elses_is_refused(self):
        device, store = self.failed(medium_dirty=False)
        device.durable[:1024] = diskulog_log(COUNT, uuid="LVM-other")[:1024]
        with pytest.raises(RefusedError, match="uuid"):
            store.heal(LUID, NONE)
