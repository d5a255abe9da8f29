# SPDX-License-Identifier: LGPL-2.1-or-later
import errno
import mmap
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from bitarray import bitarray

from diskulog import device as module
from diskulog import ondisk
from diskulog.device import BlockDevice, find, node_of
from diskulog.errors import DeviceError, RefusedError
from diskulog.media import Host
from diskulog.ondisk import State
from diskulog.store import DiskStore
from tests import logs
from tests.crash_device import FakeLatch, FakeMirror
from tests.logs import LUID, diskulog_log, extension_of, kernel_log, ones, opening, table
from tests.loops import attached, open_descriptors, sectors_read, sectors_written

KIB = 1024
MakeLoop = Callable[..., tuple[str, Path]]


@pytest.fixture
def make_loop(tmp_path: Path) -> Iterator[MakeLoop]:
    """Make a loop device from bytes: its node, and the file that is its medium."""
    with ExitStack() as stack:

        def make(content: bytes | int = 64 * KIB, *options: str) -> tuple[str, Path]:
            file = tmp_path / f"medium{len(list(tmp_path.iterdir()))}"
            file.write_bytes(bytes(content))
            return stack.enter_context(attached(file, *options)), file

        yield make


@pytest.fixture
def opened() -> Iterator[Callable[[str], BlockDevice]]:
    """Open devices that the test need not close."""
    with ExitStack() as stack:

        def open_device(name: str) -> BlockDevice:
            device = BlockDevice(name)
            stack.callback(device.close)
            return device

        yield open_device


def number_of(node: str) -> str:
    status = Path(node).stat()
    return f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"


def shrink(node: str, medium: Path, size: int) -> None:
    os.truncate(medium, size)
    subprocess.run(["losetup", "--set-capacity", node], check=True)


@pytest.mark.loop
class TestOpening:
    @pytest.mark.parametrize("sector", [512, 4096])
    def test_it_knows_its_number_size_and_sector(self, make_loop, opened, sector):
        node, _ = make_loop(64 * KIB, "--sector-size", str(sector))
        device = opened(node)
        assert (device.number, device.size_bytes, device.block_bytes) == (number_of(node), 64 * KIB, sector)

    def test_a_symlink_and_a_number_name_the_same_device(self, make_loop, opened, tmp_path):
        node, _ = make_loop()
        link = tmp_path / "link"
        link.symlink_to(node)
        numbers = {opened(name).number for name in (node, str(link), number_of(node))}
        assert numbers == {number_of(node)}

    def test_it_is_not_claimed_so_that_dm_can_claim_it(self, make_loop, opened):
        node, _ = make_loop()
        device = opened(node)
        window = device.map(0, 4096)
        os.close(os.open(node, os.O_RDWR | os.O_EXCL))
        window.close()

    def test_a_read_only_device_is_refused_with_one_clear_line(self, make_loop):
        node, _ = make_loop(64 * KIB, "--read-only")
        before = open_descriptors()
        with pytest.raises(RefusedError) as refused:
            BlockDevice(node)
        text = str(refused.value)
        assert text.startswith(f"log device: {node}")
        assert "; make it writable" in text
        assert "\n" not in text
        assert open_descriptors() == before

    @pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM])
    def test_a_device_that_may_not_be_written_is_refused(self, make_loop, monkeypatch, number):
        node, _ = make_loop()

        def fails(*_):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(module.os, "open", fails)
        with pytest.raises(RefusedError, match=f"log device: {node}: {os.strerror(number)}; make it writable"):
            BlockDevice(node)

    def test_a_device_that_is_set_read_only_after_its_first_open_is_refused(self, make_loop, monkeypatch):
        node, _ = make_loop()
        plain = module._ioctl_int
        monkeypatch.setattr(module, "_ioctl_int", lambda fd, what: int(what == module._BLKROGET) or plain(fd, what))
        before = open_descriptors()
        with pytest.raises(RefusedError, match=r"log device: .* is read-only; make it writable \(blockdev --setrw\)"):
            BlockDevice(node)
        assert open_descriptors() == before

    def test_a_number_that_became_another_device_is_refused(self, make_loop, monkeypatch):
        node, _ = make_loop()
        before = open_descriptors()
        monkeypatch.setattr(module, "find", lambda _: node)
        with pytest.raises(RefusedError, match=f"log device: {node} is {number_of(node)}, not 7:250; name the device"):
            BlockDevice("7:250")
        assert open_descriptors() == before

    def test_a_relative_name_with_a_colon_is_a_name(self, make_loop, opened, tmp_path, monkeypatch):
        node, _ = make_loop()
        monkeypatch.chdir(tmp_path)
        Path("odd:name").symlink_to(node)
        assert opened("odd:name").number == number_of(node)

    def test_no_descriptor_is_left_after_two_hundred_lives(self, make_loop):
        node, _ = make_loop()
        before = open_descriptors()
        for _ in range(200):
            device = BlockDevice(node)
            first, second = device.map(0, 4096), device.map(32 * KIB, 100)
            first.view[0] = 1
            first.close()
            second.close()
            device.close()
        assert open_descriptors() == before


class TestWhatIsNoDevice:
    @pytest.mark.parametrize("name", ["/dev/null", "/dev", __file__])
    def test_anything_but_a_block_device_is_refused(self, name):
        with pytest.raises(RefusedError, match=f"log device: {name} is not a block device; name one"):
            BlockDevice(name)

    def test_a_name_that_does_not_exist_is_an_error_with_its_errno(self):
        with pytest.raises(DeviceError, match="log device /dev/nothing-here: No such file or directory") as failed:
            BlockDevice("/dev/nothing-here")
        assert failed.value.errno == errno.ENOENT

    def test_a_number_that_does_not_exist_is_refused(self):
        with pytest.raises(RefusedError, match="log device: there is no device 4095:77; name one"):
            BlockDevice("4095:77")

    @pytest.mark.parametrize("name", ["/dev/x", "a:b", "7:", ":7", "7:1:2", "7:-1", "\u0667:\u0661", "7:1 "])
    def test_what_is_not_a_number_is_a_path(self, name):
        assert find(name) == name

    def test_a_number_is_looked_up_in_sysfs(self, tmp_path, monkeypatch):
        found = sorted(Path("/sys/dev/block").iterdir())
        if not found:
            pytest.skip("this host has no block device")
        assert find(found[0].name) == "/dev/" + found[0].resolve().name.replace("!", "/")

    def test_an_exclamation_mark_in_sysfs_is_a_slash(self):
        assert node_of("cciss!c0d0") == "/dev/cciss/c0d0"


@pytest.mark.loop
class TestReading:
    @pytest.mark.parametrize("sector", [512, 4096])
    @pytest.mark.parametrize(
        ("offset", "length"), [(0, 16), (0, 1024), (511, 2), (1024, 5000), (65535, 1), (4095, 4098), (0, 65536), (7, 0)]
    )
    def test_any_range_is_read_whatever_the_sector(self, make_loop, opened, sector, offset, length):
        content = os.urandom(64 * KIB)
        node, _ = make_loop(content, "--sector-size", str(sector))
        assert opened(node).read(offset, length) == content[offset : offset + length]

    @pytest.mark.parametrize(("offset", "length"), [(65530, 100), (65536, 10), (10**9, 10)])
    def test_beyond_the_end_is_zero(self, make_loop, opened, offset, length):
        content = b"\xff" * 64 * KIB
        node, _ = make_loop(content)
        assert opened(node).read(offset, length) == content[offset : offset + length].ljust(length, b"\0")

    def test_the_medium_is_read_and_not_what_the_page_cache_pinned(self, make_loop, opened):
        node, _ = make_loop(b"\x01" * 64 * KIB)
        device = opened(node)
        with open(node, "rb") as buffered:
            assert buffered.read(4096) == b"\x01" * 4096
            direct = os.open(node, os.O_WRONLY | os.O_DIRECT)
            with mmap.mmap(-1, 4096) as aligned:
                aligned[:] = b"\x02" * 4096
                os.pwrite(direct, aligned, 0)
            os.close(direct)
        assert device.read(0, 4096) == b"\x02" * 4096

    def test_stores_that_wait_in_the_page_cache_are_written_back_first(self, make_loop, opened):
        node, medium = make_loop()
        device = opened(node)
        window = device.map(0, 4096)
        window.view[100] = 7
        assert device.read(100, 1) == b"\x07"
        assert medium.read_bytes()[100] == 7
        window.close()

    def test_an_error_is_one_of_the_device_with_the_byte(self, make_loop, opened):
        node, _ = make_loop()
        device = opened(node)
        before = open_descriptors()
        with open("/dev/null", "wb") as unreadable:
            os.dup2(unreadable.fileno(), device._direct_fd)
        with pytest.raises(DeviceError, match=f"log device {device.number}: read at byte 512: Bad file") as failed:
            device.read(600, 1000)
        assert failed.value.errno == errno.EBADF
        assert open_descriptors() == before

    def test_what_comes_in_pieces_is_put_together(self, make_loop, opened, monkeypatch):
        content = os.urandom(64 * KIB)
        node, _ = make_loop(content)
        device = opened(node)
        plain = os.preadv
        monkeypatch.setattr(module.os, "preadv", lambda fd, views, at: plain(fd, [views[0][:512]], at))
        assert device.read(100, 3000) == content[100:3100]

    def test_a_device_that_became_shorter_is_an_error_and_not_a_blank_one(self, make_loop, opened):
        node, medium = make_loop(b"\xff" * 64 * KIB)
        device = opened(node)
        shrink(node, medium, 32 * KIB)
        assert device.read(0, 32 * KIB) == b"\xff" * 32 * KIB
        with pytest.raises(DeviceError, match="read at byte 32768: it has become shorter than 65536 bytes"):
            device.read(0, 64 * KIB)


@pytest.mark.loop
class TestMapping:
    def test_a_window_is_whole_pages_and_ends_with_the_device(self, make_loop, opened):
        node, _ = make_loop(64 * KIB + 512)
        device = opened(node)
        for (offset, length), (start, size) in {
            (0, 1): (0, 4096),
            (4095, 2): (0, 8192),
            (8192, 4096): (8192, 4096),
            (65000, 1000): (61440, 4608),
            (65536, 512): (65536, 512),
        }.items():
            window = device.map(offset, length)
            assert (window.offset_bytes, len(window.view)) == (start, size)
            window.close()

    def test_what_does_not_lie_on_the_device_cannot_be_mapped(self, make_loop, opened):
        node, _ = make_loop(64 * KIB)
        with pytest.raises(DeviceError, match="has 65536 bytes, 65537 are needed") as failed:
            opened(node).map(65000, 537)
        assert failed.value.errno == errno.ENXIO

    def test_a_device_that_became_shorter_cannot_be_mapped_where_it_was(self, make_loop, opened):
        node, medium = make_loop()
        device = opened(node)
        shrink(node, medium, 32 * KIB)
        with pytest.raises(DeviceError, match="has 32768 bytes, 36864 are needed"):
            device.map(32 * KIB, 4096)
        device.map(28 * KIB, 4096).close()

    def test_a_mapping_that_fails_is_an_error(self, make_loop, opened, monkeypatch):
        node, _ = make_loop()

        def fails(*_, **__):
            raise OSError(errno.ENOMEM, "Cannot allocate memory")

        monkeypatch.setattr(module.mmap, "mmap", fails)
        with pytest.raises(DeviceError, match="map: Cannot allocate memory"):
            opened(node).map(0, 4096)

    @pytest.mark.parametrize("sector", [512, 4096])
    def test_an_msync_writes_the_pages_of_its_range_and_no_other(self, make_loop, opened, sector):
        node, medium = make_loop(256 * KIB, "--sector-size", str(sector))
        device = opened(node)
        window = device.map(64 * KIB, 64 * KIB)
        window.view[0] = window.view[5000] = window.view[20_000] = 1
        before = sectors_written(node)
        window.sync(64 * KIB + 4999, 10)
        assert sectors_written(node) - before == 8
        content = medium.read_bytes()
        assert [content[64 * KIB + at] for at in (0, 5000, 20_000)] == [0, 1, 0]
        window.sync(64 * KIB, 64 * KIB)
        assert sectors_written(node) - before == 24
        assert medium.read_bytes()[64 * KIB] == 1
        window.close()

    def test_an_msync_of_what_did_not_change_writes_nothing(self, make_loop, opened):
        node, _ = make_loop()
        device = opened(node)
        window = device.map(0, 64 * KIB)
        before = sectors_written(node)
        window.sync(0, 64 * KIB)
        assert sectors_written(node) == before
        window.close()

    def test_the_last_page_of_an_odd_device_is_synced_too(self, make_loop, opened):
        node, medium = make_loop(64 * KIB + 512)
        device = opened(node)
        window = device.map(64 * KIB, 512)
        window.view[511] = 9
        window.sync(64 * KIB, 512)
        assert medium.read_bytes()[-1] == 9
        window.close()

    def test_an_msync_that_fails_is_an_error_with_its_errno(self, make_loop, opened, monkeypatch):
        node, _ = make_loop()
        device = opened(node)
        window = device.map(0, 4096)

        class Libc:
            @staticmethod
            def msync(*_):
                module.ctypes.set_errno(errno.EIO)
                return -1

        monkeypatch.setattr(module, "_libc", Libc)
        with pytest.raises(DeviceError, match=f"log device {device.number}: write-back: Input/output error") as failed:
            window.sync(0, 4096)
        assert failed.value.errno == errno.EIO
        window.close()

    def test_an_msync_to_a_device_that_became_shorter_is_an_error(self, make_loop, opened):
        # Linux drops the pages beyond the end, and says that it wrote them
        node, medium = make_loop()
        window = opened(node).map(32 * KIB, 8192)
        window.view[0] = 1
        window.sync(32 * KIB, 8192)
        shrink(node, medium, 36 * KIB)
        window.view[1] = 1
        with pytest.raises(DeviceError, match="write-back: it has become shorter: 36864 of 40960 bytes"):
            window.sync(32 * KIB, 4096)
        window.close()

    def test_a_mapping_reads_nothing_that_is_not_in_the_page_cache_already(self, make_loop, opened, monkeypatch):
        # mmap() waits for the device with the interpreter's lock held
        node, _ = make_loop(4096 * KIB)
        reads: list[int] = []
        plain = module.mmap.mmap

        def counted(*arguments: int, **options: int) -> mmap.mmap:
            before = sectors_read(node)
            made = plain(*arguments, **options)
            if arguments[0] >= 0:
                reads.append(sectors_read(node) - before)
            return made

        monkeypatch.setattr(module.mmap, "mmap", counted)
        opened(node).map(0, 3072 * KIB).close()
        assert reads == [0]

    def test_a_window_that_somebody_still_looks_into_does_not_close(self, make_loop, opened):
        node, _ = make_loop()
        window = opened(node).map(0, 4096)
        bits = bitarray(buffer=window.view[0:8], endian="little")
        with pytest.raises(BufferError):
            window.close()
        number = window._fd
        os.fstat(number)  # still its own: a second close would otherwise close what somebody else has opened since
        del bits
        window._map.close()
        os.close(number)

    def test_a_window_outlives_the_descriptors(self, make_loop):
        node, medium = make_loop()
        device = BlockDevice(node)
        window = device.map(0, 4096)
        device.close()
        window.view[0] = 5
        window.sync(0, 1)
        window.close()
        assert medium.read_bytes()[0] == 5


# A page that is mapped, locked and beyond the end of a device that became shorter stays usable: no SIGBUS, and an msync
# that says it wrote it. One that has left memory is a SIGBUS, which ends the worker: tests/kernel/guest/test_faults.py.


@pytest.mark.loop
class TestAStoreOnARealDevice:
    @pytest.fixture
    def made(self, make_loop) -> Callable[..., tuple[DiskStore, Path, str]]:
        def make(content: bytes, count: int = 100, sector: int = 512):
            node, medium = make_loop(content, "--sector-size", str(sector))
            host = Host(logs.BOOT, "anvil", lambda: 1_700_000_000.0)
            return (
                DiskStore(BlockDevice(node), FakeMirror(), opening(table(count)), host, FakeLatch(), FakeLatch()),
                medium,
                node,
            )

        return make

    @pytest.mark.parametrize("sector", [512, 4096])
    def test_a_life_from_blank_to_closed_leaves_what_the_kernel_can_read(self, made, sector):
        before = open_descriptors()
        store, medium, _ = made(bytes(64 * KIB), sector=sector)
        store.check()
        assert medium.read_bytes() == bytes(64 * KIB)
        store.activate(LUID, fresh=True)
        store.in_sync[:100] = 1
        store.clean[:100] = 1
        store.commit_all()
        store.clean[42] = 0
        store.commit(42, 42)
        content = medium.read_bytes()
        assert content[:512] == kernel_log(100)[:512]
        assert content[1024:4096] == kernel_log(100, {42})[1024:4096]
        assert extension_of(content).state is State.OPEN
        store.close_log()
        store.release()
        found = extension_of(medium.read_bytes())
        assert found.state is State.CLOSED
        assert found.clean_crc32 == ondisk.bitmap_crc32(ondisk.bits_to_bytes(ones(100, {42})), 100)
        assert open_descriptors() == before

    def test_a_mark_costs_one_page(self, made):
        store, _, node = made(diskulog_log(100, size=64 * KIB))
        store.activate(LUID, fresh=True)
        store.clean[5] = 0
        before = sectors_written(node)
        store.commit(5, 5)
        assert sectors_written(node) - before == 8
        store.release()

    def test_what_the_page_cache_pinned_before_is_overwritten(self, made):
        store, medium, node = made(diskulog_log(100, size=64 * KIB))
        with open(node, "rb") as pins:
            pins.read(64 * KIB)
            # the kernel's log writes past the cache
            direct = os.open(node, os.O_WRONLY | os.O_DIRECT)
            with mmap.mmap(-1, 4096) as aligned:
                aligned[:] = bytes(diskulog_log(100, {9}, state=State.OPEN, size=64 * KIB)[:4096])
                os.pwrite(direct, aligned, 0)
            os.close(direct)
        store.check()
        store.activate(LUID, fresh=True)
        assert not store.clean[9]
        assert not store.in_sync[9]
        assert medium.read_bytes()[1024 : 1024 + 13] == kernel_log(100, {9})[1024 : 1024 + 13]
        store.release()

    def test_a_device_that_is_shorter_than_needed_is_refused_and_left_alone(self, made):
        store, medium, _ = made(bytes(4096))
        with pytest.raises(RefusedError, match="has 4096 bytes, 100 regions need 4608"):
            store.check()
        store.release()
        assert medium.read_bytes() == bytes(4096)
