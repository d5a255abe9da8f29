# SPDX-License-Identifier: LGPL-2.1-or-later
"""Requests and replies are lost, the buffer overruns, every process dies: the legs stay equal, and no read is stale.

Lives here: what is lost and what must be true afterwards, and the naive daemons that are found by the same questions.
Does not know how something is lost (``saboteur``). One type after another dies with the worker in ``test_kills``.
"""

import json
import mmap
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from diskulog.wire import RequestType as _T
from tests.kernel.guest.load import Writer
from tests.kernel.guest.rig import Daemon, Mirror, diskulog, forget, run, until, write, zero
from tests.kernel.guest.saboteur import Deed, Naive, Order, SabotagedDaemon, complaints

_TAMPERED = 7  # a region that nobody writes
_HOLD_SECONDS = 4.0
_HELD_SECONDS = 3600.0


@pytest.fixture(scope="module")
def one_daemon(one_daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SabotagedDaemon]:
    """Stands in for the session's daemon, so that every fixture of this module uses this one."""
    one_daemon.stop()
    daemon = SabotagedDaemon(tmp_path_factory.mktemp("saboteur"))
    daemon.start()
    yield daemon
    daemon.stop()


@pytest.fixture
def daemon(daemon: SabotagedDaemon) -> Iterator[SabotagedDaemon]:
    """The daemon with no orders and its usual configuration, before a test and after it."""
    usual = daemon.config.read_text()
    daemon.orders.withdraw()
    yield daemon
    daemon.orders.withdraw()
    if daemon.config.read_text() != usual:
        daemon.config.write_text(usual)
        daemon.restart()


def tamper(mirror: Mirror) -> None:
    """Change a block behind the log's back: a resync would undo it."""
    write(mirror.legs[1], mirror.region_bytes * _TAMPERED, b"\7" * 4096)


def places(mirror: Mirror) -> list[int]:
    """The first block of every region but the one that is tampered with."""
    return [mirror.region_bytes * region for region in range(mirror.region_count) if region != _TAMPERED]


def one_more_round(writers: list[Writer]) -> None:
    """Wait until each has written to all its places from now on."""
    goals = [writer.count + len(writer.offsets_bytes) for writer in writers]
    until(
        "all is written again",
        lambda: all(writer.count > goal for writer, goal in zip(writers, goals, strict=True)),
        seconds=180,
    )


# -- each type once ----------------------------------------------------------------------------------------------------


def write_a_block(mirror: Mirror) -> None:
    mirror.write_some(1, [3])


def suspend(mirror: Mirror) -> None:
    mirror.suspend()


def suspend_and_resume(mirror: Mirror) -> None:
    mirror.suspend()
    mirror.resume()


def write_after_resume(mirror: Mirror) -> None:
    suspend_and_resume(mirror)
    write_a_block(mirror)


def load(mirror: Mirror) -> None:
    mirror.load(mirror.table())


# What has the kernel send a type after a mirror's resync
_ACTS: dict[_T, Callable[[Mirror], object]] = {
    _T.CTR: load,
    _T.GET_REGION_SIZE: load,
    _T.PRESUSPEND: suspend,
    _T.POSTSUSPEND: suspend,
    _T.RESUME: suspend_and_resume,
    _T.DTR: Mirror.remove,
    _T.IN_SYNC: write_a_block,
    _T.FLUSH: write_a_block,
    _T.MARK_REGION: write_a_block,
    _T.CLEAR_REGION: write_a_block,
    _T.GET_SYNC_COUNT: Mirror.status,
    _T.STATUS_INFO: Mirror.status,
    _T.IS_REMOTE_RECOVERING: write_after_resume,
}
_AT_CREATION = (_T.GET_RESYNC_WORK, _T.SET_REGION_SYNC)


@pytest.fixture
def mirrors_by_loss(daemon: SabotagedDaemon) -> Iterator[dict[tuple[Deed, _T], Mirror]]:
    """A small mirror for each thing that can be lost, not created yet."""
    length, made, pieces = 128, {}, []
    losses = [(deed, kind) for deed in (Deed.LOSE_REQUEST, Deed.LOSE_REPLY) for kind in (*_AT_CREATION, *_ACTS)]
    for device in ("/dev/ram4", "/dev/ram5", "/dev/ram6"):
        zero(device)
    for number, (deed, kind) in enumerate(losses):
        for part, device in (("a", "/dev/ram4"), ("b", "/dev/ram5"), ("l", "/dev/ram6")):
            pieces.append(f"loss{number}{part},,,rw,0 {length} linear {device} {number * length}")
        legs, log = [f"/dev/mapper/loss{number}{part}" for part in "ab"], f"/dev/mapper/loss{number}l"
        mode = "integrated_flush" if number % 2 and kind is not _T.MARK_REGION else ""
        made[deed, kind] = Mirror(f"lossy{number}", legs, log, f"UUID-loss-{number}", 16, length, mode)
    run("dmsetup", "create", "--concise", ";".join(pieces))
    yield made
    daemon.orders.withdraw()
    for mirror in made.values():
        if mirror.made:
            forget(mirror.name)
    run("dmsetup", "remove", "--retry", *(piece.split(",")[0] for piece in pieces))


def test_what_is_lost_once_is_asked_again_and_done_once(
    mirrors_by_loss: dict[tuple[Deed, _T], Mirror], daemon: SabotagedDaemon
) -> None:
    since = len(run("dmesg").splitlines())
    orders: dict[tuple[Deed, _T], Order] = {}
    for (deed, kind), mirror in mirrors_by_loss.items():
        if kind in _AT_CREATION:
            orders[deed, kind] = daemon.orders.give(deed, kind, mirror)
    tables = [f"{mirror.name},,,rw,{mirror.table()}" for mirror in mirrors_by_loss.values()]
    run("dmsetup", "create", "--concise", ";".join(tables))
    for mirror in mirrors_by_loss.values():
        mirror.made = True
    threads = []
    for (deed, kind), mirror in mirrors_by_loss.items():
        if kind in _ACTS:
            mirror.wait_in_sync()
            tamper(mirror)
            orders[deed, kind] = daemon.orders.give(deed, kind, mirror)
            threads.append(threading.Thread(target=_ACTS[kind], args=(mirror,), daemon=True))
            threads[-1].start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    for order in orders.values():
        until(f"{order.name}: it was lost", lambda order=order: order.done)
    for (deed, kind), mirror in mirrors_by_loss.items():
        if kind in (_T.PRESUSPEND, _T.POSTSUSPEND):
            assert mirror.inspect()["log"]["state"] == "closed", (deed, kind)
            mirror.resume()
        if kind is not _T.DTR:
            mirror.wait_in_sync()
        assert mirror.differing() == ([] if kind in _AT_CREATION else [_TAMPERED]), (deed, kind)
    # of a uuid the kernel tells the last eight characters
    asked_again = [f"[{mirrors_by_loss[lost].uuid[-8:]}] Request timed out" for lost in orders]
    assert len({*asked_again}) == len(asked_again)
    until("each was asked again", lambda: all(words in "\n".join(complaints(since)) for words in asked_again))
    # a machine that is busy may answer another request too late, and is asked once more; nothing else is said
    said = complaints(since)
    assert [line for line in said if "Request timed out" not in line] == [], said


# -- a daemon that begins anew -----------------------------------------------------------------------------------------


def ask_in_sync_of_a_daemon_that_knows_nothing(mirror: Mirror, daemon: SabotagedDaemon, naive: Naive) -> list[int]:
    """Replace the daemon while the mirror asks nothing, then write: return where the legs differ."""
    mirror.mode = ""  # an integrated flush that is still to come would reconnect before the write
    mirror.create()
    mirror.wait_in_sync()
    mirror.wait_clean()
    daemon.restart()
    daemon.orders.plant(naive)
    since = len(run("dmesg").splitlines())
    mirror.write_some(2, [3, 4, 5])
    if naive is Naive.NOTHING:
        assert any("Reconnected" in line for line in run("dmesg").splitlines()[since:])
    return mirror.differing()


def test_in_sync_of_an_unknown_log_is_answered_after_the_reconnection(mirror: Mirror, daemon: SabotagedDaemon) -> None:
    assert ask_in_sync_of_a_daemon_that_knows_nothing(mirror, daemon, Naive.NOTHING) == []
    assert mirror.in_sync_count() == mirror.region_count
    mirror.compare()


@pytest.mark.parametrize("naive", [Naive.UNKNOWN_IS_EINVAL, Naive.UNKNOWN_IS_EMPTY], ids=["einval", "empty"])
def test_another_answer_to_in_sync_of_an_unknown_log_is_found(
    mirror: Mirror, daemon: SabotagedDaemon, naive: Naive
) -> None:
    # unmarked, and on one leg only
    assert set(ask_in_sync_of_a_daemon_that_knows_nothing(mirror, daemon, naive)) & {3, 4, 5}


@pytest.fixture
def mirror_with_mortal_leg(mirror: Mirror) -> Iterator[Mirror]:
    """A small mirror whose first leg can be switched to errors."""
    mirror.length = 2048
    run("dmsetup", "create", "mortal", "--table", f"0 {mirror.length} linear {mirror.legs[0]} 0")
    mirror.legs[0] = "/dev/mapper/mortal"
    mirror.features = "2 handle_errors keep_log"  # with handle_errors alone a write to a dead leg is held
    yield mirror
    forget(mirror.name)
    forget("mortal")


def switch_leg(table: str) -> None:
    run("dmsetup", "load", "mortal", "--table", table)
    run("dmsetup", "resume", "mortal")


def reconnect_under_writes_and_lose_the_first_leg(mirror: Mirror, daemon: SabotagedDaemon, naive: Naive) -> list[int]:
    """Return where the mirror, on its second leg, does not read what was acknowledged."""
    mirror.create()
    mirror.wait_in_sync()
    mirror.wait_clean()
    daemon.configure(_HELD_SECONDS)
    daemon.restart()
    with Writer(mirror.device, places(mirror)) as writer:
        one_more_round([writer])  # everything that is written is dirty
        daemon.orders.plant(naive)
        daemon.restart()
        one_more_round([writer])
    switch_leg(f"0 {mirror.length} error")
    mirror.write_some(9, [_TAMPERED])
    assert "DA" in mirror.status(), "the kernel has not noticed the loss of its first leg"
    return writer.stale(mirror.device)


def test_after_a_reconnection_under_writes_and_the_loss_of_the_first_leg_no_read_is_stale(
    mirror_with_mortal_leg: Mirror, daemon: SabotagedDaemon
) -> None:
    assert reconnect_under_writes_and_lose_the_first_leg(mirror_with_mortal_leg, daemon, Naive.NOTHING) == []


def test_a_reconnection_that_demotes_what_is_dirty_is_found_by_stale_reads(
    mirror_with_mortal_leg: Mirror, daemon: SabotagedDaemon
) -> None:
    assert reconnect_under_writes_and_lose_the_first_leg(mirror_with_mortal_leg, daemon, Naive.RESUME_DEMOTES) != []


def test_every_mirror_comes_back_under_writes_after_everything_was_killed(
    many_mirrors: list[Mirror], daemon: SabotagedDaemon
) -> None:
    with ExitStack() as stack:
        writers = write_to_all(many_mirrors, stack)
        daemon.restart()
        one_more_round(writers)
    for mirror, writer in zip(many_mirrors, writers, strict=True):
        assert mirror.in_sync_count() == mirror.region_count
        assert mirror.differing() == [_TAMPERED]
        assert writer.stale(mirror.legs[0]) == []


def test_a_suspend_that_nobody_heard_leaves_no_phantom_and_nothing_to_resync(
    mirror: Mirror, daemon: SabotagedDaemon
) -> None:
    mirror.mode = ""  # an integrated flush that is still to come would wait for a daemon, and the suspend for it
    mirror.create()
    mirror.wait_in_sync()
    mirror.write_some(1)
    mirror.wait_clean()
    tamper(mirror)
    daemon.stop(signal.SIGKILL)
    mirror.suspend()  # PRESUSPEND and POSTSUSPEND find nobody; dm only warns
    before = raw(mirror.log)
    daemon.start()
    mirror.status()  # reconnects
    assert raw(mirror.log) == before
    mirror.resume()
    mirror.write_some(2, [3])
    assert mirror.in_sync_count() == mirror.region_count
    assert mirror.differing() == [_TAMPERED]


# -- a full buffer -----------------------------------------------------------------------------------------------------


def write_to_all(mirrors: list[Mirror], stack: ExitStack) -> list[Writer]:
    """Create mirrors, tamper with each, and begin to write to all; return when each place was written once."""
    for mirror in mirrors:
        mirror.length = 256
        mirror.create()
    for mirror in mirrors:
        mirror.wait_in_sync()
        tamper(mirror)
    writers = [stack.enter_context(Writer(mirror.device, places(mirror)[::3])) for mirror in mirrors]
    one_more_round(writers)
    return writers


def raw(device: str) -> bytes:
    """What the medium holds, whatever the page cache thinks."""
    fd = os.open(device, os.O_RDONLY | os.O_DIRECT)
    try:
        memory = mmap.mmap(-1, 1 << 20)
        return bytes(memory[: os.preadv(fd, [memory], 0)])
    finally:
        os.close(fd)


def overrun_under_writes(mirrors: list[Mirror], daemon: SabotagedDaemon, naive: Naive) -> list[list[int]]:
    """Overrun the buffer again and again; return where each mirror's legs differ."""
    with ExitStack() as stack:
        writers = write_to_all(mirrors, stack)
        daemon.orders.plant(naive)
        for _ in range(2):
            with daemon.overrun():
                pass
            one_more_round(writers)
    if naive is Naive.NOTHING:
        for mirror, writer in zip(mirrors, writers, strict=True):
            assert writer.stale(mirror.legs[0]) == []
            assert mirror.in_sync_count() == mirror.region_count
    return [mirror.differing() for mirror in mirrors]


def test_an_overrun_buffer_loses_no_write_and_its_losses_are_told(
    many_mirrors: list[Mirror], daemon: SabotagedDaemon
) -> None:
    assert overrun_under_writes(many_mirrors, daemon, Naive.NOTHING) == [[_TAMPERED]] * len(many_mirrors)
    code, told = diskulog("status", "--json")
    counted = json.loads(told.splitlines()[0])["daemon"]
    assert (code, counted["overruns"] > 0, counted["unsent_replies"]) == (0, True, 0), told
    start = daemon.mark()
    daemon.stop()
    (overruns,) = re.findall(r"ended; the buffer overran (\d+) times", daemon.said(start))
    assert int(overruns) >= counted["overruns"]
    daemon.start()
    assert [mirror.in_sync_count() for mirror in many_mirrors] == [mirror.region_count for mirror in many_mirrors]


def test_a_reconnection_that_demotes_what_is_dirty_is_found_by_an_overrun(
    many_mirrors: list[Mirror], daemon: SabotagedDaemon
) -> None:
    assert overrun_under_writes(many_mirrors, daemon, Naive.RESUME_DEMOTES) != [[_TAMPERED]] * len(many_mirrors)


def test_a_table_that_went_while_the_buffer_was_full_leaves_no_phantom_that_writes(
    mirror_with_mortal_leg: Mirror, many_mirrors: list[Mirror], daemon: SabotagedDaemon
) -> None:
    daemon.configure(_HOLD_SECONDS)
    daemon.restart()
    mirror, first = mirror_with_mortal_leg, "/dev/ram0"
    mirror.mode = ""  # an integrated flush that is still to come would hold the table until a daemon hears it
    mirror.create()
    mirror.wait_in_sync()
    mirror.wait_clean()
    with ExitStack() as slowly:
        with ExitStack() as stack:
            write_to_all(many_mirrors, stack)
            flushed = daemon.orders.give(Deed.COUNT, _T.FLUSH, mirror, times=1000)
            mirror.write_some(1, [3])
            until("the clear after the write was flushed too, and is held", lambda: flushed.done >= 2)
            mirror.status()  # that flush is answered
            with daemon.overrun():
                # PRESUSPEND, POSTSUSPEND and DTR of the old table find no room; dm only warns
                mirror.load(mirror.kernel_table())
                mirror.resume()
                switch_leg(f"0 {mirror.length} delay {first} 0 0 {first} 0 60000 {first} 0 0")  # only writes are slow
                slow = slowly.enter_context(Writer(mirror.device, [mirror.region_bytes * 9]))
                until("the kernel's log calls the region dirty", lambda: not raw(mirror.log)[1025] & 1 << 1)
        time.sleep(2 * _HOLD_SECONDS)  # nothing tells that something will not happen
        clean, written = raw(mirror.log)[1025] & 1 << 1, slow.count
        switch_leg(f"0 {mirror.length} linear {first} 0")  # lets the write go
    daemon.restart()  # it may hold the legs of a table of whose end it never heard
    assert written == 0
    assert not clean, "a write was under way to a region that the medium called clean"
