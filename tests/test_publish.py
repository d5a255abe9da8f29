# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the board says of logs on the way through their lives, and which events it tells."""

import struct

import pytest

from diskulog import figures
from diskulog.board import MAX_LOGS, Board, Names
from diskulog.publish import KINDS
from diskulog.wire import RequestType
from tests import fake_kernel as kernel
from tests.fake_host import EPOCH_SECONDS, REGIONS, UUID, ctr_string


def shown(rig) -> dict[int, memoryview]:
    return {names.luid: words for names, words in Board(rig.board_memory).logs()}


def told(rig) -> list[str]:
    return [KINDS[event.kind] for event in Board(rig.board_memory).events(1)[0]]


def look(rig) -> None:
    rig.publisher.look(rig.world.entries)


@pytest.fixture
def live(rig):
    rig.disk.format(dirty=[5])
    return rig.table()


def test_a_log_is_shown_from_its_constructor_on(rig):
    log = rig.table(resume=False)
    ((names, words),) = Board(rig.board_memory).logs()
    assert names == Names(log.luid, UUID, "253:2", "disk")
    assert (words[figures.STATE], words[figures.HAS_BITS]) == (figures.INACTIVE, 0)
    assert (words[figures.REGION_SIZE], words[figures.REGION_COUNT]) == (1024, REGIONS)
    assert (words[figures.TARGET_LENGTH], words[figures.IS_CORE]) == (REGIONS * 1024 - 24, 0)
    assert told(rig) == ["created"]


def test_a_live_log_shows_its_bits(rig, live):
    words = shown(rig)[live.luid]
    assert (words[figures.STATE], words[figures.HAS_BITS], words[figures.FAILED]) == (figures.LIVE, 1, 0)
    assert (words[figures.CLEAN], words[figures.IN_SYNC]) == (REGIONS - 1, REGIONS - 1)
    assert told(rig) == ["created", "resumed", "resync_started"]


def test_the_count_of_clean_regions_is_that_of_the_bitmap(rig, live):
    live.written(1, 2, 5)
    log = rig.entry(live).log
    assert log.clean_count == log.store.clean.count(1, 0, REGIONS) == REGIONS - 3
    live.clear(1, 2)
    live.flush()
    look(rig)
    assert (shown(rig)[live.luid][figures.CLEAN], shown(rig)[live.luid][figures.HELD]) == (REGIONS - 3, 2)
    rig.tick(60.0)
    look(rig)
    assert log.clean_count == log.store.clean.count(1, 0, REGIONS) == REGIONS - 1
    assert (shown(rig)[live.luid][figures.CLEAN], shown(rig)[live.luid][figures.HELD]) == (REGIONS - 1, 0)
    live.set_region_sync(3, 0)
    assert log.clean_count == log.store.clean.count(1, 0, REGIONS) == REGIONS - 2


def test_a_resync_is_told_from_its_start_to_its_end(rig, live):
    words = shown(rig)[live.luid]
    assert (words[figures.RESYNC_STARTED_US], words[figures.RESYNC_STARTED_COUNT]) == (
        int((EPOCH_SECONDS + rig.now) * 1e6),
        REGIONS - 1,
    )
    assert live.get_resync_work().value == (1, 5)
    look(rig)
    assert shown(rig)[live.luid][figures.RECOVERING] == 6
    live.set_region_sync(5, 1)
    look(rig)
    words = shown(rig)[live.luid]
    assert (words[figures.RECOVERING], words[figures.IN_SYNC], words[figures.RESYNC_STARTED_US]) == (0, REGIONS, 0)
    assert told(rig)[-1] == "resync_done"
    look(rig)
    assert told(rig).count("resync_done") == 1


def test_requests_are_counted_wherever_they_are_answered(rig, live):
    before = shown(rig)[live.luid]
    live.written(1, 2)
    live.in_sync(1)
    live.clear(1)
    live.flush()
    after = shown(rig)[live.luid]
    risen = {kind: after[kind] - before[kind] for kind in RequestType if after[kind] != before[kind]}
    assert risen[RequestType.IN_SYNC] >= 1
    assert risen[RequestType.FLUSH] >= 1
    assert risen[RequestType.CLEAR_REGION] == 1
    assert after[figures.MARKED] - before[figures.MARKED] == 2
    assert after[figures.CLEARED] - before[figures.CLEARED] == 1
    assert after[RequestType.RESUME] == 1


def test_a_flush_that_makes_something_durable_is_timed_and_others_are_not(slow):
    slow.auto = True
    live = slow.table()
    slow.auto = False
    live.ask(kernel.FLUSH)
    assert shown(slow)[live.luid][figures.FLUSHES] == 0
    assert live.ask(kernel.FLUSH, struct.pack("=Q", 1)) is None
    slow.now += 0.25
    slow.executor.run_all()
    words = shown(slow)[live.luid]
    assert words[figures.FLUSHES] == 1
    assert words[figures.FLUSH_WORST_NS] == pytest.approx(250_000_000)
    assert words[figures.LAST_FLUSH_US] == int(slow.now * 1e6)


def test_a_flush_that_fails_is_not_timed(rig, live):
    rig.disk.fail("commit")
    live.ask(kernel.FLUSH, struct.pack("=Q", 1))
    words = shown(rig)[live.luid]
    assert (words[figures.FLUSHES], words[figures.FAILURES]) == (0, 1)


def test_a_suspend_and_a_resume(rig, live):
    live.presuspend()
    live.postsuspend()
    assert shown(rig)[live.luid][figures.STATE] == figures.SUSPENDED
    live.resume()
    assert shown(rig)[live.luid][figures.STATE] == figures.LIVE
    assert told(rig)[3:] == ["suspended", "resumed", "resync_started"]


def test_a_failure_is_told_once_and_its_end_too(rig, live):
    rig.disk.fail("commit")
    live.mark(1)
    live.flush()
    live.flush()
    words = shown(rig)[live.luid]
    assert (words[figures.STATE], words[figures.FAILED], words[figures.FAILURES]) == (figures.FAILED_STATE, 1, 1)
    assert told(rig).count("failed") == 1
    rig.disk.heal()
    live.presuspend()
    live.postsuspend()
    live.resume()
    assert shown(rig)[live.luid][figures.STATE] == figures.LIVE
    assert "healed" in told(rig)


def test_the_end_of_a_log_frees_its_place(rig, live):
    live.dtr()
    assert shown(rig) == {}
    assert told(rig)[-1] == "destroyed"


def test_a_luid_that_comes_again_is_another_log(rig, live):
    luid = live.luid
    rig.kernel.log(b"another", ctr_string(log_type="core"), luid=luid).ctr()
    assert [names.uuid for names, _ in Board(rig.board_memory).logs()] == [b"another"]
    assert told(rig)[-2:] == ["destroyed", "created"]


def test_a_refused_table_is_not_shown(rig):
    rig.kernel.log(UUID, b"8192 disk /dev/log 1000").ctr()
    assert shown(rig) == {}
    assert told(rig) == []


def test_the_next_worker_goes_on_where_the_last_one_was(rig, live):
    live.written(1)
    marked = shown(rig)[live.luid][figures.MARKED]
    assert marked
    rig.kill()
    rig.start()
    rig.server.take_over(live.luid, UUID, live.string + b"\0")
    rig.work()
    words = shown(rig)[live.luid]
    assert (words[figures.STATE], words[figures.MARKED]) == (figures.LIVE, marked)
    assert told(rig) == ["created", "resumed", "resync_started"]


def test_a_daemon_that_the_kernel_meets_again_tells_so(rig, live):
    rig.kill()
    rig.board_memory[:] = bytes(len(rig.board_memory))
    rig.start()
    assert live.ask(kernel.CTR, live.string + b"\0").error == 0
    assert live.ask(kernel.RESUME).error == 0
    assert told(rig) == ["reconnected", "resync_started"]


def test_a_log_that_gives_way_to_another_table_is_inactive(rig, live):
    other = rig.table()
    assert shown(rig)[live.luid][figures.STATE] in (figures.LIVE, figures.INACTIVE)
    look(rig)
    assert shown(rig)[live.luid][figures.STATE] == figures.INACTIVE
    assert shown(rig)[other.luid][figures.STATE] == figures.LIVE


def test_more_logs_than_places_are_served_all_the_same(rig):
    board = Board(rig.board_memory)
    for luid in range(1, MAX_LOGS + 1):
        board.slot(Names(luid, b"x", "", "core"))
    rig.start()
    log = rig.table()
    assert log.luid not in shown(rig)
    log.written(1)
    assert rig.entry(log).log.words[figures.MARKED] == 1


def test_many_logs_are_looked_at_in_turns(rig):
    logs = [rig.table(b"uuid-%d" % number, ctr_string(log_type="core")) for number in range(80)]
    for log in logs:
        log.written(1)
        assert shown(rig)[log.luid][figures.CLEAN] == 0
    for _ in range(3):
        look(rig)
    rig.tick(1.0)
    assert all(shown(rig)[log.luid][figures.STATE] == figures.LIVE for log in logs)
    assert len(shown(rig)) == 80
