# SPDX-License-Identifier: LGPL-2.1-or-later
import errno
import os
from pathlib import Path

import pytest

from diskulog import runfile as module
from diskulog.corestore import CoreStore
from diskulog.ctr import CtrArgs, Sync
from diskulog.errors import DeviceError, RefusedError
from diskulog.logstore import Opening
from tests.logs import BOOT, LUID, NEXT_BOOT, OTHER_LUID, UUID, host, regions
from tests.loops import open_descriptors

COUNT = 100
ALL = set(range(COUNT))


def core(
    directory: Path,
    sync: Sync = Sync.DEFAULT,
    *,
    luid: int = LUID,
    count: int = COUNT,
    reconnect: bool = False,
    boot: bytes = BOOT,
) -> CoreStore:
    args = CtrArgs(count * 8, "core", "core", None, 8, sync)
    return CoreStore(directory, Opening(args, UUID, luid, reconnect, frozenset()), host(boot))


def file_of(directory: Path) -> Path:
    (file,) = (directory / "core").iterdir()
    return file


class TestFirstCtr:
    def test_it_makes_a_file_that_only_root_can_read(self, tmp_path):
        store = core(tmp_path)
        assert file_of(tmp_path).stat().st_mode & 0o777 == 0o600
        assert (tmp_path / "core").stat().st_mode & 0o777 == 0o700
        assert store.device_number is None
        store.release()

    def test_its_space_is_allocated_so_that_a_full_directory_refuses_the_table(self, tmp_path, monkeypatch):
        store = core(tmp_path, count=10**6)
        found = file_of(tmp_path).stat()
        assert found.st_blocks * 512 >= found.st_size >= 2 * 125_000
        store.release()

        def full(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(module.os, "posix_fallocate", full)
        before = open_descriptors()
        with pytest.raises(DeviceError, match=r"core log in .*: No space left on device") as failed:
            core(tmp_path)
        assert failed.value.errno == errno.ENOSPC
        assert open_descriptors() == before

    def test_what_an_earlier_log_of_the_same_luid_left_is_replaced(self, tmp_path):
        first = core(tmp_path)
        first.activate(LUID, fresh=True)
        first.in_sync[5] = first.clean[5] = 1
        second = core(tmp_path)
        second.activate(LUID, fresh=True)
        assert regions(second.clean) == set()
        second.release()
        first.release()

    def test_a_run_directory_that_cannot_be_used_is_an_error(self, tmp_path):
        (tmp_path / "core").write_text("a file")
        with pytest.raises(DeviceError, match="core log in"):
            core(tmp_path)


class TestActivation:
    @pytest.mark.parametrize(("sync", "clean"), [(Sync.DEFAULT, set()), (Sync.SYNC, set()), (Sync.NOSYNC, ALL)])
    def test_nothing_is_known_of_a_new_log(self, tmp_path, sync, clean):
        store = core(tmp_path, sync)
        assert store.activate(LUID, fresh=True) == ()
        assert regions(store.clean) == regions(store.in_sync) == clean
        assert len(store.clean) == 128
        store.release()

    def test_a_log_that_goes_on_keeps_its_bits(self, tmp_path):
        store = core(tmp_path, Sync.NOSYNC)
        store.activate(LUID, fresh=True)
        store.clean[5] = store.in_sync[6] = 0
        store.activate(LUID, fresh=False)
        assert regions(store.clean) == ALL - {5}
        assert regions(store.in_sync) == ALL - {6}
        store.release()

    def test_a_log_that_gave_way_has_missed_writes_and_is_dirty_even_with_nosync(self, tmp_path):
        store = core(tmp_path, Sync.NOSYNC)
        store.activate(LUID, fresh=True)
        store.detach()
        store.activate(LUID, fresh=False)
        assert regions(store.clean) == regions(store.in_sync) == set()
        store.release()

    def test_a_table_that_came_to_life_while_no_daemon_looked_still_has_its_nosync(self, tmp_path):
        core(tmp_path, Sync.NOSYNC)
        store = core(tmp_path, Sync.NOSYNC, reconnect=True)
        assert not store.reconnect(LUID)
        store.activate(LUID, fresh=False)
        assert regions(store.clean) == ALL
        store.release()


class TestReconnect:
    def test_the_next_daemon_finds_both_bitmaps(self, tmp_path):
        first = core(tmp_path)
        first.activate(LUID, fresh=True)
        first.in_sync[:COUNT] = 1
        first.clean[7] = 1
        second = core(tmp_path, reconnect=True)
        assert second.reconnect(LUID)
        assert regions(second.in_sync) == ALL
        assert regions(second.clean) == {7}
        second.release()

    def test_a_log_that_was_never_live_is_not_taken_over(self, tmp_path):
        core(tmp_path)
        store = core(tmp_path, reconnect=True)
        assert not store.reconnect(LUID)
        store.release()

    def test_a_log_that_gave_way_is_not_taken_over(self, tmp_path):
        first = core(tmp_path)
        first.activate(LUID, fresh=True)
        first.detach()
        store = core(tmp_path, reconnect=True)
        assert not store.reconnect(LUID)
        store.release()

    @pytest.mark.parametrize("other", [{"luid": OTHER_LUID}, {"boot": NEXT_BOOT}])
    def test_another_luid_or_boot_finds_nothing(self, tmp_path, other):
        store = core(tmp_path)
        with pytest.raises(DeviceError, match=r"core log in .*: No such file or directory"):
            core(tmp_path, reconnect=True, **other)
        store.release()

    def test_a_file_of_another_size_is_refused(self, tmp_path):
        store = core(tmp_path)
        before = open_descriptors()
        with pytest.raises(RefusedError, match="core log: its file has another size; load the mirror's table again"):
            core(tmp_path, count=10**6, reconnect=True)
        assert open_descriptors() == before
        store.release()

    @pytest.mark.parametrize("at", [0, 8, 24, 40])
    def test_a_file_that_says_anything_else_is_refused(self, tmp_path, at):
        store = core(tmp_path)
        with file_of(tmp_path).open("r+b") as file:
            file.seek(at)
            file.write(b"\xee")
        before = open_descriptors()
        with pytest.raises(RefusedError, match="core log: its file is another log's"):
            core(tmp_path, reconnect=True)
        assert open_descriptors() == before
        store.release()


class TestLife:
    def test_late_marks_are_dirty_after_a_suspend(self, tmp_path):
        store = core(tmp_path, Sync.NOSYNC)
        store.activate(LUID, fresh=True)
        store.close_log()
        store.reopen(frozenset({3}))
        assert regions(store.clean) == ALL - {3}
        assert store.heal(LUID, frozenset({4})) == ()
        assert regions(store.clean) == ALL - {3, 4}
        store.release()

    def test_nothing_has_to_be_made_durable(self, tmp_path):
        store = core(tmp_path)
        store.activate(LUID, fresh=True)
        before = bytes(store.clean)
        for call in (store.commit_all, store.flush_legs, store.close_log, lambda: store.commit(0, 99)):
            assert call() is None
        assert bytes(store.clean) == before
        store.release()

    def test_sysfs_cannot_lead_to_its_mirror_so_it_is_held_and_never_known_to_be_suspended(self, tmp_path):
        store = core(tmp_path)
        assert store.held()
        assert not store.mirror_suspended()
        store.release()


class TestEnd:
    def test_the_file_and_the_mapping_are_gone(self, tmp_path):
        before = open_descriptors()
        store = core(tmp_path)
        store.activate(LUID, fresh=True)
        store.release()
        assert list((tmp_path / "core").iterdir()) == []
        assert len(store.clean) == len(store.in_sync) == 0
        store.release()
        store.detach()
        assert open_descriptors() == before
        assert str(tmp_path) not in Path("/proc/self/maps").read_text()

    def test_a_log_that_was_released_is_not_used_again(self, tmp_path):
        store = core(tmp_path)
        store.release()
        with pytest.raises(RefusedError, match="core log: is closed"):
            store.activate(LUID, fresh=True)
        with pytest.raises(RefusedError, match="core log: is closed"):
            store.reconnect(LUID)

    def test_two_hundred_lives_leave_no_descriptor(self, tmp_path):
        before = open_descriptors()
        for luid in range(200):
            store = core(tmp_path, luid=luid)
            store.activate(luid, fresh=True)
            store.release()
        assert open_descriptors() == before
        assert os.listdir(tmp_path / "core") == []  # noqa: PTH208
