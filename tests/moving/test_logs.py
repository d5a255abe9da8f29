# SPDX-License-Identifier: LGPL-2.1-or-later
"""The log devices of a move as files: what is read, what is written, what is not touched."""

from dataclasses import replace

import pytest

from diskulog import ondisk
from diskulog.errors import RefusedError
from diskulog.exits import UsageError
from diskulog.forensic import belief, image, source, writing
from diskulog.forensic.belief import Belief
from diskulog.mirrortable import LegName
from diskulog.moving import logs, medium
from diskulog.moving.table import Kind, Log, Table
from diskulog.ondisk import Dialect, State
from tests.logs import COUNT, REGION_SECTORS, SIZE, UUID, diskulog_log, extension, kernel_log, ones

LENGTH = COUNT * REGION_SECTORS - 1
K = Table(LENGTH, Log(Kind.KERNEL, "7:0", "7:0", REGION_SECTORS), (LegName("7:1"), LegName("7:2")), ("handle_errors",))
D = replace(K, log=replace(K.log, kind=Kind.DISKULOG, uuid=UUID.decode()))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log"


def loaded(path):
    with source.opened(str(path)) as found:
        return image.load(found)


class Stopped(BaseException):
    pass


@pytest.mark.parametrize("table", [K, D])
@pytest.mark.parametrize("before", [set(), {1, 2}, set(range(COUNT))], ids=["all clean", "some dirty", "all dirty"])
@pytest.mark.parametrize("dirty", [set(), {2, 3}, set(range(COUNT))], ids=["all clean", "some dirty", "all dirty"])
def test_a_log_is_sound_at_every_stop_of_a_copy(path, monkeypatch, table, before, dirty):
    wanted, at = ones(COUNT, dirty), 0
    while True:
        path.write_bytes(diskulog_log(COUNT, before, before) if table is D else kernel_log(COUNT, before))
        left = [at]

        def write(*words, do=writing._write, left=left, **more):
            if not left[0]:
                raise Stopped
            left[0] -= 1
            do(*words, **more)

        with monkeypatch.context() as patch:
            patch.setattr(writing, "_write", write)
            try:
                logs.store("m", str(path), table, wanted)
                break
            except Stopped:
                pass
        found = loaded(path)
        assert belief.judge(found) in (Belief.CLOSED, Belief.OPEN, Belief.KERNEL)
        clean = belief.clean_regions(found).bits(0, COUNT)
        assert not (clean & ~wanted & ~ones(COUNT, before)).any()
        at += 1
    assert logs.clean_regions("m", str(path), table) == wanted
    assert belief.judge(loaded(path)) is (Belief.CLOSED if table is D else Belief.KERNEL)
    assert at == (4 if table is D else 1)


def test_a_prepared_log_is_all_dirty_and_its_mirrors(path):
    for table in (K, D):
        path.write_bytes(bytes(SIZE))
        logs.prepare(str(path), table)
        assert logs.clean_regions("m", str(path), table).count() == 0
        found = logs.look(str(path))
        assert found.nothing_clean is (table is K)
        assert (found.extension.target_length_sectors if found.extension else LENGTH) == LENGTH


def test_look(path):
    path.write_bytes(kernel_log(COUNT, {3}))
    found = logs.look(str(path))
    assert (found.dialect, found.extension, found.nothing_clean, found.stopped) == (Dialect.KERNEL, None, False, False)
    path.write_bytes(diskulog_log(COUNT))
    assert logs.look(str(path)).extension.uuid == UUID.decode()
    path.write_bytes(ondisk.STOPPED.ljust(SIZE, b"\0"))
    assert logs.look(str(path)).stopped
    path.write_bytes(bytes(SIZE))
    assert logs.look(str(path)).what is None
    path.write_bytes(diskulog_log(COUNT, incompatible=4))
    assert "bits 0x4" in logs.look(str(path)).unknown


STRANGE = {
    "another uuid": (diskulog_log(COUNT, uuid="else"), "belongs to 'else', not to"),
    "another region size": (diskulog_log(COUNT, region_size_sectors=16), "has regions of 16 sectors, not 8"),
    "another count": (diskulog_log(COUNT - 1), "has 99 regions, not 100"),
    "the kernel's": (kernel_log(COUNT), "does not look like diskulog's"),
    "of a later diskulog": (diskulog_log(COUNT, incompatible=4), "does not look like diskulog's"),
}


@pytest.mark.parametrize(("content", "reason"), STRANGE.values(), ids=STRANGE)
def test_a_log_that_is_another_is_neither_read_nor_written(path, content, reason):
    path.write_bytes(content)
    calls = [
        lambda: logs.clean_regions("m", str(path), D),
        lambda: logs.store("m", str(path), D, ones(COUNT)),
        lambda: logs.release("m", str(path), D, K),
        lambda: logs.retirement("m", str(path), D),
    ]
    for call in calls:
        with pytest.raises(RefusedError, match=reason):
            call()
    assert path.read_bytes() == content


@pytest.mark.parametrize("content", [bytes(SIZE), kernel_log(COUNT, nr_regions=7)], ids=["blank", "another count"])
def test_a_log_that_is_not_the_kernels_is_neither_read_nor_written(path, content):
    path.write_bytes(content)
    calls = [
        lambda: logs.clean_regions("m", str(path), K),
        lambda: logs.store("m", str(path), K, ones(COUNT)),
        lambda: logs.retirement("m", str(path), K),
    ]
    for call in calls:
        with pytest.raises(RefusedError, match="is not the log that it was"):
            call()
    assert path.read_bytes() == content


def test_a_closed_log_that_calls_clean_what_is_out_of_sync_is_not_believed(path):
    path.write_bytes(diskulog_log(COUNT, {1}, {1, 2}))
    with pytest.raises(RefusedError, match="clean that are out of sync"):
        logs.clean_regions("m", str(path), D)


def test_an_open_log_is_not_believed_and_a_released_one_by_its_clean_bitmap(path):
    path.write_bytes(diskulog_log(COUNT, {1}, state=State.OPEN))
    with pytest.raises(RefusedError, match="was not closed"):
        logs.clean_regions("m", str(path), D)
    path.write_bytes(diskulog_log(COUNT, {1}, {5}, state=State.RELEASED))
    assert logs.clean_regions("m", str(path), D) == ones(COUNT, {1})


def test_release_keeps_all_but_the_extension(path):
    before = diskulog_log(COUNT, {1})
    path.write_bytes(before)
    logs.release("m", str(path), D, K)
    after = path.read_bytes()
    assert (after[:512], after[1024:]) == (before[:512], before[1024:])
    made, old = ondisk.unpack_extension(after[:1024]), ondisk.unpack_extension(bytes(before[:1024]))
    assert (made.state, made.uuid, made.boot_id, made.live_token) == (State.RELEASED, old.uuid, bytes(16), bytes(8))
    assert (made.sync_offset_bytes, made.generation) == (old.sync_offset_bytes, old.generation + 1)


def test_a_sync_bitmap_that_cannot_be_there_is_placed_anew():
    lost = replace(extension(COUNT), sync_offset_bytes=SIZE * 2)
    made = medium.released(medium.Medium("log", SIZE, 512, Dialect.DISKULOG, lost), D)
    assert ondisk.fits(ondisk.Geometry(COUNT, made.sync_offset_bytes, made.sync_capacity_bytes), SIZE)


@pytest.mark.parametrize(("table", "content"), [(D, diskulog_log(COUNT, {1})), (K, kernel_log(COUNT, {1}))])
def test_retirement_and_back(path, table, content):
    path.write_bytes(content)
    wanted = logs.retirement("m", str(path), table)
    assert path.read_bytes() == content
    logs.retire(wanted)
    found = logs.look(str(path))
    assert medium.is_retired(found, table)
    assert sum(a != b for a, b in zip(path.read_bytes(), content, strict=True)) <= 512
    logs.retire(wanted, undo=True)
    assert path.read_bytes() == content
    assert not medium.is_retired(logs.look(str(path)), table)


def test_the_uuid_of_a_retired_log_fits():
    assert medium.retired_uuid("u") == "u-replaced"
    assert len(medium.retired_uuid("u" * 128)) == 128


def test_devices_and_their_numbers(tmp_path):
    assert logs.number_of("253:2") == "253:2"
    assert logs.number_of("/dev/none/such") == "/dev/none/such"
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is not a block device"):
        logs.number_of(str(tmp_path / "file"))
    with pytest.raises(UsageError, match="there is no block device 4095:1"):
        logs.node("4095:1")


def test_a_file_that_is_locked_is_not_free(path):
    path.write_bytes(bytes(SIZE))
    with writing.opened(str(path), write=True), pytest.raises(RefusedError, match="in use"):
        logs.check_free(str(path))
    logs.check_free(str(path))
