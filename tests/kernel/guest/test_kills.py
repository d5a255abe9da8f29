# SPDX-License-Identifier: LGPL-2.1-or-later
"""The worker is killed at each type of request, before and after its reply, and the mirror goes on as if nothing was.

Lives here: what has the kernel send each type, and what must be true afterwards. Does not know how a worker is killed
(``saboteur``). IS_CLEAN and STATUS_TABLE are missing: no kernel from 6.1 on asks them; ``tests/test_restart.py`` and
``tests/test_server.py`` do.
"""

import logging
import signal
from collections.abc import Callable, Iterator

import pytest

from diskulog.wire import RequestType as _T
from tests.kernel.guest.load import Writer
from tests.kernel.guest.rig import Daemon, Mirror, run, until, write
from tests.kernel.guest.saboteur import Deed, SabotagedDaemon, complaints

logger = logging.getLogger(__name__)

MODES = pytest.mark.parametrize("mode", ["integrated_flush", ""], ids=["integrated", "plain"])
MOMENTS = pytest.mark.parametrize("moment", [Deed.KILL_BEFORE, Deed.KILL_AFTER], ids=["before", "after"])
_TAMPERED = 7  # a region that nobody writes


@pytest.fixture(scope="module")
def one_daemon(one_daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SabotagedDaemon]:
    """Stands in for the session's daemon, so that every fixture of this module uses this one."""
    one_daemon.stop()
    daemon = SabotagedDaemon(tmp_path_factory.mktemp("saboteur"))
    daemon.start()
    yield daemon
    daemon.stop()


def suspend_and_resume(mirror: Mirror) -> None:
    mirror.suspend()
    mirror.resume()


def reload(mirror: Mirror) -> None:
    mirror.load(mirror.table())
    mirror.resume()


def settle(mirror: Mirror, act: Callable[[Mirror], object]) -> None:
    """Wait for what an activation copies: regions written to lately, which no round of clears had reached."""
    if act in (reload, Mirror.create):
        mirror.wait_in_sync()


def go_on(_: Mirror) -> None:
    """Writes, and regions that fall idle, are enough."""


# A resync with writes asks these by itself, at its first region.
_RESYNC = (_T.GET_RESYNC_WORK, _T.SET_REGION_SYNC, _T.IS_REMOTE_RECOVERING)

# A reload of a live table, in the kernel's order.
_RELOAD = (_T.CTR, _T.GET_REGION_SIZE, _T.PRESUSPEND, _T.POSTSUSPEND, _T.RESUME, _T.DTR)

# What has the kernel send each of the others while a mirror is written to. An integrated FLUSH carries the marks.
_UNDER_WRITES: dict[_T, Callable[[Mirror], object]] = {
    _T.CTR: reload,
    _T.GET_REGION_SIZE: reload,
    _T.PRESUSPEND: suspend_and_resume,
    _T.POSTSUSPEND: suspend_and_resume,
    _T.RESUME: suspend_and_resume,
    _T.DTR: reload,
    _T.IN_SYNC: go_on,
    _T.FLUSH: go_on,
    _T.MARK_REGION: go_on,
    _T.CLEAR_REGION: go_on,
    _T.GET_SYNC_COUNT: Mirror.status,
    _T.STATUS_INFO: Mirror.status,
}

# Asked at a mirror's creation, and at its removal.
_LIVES = ((_T.CTR, _T.DTR), (_T.GET_REGION_SIZE, _T.PRESUSPEND), (_T.RESUME, _T.POSTSUSPEND))


def test_the_tables_name_every_type_that_todays_kernels_send() -> None:
    named = {*_RESYNC, *_UNDER_WRITES, *(kind for life in _LIVES for kind in life)}
    assert set(_T) - named == {_T.IS_CLEAN, _T.STATUS_TABLE}


@MODES
@MOMENTS
def test_killed_at_each_type_nothing_is_lost_resynced_or_complained_about(
    mirror: Mirror, daemon: SabotagedDaemon, mode: str, moment: Deed
) -> None:
    mirror.mode, mirror.length = mode, 2048
    since = len(run("dmesg").splitlines())
    daemon.orders.withdraw()

    first = [daemon.orders.give(moment, kind) for kind in _RESYNC]
    copied = daemon.orders.give(Deed.COUNT, _T.SET_REGION_SYNC, times=1000)
    mirror.create()
    last = mirror.region_count - 1  # the one about which IS_REMOTE_RECOVERING is asked for every write
    with Writer(mirror.device, [mirror.region_bytes * last]) as writer:
        for order in first:
            until(f"{order.name} in a resync", lambda order=order: order.done)
        mirror.wait_in_sync()
    logger.info("in a resync the longest write took %.2f s", writer.longest_seconds)
    assert mirror.differing() == []
    assert copied.done <= mirror.region_count + 1, "a region was copied that had been"
    assert complaints(since) == []

    mirror.wait_clean()
    write(mirror.legs[1], mirror.region_bytes * _TAMPERED, b"\7" * 4096)  # a resync would undo it
    daemon.orders.withdraw()
    places = [mirror.region_bytes * region for region in range(mirror.region_count) if region != _TAMPERED]
    kinds = [kind for kind in _UNDER_WRITES if mode == "" or kind is not _T.MARK_REGION]
    for kind in kinds:
        with Writer(mirror.device, places) as writer, daemon.dies(moment, kind):
            _UNDER_WRITES[kind](mirror)
        logger.info("%s: the longest of %d writes took %.2f s", kind.name, writer.count, writer.longest_seconds)
        settle(mirror, _UNDER_WRITES[kind])
        assert mirror.in_sync_count() == mirror.region_count, kind
        assert mirror.differing() == [_TAMPERED], kind
        assert writer.stale(mirror.legs[0]) == [], kind
        assert complaints(since) == [], kind

    mirror.remove()
    for at_create, at_remove in _LIVES:
        with daemon.dies(moment, at_create):
            mirror.create()
        settle(mirror, Mirror.create)
        mirror.write_some(at_create, [3, 4])
        with daemon.dies(moment, at_remove):
            mirror.remove()
        assert mirror.inspect()["log"]["state"] == "closed", at_remove
        assert mirror.differing() == [_TAMPERED], (at_create, at_remove)
    assert complaints(since) == []


@MODES
@pytest.mark.parametrize(
    "moment", [Deed.KILL_BEFORE, Deed.KILL_UNSENT, Deed.KILL_AFTER], ids=["before", "unsent", "after"]
)
def test_clears_that_a_dead_worker_held_are_stored_by_the_next(
    mirror: Mirror, daemon: SabotagedDaemon, mode: str, moment: Deed
) -> None:
    mirror.mode, mirror.length = mode, 2048
    mirror.create()
    mirror.wait_in_sync()
    mirror.wait_clean()
    daemon.orders.withdraw()
    with daemon.dies(moment, _T.CLEAR_REGION):
        mirror.write_some(1, [3, 4])
    mirror.wait_clean()
    assert mirror.in_sync_count() == mirror.region_count
    assert mirror.differing() == []


def test_clears_that_a_dead_daemon_held_are_stored_by_a_later_one(mirror: Mirror, daemon: SabotagedDaemon) -> None:
    mirror.length = 2048
    with daemon.holding(15):
        mirror.create()
        mirror.wait_in_sync()
        mirror.wait_clean()
        daemon.orders.withdraw()
        cleared = daemon.orders.give(Deed.COUNT, _T.CLEAR_REGION, times=1000)
        mirror.write_some(1, [3, 4])
        until("both regions fall idle", lambda: cleared.done)
        daemon.restart()
        assert mirror.in_sync_count() == mirror.region_count
        assert mirror.inspect()["dirty"] == [[3, 2]]
        mirror.wait_clean()
    assert mirror.differing() == []


@pytest.mark.parametrize("moment", [Deed.KILL_UNSENT, Deed.KILL_SENT], ids=["unsent", "sent"])
def test_killed_at_every_word_of_a_reload_with_its_work_done_the_new_table_is_live(
    mirror: Mirror, daemon: SabotagedDaemon, moment: Deed
) -> None:
    mirror.length = 2048
    mirror.create()
    mirror.wait_in_sync()
    mirror.wait_clean()
    write(mirror.legs[1], mirror.region_bytes * _TAMPERED, b"\7" * 4096)  # a resync would undo it
    since = len(run("dmesg").splitlines())
    daemon.orders.withdraw()
    start = daemon.mark()
    orders = [daemon.orders.give(moment, kind) for kind in (*_RELOAD, _T.FLUSH, _T.CLEAR_REGION)]
    places = [mirror.region_bytes * region for region in range(mirror.region_count) if region != _TAMPERED]
    with Writer(mirror.device, places) as writer:
        reload(mirror)
        for order in orders:
            until(f"{order.name}: the worker dies", lambda order=order: order.done)
    logger.info("%s: the longest of %d writes took %.2f s", moment.name, writer.count, writer.longest_seconds)
    settle(mirror, reload)
    assert mirror.differing() == [_TAMPERED], daemon.said(start)
    assert writer.stale(mirror.legs[0]) == []
    assert complaints(since) == []
    mirror.remove()
    assert mirror.inspect()["log"]["state"] == "closed"


def test_a_request_that_faults_three_workers_is_answered_without_one(mirror: Mirror, daemon: SabotagedDaemon) -> None:
    mirror.length = 2048
    mirror.create()
    mirror.wait_in_sync()
    mirror.wait_clean()
    daemon.orders.withdraw()
    start = daemon.mark()
    order = daemon.orders.give(Deed.FAULT, _T.IN_SYNC, times=3)
    mirror.write_some(1, [3])  # the answer has the kernel construct the log anew, and ask again
    assert order.done == 3
    ended = f"the worker ended (signal {signal.SIGSEGV.value})"
    daemon.says(ended, start, times=3)
    daemon.says("killed 3 workers; it is answered with the least harmful reply", start)
    assert daemon.said(start).count(ended) == 3
    assert mirror.in_sync_count() == mirror.region_count
    mirror.compare()
    assert mirror.differing() == []
