# SPDX-License-Identifier: LGPL-2.1-or-later
import errno
import gc
import io
import tempfile
import zlib
from itertools import groupby
from operator import or_

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskulog.errors import DeviceError
from diskulog.forensic import bitmap
from diskulog.forensic.bitmap import Regions
from diskulog.units import MIB
from tests import images

sizes = st.integers(1, 7)


def kept(data, offset=0):
    return bitmap.keep(images.MemorySource(data), offset, len(data) - offset)


def flags(data, count):
    return [data[region // 8] >> region % 8 & 1 for region in range(count)]


def zero_ranges(bits):
    at, found = 0, []
    for value, run in groupby(bits):
        length = len(list(run))
        if not value:
            found.append((at, length))
        at += length
    return found


@given(st.data(), st.binary(max_size=40), sizes, sizes, sizes)
def test_regions_are_their_bits_however_they_are_kept(data, first, held, piece, chunk):
    second = data.draw(st.one_of(st.none(), st.binary(min_size=len(first), max_size=len(first))))
    count = data.draw(st.integers(0, len(first) * 8))
    bits = flags(first, count)
    if second is not None:
        bits = [a & b for a, b in zip(bits, flags(second, count), strict=True)]
    begin = data.draw(st.integers(0, count))
    end = data.draw(st.integers(begin, count))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bitmap, "MAX_HELD_BYTES", held)
        patch.setattr(bitmap, "PIECE_BYTES", piece)
        patch.setattr(bitmap, "CHUNK_BYTES", chunk)
        stored = [kept(each) for each in (first, second) if each is not None]
        found = Regions(count, tuple(stored))
        assert (found.ones, found.zeros) == (bits.count(1), bits.count(0))
        assert list(found.ranges()) == zero_ranges(bits)
        assert found.range_count == len(zero_ranges(bits))
        assert found.zeros_in(begin, end) == bits[begin:end].count(0)
        assert [found.bit(region) for region in range(count)] == bits
        assert stored[0].crc32(len(first)) == zlib.crc32(first)


@given(st.binary(max_size=40), st.integers(0, 50), st.integers(0, 50))
def test_a_bitmap_is_shorter_only_at_the_end(data, offset, length):
    found = bitmap.keep(images.MemorySource(data), offset, length)
    assert found.size_bytes == len(data[offset : offset + length])
    assert found.read(0, length) == data[offset : offset + length]


def test_passes_may_cross():
    found = Regions(64, (kept(b"\xaa" * 8),))
    assert list(zip(found.ranges(), found.ranges(), strict=True)) == [((r, 1), (r, 1)) for r in range(0, 64, 2)]


def test_only_a_bitmap_that_memory_should_not_hold_makes_a_file(monkeypatch):
    def no_file(*_, **__):
        raise AssertionError("a temporary file")

    monkeypatch.setattr(tempfile, "TemporaryFile", no_file)
    assert kept(bytes(16 * MIB)).size_bytes == 16 * MIB
    with pytest.raises(AssertionError, match="a temporary file"):
        kept(bytes(16 * MIB + 8))


def test_the_file_goes_with_its_last_user(monkeypatch):
    made = []

    def file(*arguments, real=tempfile.TemporaryFile, **more):
        made.append(real(*arguments, **more))
        return made[-1]

    monkeypatch.setattr(tempfile, "TemporaryFile", file)
    monkeypatch.setattr(bitmap, "MAX_HELD_BYTES", 1)
    found = kept(b"four")
    assert found.read(0, 4) == b"four"
    del found
    gc.collect()
    assert [each.closed for each in made] == [True]


@pytest.mark.parametrize("door", ["write", "read"])
def test_a_temporary_file_that_fails_is_named(monkeypatch, door):
    class Full(io.BytesIO):
        def __init__(self, **_):
            super().__init__()

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(bitmap, "SpooledTemporaryFile", Full)
    monkeypatch.setattr(Full, door, fail)
    with pytest.raises(DeviceError, match=r"memory in a temporary file \(TMPDIR says where\): No space") as caught:
        kept(b"four").read(0, 4)
    assert caught.value.errno == errno.ENOSPC


def test_a_directory_for_temporary_files_that_is_full_or_missing(monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/proc/none")
    monkeypatch.setattr(bitmap, "MAX_HELD_BYTES", 1)
    with pytest.raises(DeviceError, match="cannot keep memory in a temporary file"):
        kept(b"four")


@given(st.binary(max_size=40), st.data(), sizes)
def test_a_bitmap_is_made_of_the_ranges_that_it_lists(data, draw, piece):
    count = draw.draw(st.integers(0, len(data) * 8))
    bits = flags(data, count)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bitmap, "PIECE_BYTES", piece)
        made = bitmap.made("a dump", count, iter(zero_ranges(bits)))
        assert flags(made.read(0, made.size_bytes), count) == bits
        assert Regions(count, (made,)).ones == bits.count(1)


@given(st.binary(min_size=10, max_size=10), st.binary(min_size=10, max_size=10))
def test_regions_are_joined_in_other_ways_too(first, second):
    found = Regions(80, (Regions(80, (kept(first),)), kept(second)), or_)
    assert [found.bit(region) for region in range(80)] == [
        a | b for a, b in zip(flags(first, 80), flags(second, 80), strict=True)
    ]
