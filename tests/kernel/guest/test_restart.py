# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon is stopped, killed and started while mirrors are live, suspended, or have a second table loaded."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from diskulog import ondisk
from tests.kernel.guest.load import fio
from tests.kernel.guest.rig import Daemon, Mirror, fails, read, run, undelay, until, write

ENDS = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])


def extension(mirror: Mirror) -> ondisk.Extension:
    found = ondisk.unpack_extension(read(mirror.log, 0, 1024))
    assert found is not None
    return found


@ENDS
def test_a_live_mirror_goes_on_under_the_next_daemon_with_nothing_to_resync(
    mirror: Mirror, daemon: Daemon, number: int
) -> None:
    mirror.create()
    mirror.wait_in_sync()
    mirror.write_some(1)
    write(mirror.legs[1], 0, b"\7" * 4096)  # a resync would undo it
    start = daemon.mark()
    code = daemon.stop(number)
    assert code == (0 if number == signal.SIGTERM else -signal.SIGKILL)
    if number == signal.SIGTERM:
        assert daemon.said(start).count("I/O waits until a daemon serves again") == 1
    assert mirror.inspect()["log"]["state"] == "open"
    writer = subprocess.Popen(
        ["dd", "if=/dev/zero", f"of={mirror.device}", "bs=4k", "count=64", "seek=200", "oflag=direct"]
    )
    daemon.start()
    assert writer.wait(60) == 0
    assert mirror.in_sync_count() == mirror.region_count
    mirror.write_some(2, [5, 6])
    assert mirror.differing() == [0]
    daemon.says("reconnected", start)


@pytest.mark.parametrize("mode", ["integrated_flush", ""], ids=["integrated", "plain"])
def test_killed_under_writes_nothing_is_lost_and_nothing_resynced(mirror: Mirror, daemon: Daemon, mode: str) -> None:
    mirror.mode = mode
    mirror.create()
    mirror.wait_in_sync()
    with fio(mirror.device, "4m") as writer:
        for _ in range(2):
            until("writes are under way", lambda: mirror.inspect()["log"]["dirty_count"])
            assert writer.poll() is None
            daemon.restart()
        until("writes go on", lambda: mirror.inspect()["log"]["dirty_count"])
    assert mirror.in_sync_count() == mirror.region_count
    mirror.compare()
    assert mirror.differing() == []


def test_a_resync_goes_on_where_it_was(mirror: Mirror, daemon: Daemon, slow: str) -> None:
    mirror.create()
    until("the resync is under way", lambda: mirror.in_sync_count() > 5)
    daemon.restart()
    assert 5 < mirror.in_sync_count() < mirror.region_count
    undelay(slow)
    mirror.wait_in_sync()
    assert mirror.differing() == []


def test_the_status_of_an_inactive_table_after_a_restart_touches_nothing(mirror: Mirror, daemon: Daemon) -> None:
    mirror.create()
    mirror.wait_in_sync()
    mirror.load(mirror.table())
    daemon.restart()
    before = extension(mirror)
    assert f"0/{mirror.region_count}" in run("dmsetup", "status", "--inactive", mirror.name)
    assert extension(mirror) == before
    mirror.write_some(3)
    assert mirror.in_sync_count() == mirror.region_count
    assert extension(mirror).live_token == before.live_token
    mirror.resume()  # swaps the tables
    assert mirror.in_sync_count() == mirror.region_count
    assert extension(mirror).live_token != before.live_token
    mirror.write_some(4)
    mirror.compare()
    assert mirror.differing() == []


def test_a_suspended_mirror_is_not_touched_by_its_status_after_a_restart(mirror: Mirror, daemon: Daemon) -> None:
    mirror.create()
    mirror.wait_in_sync()
    mirror.suspend()
    daemon.restart()
    before = extension(mirror)
    assert before.state is ondisk.State.CLOSED
    mirror.status()
    assert extension(mirror) == before
    mirror.resume()
    mirror.write_some(5)
    assert mirror.in_sync_count() == mirror.region_count
    assert extension(mirror).state is ondisk.State.OPEN
    mirror.compare()
    assert mirror.differing() == []


def test_a_table_that_was_resumed_while_no_daemon_lived_is_activated_by_what_is_asked(
    mirror: Mirror, daemon: Daemon
) -> None:
    mirror.create()
    mirror.wait_in_sync()
    mirror.suspend()
    daemon.stop(signal.SIGKILL)
    mirror.resume()  # its RESUME finds nobody; dm only warns
    writer = subprocess.Popen(["dd", "if=/dev/zero", f"of={mirror.device}", "bs=4k", "count=8", "oflag=direct"])
    daemon.start()
    assert writer.wait(60) == 0
    assert extension(mirror).state is ondisk.State.OPEN
    assert mirror.in_sync_count() == mirror.region_count
    mirror.compare()
    assert mirror.differing() == []


def test_a_mirror_removed_while_no_daemon_lived_is_no_phantom_afterwards(mirror: Mirror, daemon: Daemon) -> None:
    mirror.create()
    mirror.wait_in_sync()
    daemon.stop(signal.SIGKILL)
    mirror.remove()
    daemon.start()
    os.close(os.open(mirror.log, os.O_RDWR | os.O_EXCL))
    mirror.create()
    mirror.wait_in_sync()
    mirror.write_some(1)
    mirror.compare()


def test_a_core_log_is_found_again(mirror: Mirror, daemon: Daemon) -> None:
    mirror.word = "core"
    mirror.create()
    mirror.wait_in_sync()
    write(mirror.legs[1], 0, b"\7" * 4096)  # a resync would undo it
    daemon.restart()
    assert mirror.in_sync_count() == mirror.region_count
    mirror.write_some(2, [4])
    assert mirror.differing() == [0]
    assert list(Path("/run/diskulog/core").iterdir())
    mirror.remove()
    assert not list(Path("/run/diskulog/core").iterdir())


def test_a_second_daemon_refuses_to_start(daemon: Daemon) -> None:
    words = [os.environ.get("PYTHON", "python3"), "-m", "diskulog", "serve"]
    said = fails(*words)
    assert "another one holds" in said
    assert "ready" not in said
