# SPDX-License-Identifier: LGPL-2.1-or-later
from dataclasses import replace

import pytest

from diskulog import ondisk, verdict
from diskulog.ctr import CtrArgs, Sync
from diskulog.errors import RefusedError
from diskulog.ondisk import ALL_REGIONS, Geometry, Header, State
from diskulog.verdict import Verdict
from tests import logs
from tests.logs import SIZE, UUID, diskulog_log, kernel_log, ones, table, zeros

COUNT = 100


def refuse(image: bytes, args: CtrArgs | None = None, uuid: bytes = UUID, size: int | None = None) -> None:
    verdict.refuse(bytes(image[:1024]), uuid, args or table(COUNT), len(image) if size is None else size, 512)


def judge(image: bytes, args: CtrArgs | None = None) -> Verdict:
    """Judge as the store does, which reads as many bytes as the longer of both tables has."""
    args = args or table(COUNT)
    head = bytes(image[:1024])
    extension = ondisk.unpack_extension(head)
    count = max(args.region_count, extension.region_count if extension else 0)
    place = verdict.sync_range(head, len(image))
    sync = bytes(image[place[0] : place[0] + place[1]]) if place else None
    clean = bytes(image[1024 : 1024 + min(ondisk.bitmap_bytes(count), len(image) - 1024)])
    return verdict.judge(head, clean, sync, args, len(image), 512)


def damaged(image: bytearray) -> bytearray:
    image[600] ^= 1
    return image


class TestRefuse:
    @pytest.mark.parametrize(
        "image",
        [
            bytearray(SIZE),
            kernel_log(COUNT),
            kernel_log(COUNT, nr_regions=ALL_REGIONS),
            kernel_log(COUNT, nr_regions=7),
            diskulog_log(COUNT),
            diskulog_log(50),
            diskulog_log(COUNT, state=State.OPEN),
            diskulog_log(COUNT, state=State.RELEASED),
            diskulog_log(COUNT, region_size_sectors=0),
            diskulog_log(COUNT, compatible=2**32 - 1),
            damaged(diskulog_log(COUNT)),
            b"".join((Header(version=1, nr_regions=COUNT).pack(), kernel_log(COUNT)[16:])),
        ],
    )
    def test_blank_devices_and_logs_of_this_mirror_pass(self, image):
        assert refuse(image) is None

    @pytest.mark.parametrize(
        ("image", "argument", "says"),
        [
            (b"LABELONE".ljust(SIZE, b"\0"), "log device", "holds something that is no mirror log"),
            (bytes(1000) + b"\1" + bytes(SIZE - 1001), "log device", "holds something that is no mirror log"),
            (
                Header(version=3, nr_regions=COUNT).pack() + kernel_log(COUNT)[16:],
                "log device",
                "holds a log of version 3, this diskulog knows 1 and 2; use the software that wrote it",
            ),
            (diskulog_log(COUNT, incompatible=4), "log device", "does not know (bits 0x4); use a newer diskulog"),
            (diskulog_log(COUNT, version=9), "log device", "its extension has version 9, this diskulog knows 1"),
            (
                diskulog_log(COUNT, uuid="LVM-other"),
                "uuid",
                "the log on the device belongs to 'LVM-other', not to 'LVM-0123456789'; check the table",
            ),
            (
                diskulog_log(COUNT, state=State.RELEASED, uuid="LVM-other"),
                "uuid",
                "belongs to 'LVM-other'",
            ),
            (
                diskulog_log(COUNT, region_size_sectors=16),
                "region size",
                "the log was kept with 16 sectors, not 8; use the old size",
            ),
        ],
    )
    def test_each_refusal_names_argument_reason_and_way_out(self, image, argument, says):
        with pytest.raises(RefusedError) as refused:
            refuse(image)
        assert refused.value.argument == argument
        assert says in str(refused.value)

    def test_a_device_that_is_too_small_is_refused_with_the_bytes_needed(self):
        needed = ondisk.needed_bytes(COUNT, 512)
        assert refuse(bytearray(SIZE), size=needed) is None
        with pytest.raises(
            RefusedError,
            match=f"log device: has {needed - 1} bytes, 100 regions need {needed}; use a larger device or larger",
        ):
            refuse(bytearray(SIZE), size=needed - 1)

    def test_a_uuid_that_is_no_text_is_its_own(self):
        uuid = b"\xff\xfe"
        assert refuse(diskulog_log(COUNT, uuid=uuid.decode("utf-8", "surrogateescape")), uuid=uuid) is None
        with pytest.raises(RefusedError, match="uuid"):
            refuse(diskulog_log(COUNT), uuid=uuid)


class TestBlankRanges:
    def test_a_large_device_is_looked_at_for_a_mebibyte_and_where_the_sync_bitmap_goes(self):
        assert verdict.blank_ranges(table(COUNT), 2**30, 512) == ((0, 2**20), (2**29, 16))

    def test_a_small_device_is_looked_at_all_over(self):
        assert verdict.blank_ranges(table(COUNT), SIZE, 512) == ((0, SIZE), (SIZE // 2, 16))

    def test_a_large_bitmap_is_looked_at_to_its_end(self):
        count = 2**24
        assert verdict.blank_ranges(table(count), 2**30, 512)[0] == (0, 1024 + count // 8)


class TestSyncRange:
    @pytest.mark.parametrize(
        ("image", "found"),
        [
            (bytearray(SIZE), None),
            (kernel_log(COUNT), None),
            (damaged(diskulog_log(COUNT)), None),
            (diskulog_log(COUNT), (SIZE // 2, 16)),
            (diskulog_log(COUNT, state=State.OPEN), (SIZE // 2, 16)),
            (diskulog_log(COUNT, state=State.RELEASED), None),
            (diskulog_log(COUNT, region_count=2**60), None),
            (diskulog_log(COUNT, sync_capacity_bytes=8), None),
        ],
    )
    def test_only_an_extension_that_is_believed_says_where_it_lies(self, image, found):
        assert verdict.sync_range(bytes(image[:1024]), SIZE) == found


DIRTY, OUT = {3, 64, 99}, {4, 64}

# name, image, in-sync regions of a table of 100 regions, message
SAME_SIZE = [
    ("a blank device", bytearray(SIZE), zeros(COUNT), 0, None),
    ("a kernel log", kernel_log(COUNT, DIRTY), ones(COUNT, DIRTY), COUNT, None),
    (
        "a kernel log of version 1",
        Header(version=1, nr_regions=COUNT).pack() + kernel_log(COUNT, DIRTY)[16:],
        ones(COUNT, DIRTY),
        COUNT,
        None,
    ),
    ("LVM's log in sync", Header(nr_regions=ALL_REGIONS).pack() + b"\xff" * (SIZE - 16), ones(COUNT), COUNT, None),
    ("LVM's log out of sync", Header(nr_regions=ALL_REGIONS).pack() + bytes(SIZE - 16), zeros(COUNT), COUNT, None),
    ("a closed log", diskulog_log(COUNT, DIRTY, OUT), ones(COUNT, DIRTY | OUT), COUNT, None),
    ("an open log", diskulog_log(COUNT, DIRTY, OUT, state=State.OPEN), ones(COUNT, DIRTY | OUT), COUNT, None),
    (
        "an open log's checksums mean nothing",
        diskulog_log(COUNT, DIRTY, OUT, state=State.OPEN, clean_crc32=1, sync_crc32=2),
        ones(COUNT, DIRTY | OUT),
        COUNT,
        None,
    ),
    ("a released log", diskulog_log(COUNT, DIRTY, OUT, state=State.RELEASED), ones(COUNT, DIRTY), COUNT, None),
    (
        "a closed log whose clean bitmap changed",
        diskulog_log(COUNT, DIRTY, OUT, clean_crc32=1),
        zeros(COUNT),
        COUNT,
        "somebody else wrote it after it was closed; everything is dirty (if it was the kernel's log, "
        "'diskulog adopt 7:0' before activation keeps what is clean)",
    ),
    (
        "a closed log whose sync bitmap changed",
        diskulog_log(COUNT, DIRTY, OUT, sync_crc32=1),
        zeros(COUNT),
        COUNT,
        "somebody else wrote it after it was closed",
    ),
    (
        "a log that the kernel's log resized",
        Header(nr_regions=90).pack() + diskulog_log(COUNT)[16:],
        zeros(COUNT),
        COUNT,
        "somebody else resized it (90 regions, 100 expected); everything is dirty",
    ),
    (
        "an open log that the kernel's log resized",
        Header(nr_regions=110).pack() + diskulog_log(COUNT, state=State.OPEN)[16:],
        zeros(COUNT),
        COUNT,
        "'diskulog adopt 7:0' before activation",
    ),
    (
        "a log with a damaged extension",
        damaged(diskulog_log(COUNT)),
        zeros(COUNT),
        COUNT,
        "its extension is damaged; everything is dirty",
    ),
    (
        "a sync bitmap beyond the device",
        diskulog_log(COUNT, sync_capacity_bytes=8),
        zeros(COUNT),
        COUNT,
        "its sync bitmap does not lie on the device; everything is dirty",
    ),
]


class TestJudge:
    @pytest.mark.parametrize(
        ("image", "expected", "known", "says"), [row[1:] for row in SAME_SIZE], ids=[row[0] for row in SAME_SIZE]
    )
    def test_each_kind_of_log_is_believed_as_far_as_it_can_be(self, image, expected, known, says):
        found = judge(image)
        assert found.bits == expected
        assert found.known == known
        assert not found.new_clean
        if says is None:
            assert found.messages == ()
        else:
            assert len(found.messages) == 1
            assert says in found.messages[0]

    @pytest.mark.parametrize(
        ("image", "expected", "known", "says"), [row[1:] for row in SAME_SIZE], ids=[row[0] for row in SAME_SIZE]
    )
    def test_nosync_changes_nothing_of_what_the_log_speaks_of(self, image, expected, known, says):
        found = judge(image, table(COUNT, Sync.NOSYNC))
        assert found.bits == expected
        assert found.known == known
        assert found.new_clean is (known < COUNT)

    @pytest.mark.parametrize(("image"), [row[1] for row in SAME_SIZE], ids=[row[0] for row in SAME_SIZE])
    def test_sync_makes_everything_dirty_and_nothing_new(self, image):
        found = judge(image, table(COUNT, Sync.SYNC))
        assert found.bits == zeros(COUNT)
        assert found.known == COUNT
        assert not found.new_clean

    @pytest.mark.parametrize(
        "image",
        [
            kernel_log(60, {3}),
            diskulog_log(60, {3}),
            diskulog_log(60, out_of_sync={3}),
            diskulog_log(60, {3}, state=State.OPEN),
            diskulog_log(60, {3}, {5}, state=State.RELEASED),
        ],
    )
    @pytest.mark.parametrize("sync", [Sync.DEFAULT, Sync.NOSYNC])
    def test_regions_of_a_mirror_that_grew_are_new(self, image, sync):
        found = judge(image, table(COUNT, sync))
        assert found.bits == ones(60, {3}) + zeros(40)
        assert found.known == 60
        assert found.new_clean is (sync is Sync.NOSYNC)
        assert found.messages == ("grew from 60 to 100 regions",)

    @pytest.mark.parametrize(
        "image",
        [
            damaged(diskulog_log(60)),
            diskulog_log(60, clean_crc32=1),
            Header(nr_regions=59).pack() + diskulog_log(60)[16:],
        ],
    )
    def test_nosync_does_not_make_the_new_regions_of_a_doubtful_log_clean(self, image):
        found = judge(image, table(COUNT, Sync.NOSYNC))
        assert found.bits == zeros(COUNT)
        assert not found.new_clean

    @pytest.mark.parametrize(
        "image",
        [
            kernel_log(150, {3}),
            kernel_log(5000, {3}),
            kernel_log(101, {3}),
            diskulog_log(150, {3}, {140}),
            diskulog_log(150, out_of_sync={3, 140}, state=State.OPEN),
            diskulog_log(5000, {3, 4321}),
            diskulog_log(150, {3, 4, 140}, {3}, state=State.RELEASED, region_size_sectors=0),
        ],
    )
    @pytest.mark.parametrize("sync", [Sync.DEFAULT, Sync.NOSYNC])
    def test_a_mirror_that_shrank_drops_its_tail(self, image, sync):
        extension = ondisk.unpack_extension(bytes(image[:1024]))
        released = extension is not None and extension.state is State.RELEASED
        found = judge(image, table(COUNT, sync))
        assert found.bits == ones(COUNT, {3, 4} if released else {3})
        assert found.known == COUNT
        assert not found.new_clean
        assert found.messages == ("shrank to 100 regions",)

    def test_a_kernel_log_without_regions_speaks_of_none(self):
        found = judge(kernel_log(COUNT, nr_regions=0))
        assert found.bits == zeros(COUNT)
        assert found.known == 0
        assert found.messages == ()

    @pytest.mark.parametrize("nr_regions", [2**60, 2**64 - 2])
    def test_a_kernel_log_that_claims_too_much_is_read_as_far_as_the_mirror_goes(self, nr_regions):
        assert judge(kernel_log(COUNT, {3}, nr_regions=nr_regions)).bits == ones(COUNT, {3})

    @pytest.mark.parametrize("region_count", [2**60, 2**64 - 1])
    def test_an_extension_that_claims_too_much_is_not_believed(self, region_count):
        image = diskulog_log(COUNT, region_count=region_count)
        image[8:16] = region_count.to_bytes(8, "little")
        found = judge(image)
        assert found.bits == zeros(COUNT)
        assert ondisk.fits(found.geometry, SIZE)


class TestPlace:
    def test_a_new_log_gets_the_middle(self):
        found = judge(kernel_log(COUNT))
        assert found.geometry == Geometry(COUNT, SIZE // 2, SIZE // 2)
        assert not found.keeps_sync_place

    @pytest.mark.parametrize("state", list(State))
    def test_a_log_keeps_the_place_that_it_has(self, state):
        found = judge(diskulog_log(COUNT, state=state, sync_offset_bytes=4096, sync_capacity_bytes=4096))
        assert found.geometry == Geometry(COUNT, 4096, 4096)
        assert found.keeps_sync_place

    def test_a_log_that_outgrows_the_front_moves_its_sync_bitmap(self):
        small = diskulog_log(64, size=8192)
        count = (SIZE // 2 - 1024) * 8
        found = judge(small.ljust(SIZE, b"\0"), table(count))
        assert found.geometry == Geometry(count, SIZE // 2, SIZE // 2)
        assert not found.keeps_sync_place
        assert found.bits == ones(64) + zeros(count - 64)

    def test_a_log_that_outgrows_its_capacity_moves_its_sync_bitmap(self):
        found = judge(diskulog_log(64, sync_offset_bytes=4096, sync_capacity_bytes=8), table(COUNT))
        assert found.geometry == Geometry(COUNT, SIZE // 2, SIZE // 2)

    def test_a_device_that_shrank_behind_the_sync_bitmap_moves_it(self):
        image = diskulog_log(COUNT, size=2 * SIZE)[:SIZE]
        found = judge(image)
        assert found.geometry == Geometry(COUNT, SIZE // 2, SIZE // 2)
        assert found.bits == zeros(COUNT)

    def test_a_device_that_shrank_within_the_capacity_cuts_it(self):
        image = diskulog_log(COUNT, size=SIZE)[: SIZE - 512]
        found = judge(image)
        assert found.geometry == Geometry(COUNT, SIZE // 2, SIZE // 2 - 512)
        assert found.keeps_sync_place
        assert found.bits == ones(COUNT)

    def test_a_device_without_room_is_refused(self):
        with pytest.raises(RefusedError, match="log device: has 4096 bytes, 100 regions need 4608; use a larger"):
            verdict.judge(bytes(1024), bytes(16), None, table(COUNT), 4096, 512)


class TestChecksums:
    def test_they_are_of_both_bitmaps(self):
        clean, sync = b"\xf0\x01", b"\x0f\x00"
        extension = replace(
            logs.extension(9),
            clean_crc32=ondisk.bitmap_crc32(clean, 9),
            sync_crc32=ondisk.bitmap_crc32(sync, 9),
        )
        assert verdict.checksums_ok(extension, clean, sync)
        assert not verdict.checksums_ok(extension, sync, sync)
        assert not verdict.checksums_ok(extension, clean, clean)

    def test_a_bitmap_that_is_cut_short_is_not_believed(self):
        clean = b"\xff" * 8
        extension = logs.extension(64, clean_crc32=ondisk.bitmap_crc32(clean, 64), sync_crc32=0)
        assert not verdict.checksums_ok(extension, clean[:4], b"")


def test_the_geometry_of_an_extension_is_what_it_records():
    assert verdict.geometry_of(logs.extension(COUNT)) == Geometry(COUNT, SIZE // 2, SIZE // 2)
