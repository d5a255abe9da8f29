# SPDX-License-Identifier: LGPL-2.1-or-later
"""The worker dies, and the mirrors do not notice: the supervisor has the socket, the logs and what was in hand."""

import os
import signal
import time

import pytest

from tests.kernel.guest.load import fio
from tests.kernel.guest.rig import Daemon, Mirror, run, undelay, until, write

_COMPLAINTS = ("Request timed out", "server not found", "Insufficient space")


def kill_worker(daemon: Daemon) -> None:
    """Kill the worker, and wait for the next one."""
    old, start = daemon.worker, daemon.mark()
    os.kill(old, signal.SIGKILL)
    until("another worker serves", lambda: "took over" in daemon.said(start))


def complaints(since: int) -> list[str]:
    lines = run("dmesg").splitlines()[since:]
    return [line for line in lines if any(words in line for words in _COMPLAINTS)]


def test_the_daemon_has_one_child(daemon: Daemon) -> None:
    assert daemon.worker != daemon.pid


@pytest.mark.parametrize("mode", ["integrated_flush", ""], ids=["integrated", "plain"])
def test_killed_under_writes_nothing_is_lost_resynced_or_complained_about(
    mirror: Mirror, daemon: Daemon, mode: str
) -> None:
    mirror.mode = mode
    mirror.create()
    mirror.wait_in_sync()
    write(mirror.legs[1], mirror.region_bytes * (mirror.region_count - 1), b"\7" * 4096)  # a resync would undo it
    since = len(run("dmesg").splitlines())
    size = mirror.region_bytes * (mirror.region_count - 1)
    with fio(mirror.device, str(size)) as writer:
        for _ in range(8):
            time.sleep(0.7)  # somewhere in the writes
            assert writer.poll() is None
            kill_worker(daemon)
    assert complaints(since) == []
    assert mirror.in_sync_count() == mirror.region_count
    assert mirror.differing() == [mirror.region_count - 1]


def test_killed_in_a_resync_it_goes_on_and_ends(mirror: Mirror, daemon: Daemon, slow: str) -> None:
    since = len(run("dmesg").splitlines())
    mirror.create()
    for _ in range(3):
        kill_worker(daemon)
    assert mirror.in_sync_count() < mirror.region_count
    undelay(slow)
    mirror.wait_in_sync()
    assert mirror.differing() == []
    assert complaints(since) == []


def test_killed_between_load_and_resume_the_new_table_is_activated(mirror: Mirror, daemon: Daemon) -> None:
    mirror.create()
    mirror.wait_in_sync()
    mirror.load(mirror.table())
    kill_worker(daemon)
    mirror.write_some(1)
    mirror.resume()
    mirror.write_some(2)
    until("the new table is in sync", lambda: mirror.in_sync_count() == mirror.region_count)
    mirror.compare()
    assert mirror.differing() == []


def test_killed_while_suspended_nothing_is_resynced_at_resume(mirror: Mirror, daemon: Daemon) -> None:
    mirror.create()
    mirror.wait_in_sync()
    write(mirror.legs[1], 0, b"\7" * 4096)  # a resync would undo it
    mirror.suspend()
    kill_worker(daemon)
    assert mirror.inspect()["log"]["state"] == "closed"
    mirror.resume()
    mirror.write_some(2, [5])
    assert mirror.in_sync_count() == mirror.region_count
    assert mirror.differing() == [0]


def test_a_removed_mirror_is_not_met_again(mirror: Mirror, daemon: Daemon) -> None:
    mirror.create()
    mirror.wait_in_sync()
    mirror.remove()
    start = daemon.mark()
    kill_worker(daemon)
    assert "took over 0 logs and 0 requests" in daemon.said(start)
    os.close(os.open(mirror.log, os.O_RDWR | os.O_EXCL))
