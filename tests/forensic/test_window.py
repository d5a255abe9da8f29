# SPDX-License-Identifier: LGPL-2.1-or-later
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskulog.exits import UsageError
from diskulog.forensic import source
from diskulog.forensic.image import load
from diskulog.forensic.window import Window
from tests import images

LOG = bytes(images.diskulog(1000, dirty=[3, 900], out_of_sync=[3]))


def bitmaps(image):
    return [bitmap.read(0, bitmap.size_bytes) for bitmap in (image.clean, image.sync)]


@given(st.binary(max_size=50), st.integers(0, 60), st.integers(0, 60), st.integers(0, 60))
def test_a_window_is_what_follows_the_offset(data, offset, at, length):
    whole = images.MemorySource(data)
    if offset > len(data):
        with pytest.raises(UsageError, match=f"--offset {offset}: memory ends before, at byte {len(data)}"):
            Window(whole, offset)
        return
    window = Window(whole, offset)
    assert window.size_bytes == len(data) - offset
    assert window.read(at, length) == data[offset:][at : at + length]
    assert window.head == (data[offset:][:length] if at == 0 else b"")


def test_a_window_passes_on_what_it_does_not_change():
    whole = images.MemorySource(LOG, ("dm-0",), is_block=True)
    window = Window(whole, 512)
    assert (window.holders, window.is_block) == (("dm-0",), True)
    assert window.name == "memory at byte 512"
    assert Window(whole).name == "memory"
    window.bypass_cache()
    assert whole.bypassed == 1
    whole.size_bytes = None
    assert Window(whole, 10**6).size_bytes is None


@pytest.mark.parametrize("offset", [1, 511, 512, 1000, 4096, 2**20 + 7])
def test_a_log_inside_a_file(tmp_path, offset):
    path = tmp_path / "image"
    path.write_bytes(b"\xaa" * offset + LOG)
    with source.opened(str(path)) as whole:
        assert bitmaps(load(Window(whole, offset))) == bitmaps(images.loaded(LOG))


def test_a_log_inside_a_pipe():
    read_fd, write_fd = os.pipe()
    small = bytes(images.diskulog(1000, dirty=[3], size=16384))
    try:
        os.write(write_fd, b"\xaa" * 777 + small)
        os.close(write_fd)
        assert bitmaps(load(Window(source.StreamSource("pipe", read_fd), 777))) == bitmaps(images.loaded(small))
    finally:
        os.close(read_fd)


@pytest.mark.loop
@pytest.mark.parametrize("block_bytes", [512, 4096])
@pytest.mark.parametrize("offset", [3, 512, 1024 * 1024 + 1536])
def test_a_log_inside_a_device_at_any_byte(loop_device, block_bytes, offset):
    size = offset + len(LOG)
    device = loop_device(b"\xaa" * offset + LOG + bytes(-size % 4096), block_bytes)
    with source.opened(device) as whole:
        assert bitmaps(load(Window(whole, offset))) == bitmaps(images.loaded(LOG))
