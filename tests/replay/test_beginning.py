# SPDX-License-Identifier: LGPL-2.1-or-later
import pytest

from diskulog import ondisk
from diskulog.errors import BadLogError
from diskulog.exits import UsageError
from diskulog.ondisk import State
from diskulog.replay import beginning as module
from diskulog.replay.beginning import Beginning, Log, beginning, choose, opened_by, survey
from diskulog.trace import reader
from diskulog.trace.record import Heard, Lost
from tests import images
from tests.fake_kernel import CTR, DTR, FLUSH, GET_REGION_SIZE, IN_SYNC, PRESUSPEND, RESUME
from tests.traces import BOOT, LUID, heard, write

STRING = b"102376 disk 0:0 1024"
HEAD = bytes(images.diskulog(100, state=State.CLOSED))[:1024]


def surveyed(tmp_path, *records):
    with reader.opened(str(write(tmp_path / "t", records))) as trace:
        return survey(trace)


def test_each_log_is_found_with_the_first_request_of_each_luid(tmp_path):
    logs = surveyed(
        tmp_path,
        heard(CTR, b"1024 core 2", uuid=b"a", luid=1),
        heard(IN_SYNC, bytes(8), uuid=b"a", luid=1),
        Lost(1.0, 2),
        heard(CTR, b"1024 core 2\0", uuid=b"a", luid=2),
        Heard(1.0, b"no request"),
        heard(FLUSH, uuid=b"b", luid=1),
    )
    assert logs == {b"a": Log(3, {1: -1, 2: CTR}), b"b": Log(1, {1: FLUSH})}


def test_more_than_any_host_has_is_damage(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_LOGS", 3)
    monkeypatch.setattr(module, "MAX_LUIDS", 3)
    many = [heard(FLUSH, uuid=bytes([65 + n]), luid=n) for n in range(4)]
    assert len(surveyed(tmp_path, *many[:3])) == 3
    with pytest.raises(BadLogError, match="more logs or tables than a host has"):
        surveyed(tmp_path, *many)
    with pytest.raises(BadLogError, match="more logs or tables than a host has"):
        surveyed(tmp_path, *(heard(FLUSH, luid=n) for n in range(4)))


class TestChoosing:
    logs = {images.UUID.encode(): Log(1), b"b\x1b": Log(1)}

    def test_the_one_asked_for(self):
        assert choose(self.logs, "b\x1b", HEAD) == b"b\x1b"
        with pytest.raises(UsageError, match=r"the trace has no log 'c'; it has LVM-s0me-m1rror, b\\x1b$"):
            choose(self.logs, "c", HEAD)

    def test_else_the_images_own(self):
        assert choose(self.logs, None, HEAD) == images.UUID.encode()

    def test_else_the_only_one(self):
        assert choose({b"x": Log(1)}, None, HEAD) == b"x"
        assert choose({b"x": Log(1)}, None, bytes(1024)) == b"x"

    def test_else_it_must_be_said(self):
        with pytest.raises(UsageError, match=r"it has .*; choose one with --uuid"):
            choose(self.logs, None, bytes(1024))
        with pytest.raises(UsageError, match="the trace has no requests"):
            choose({}, None, bytes(1024))
        with pytest.raises(UsageError, match=" and 12 more; choose"):
            choose({bytes([65 + n]): Log(1) for n in range(20)}, None, bytes(1024))


class TestBeginning:
    def test_a_life_from_its_ctr_on_needs_nothing(self):
        found = beginning(Log(5, {1: -1, 2: -1, 3: DTR}), bytes(1024), BOOT)
        assert found == Beginning(None, (), b"")
        assert not found.in_the_middle

    def test_a_log_that_is_asked_about_regions_was_live(self):
        found = beginning(Log(5, {1: IN_SYNC, 2: -1}), HEAD, BOOT)
        assert found == Beginning(1, (), STRING)
        assert found.in_the_middle

    @pytest.mark.parametrize("first", [RESUME, GET_REGION_SIZE])
    def test_a_table_that_is_first_resumed_was_loaded(self, first):
        assert beginning(Log(5, {1: first}), HEAD, BOOT) == Beginning(None, (1,), STRING)
        assert beginning(Log(5, {2: first, 1: PRESUSPEND}), HEAD, BOOT) == Beginning(1, (2,), STRING)

    def test_the_one_that_the_image_names_was_live(self):
        head = bytes(images.diskulog(100, live_token=ondisk.live_token(BOOT, 2)))[:1024]
        assert beginning(Log(5, {1: IN_SYNC, 2: RESUME}), head, BOOT) == Beginning(2, (1,), STRING)

    def test_a_reconnection_constructs_its_log_itself(self):
        assert beginning(Log(5, {1: CTR}), HEAD, BOOT) == Beginning(1, (), STRING)
        assert beginning(Log(5, {1: IN_SYNC, 2: CTR}), HEAD, BOOT) == Beginning(1, (), STRING)

    def test_a_length_that_is_not_known_is_that_of_the_regions(self):
        head = bytes(images.diskulog(100, target_length_sectors=0))[:1024]
        assert beginning(Log(5, {1: FLUSH}), head, BOOT).string == b"102400 disk 0:0 1024"

    @pytest.mark.parametrize(
        "image",
        [
            bytes(2048),
            images.kernel(100),
            images.damaged(),
            images.diskulog(100, version=9),
            images.diskulog(100, region_size_sectors=0),
        ],
        ids=["blank", "kernel", "damaged", "version", "adopted"],
    )
    def test_an_image_that_does_not_say_is_refused(self, image):
        with pytest.raises(BadLogError, match="begins in the middle of the log's life"):
            beginning(Log(5, {LUID: FLUSH}), bytes(image)[:1024], BOOT)


def test_the_extension_is_that_of_the_luid_that_has_it_open():
    old = ondisk.unpack_extension(HEAD)
    new = ondisk.unpack_extension(bytes(512) + opened_by(HEAD, BOOT, 77))
    assert (new.state, new.live_token, new.boot_id) == (State.OPEN, ondisk.live_token(BOOT, 77), BOOT)
    assert (new.uuid, new.generation, new.region_count) == (old.uuid, old.generation, old.region_count)
