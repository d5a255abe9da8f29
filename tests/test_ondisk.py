# SPDX-License-Identifier: LGPL-2.1-or-later
import struct
import zlib
from dataclasses import fields, replace

import pytest
from bitarray import bitarray
from hypothesis import given, settings
from hypothesis import strategies as st

from diskulog import ondisk
from diskulog.errors import BadLogError
from diskulog.ondisk import Dialect, Extension, Geometry, Header, State
from tests import logs

FULL = Extension(
    uuid="LVM-abc",
    region_size_sectors=0x0102030405060708,
    target_length_sectors=0x1112131415161718,
    region_count=0x2122232425262728,
    sync_offset_bytes=0x3132333435363738,
    sync_capacity_bytes=0x4142434445464748,
    state=State.CLOSED,
    generation=0x5152535455565758,
    created_seconds=0x6162636465666768,
    resumed_seconds=0x7172737475767778,
    closed_seconds=0x0807060504030201,
    boot_id=bytes(range(0xA0, 0xB0)),
    live_token=b"TOKEN678",
    host_name="anvil",
    clean_crc32=0xC1C2C3C4,
    sync_crc32=0xD1D2D3D4,
    compatible=0xE1E2E3E4,
    incompatible=0xF1F2F3F4,
)


def head_with(
    extension: Extension | None = None, *, sector: bytes | None = None, header: Header | None = None
) -> bytes:
    header = header or Header(nr_regions=100)
    sector = sector if sector is not None else (extension or logs.extension(100)).pack()
    return header.pack().ljust(512, b"\0") + sector


class TestHeader:
    def test_it_is_the_kernels_sixteen_bytes(self):
        assert Header(nr_regions=0x1122334455667788).pack() == bytes.fromhex("7252694d 02000000 8877665544332211")

    def test_it_is_read_back_with_whatever_it_says(self):
        assert ondisk.unpack_header(bytes.fromhex("01020304 05060708 ffffffffffffffff") + b"rest") == Header(
            0x04030201, 0x08070605, ondisk.ALL_REGIONS
        )

    def test_fewer_than_sixteen_bytes_are_no_header(self):
        with pytest.raises(BadLogError, match="15 bytes are too short for a log's header of 16"):
            ondisk.unpack_header(bytes(15))

    @pytest.mark.parametrize(("version", "known"), [(0, False), (1, True), (2, True), (3, False), (2**32 - 1, False)])
    def test_the_versions_one_and_two_are_known(self, version, known):
        assert ondisk.version_known(Header(version=version)) is known


class TestExtension:
    def test_it_is_these_512_bytes_for_ever(self):
        packed = FULL.pack()
        assert len(packed) == 512
        golden = (
            "6469736b756c6f67"  # magic
            "01000000 e4e3e2e1 f4f3f2f1 02000000"  # version, compatible, incompatible, state
            + b"LVM-abc".ljust(128, b"\0").hex()
            + "0807060504030201 1817161514131211 2827262524232221 3837363534333231 4847464544434241"
            "5857565554535251 6867666564636261 7877767574737271 0102030405060708"
            "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf"
            + b"TOKEN678".hex()
            + b"anvil".ljust(64, b"\0").hex()
            + "c4c3c2c1 d4d3d2d1"
        )
        body = bytes.fromhex(golden).ljust(508, b"\0")
        assert packed == body + struct.pack("<I", zlib.crc32(body))

    def test_it_survives_packing(self):
        assert ondisk.unpack_extension(head_with(FULL)) == FULL

    def test_the_fields_on_disk_are_the_records_and_the_magic(self):
        assert {name for name, _ in ondisk.EXTENSION_FIELDS} == {f.name for f in fields(Extension)} | {"magic"}

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            (f.name, value)
            for f in fields(Extension)
            for value in {
                "uuid": ["", "x" * 128, "caf\u00e9", "\udcff"],
                "host_name": ["", "h" * 64],
                "state": list(State),
                "boot_id": [b"\xff" * 16],
                "live_token": [b"\xff" * 8],
            }.get(f.name, [0, 2**32 - 1])
        ],
    )
    def test_every_field_is_kept_alone(self, field, value):
        changed = replace(FULL, **{field: value})
        assert ondisk.unpack_extension(head_with(changed)) == changed

    @pytest.mark.parametrize("name", [n for n, code in ondisk.EXTENSION_FIELDS if code == "Q"])
    def test_the_64_bit_fields_take_the_largest_value(self, name):
        changed = replace(FULL, **{name: 2**64 - 1})
        assert ondisk.unpack_extension(head_with(changed)) == changed

    def test_a_host_name_that_is_too_long_is_cut(self):
        found = ondisk.unpack_extension(head_with(replace(FULL, host_name="h" * 100)))
        assert found is not None
        assert found.host_name == "h" * 64

    def test_a_host_name_that_is_cut_within_a_letter_can_still_be_read(self):
        found = ondisk.unpack_extension(head_with(replace(FULL, host_name="h" * 63 + "\u00e9")))
        assert found is not None
        assert found.host_name == "h" * 63 + "\ufffd"

    @given(bit=st.integers(0, 512 * 8 - 1))
    @settings(deadline=None, max_examples=200)
    def test_any_bit_that_is_flipped_is_noticed(self, bit):
        sector = bytearray(FULL.pack())
        sector[bit // 8] ^= 1 << bit % 8
        assert ondisk.unpack_extension(head_with(sector=bytes(sector))) is None
        assert not ondisk.extension_checksum_ok(bytes(sector))

    @given(at=st.integers(1, 511))
    @settings(deadline=None, max_examples=100)
    def test_a_sector_torn_between_two_versions_is_noticed_or_is_one_of_them(self, at):
        old, new = FULL.pack(), replace(FULL, state=State.OPEN, generation=9, live_token=b"elsewher").pack()
        assert ondisk.unpack_extension(head_with(sector=new[:at] + old[at:])) in (None, FULL)

    def test_a_short_capture_has_no_extension(self):
        assert ondisk.unpack_extension(head_with(FULL)[:1023]) is None
        assert not ondisk.extension_checksum_ok(FULL.pack()[:511])

    def test_another_magic_with_a_checksum_that_fits_is_no_extension(self):
        body = b"diskolug" + FULL.pack()[8:508]
        assert ondisk.unpack_extension(head_with(sector=body + struct.pack("<I", zlib.crc32(body)))) is None

    def test_a_state_that_does_not_exist_is_no_extension(self):
        assert ondisk.unpack_extension(head_with(_with_state(replace(FULL, incompatible=0), 4))) is None

    @pytest.mark.parametrize("change", [{"incompatible": 1}, {"version": 2}])
    def test_a_state_of_a_later_format_is_left_for_the_caller_to_refuse(self, change):
        found = ondisk.unpack_extension(head_with(_with_state(replace(FULL, **{"incompatible": 0, **change}), 4)))
        assert found is not None
        assert ondisk.incompatibility(found) is not None

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            ({}, None),
            ({"compatible": 0xFFFFFFFF}, None),
            ({"incompatible": 6}, "features that this diskulog does not know (bits 0x6)"),
            ({"version": 2}, "its extension has version 2, this diskulog knows 1"),
        ],
    )
    def test_only_incompatible_bits_and_other_versions_are_incompatible(self, change, says):
        found = ondisk.unpack_extension(head_with(replace(FULL, **{"incompatible": 0, **change})))
        assert found is not None
        text = ondisk.incompatibility(found)
        assert text is None if says is None else says in text


def _with_state(extension: Extension, number: int) -> Extension:
    # a state that State does not know, in the place of one that it does
    class Later(Extension):
        def pack(self) -> bytes:
            body = bytearray(Extension.pack(self)[:508])
            body[20:24] = struct.pack("<I", number)
            return bytes(body) + struct.pack("<I", zlib.crc32(body))

    return Later(**{f.name: getattr(extension, f.name) for f in fields(Extension)})


class TestDialect:
    @pytest.mark.parametrize(
        ("head", "dialect"),
        [
            (b"", Dialect.BLANK),
            (bytes(1024), Dialect.BLANK),
            (head_with(), Dialect.DISKULOG),
            (head_with(sector=bytes(512)), Dialect.KERNEL),
            (head_with(sector=b"\xff" * 512), Dialect.KERNEL),
            (head_with(sector=bytes(511) + b"\1"), Dialect.DAMAGED),
            (head_with(sector=b"\xff" * 511 + b"\xfe"), Dialect.DAMAGED),
            (head_with()[:1023], Dialect.FOREIGN),
            (head_with(header=Header(magic=1)), Dialect.FOREIGN),
            (bytes(1023) + b"\1", Dialect.FOREIGN),
            (b"LABELONE".ljust(1024, b"\0"), Dialect.FOREIGN),
        ],
    )
    def test_the_first_1024_bytes_name_it(self, head, dialect):
        assert ondisk.dialect(head) is dialect


block_sizes = st.sampled_from([512, 4096, 65536])
counts = st.one_of(st.integers(1, 200_000), st.integers(1, 2**32 - 1))


class TestGeometry:
    @given(count=counts, block=block_sizes, room=st.integers(0, 2**40))
    @settings(deadline=None, max_examples=300)
    def test_the_bitmaps_never_overlap_and_lie_on_the_device(self, count, block, room):
        device = ondisk.needed_bytes(count, block) + room
        geometry = ondisk.choose_geometry(count, device, block)
        assert ondisk.fits(geometry, device)
        assert geometry.bitmap_bytes >= count / 8
        assert geometry.bitmap_bytes % 8 == 0
        assert geometry.sync_offset_bytes >= 1024 + geometry.bitmap_bytes
        assert geometry.sync_offset_bytes % max(4096, block) == 0
        assert geometry.sync_offset_bytes + -(-geometry.bitmap_bytes // block) * block <= device
        assert geometry.sync_offset_bytes + geometry.sync_capacity_bytes == device

    @given(count=counts, block=block_sizes)
    @settings(deadline=None, max_examples=200)
    def test_the_bytes_needed_are_exact(self, count, block):
        needed = ondisk.needed_bytes(count, block)
        assert ondisk.choose_geometry(count, needed, block).region_count == count
        with pytest.raises(BadLogError, match=f"has {needed - 1} bytes, {count} regions need {needed}"):
            ondisk.choose_geometry(count, needed - 1, block)

    @pytest.mark.parametrize(
        ("count", "block", "needed"),
        [
            (1, 512, 4096 + 512),
            (64, 512, 4096 + 512),
            ((4096 - 1024) * 8, 512, 4096 + 3072),
            ((4096 - 1024) * 8 + 1, 512, 8192 + 3584),
            (1, 4096, 8192),
            (2**32 - 1, 512, 536_875_008 + 536_870_912),
        ],
    )
    def test_the_bytes_needed_for_some_counts(self, count, block, needed):
        assert ondisk.needed_bytes(count, block) == needed

    def test_the_sync_bitmap_lies_at_the_middle_so_that_the_clean_bitmap_can_grow(self):
        assert ondisk.choose_geometry(1000, 2**22, 512).sync_offset_bytes == 2**21

    @pytest.mark.parametrize(
        ("geometry", "device", "fits"),
        [
            (Geometry(64, 4096, 8), 4104, True),
            (Geometry(64, 4096, 8), 4103, False),
            (Geometry(65, 4096, 8), 8192, False),
            (Geometry(64, 4095, 8), 8192, False),
            (Geometry(64, 0, 8), 8192, False),
            (Geometry(8 * 3072, 4096, 4096), 8192, True),
            (Geometry(8 * 3072 + 1, 4096, 4096), 8192, False),
            (Geometry(2**60, 4096, 2**60), 2**40, False),
        ],
    )
    def test_a_recorded_place_is_believed_only_where_it_fits(self, geometry, device, fits):
        assert ondisk.fits(geometry, device) is fits

    @pytest.mark.parametrize(("count", "size"), [(0, 0), (1, 8), (64, 8), (65, 16), (2**32 - 1, 2**29)])
    def test_a_bitmap_is_whole_words(self, count, size):
        assert ondisk.bitmap_bytes(count) == size


class TestBits:
    def test_a_region_is_a_bit_from_the_low_end(self):
        assert logs.regions(ondisk.bits_from(b"\x01\x80\x02", 24)) == {0, 15, 17}

    def test_missing_bytes_read_as_dirty(self):
        assert ondisk.bits_from(b"\xff", 20) == logs.ones(8) + logs.zeros(12)

    def test_only_the_regions_are_read(self):
        assert ondisk.bits_from(b"\xff\xff\xff", 10) == logs.ones(10)

    @given(st.binary(max_size=40), st.integers(0, 330))
    @settings(deadline=None, max_examples=100)
    def test_there_are_always_as_many_as_asked(self, data, count):
        bits = ondisk.bits_from(data, count)
        assert len(bits) == count
        assert bits.endian == "little"

    def test_bits_are_padded_with_zeros_to_words(self):
        assert ondisk.bits_to_bytes(logs.ones(9)) == b"\xff\x01" + bytes(6)
        assert ondisk.bits_to_bytes(bitarray(endian="little")) == b""

    def test_the_checksum_is_of_the_bytes_that_hold_regions(self):
        assert ondisk.bitmap_crc32(b"\xff\x01garbage", 9) == zlib.crc32(b"\xff\x01")
        assert ondisk.bitmap_crc32(memoryview(b"\xff\x01garbage"), 9) == zlib.crc32(b"\xff\x01")


def test_the_token_of_a_live_luid_differs_by_boot_and_luid_and_is_not_the_luid():
    token = ondisk.live_token(logs.BOOT, logs.LUID)
    assert len(token) == 8
    assert token == ondisk.live_token(logs.BOOT, logs.LUID)
    assert token != ondisk.live_token(logs.NEXT_BOOT, logs.LUID)
    assert token != ondisk.live_token(logs.BOOT, logs.OTHER_LUID)
    assert token != logs.LUID.to_bytes(8, "little")
