# SPDX-License-Identifier: LGPL-2.1-or-later
import logging
import struct

import pytest
from bitarray import bitarray
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diskulog import ondisk
from diskulog.clears import ClearPolicy
from diskulog.replay.beginning import Beginning
from diskulog.replay.bits import Change, on_medium
from diskulog.replay.player import Player
from diskulog.replay.show import answer
from diskulog.trace.record import Heard
from tests import images
from tests.fake_host import REGIONS, UUID, Rig
from tests.fake_kernel import (
    CLEAR,
    CTR,
    DTR,
    FLUSH,
    GET_RESYNC_WORK,
    GET_SYNC_COUNT,
    IN_SYNC,
    MARK,
    POSTSUSPEND,
    PRESUSPEND,
    RESUME,
    SET_REGION_SYNC,
    STATUS_INFO,
)
from tests.traces import BOOT, HEADER, LUID, Recorder, heard

POLICY = ClearPolicy(hold_seconds=5.0, max_held=64, leg_flush_timeout_seconds=10.0)
STRING = b"102376 disk 7:2 1024"
MIDDLE = Beginning(LUID, (), b"102376 disk 0:0 1024")


def region(*numbers):
    return struct.pack(f"={len(numbers)}Q", *numbers)


@pytest.fixture
def play(opened):
    """Begin to play on an image; what is returned plays one request and gives the steps."""
    players = []

    def call(content=None, first=None, policy=POLICY):
        player = Player(opened(bytes(content) if content is not None else bytes(1 << 20)), HEADER, policy, False)
        player.__enter__()
        players.append(player)
        begun = player.begin(first, images.UUID.encode()) if first else None

        def ask(kind, data=b"", at=None, **more):
            record = heard(kind, data, **more)
            return list(player.step(player.now if at is None else at, record.datagram))

        return player, ask, begun

    yield call
    for player in players:
        player.__exit__()


def words(steps):
    assert len(steps[-1].answers) == 1
    return answer(steps[-1].answers[0]).words


def test_a_life_from_a_blank_device_on(play):
    player, ask, _ = play()
    (step,) = ask(CTR, STRING)
    assert answer(step.answers[0]).payload == b"7:2\0"
    assert (step.mapping, step.medium, step.msyncs) == ((), (), 0)
    assert step.said == ("log LVM-s0me-m1rror: constructed, disk on 7:2, 100 regions of 1024 sectors",)
    assert words(ask(GET_SYNC_COUNT)) == "0"
    (step,) = ask(RESUME)
    assert step.msyncs > 1
    assert step.said == ("log LVM-s0me-m1rror: live, 0 of 100 regions in sync",)
    assert words(ask(GET_RESYNC_WORK)) == "region 0"
    (step,) = ask(SET_REGION_SYNC, region(0, 1))
    assert (step.mapping, step.medium, step.msyncs) == ((Change("sync", ((0, 0),), ()),), (), 0)
    (step,) = ask(CLEAR, region(0))
    assert step.mapping == ()
    rounds = list(player.wait(20.0))
    assert [step.request for step in rounds] == [None]
    assert rounds[0].at_seconds == pytest.approx(5.0, abs=0.2)
    assert rounds[0].mapping == (Change("clean", ((0, 0),), ()),)
    assert rounds[0].medium == (Change("clean", ((0, 0),), ()), Change("sync", ((0, 0),), ()))
    (step,) = ask(MARK, region(0), at=30.0)
    assert (step.mapping, step.medium) == ((Change("clean", (), ((0, 0),)),), ())
    (step,) = ask(FLUSH)
    assert (step.mapping, step.medium, step.msyncs) == ((), (Change("clean", (), ((0, 0),)),), 1)
    assert words(ask(STATUS_INFO)) == "'3 disk 7:2 A'"
    assert player.log().live
    ask(PRESUSPEND)
    ask(POSTSUSPEND)
    ask(DTR)
    assert player.log() is None
    found = ondisk.unpack_extension(player.medium.read(0, 1024))
    assert (found.boot_id, found.host_name, found.closed_seconds) == (BOOT, "anvil", int(HEADER.start_seconds) + 30)
    assert found.live_token == ondisk.live_token(BOOT, LUID)


def test_a_log_in_the_middle_of_its_life_is_live_with_the_images_bits(play):
    player, ask, begun = play(images.diskulog(100, dirty=[5, 6], out_of_sync=[6]), MIDDLE)
    assert begun.said == (
        "log LVM-s0me-m1rror: met again after a restart",
        "log LVM-s0me-m1rror: reconnected, 99 of 100 regions in sync",
    )
    assert (begun.mapping, begun.medium, begun.answers) == ((), (), ())
    assert [words(ask(IN_SYNC, region(number))) for number in (4, 5, 6, 100)] == ["1", "1", "0", "0"]
    (step,) = ask(FLUSH, region(5, 7))
    assert step.mapping == step.medium == (Change("clean", (), ((7, 7),)),)
    (step,) = ask(RESUME)  # dm's own
    assert (step.mapping, step.medium) == ((), ())
    assert player.log().live


def test_a_table_loaded_before_the_trace_believes_what_is_clean_and_in_sync(play):
    image = images.diskulog(100, dirty=[5, 6], out_of_sync=[7], state=ondisk.State.OPEN)
    _, ask, begun = play(image, Beginning(None, (LUID,), MIDDLE.string))
    assert "constructed" in begun.said[0]
    (step,) = ask(RESUME)
    assert step.said[-1] == "log LVM-s0me-m1rror: live, 97 of 100 regions in sync"
    assert step.mapping == (Change("clean", (), ((7, 7),)), Change("sync", (), ((5, 6),)))


def test_both_tables_of_a_reload_begun_before_the_trace(play):
    player, ask, _ = play(images.diskulog(100, dirty=[5]), Beginning(LUID, (LUID + 1,), MIDDLE.string))
    ask(PRESUSPEND)
    ask(POSTSUSPEND)
    assert words(ask(RESUME, luid=LUID + 1)) == "0"
    ask(DTR)
    assert words(ask(IN_SYNC, region(5), luid=LUID + 1)) == "0"
    assert player.log().live


def test_a_refusal_is_the_servers_own(play):
    _, ask, _ = play(images.diskulog(100))
    (step,) = ask(CTR, b"102376 disk 7:2 2048")
    assert words([step]) == "EINVAL"
    assert "region size: the log was kept with 1024 sectors" in step.said[0]
    assert words(ask(CTR, b"102376 core 1024")) == "EINVAL"
    assert words(ask(CTR, b"102376 clustered-disk 7:2 1024")) == "EINVAL"
    assert words(ask(CTR, b"102376 disk no-number 1024")) == "'0:0'"


def test_what_cannot_be_read_is_refused_as_the_server_does(play):
    player, _, _ = play()
    (step,) = player.step(1.0, heard(FLUSH).datagram[:100])
    assert words([step]) == "refused, EINVAL"
    (step,) = player.step(1.0, b"nothing")
    assert step.answers == ()


def test_after_a_loss_a_suspended_log_may_run(play):
    player, ask, _ = play(images.diskulog(100, dirty=[5]), MIDDLE)
    ask(PRESUSPEND)
    ask(POSTSUSPEND)
    (step,) = ask(FLUSH, region(7))  # a straggler
    assert (step.mapping, step.medium) == ((), ())
    player.lose()
    (step,) = ask(FLUSH, region(8))
    assert "its RESUME was lost" in step.said[0]
    assert step.medium == (Change("clean", (), ((7, 8),)),)


def test_a_suspend_after_a_loss_was_heard(play):
    player, ask, _ = play(images.diskulog(100), MIDDLE)
    player.lose()
    ask(PRESUSPEND)
    ask(POSTSUSPEND)
    (step,) = ask(FLUSH, region(7))
    assert (step.mapping, step.medium) == ((), ())


def test_time_never_goes_back(play):
    player, ask, _ = play(images.diskulog(100), MIDDLE)
    ask(FLUSH, at=9.0)
    ask(FLUSH, at=3.0)
    assert player.now == 9.0


def test_the_log_of_the_daemons_code_is_heard_only_while_it_plays(opened, caplog):
    logger = logging.getLogger("diskulog")
    level, handlers = logger.level, list(logger.handlers)
    with Player(opened(), HEADER, POLICY, False) as player:
        assert len(logger.handlers) == len(handlers) + 1
        try:
            raise ValueError("no")
        except ValueError:
            logger.exception("bug: something")
        (step,) = player.step(0.0, heard(FLUSH).datagram)
        assert step.said == ("bug: something: ValueError('no')",)
    assert (logger.level, logger.handlers) == (level, handlers)


# -- against the host in memory ----------------------------------------------------------------------------------------

ACTIONS = st.one_of(
    st.tuples(st.just("write"), st.integers(0, REGIONS - 1)),
    st.tuples(st.just("idle"), st.integers(0, REGIONS - 1)),
    st.tuples(st.just("recover"), st.booleans()),
    st.tuples(st.just("wait"), st.sampled_from([0.3, 1.0, 3.0, 8.0])),
    st.tuples(st.just("suspend"), st.none()),
    st.tuples(st.just("reload"), st.none()),
)


def act(rig, log, name, value):
    if name == "write":
        if log.in_sync(value).value:
            log.written(value)
    elif name == "idle":
        log.clear(value)
        log.flush()
    elif name == "recover":
        there, number = log.get_resync_work().value
        if there:
            log.set_region_sync(number, int(value))
            log.clear(number)
            log.flush()
    elif name == "suspend":
        log.presuspend()
        log.postsuspend()
        log.resume()
    elif name == "reload":
        new = rig.kernel.log(UUID, log.string)
        assert new.ctr().value == 0
        log.presuspend()
        log.postsuspend()
        assert new.resume().value == 0
        log.dtr()
        return new
    return log


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=60)
@given(st.lists(ACTIONS, max_size=25))
def test_what_a_host_did_comes_out_the_same(opened, actions):
    rig = Rig(POLICY)
    try:
        recorder = Recorder(rig)
        log = rig.table()
        for name, value in actions:
            if name == "wait":
                recorder.pass_time(value)
            log = act(rig, log, name, value)
        records = recorder.records
        with Player(opened(), HEADER, POLICY, False) as player:
            answers = []
            for record in records:
                if isinstance(record, Heard):
                    steps = list(player.step(record.at_seconds, record.datagram))
                    answers += [answer(one) for step in steps for one in step.answers]
                else:
                    list(player.wait(record.at_seconds))
            told = [(-one.error, one.data) for one in rig.kernel.answers if one.type != CTR and one.type != STATUS_INFO]
            asked = [type_of(record) for record in records if isinstance(record, Heard)]
            mine = [(one.error, one.payload) for one, kind in zip(answers, asked, strict=True) if kind != CTR]
            assert mine == told
            live = player.log()
            assert live.store.clean[:REGIONS] == rig.disk.cached_clean[:REGIONS]
            assert live.store.in_sync[:REGIONS] == rig.disk.cached_sync[:REGIONS]
            assert on_medium(player.medium).clean == bitarray(rig.disk.clean[:REGIONS])
    finally:
        rig.close()


def type_of(record):
    return record.datagram[36 + 152]
