# SPDX-License-Identifier: LGPL-2.1-or-later
import fcntl
import os
import socket
import struct
import threading
import zlib
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskulog import ondisk, sysfs
from diskulog.errors import BadLogError, DeviceError
from diskulog.exits import UsageError
from diskulog.forensic import source
from diskulog.forensic.image import MAX_UNCOUNTED_BYTES, load
from diskulog.forensic.source import FileSource, StreamSource
from diskulog.ondisk import Dialect, State
from tests import images


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log"


def test_a_kernel_log(path):
    path.write_bytes(images.kernel(1000, dirty=[3]))
    with images.untouched(path):
        found = images.loaded_from(path)
    assert found.dialect is Dialect.KERNEL
    assert found.extension is None
    assert found.sync is None
    assert found.region_count == found.bit_count == 1000
    assert found.clean.read(0, 1)[0] == 0b11110111
    assert not found.live
    assert found.size_bytes == images.DEVICE_BYTES


def test_version_1_reads_as_2():
    assert images.loaded(images.kernel(version=1)).region_count == 1000


def test_a_diskulog_log():
    found = images.loaded(images.diskulog(1000, out_of_sync=[9]))
    assert found.dialect is Dialect.DISKULOG
    assert found.extension is not None
    assert found.extension.uuid == images.UUID
    assert found.sync is not None
    assert found.sync.read(1, 1)[0] == 0b11111101


def test_a_released_log_has_no_sync_bitmap():
    assert images.loaded(images.diskulog(state=State.RELEASED)).sync is None


def test_a_damaged_extension_is_kept_as_damaged():
    found = images.loaded(images.damaged())
    assert found.dialect is Dialect.DAMAGED
    assert found.extension is None


@pytest.mark.parametrize("fill", [0x00, 0xFF])
def test_lvm_fresh_counts_what_the_device_holds(fill):
    found = images.loaded(images.lvm_fresh(fill))
    assert found.dialect is Dialect.KERNEL
    assert found.region_count is None
    assert found.bit_count == (images.DEVICE_BYTES - 1024) * 8
    assert found.clean.read(0, 1)[0] == fill


def test_lvm_fresh_on_a_large_device_is_bounded():
    found = images.loaded(images.lvm_fresh(0, size=MAX_UNCOUNTED_BYTES + 4096))
    assert found.clean.size_bytes == MAX_UNCOUNTED_BYTES


def test_lvm_header_over_an_extension_counts_what_the_extension_says():
    data = images.diskulog(1000)
    data[:16] = ondisk.Header(nr_regions=ondisk.ALL_REGIONS).pack()
    found = images.loaded(data)
    assert found.region_count is None
    assert found.bit_count == 1000
    assert found.sync is None


def at(data, offset, value):
    data[offset : offset + len(value)] = value
    return data


BEYOND = images.diskulog(1000)[: images.DEVICE_BYTES // 2 + 10]

NOT_A_LOG = {
    "empty": (b"", "cut off: 0 bytes"),
    "tiny": (b"hello", "not a log: 5 bytes"),
    "tiny magic": (images.kernel()[:600], "cut off: 600 bytes"),
    "half a magic": (images.kernel()[:2], "cut off: 2 bytes"),
    "zeroed": (bytes(images.DEVICE_BYTES), "blank"),
    "zeroed, small": (bytes(4096), "blank"),
    "zeros, then ext4": (bytes(1024) + b"\x53\xef" * 100, "other content follows"),
    "text": (b"dear diary\n" * 200, "begins with 64 65 61 72"),
    "big endian": (images.big_endian(), "begins with 4d 69 52 72"),
    "version": (images.kernel(version=7), "version 7"),
    "claims 2^60": (images.claims(2**60), "cut off: the clean bitmap of 1152921504606846976 regions"),
    "clean cut off": (images.kernel(10**6)[:2048], "cut off: the clean bitmap"),
    "sync cut off": (BEYOND, "cut off: the sync bitmap"),
    "extension version": (images.diskulog(version=2), "version 2"),
    "incompatible": (images.diskulog(incompatible=4), "bits 0x4"),
}


@pytest.mark.parametrize(("data", "reason"), NOT_A_LOG.values(), ids=NOT_A_LOG)
def test_no_log_is_named(data, reason):
    with pytest.raises(BadLogError) as caught:
        images.loaded(data)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("data", "reason"), NOT_A_LOG.values(), ids=NOT_A_LOG)
def test_no_log_in_a_pipe_is_named(data, reason):
    with pytest.raises(BadLogError), piped(data) as stream:
        load(stream)


def test_more_regions_than_any_mirror_has(path):
    path.write_bytes(images.claims(2**32, size=2048))
    os.truncate(path, 1024 + 2**29 + 8)  # sparse: it does hold the bits
    with pytest.raises(BadLogError, match="claims 4294967296 regions"):
        images.loaded_from(path)


@contextmanager
def piped(data):
    """A pipe with a writer at its other end, so that any size fits."""
    read_fd, write_fd = os.pipe()

    def write():
        with suppress(BrokenPipeError), open(write_fd, "wb", buffering=0) as pipe:
            pipe.write(data)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield StreamSource("pipe", read_fd)
    finally:
        os.close(read_fd)
        writer.join()


@pytest.mark.parametrize(
    "data",
    [images.kernel(), images.diskulog(dirty=[1], out_of_sync=[1]), images.damaged(), images.lvm_fresh(0xFF)],
    ids=["kernel", "diskulog", "damaged", "lvm"],
)
def test_a_pipe_reads_like_a_file(data):
    with piped(data) as stream:
        found = load(stream)
    by_name = images.loaded(data)
    assert bitmaps(found) == bitmaps(by_name)
    assert found == replace(by_name, name="pipe", size_bytes=None, clean=found.clean, sync=found.sync)


def bitmaps(found):
    return [bitmap and bitmap.read(0, bitmap.size_bytes) for bitmap in (found.clean, found.sync)]


def test_a_stream_does_not_go_back():
    with piped(b"x" * 100) as stream:
        stream.read(0, 50)
        stream.bypass_cache()
        with pytest.raises(ValueError, match="cannot go back"):
            stream.read(0, 1)


def test_a_stream_that_fails(tmp_path):
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(DeviceError, match="cannot read dir at byte 0"):
            StreamSource("dir", fd).read(0, 1)
    finally:
        os.close(fd)


def test_an_image_cut_inside_the_padding_is_whole():
    data = images.kernel(1000)[: 1024 + 125]
    assert images.loaded(data).bit_count == 1000


@pytest.mark.parametrize(
    "changes", [{"sync_offset_bytes": 1024}, {"sync_offset_bytes": 6001}, {"sync_capacity_bytes": 1}]
)
def test_a_sync_bitmap_that_cannot_lie_there_is_not_read(changes):
    assert images.loaded(images.diskulog(**changes)).sync is None


@given(st.binary(max_size=3000))
def test_noise_is_no_log(noise):
    with pytest.raises(BadLogError):
        images.loaded(noise)


@given(st.binary(min_size=600, max_size=3000), st.integers(0, 2**64 - 1), st.integers(0, 3))
def test_noise_behind_a_header_is_a_log_or_refused(noise, count, version):
    data = ondisk.Header(version=version, nr_regions=count).pack() + noise
    try:
        found = images.loaded(data)
    except BadLogError:
        return
    assert found.clean.size_bytes <= len(data)


@given(st.binary(min_size=508, max_size=508), st.integers(1, 2000))
def test_an_extension_with_a_good_checksum_and_any_content(body, count):
    data = images.kernel(count)
    sector = b"diskulog" + struct.pack("<III", 1, 0, 0) + body[20:]
    data[512:1024] = sector + struct.pack("<I", zlib.crc32(sector))
    with suppress(BadLogError):
        images.loaded(data)


# what is held, and how it is then read


def test_a_held_kernel_log_is_read_past_the_cache():
    log = images.MemorySource(images.kernel(), ("dm-0 (home)",), is_block=True)
    found = load(log)
    assert found.live
    assert log.bypassed == 1


@pytest.mark.parametrize(
    ("state", "boot", "held", "bypassed"),
    [
        (State.OPEN, images.BOOT, True, 0),
        (State.OPEN, bytes(16), True, 1),
        (State.CLOSED, images.BOOT, True, 1),
        (State.OPEN, images.BOOT, False, 1),
    ],
)
def test_only_a_live_diskulog_log_is_read_through_the_cache(monkeypatch, state, boot, held, bypassed):
    monkeypatch.setattr(sysfs, "boot_id", lambda: images.BOOT)
    log = images.MemorySource(images.diskulog(state=state, boot_id=boot), ("dm-0",) if held else (), is_block=True)
    found = load(log)
    assert log.bypassed == bypassed
    assert found.same_boot == (not bypassed)


# opening


def test_a_missing_file(path):
    with pytest.raises(DeviceError, match="No such file"), source.opened(str(path)):
        pass


@pytest.mark.parametrize("kind", ["directory", "FIFO", "socket", "character device"])
def test_what_holds_no_log_is_refused_unopened(path, kind):
    listener = socket.socket(socket.AF_UNIX)
    with listener:
        match kind:
            case "directory":
                path.mkdir()
            case "FIFO":
                os.mkfifo(path)
            case "socket":
                listener.bind(str(path))
            case _:
                path.symlink_to("/dev/null")
        with pytest.raises(UsageError, match=f"is a {kind}"), source.opened(str(path)):
            pass


def test_a_file_that_becomes_a_fifo_does_not_block(path, monkeypatch):
    os.mkfifo(path)
    answers = [Path(__file__).stat()]
    real = os.stat
    monkeypatch.setattr(os, "stat", lambda name: answers.pop() if answers else real(name))
    with pytest.raises(UsageError, match="FIFO"), source.opened(str(path)):
        pass


def test_an_unreadable_file(path):
    path.write_bytes(images.kernel())
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("root reads everything")
    with pytest.raises(DeviceError, match="Permission denied"), source.opened(str(path)):
        pass


def test_open_that_fails(path, monkeypatch):
    path.write_bytes(b"")

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(DeviceError, match="Permission denied") as caught, source.opened(str(path)):
        pass
    assert caught.value.errno == 13


def test_a_read_that_fails(path, monkeypatch):
    path.write_bytes(images.kernel())

    def fail(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "preadv", fail)
    with pytest.raises(DeviceError, match="at byte 0: Input/output error"):
        images.loaded_from(path)


def test_a_descriptor_without_direct_io():
    with pytest.raises(DeviceError, match="past the page cache"):
        FileSource("closed", 2**20, 0).bypass_cache()


@given(st.integers(0, 5000), st.integers(0, 9000), st.sampled_from([512, 4096]))
def test_aligned_reads_return_what_was_asked_for(tmp_path_factory, offset, length, block):
    path = tmp_path_factory.mktemp("aligned") / "file"
    data = os.urandom(8192)
    path.write_bytes(data)
    fd = os.open(path, os.O_RDONLY)
    try:
        assert FileSource("file", fd, 8192, True, block).read(offset, length) == data[offset : offset + length]
    finally:
        os.close(fd)


def test_reads_larger_than_a_chunk(path):
    data = os.urandom(3 * source.CHUNK_BYTES + 17)
    path.write_bytes(data)
    with source.opened(str(path)) as log:
        assert log.read(5, len(data)) == data[5:]


# standard input


@pytest.fixture
def stdin():
    """Put something at descriptor 0, and the old thing back."""
    kept = os.dup(0)

    def put(fd):
        os.dup2(fd, 0)
        os.close(fd)

    yield put
    os.dup2(kept, 0)
    os.close(kept)


def test_standard_input_from_a_file(path, stdin):
    path.write_bytes(images.kernel())
    stdin(os.open(path, os.O_RDONLY))
    with source.opened("-") as log:
        assert load(log).region_count == 1000
        assert log.name == "standard input"


def test_a_large_file_on_standard_input_is_not_read_over(path, stdin, monkeypatch):
    path.write_bytes(images.diskulog(size=65536, sync_offset_bytes=2**39, state=State.OPEN))
    with path.open("r+b") as sparse:
        sparse.truncate(2**40)
        sparse.seek(2**39)
        sparse.write(b"\xff" * 125)
    read, real = [], os.read
    monkeypatch.setattr(os, "read", lambda fd, length: read.append(length) or real(fd, length))
    stdin(os.open(path, os.O_RDONLY))
    with source.opened("-") as log:
        found = load(log)
    assert found.sync.read(0, 125) == b"\xff" * 125
    assert sum(read) < 65536


@pytest.mark.parametrize("offset", [2**20, 2**39, 2**63 - 4096, 2**64 - 4096])
def test_a_place_that_a_file_on_standard_input_does_not_have(path, stdin, offset):
    path.write_bytes(images.diskulog(size=65536, sync_offset_bytes=offset))
    stdin(os.open(path, os.O_RDONLY))
    with pytest.raises(BadLogError, match="the sync bitmap of 1000 regions ends at"), source.opened("-") as log:
        load(log)


def test_a_file_on_standard_input_begins_where_the_shell_left_it(path, stdin):
    path.write_bytes(b"x" * 777 + images.diskulog(1000, dirty=[3], out_of_sync=[3]))
    fd = os.open(path, os.O_RDONLY)
    os.lseek(fd, 777, os.SEEK_SET)
    stdin(fd)
    with source.opened("-") as log:
        found = load(log)
    assert found.clean.read(0, 1) == found.sync.read(0, 1) == b"\xf7"


def test_standard_input_that_is_a_directory(tmp_path, stdin):
    stdin(os.open(tmp_path, os.O_RDONLY))
    with pytest.raises(UsageError, match="is a directory"), source.opened("-"):
        pass


def test_standard_input_that_is_closed(monkeypatch):
    real = os.fstat

    def closed(fd):
        if fd:
            return real(fd)
        raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr(os, "fstat", closed)
    with pytest.raises(UsageError, match="is closed"), source.opened("-"):
        pass


# block devices


@pytest.mark.loop
def test_a_block_device_is_read_past_the_cache(loop_device):
    device = loop_device(images.kernel(1000, dirty=[3]))
    with source.opened(device) as log:
        assert log.is_block
        assert log.size_bytes == images.DEVICE_BYTES
        found = load(log)
        assert isinstance(log, FileSource)
        assert fcntl.fcntl(log.fd, fcntl.F_GETFL) & os.O_DIRECT
    assert found.clean.read(0, 1)[0] == 0b11110111


@pytest.mark.loop
def test_a_block_device_with_large_blocks(loop_device):
    device = loop_device(images.diskulog(1000, dirty=[3]), block_bytes=4096)
    with source.opened(device) as log:
        found = load(log)
        assert isinstance(log, FileSource)
        assert log.block_bytes == 4096
    assert found.clean.read(0, 1)[0] == 0b11110111
    assert found.sync is not None


@pytest.mark.loop
def test_standard_input_from_a_block_device(loop_device, stdin):
    stdin(os.open(loop_device(images.kernel()), os.O_RDONLY))
    with source.opened("-") as log:
        assert log.is_block
        assert load(log).region_count == 1000


@pytest.mark.loop
def test_a_block_device_whose_size_cannot_be_read(loop_device, monkeypatch):
    def fail(*_):
        raise OSError(5, "Input/output error")

    device = loop_device(images.kernel())
    monkeypatch.setattr(fcntl, "ioctl", fail)
    with pytest.raises(DeviceError, match="cannot read the size"), source.opened(device):
        pass
