# SPDX-License-Identifier: LGPL-2.1-or-later
from contextlib import contextmanager

import pytest

from diskulog.clears import ClearPolicy
from diskulog.errors import DeviceError, RefusedError
from diskulog.replay import run as module
from diskulog.replay.beginning import Beginning, beginning, survey
from diskulog.replay.medium import head_of
from diskulog.replay.player import Player, Step
from diskulog.replay.run import NewImage, Replay
from diskulog.trace import reader
from diskulog.trace.record import End, Heard, Lost
from diskulog.units import MIB
from tests import images
from tests.fake_kernel import CLEAR, FLUSH, IN_SYNC
from tests.traces import BOOT, HEADER, LUID, heard, of_a_kernel, write

UUID = images.UUID.encode()


@pytest.fixture
def replay(opened, tmp_path):
    @contextmanager
    def call(records, content=bytes(MIB), uuid=UUID, limit=None):
        medium = opened(bytes(content))
        path = write(tmp_path / "t", records)
        with reader.opened(str(path)) as trace, Player(medium, HEADER, ClearPolicy(), False) as player:
            first = beginning(survey(trace)[uuid], head_of(medium), BOOT)
            yield Replay(trace, player, uuid, first, limit), medium

    return call


@pytest.mark.parametrize("kernel", ["6.12", "6.1"])
@pytest.mark.parametrize("uuid", [b"UUID-plain", b"UUID-integrated"])
def test_lives_that_real_kernels_led_end_closed_and_in_sync(replay, kernel, uuid):
    records = of_a_kernel(kernel)
    with replay(records, uuid=uuid) as (playing, _):
        steps = [event for event in playing.events() if event.request]
        found = playing.result()
    assert len(steps) == found.requests == len([r for r in records if isinstance(r, Heard) and uuid in r.datagram])
    assert (found.lost, found.live, found.failed, found.held_clears) == (0, False, False, 0)
    assert all(len(step.answers) == 1 for step in steps)
    assert found.log.state == "closed"
    assert (found.log.clean_count, found.log.in_sync_count) == (4, 4)


def test_a_trace_from_the_middle_says_how_it_was_begun(replay):
    with replay([heard(FLUSH, bytes(8))], images.diskulog(100)) as (playing, _):
        first, step = playing.events()
    assert first.said[0].startswith("the trace begins in the middle of this log's life (no CTR): it starts resumed")
    assert "(102376 disk 0:0 1024)" in first.said[0]
    assert (first.request, first.answers) == (None, ())
    assert step.request == heard(FLUSH, bytes(8)).datagram


def test_tables_that_were_loaded_before_are_told_too():
    assert list(module._explain(Beginning(None, (1, 2), b"8 disk 0:0 2"))) == [
        "2 tables were loaded before the trace: constructed as the image says (8 disk 0:0 2), not resumed"
    ]


def test_other_logs_and_what_is_no_request_are_passed_over(replay):
    records = [heard(FLUSH), heard(FLUSH, uuid=b"other"), Heard(1.0, b"nothing"), heard(FLUSH)]
    with replay(records, images.diskulog(100)) as (playing, _):
        assert len(list(playing.events())) == 3
        assert playing.requests == 2


def test_it_stops_after_so_many_requests(replay):
    with replay([heard(FLUSH)] * 9, images.diskulog(100), limit=4) as (playing, _):
        list(playing.events())
        assert playing.result().requests == 4


def test_losses_are_events_and_counted(replay):
    records = [heard(FLUSH), Lost(1.0, 5), Lost(1.0, None), heard(FLUSH)]
    with replay(records, images.diskulog(100)) as (playing, _):
        assert [type(event) for event in playing.events()] == [Step, Step, Lost, Lost, Step]
        assert playing.result().lost == 5


def test_time_passes_until_the_end_of_the_trace(replay):
    records = [heard(FLUSH, bytes(8)), heard(CLEAR, bytes(8), at=2.0)]
    with replay(records, images.diskulog(100)) as (playing, _):
        list(playing.events())
        found = playing.result()
        assert (found.held_clears, found.live, found.log.dirty_count) == (1, True, 1)
    with replay([*records, End(60.0, 2, 0)], images.diskulog(100)) as (playing, _):
        list(playing.events())
        found = playing.result()
        assert (found.held_clears, found.log.dirty_count) == (0, 0)


def test_an_image_that_is_no_log_still_says_so(replay):
    with replay([heard(1, b"1024 core 2"), heard(IN_SYNC, bytes(8))]) as (playing, _):
        list(playing.events())
        found = playing.result()
    assert found.log is None
    assert "is blank" in found.nothing


class TestNewImage:
    def test_it_holds_what_a_reader_of_the_device_would_find(self, replay, tmp_path):
        with replay([heard(FLUSH, bytes(8))], images.diskulog(100)) as (playing, medium):
            list(playing.events())
            with NewImage(tmp_path / "new") as new:
                new.fill(medium)
        made, old = (tmp_path / "new").read_bytes(), bytes(images.diskulog(100))
        assert len(made) == len(old)
        assert (made[1024], old[1024]) == (0xFE, 0xFF)
        assert made[1025:] == old[1025:]
        assert LUID.to_bytes(8, "little") not in made

    def test_zeros_stay_holes(self, opened, tmp_path):
        with NewImage(tmp_path / "new") as new:
            new.fill(opened(bytes(3 * MIB) + b"x"))
        assert (tmp_path / "new").read_bytes() == bytes(3 * MIB) + b"x"
        assert (tmp_path / "new").stat().st_blocks * 512 < MIB

    def test_a_file_that_is_there_is_left_alone(self, tmp_path):
        (tmp_path / "mine").write_text("mine")
        with pytest.raises(RefusedError, match="exists; name a new file"):
            NewImage(tmp_path / "mine")
        assert (tmp_path / "mine").read_text() == "mine"

    @pytest.mark.parametrize("name", ["no/where", "a\0b"])
    def test_a_name_that_cannot_be_is_said(self, tmp_path, name):
        with pytest.raises(DeviceError, match="cannot make"):
            NewImage(tmp_path / name)

    def test_a_full_disk_is_said(self, opened, tmp_path, monkeypatch):
        def fails(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(module.os, "pwrite", fails)
        with NewImage(tmp_path / "new") as new, pytest.raises(DeviceError, match=r"cannot write .*: No space"):
            new.fill(opened(b"x" * 1024))
