# SPDX-License-Identifier: LGPL-2.1-or-later
import io
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diskulog.errors import DeviceError, RefusedError
from diskulog.exits import UsageError
from diskulog.forensic import source
from diskulog.replay import medium as module
from diskulog.replay.medium import PAGE_BYTES, MemoryDevice

SIZE = 5 * PAGE_BYTES + 512
CONTENT = bytes(range(256)) * (SIZE // 256)


def test_an_image_is_read_as_it_is_and_zero_beyond_its_end(opened):
    medium = opened(CONTENT)
    device = MemoryDevice(medium, "7:0")
    assert (device.size_bytes, device.block_bytes, device.number) == (SIZE, 512, "7:0")
    assert device.read(100, 5000) == CONTENT[100:5100]
    assert device.read(SIZE - 10, 20) == CONTENT[-10:] + bytes(10)
    assert device.read(SIZE + 10, 20) == bytes(20)
    assert medium.read(SIZE - 10, 20) == CONTENT[-10:]


def test_what_is_stored_in_a_window_reaches_the_medium_with_an_msync_of_its_pages(opened):
    medium = opened(CONTENT)
    window = medium.map(PAGE_BYTES + 10, PAGE_BYTES)
    assert (window.offset_bytes, len(window.view)) == (PAGE_BYTES, 2 * PAGE_BYTES)
    window.view[5] = window.view[PAGE_BYTES + 5] = 0xAA
    assert medium.on_medium(0, SIZE) == CONTENT
    window.sync(2 * PAGE_BYTES + 100, 1)
    assert medium.msyncs == 1
    expected = bytearray(CONTENT)
    expected[2 * PAGE_BYTES + 5] = 0xAA
    assert medium.on_medium(0, SIZE) == expected
    expected[PAGE_BYTES + 5] = 0xAA
    assert medium.read(0, SIZE) == expected  # past the cache: written back first
    assert medium.on_medium(0, SIZE) == expected
    assert medium.msyncs == 1


def test_what_a_closed_window_held_is_not_lost(opened):
    medium = opened(CONTENT)
    window = medium.map(0, SIZE)
    assert len(window.view) == SIZE  # the last page of the device is short
    window.view[-1] = 0
    window.close()
    assert medium.on_medium(SIZE - 2, 2) == bytes([CONTENT[-2], 0])
    again = medium.map(SIZE - 1, 1)
    assert again.view[-1] == 0
    again.close()


def test_a_patch_changes_the_copy_alone(opened):
    medium = opened(CONTENT)
    medium.patch(PAGE_BYTES - 2, b"abcd")
    assert medium.read(PAGE_BYTES - 3, 6) == CONTENT[PAGE_BYTES - 3 : PAGE_BYTES - 2] + b"abcd" + CONTENT[2:3]


def test_all_its_pieces_are_the_whole_image(opened):
    medium = opened(CONTENT)
    medium.map(0, PAGE_BYTES).view[0] = 7
    assert b"".join(medium.pieces()) == b"\7" + CONTENT[1:]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(st.tuples(st.integers(0, SIZE - 1), st.integers(1, 200), st.booleans()), max_size=20))
def test_stores_and_reads_agree_with_plain_memory(opened, steps):
    medium = opened(CONTENT)
    plain = bytearray(CONTENT)
    for at, length, synced in steps:
        length = min(length, SIZE - at)
        window = medium.map(at, length)
        start = at - window.offset_bytes
        window.view[start : start + length] = plain[at : at + length] = bytes(length)
        if synced:
            window.sync(at, length)
            assert medium.on_medium(at, length) == bytes(length)
        window.close()
        assert medium.read(0, SIZE) == plain


def test_what_cannot_be_replayed_on_is_refused(tmp_path):
    for name, words in (("-", "name a file, not '-'"), (str(tmp_path), "is a directory")):
        with pytest.raises(UsageError, match=words), module.opened(name):
            pass
    (tmp_path / "empty").touch()
    with pytest.raises(UsageError, match="is empty: name an image"), module.opened(str(tmp_path / "empty")):
        pass
    with pytest.raises(DeviceError, match="cannot open"), module.opened(str(tmp_path / "none")):
        pass


def test_a_device_in_use_is_refused_and_another_is_read_past_the_cache(tmp_path, monkeypatch):
    path = tmp_path / "disk"
    path.write_bytes(CONTENT)
    real = source._file_source
    monkeypatch.setattr(source, "_file_source", lambda name, fd: replace(real(name, fd), holders=("dm-0 (home)",)))
    with (
        pytest.raises(RefusedError, match=r"is in use by dm-0 \(home\) and changes; copy it"),
        module.opened(str(path)),
    ):
        pass
    bypassed = io.StringIO()
    monkeypatch.setattr(source, "_file_source", lambda name, fd: replace(real(name, fd), is_block=True))
    monkeypatch.setattr(source.FileSource, "bypass_cache", lambda _: bypassed.write("yes"))
    with module.opened(str(path)) as medium:
        assert medium.read(0, 10) == CONTENT[:10]
    assert bypassed.getvalue() == "yes"
