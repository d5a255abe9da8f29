# SPDX-License-Identifier: LGPL-2.1-or-later
import fcntl
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskulog import ondisk, sysfs, verdict
from diskulog.ctr import CtrArgs, Sync
from diskulog.errors import BadLogError, DeviceError, RefusedError
from diskulog.exits import UsageError
from diskulog.forensic import adopt, belief, repair, writing
from diskulog.forensic.image import load
from diskulog.forensic.source import FileSource
from diskulog.ondisk import State
from tests import images


def adopted(name, uuid=None):
    with writing.opened(str(name), write=True) as log:
        plan = adopt.plan(load(log), uuid, log.block_bytes)
        writing.write_extension(log, plan.sector)


def test_one_sector_of_a_file_is_written(tmp_path):
    path = tmp_path / "log"
    before = images.changed()
    path.write_bytes(before)
    adopted(path)
    after = path.read_bytes()
    assert after[:512] == before[:512]
    assert after[1024:] == before[1024:]
    assert ondisk.unpack_extension(after[:1024]).state is State.RELEASED


@pytest.mark.loop
@pytest.mark.parametrize("block_bytes", [512, 4096])
def test_one_sector_of_a_device_is_written(loop_device, tmp_path, block_bytes):
    before = images.changed()
    device = loop_device(before, block_bytes)
    adopted(device)
    after = (tmp_path / "backing0").read_bytes()
    assert after[:512] == before[:512]
    assert after[1024:] == before[1024:]
    assert ondisk.unpack_extension(after[:1024]).state is State.RELEASED


@pytest.mark.loop
@pytest.mark.parametrize(("holders", "said"), [(("dm-0 (home)",), "held by dm-0 (home)"), ((), "mounted, or opened")])
def test_a_device_in_use_is_refused(loop_device, monkeypatch, holders, said):
    device = loop_device(images.changed())
    monkeypatch.setattr(sysfs, "holders", lambda _: holders)
    taken = os.open(device, os.O_RDONLY | os.O_EXCL)
    try:
        with pytest.raises(RefusedError) as caught, writing.opened(device, write=True):
            pass
    finally:
        os.close(taken)
    assert said in str(caught.value)


@pytest.mark.loop
def test_an_image_behind_a_loop_device_is_in_use(loop_device, tmp_path):
    device = loop_device(images.changed())
    with (
        pytest.raises(RefusedError, match=f"held by {Path(device).name}"),
        writing.opened(str(tmp_path / "backing0"), write=True),
    ):
        pass


@pytest.mark.loop
def test_a_device_is_read_and_written_past_the_cache(loop_device):
    with writing.opened(loop_device(images.changed()), write=True) as log:
        assert fcntl.fcntl(log.fd, fcntl.F_GETFL) & os.O_DIRECT


def test_standard_input_is_refused():
    with pytest.raises(UsageError, match="standard input"), writing.opened("-", write=True):
        pass


def test_a_missing_device(tmp_path):
    with pytest.raises(DeviceError, match="No such file"), writing.opened(str(tmp_path / "none"), write=True):
        pass


def test_a_write_that_fails(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(images.changed())
    with writing.opened(str(path), write=False) as log, pytest.raises(DeviceError, match="cannot write"):
        writing.write_extension(log, bytes(512))


def test_a_short_write(tmp_path, monkeypatch):
    path = tmp_path / "log"
    path.write_bytes(images.changed())
    monkeypatch.setattr(os, "pwritev", lambda *_: 100)
    with writing.opened(str(path), write=True) as log, pytest.raises(DeviceError, match="100 of 512 bytes"):
        writing.write_extension(log, bytes(512))


# a whole log


def written(path, image):
    with writing.opened(str(path), write=True) as log:
        writing.write_log(log, image)


IMAGES = {
    "kernel": images.kernel(1000, dirty=[3, 999]),
    "open": images.diskulog(1000, dirty=[5], out_of_sync=[5, 7], state=State.OPEN),
    "closed": images.diskulog(1000, dirty=[5], out_of_sync=[5]),
    "many": images.diskulog(2**20 + 3, dirty=[0, 2**20]),
    "none": images.diskulog(0),
}


@pytest.mark.parametrize("data", IMAGES.values(), ids=IMAGES)
def test_a_log_is_written_as_it_was_found(data, tmp_path):
    path = tmp_path / "log"
    path.write_bytes(bytes(len(data)))
    written(path, images.loaded(data))
    assert path.read_bytes() == bytes(data)


@pytest.mark.loop
@pytest.mark.parametrize("block_bytes", [512, 4096])
@pytest.mark.parametrize("content", [0, 0xFF])
def test_a_log_is_written_to_a_device_past_whatever_lies_there(loop_device, block_bytes, content):
    device = loop_device(bytes([content]) * images.DEVICE_BYTES, block_bytes)
    written(device, images.loaded(images.diskulog(1000, dirty=[5, 999], out_of_sync=[5])))
    found = images.loaded_from(Path(device))
    assert (found.clean.read(0, 125), found.sync.read(0, 125)) == (
        ondisk.bits_to_bytes(images.bits(1000, [5, 999]))[:125],
        ondisk.bits_to_bytes(images.bits(1000, [5]))[:125],
    )
    assert found.head[16:512] == bytes(496)
    assert not any(found.clean.read(125, 3))


def test_on_another_device_the_sync_bitmap_is_placed_anew(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(bytes(2 * images.DEVICE_BYTES))
    written(path, images.loaded(images.diskulog(1000, out_of_sync=[9])))
    found = images.loaded_from(path)
    geometry = ondisk.choose_geometry(1000, 2 * images.DEVICE_BYTES, 512)
    assert found.extension.sync_offset_bytes == geometry.sync_offset_bytes
    assert found.extension.sync_capacity_bytes == geometry.sync_capacity_bytes
    assert found.sync.read(1, 1) == b"\xfd"


@pytest.mark.parametrize("data", [images.kernel(2**20), images.diskulog(2**20)], ids=["kernel", "diskulog"])
def test_a_device_that_is_too_small_is_left_alone(data, tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"\x55" * 65536)
    with images.untouched(path), pytest.raises(RefusedError, match="has 65536 bytes, 1048576 regions need"):
        written(path, images.loaded(data))


BEFORE = {
    "a log": images.diskulog(1000, dirty=range(500), out_of_sync=range(500), state=State.OPEN),
    "a closed log": images.diskulog(1000, dirty=range(500), out_of_sync=range(500)),
    "a log that is not believed": images.changed(range(500)),
    "a damaged log": images.damaged(),
    "a kernel log": images.kernel(1000, dirty=range(500)),
    "nothing": bytearray(images.DEVICE_BYTES),
}
AFTER = {
    "closed": images.diskulog(1000, dirty=[5], out_of_sync=[5]),
    "open": images.diskulog(1000, out_of_sync=range(500), state=State.OPEN),
    "all dirty": images.diskulog(1000, dirty=range(1000), out_of_sync=range(1000)),
    "kernel": images.kernel(1000, dirty=[5]),
}


def believed(data):
    """The regions that an activation takes for clean, whatever its table says; None when it refuses the log."""
    args = CtrArgs(
        1000 * images.REGION_SIZE_SECTORS, "disk", "disk", "/dev/x", images.REGION_SIZE_SECTORS, sync=Sync.NOSYNC
    )
    head = bytes(data[: ondisk.HEAD_BYTES])
    try:
        verdict.refuse(head, images.UUID.encode(), args, len(data), 512)
        blank = not any(any(data[at : at + size]) for at, size in verdict.blank_ranges(args, len(data), 512))
        if ondisk.dialect(head) is ondisk.Dialect.BLANK and not blank:
            return None
    except RefusedError:
        return None
    place = verdict.sync_range(head, len(data))
    sync = bytes(data[place[0] : sum(place)]) if place else None
    found = verdict.judge(head, bytes(data[1024:]), sync, args, len(data), 512)
    return set(range(found.known, 1000) if found.new_clean else ()) | set(found.bits.search(1))


@pytest.mark.parametrize("before", BEFORE.values(), ids=BEFORE)
@pytest.mark.parametrize("after", AFTER.values(), ids=AFTER)
def test_a_write_that_stops_anywhere_is_no_log_or_the_one_or_the_other(before, after, tmp_path, monkeypatch):
    """Every state between two flushes, with any of the sectors written since the last one on the medium."""
    path = tmp_path / "log"
    path.write_bytes(before)
    steps, pending = [], []
    real = os.pwritev

    def pwritev(fd, buffers, offset):
        data = bytes(buffers[0])
        # the rest of a bitmap's last sector is as it was
        pending.extend((offset + at, data[at : at + 512]) for at in range(0, len(data), 512))
        return real(fd, buffers, offset)

    monkeypatch.setattr(os, "pwritev", pwritev)
    monkeypatch.setattr(os, "fsync", lambda _: (steps.append(list(pending)), pending.clear()))
    written(path, images.loaded(after))
    assert not pending
    old, new = believed(before), believed(after)
    medium = bytearray(before)
    for step in steps:
        for wanted in range(2 ** len(step)):
            state = bytearray(medium)
            for bit, (offset, data) in enumerate(step):
                if wanted >> bit & 1:
                    state[offset : offset + len(data)] = data
            found = believed(state)
            assert found in (None, old, new), f"step {steps.index(step)}"
            repaired = repair_of(state)
            assert repaired is None or repaired <= (old or set()) | new
        medium = state
    assert medium == path.read_bytes()
    assert believed(medium) == new


def repair_of(state):
    try:
        plan = repair.plan(repair.load(images.MemorySource(bytes(state))), None)
    except BadLogError:
        return None
    return set(belief.clean_regions(plan.image).bits(0, plan.image.bit_count).search(1)) if plan.image else None


def test_a_stopped_write_says_what_it_is(tmp_path, monkeypatch):
    path = tmp_path / "log"
    path.write_bytes(images.diskulog())

    def fail(_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(DeviceError, match="cannot write"):
        written(path, images.loaded(images.diskulog()))
    with pytest.raises(BadLogError, match="whose writing was stopped in the middle: do it again"):
        images.loaded_from(path)


def test_a_block_that_cannot_be_read_is_written_anew(tmp_path, monkeypatch):
    path = tmp_path / "log"
    path.write_bytes(images.diskulog())
    real = FileSource.read

    def read(self, offset_bytes, length_bytes):
        if length_bytes and offset_bytes // 512 == 2:  # the only sector of the clean bitmap
            raise DeviceError("cannot read", OSError(5, "Input/output error"))
        return real(self, offset_bytes, length_bytes)

    with monkeypatch.context() as patch:
        patch.setattr(FileSource, "read", read)
        written(path, images.loaded(images.diskulog(dirty=[5])))
    assert path.read_bytes()[1024:1536] == bytes(images.diskulog(dirty=[5])[1024:1536])


@pytest.mark.loop
def test_a_device_that_is_read_only_is_refused(loop_device):
    device = loop_device(images.changed())
    subprocess.run(["blockdev", "--setro", device], check=True)
    try:
        with pytest.raises(RefusedError, match="is read-only"), writing.opened(device, write=True):
            pass
        with writing.opened(device, write=False):
            pass
    finally:
        subprocess.run(["blockdev", "--setrw", device], check=True)


@pytest.mark.loop
def test_an_image_behind_a_loop_device_is_in_use_under_any_name(loop_device, tmp_path):
    device = loop_device(images.changed())
    backing, other = tmp_path / "backing0", tmp_path / "other"
    other.hardlink_to(backing)
    backing.unlink()
    with pytest.raises(RefusedError, match=f"held by {Path(device).name}"), writing.opened(str(other), write=True):
        pass


def test_two_commands_do_not_write_to_one_file(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(images.changed())
    with (
        writing.opened(str(path), write=True),
        pytest.raises(RefusedError, match="in use by another command"),
        writing.opened(str(path), write=True),
    ):
        pass
    with writing.opened(str(path), write=True):
        pass


@given(st.binary(min_size=1, max_size=5000), st.integers(0, 5000), st.sampled_from([512, 4096]))
def test_what_lies_beside_is_kept(data, offset, block_bytes):
    before = os.urandom(16384)
    fd = os.memfd_create("log")
    try:
        os.pwrite(fd, before, 0)
        writing._write(FileSource("memory", fd, len(before), block_bytes=block_bytes), offset, data)
        assert os.pread(fd, 20000, 0) == before[:offset] + data + before[offset + len(data) :]
    finally:
        os.close(fd)


@pytest.mark.loop
def test_a_log_that_is_held_is_written_past_the_cache(loop_device, tmp_path):
    device = loop_device(images.diskulog())
    taken = os.open(device, os.O_RDONLY | os.O_EXCL)  # as dm does
    try:
        with writing.held(device) as log:
            assert fcntl.fcntl(log.fd, fcntl.F_GETFL) & os.O_DIRECT
            writing.write_sector(log, 0, b"x" * 512)
            assert log.read(0, 512) == b"x" * 512
    finally:
        os.close(taken)
    assert (tmp_path / "backing0").read_bytes()[:1024] == b"x" * 512 + bytes(images.diskulog()[512:1024])
