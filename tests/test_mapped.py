# SPDX-License-Identifier: LGPL-2.1-or-later
import pytest

from diskulog import ondisk
from diskulog.errors import DeviceError
from diskulog.mapped import MappedLog, store_zeros
from diskulog.ondisk import Geometry
from tests import logs
from tests.crash_device import EIO, CrashDevice
from tests.logs import diskulog_log, extension_of, ones, zeros

COUNT = 100


def mapping(image: bytes | None = None, geometry: Geometry | None = None, **how) -> tuple[CrashDevice, MappedLog]:
    image = diskulog_log(COUNT, {3}, {4}) if image is None else image
    device = CrashDevice(image, **how)
    return device, MappedLog(device, geometry or ondisk.choose_geometry(COUNT, len(image), 512))


@pytest.mark.parametrize("page_bytes", [512, 4096, 16384, 65536])
class TestWhateverTheSizeOfAPage:
    def test_the_bits_are_the_ones_on_the_device(self, page_bytes):
        _, log = mapping(page_bytes=page_bytes)
        assert log.clean == ones(COUNT, {3}) + zeros(28)
        assert log.in_sync == ones(COUNT, {4}) + zeros(28)
        log.close()

    def test_a_bit_that_is_stored_and_committed_is_durable(self, page_bytes):
        device, log = mapping(page_bytes=page_bytes)
        log.clean[70] = 0
        log.commit_regions(70, 70)
        assert device.durable == diskulog_log(COUNT, {3, 70}, {4}, clean_crc32=_clean_crc({3}))
        log.close()

    def test_filling_brings_what_the_medium_has_and_drops_what_the_cache_had(self, page_bytes):
        image = diskulog_log(COUNT, {3}, {4})
        device, log = mapping(image, live=b"\xff" * len(image), page_bytes=page_bytes)
        log.fill_from(device)
        log.commit_clean()
        log.commit_sync()
        assert log.clean == ones(COUNT, {3}) + zeros(28)
        assert device.durable == image
        log.close()


def _clean_crc(dirty: set[int]) -> int:
    return ondisk.bitmap_crc32(ondisk.bits_to_bytes(ones(COUNT, dirty)), COUNT)


class TestMapping:
    def test_only_the_windows_are_mapped(self):
        device, log = mapping(bytearray(2**20), Geometry(COUNT, 2**19, 2**19))
        assert [(w.offset_bytes, len(w.view)) for w in device.windows] == [(0, 4096), (2**19, 4096)]
        log.close()

    def test_closing_leaves_no_window_and_no_bits(self):
        device, log = mapping()
        log.close()
        assert device.windows == []
        assert len(log.clean) == len(log.in_sync) == 0
        device.close()

    def test_a_window_that_somebody_still_looks_into_cannot_be_closed(self):
        _, log = mapping()
        kept = log.clean
        with pytest.raises(BufferError):
            log.close()
        assert kept[0] == 1

    def test_a_device_that_cannot_be_mapped_is_an_error(self):
        device = CrashDevice(bytes(8192))
        device.map_failure = EIO
        with pytest.raises(DeviceError, match="map: Input/output error"):
            MappedLog(device, Geometry(COUNT, 4096, 4096))

    def test_closing_stores_nothing(self):
        device, log = mapping()
        log.clean[70] = 0
        log.close()
        assert device.durable == diskulog_log(COUNT, {3}, {4})
        assert device.syncs == []


class TestStoring:
    def test_whole_bitmaps_are_stored_with_their_padding_zero(self):
        device, log = mapping(bytearray(b"\xff" * logs.SIZE))
        log.store_clean(ones(COUNT, {1}))
        log.store_sync(ones(COUNT, {2}))
        assert log.clean == ones(COUNT, {1}) + zeros(28)
        assert log.in_sync == ones(COUNT, {2}) + zeros(28)
        assert device.live[1024 + 16] == 0xFF, "what lies behind the bitmap is nobody's"
        log.close()

    def test_the_extension_is_stored_and_made_durable(self):
        device, log = mapping()
        made = logs.extension(COUNT, generation=99)
        log.store_extension(made)
        assert extension_of(device.durable) == made
        assert device.syncs == [(0, 1024)]
        log.close()

    def test_the_head_keeps_what_is_reserved(self):
        image = diskulog_log(COUNT)
        image[16:512] = b"\xff" * 496
        image[:16] = bytes(16)
        device, log = mapping(image)
        log.store_head(logs.extension(COUNT, generation=99))
        assert ondisk.unpack_header(device.durable) == ondisk.Header(nr_regions=COUNT)
        assert device.durable[16:512] == b"\xff" * 496
        assert extension_of(device.durable).generation == 99
        assert log.head() == device.durable[:1024]
        log.close()

    def test_rewriting_makes_the_next_msync_write_what_a_failed_one_only_promised(self):
        device, log = mapping()
        log.clean[70] = 0
        log.in_sync[71] = 0
        device.failing_syncs = 2
        for commit in (log.commit_clean, log.commit_sync):
            with pytest.raises(DeviceError):
                commit()
            commit()  # the kernel says that all is well now
        assert device.durable == diskulog_log(COUNT, {3}, {4}), "and it is not"
        log.rewrite()
        log.commit_clean()
        log.commit_sync()
        assert device.durable == device.live
        assert not log.clean[70]
        log.close()


class TestCommitting:
    def test_it_is_one_sync_of_the_bytes_that_hold_the_regions(self):
        device, log = mapping()
        log.commit_regions(0, 0)
        log.commit_regions(7, 8)
        log.commit_regions(64, 99)
        assert device.syncs == [(1024, 1), (1024, 2), (1032, 5)]
        log.close()

    def test_whole_windows_are_committed_on_their_own(self):
        device, log = mapping()
        log.clean[70] = 0
        log.in_sync[70] = 0
        log.commit_sync()
        assert device.durable[1024:4096] == diskulog_log(COUNT, {3}, {4})[1024:4096]
        log.commit_clean()
        assert device.syncs == [(logs.SIZE // 2, 4096), (0, 4096)]
        assert device.durable == device.live
        log.close()


def test_the_checksums_are_of_both_bitmaps_as_they_stand():
    image = diskulog_log(COUNT, {3}, {4})
    _device, log = mapping(image)
    assert log.checksummed(logs.extension(COUNT)) == extension_of(image)
    log.clean[70] = 0
    log.in_sync[71] = 0
    expected = extension_of(diskulog_log(COUNT, {3, 70}, {4, 71}))
    assert log.checksummed(logs.extension(COUNT)) == expected
    log.close()


def test_zeros_are_stored_only_where_there_are_regions():
    bits = ones(10)
    store_zeros(bits, [0, 9, 10, 2**40])
    assert bits == ones(10, {0, 9})
