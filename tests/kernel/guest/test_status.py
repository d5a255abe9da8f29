# SPDX-License-Identifier: LGPL-2.1-or-later
"""What status, watch, wait and events say of a real daemon and real mirrors."""

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from diskulog.control import client, model
from tests.kernel.guest.rig import Daemon, Mirror, diskulog, forget, run, switch, until

SOCKET = Path("/run/diskulog/control.sock")
DELAY_MS = 150
WRITTEN = [3, 7, 8, 9, 40]
NOBODY = 65534


def status(*words: str, expect: int = 0) -> dict[str, object]:
    code, said = diskulog("status", "--json", *words)
    assert code == expect, said
    return json.loads(said.splitlines()[0])


def log_of(mirror: Mirror, expect: int = 0) -> dict[str, object]:
    (log,) = status(mirror.name, expect=expect)["logs"]
    return log


def events_until(last: str, uuid: str) -> list[str]:
    """What was told of a log, and of the daemon, until and with an event that has come or will come."""
    found = []
    for line in client.events(SOCKET, 256):
        event = model.event(line)
        if event.uuid in (uuid, None):
            found.append(event.event)
        if (event.event, event.uuid) == (last, uuid):
            return found
    raise AssertionError(found)


def number(device: str) -> str:
    found = os.stat(device).st_rdev
    return f"{os.major(found)}:{os.minor(found)}"


@pytest.fixture
def slow_leg(mirror: Mirror) -> Iterator[str]:
    """A second leg each of whose writes takes its time, so that a resync takes seconds on any machine."""
    run("modprobe", "dm-delay")
    leg, length = mirror.legs[1], mirror.length
    run("dmsetup", "create", "slow", "--table", f"0 {length} delay {leg} 0 0 {leg} 0 {DELAY_MS}")
    mirror.legs[1] = "/dev/mapper/slow"
    yield leg
    forget(mirror.name)
    forget("slow")


@pytest.fixture
def faulty(mirror: Mirror) -> Iterator[str]:
    """A log device whose table can be switched."""
    run("dmsetup", "create", "faulty", "--table", f"0 8192 linear {mirror.log} 0")
    mirror.log = "/dev/mapper/faulty"
    yield "faulty"
    forget(mirror.name)
    forget("faulty")


def test_a_mirrors_life_as_its_daemon_tells_it(mirror: Mirror, daemon: Daemon) -> None:
    restarts = status()["daemon"]["worker_restarts"]
    mirror.create()
    assert diskulog("wait", "--synced", "--timeout", "120", mirror.name) == (0, "")
    assert mirror.in_sync_count() == mirror.region_count
    mirror.wait_clean()
    until("the figures are of now", lambda: log_of(mirror)["clean_count"] == mirror.region_count)

    found = log_of(mirror)
    assert (found["uuid"], found["mirror"], found["mirror_device"]) == (mirror.uuid, mirror.name, number(mirror.device))
    assert (found["log_device"], found["log_node"]) == (number(mirror.log), mirror.log)
    assert [(leg["device"], leg["node"]) for leg in found["legs"]] == [(number(leg), leg) for leg in mirror.legs]
    assert (found["state"], found["health"], found["resync"]) == ("live", "A", None)
    assert found["handle_errors"] is True
    assert found["in_sync_count"] == found["region_count"] == mirror.region_count
    assert (found["held_clears"], found["failures"]) == (0, 0)
    assert (found["region_size_sectors"], found["target_length_sectors"]) == (mirror.region_size, mirror.length)

    begun = time.time()
    mirror.write_some(1, WRITTEN)
    after = log_of(mirror)
    assert begun - 1 < after["last_flush_seconds"] < time.time() + 1
    assert after["marked_regions"] >= found["marked_regions"] + len(WRITTEN)
    assert after["requests"]["IN_SYNC"] > found["requests"]["IN_SYNC"]
    assert after["flush_latency_seconds"]["count"] > found["flush_latency_seconds"]["count"]
    latency = after["flush_latency_seconds"]
    assert 0 < latency["median"] <= latency["p99"] <= 2 * latency["worst"]
    assert latency["buckets"][-1][1] == latency["count"]
    mirror.wait_clean()
    until("the clears are counted", lambda: log_of(mirror)["cleared_regions"] >= found["cleared_regions"] + 5)

    def held() -> int:
        mirror.write_some(3, WRITTEN)
        count = int(log_of(mirror)["held_clears"])
        assert count <= len(WRITTEN)
        return count

    until("clears are held", held)
    until("none is held", lambda: log_of(mirror)["held_clears"] == 0)

    os.kill(daemon.worker, signal.SIGKILL)
    until("another worker serves", lambda: status()["daemon"]["worker_restarts"] == restarts + 1)
    assert status()["daemon"]["last_worker_end"] == "signal 9"
    mirror.write_some(2, [0])
    assert log_of(mirror)["marked_regions"] > after["marked_regions"]
    assert log_of(mirror)["failures"] == 0

    mirror.suspend()
    assert log_of(mirror)["state"] == "suspended"
    mirror.resume()
    code, said = diskulog("status", mirror.uuid)
    assert code == 0
    assert f"\n{mirror.name}: live, in sync\n" in said
    assert mirror.log in said
    mirror.remove()
    assert mirror.uuid not in [log["uuid"] for log in status()["logs"]]

    life = ["created", "resumed", "resync_started", "resync_done", "worker_restarted", "suspended", "resumed"]
    assert events_until("destroyed", mirror.uuid)[-9:] == [*life, "suspended", "destroyed"]


def test_a_resync_is_watched_and_waited_for(mirror: Mirror, slow_leg: str) -> None:
    mirror.region_size = 16
    mirror.create()
    until("it is under way", lambda: log_of(mirror)["resync"])
    code, said = diskulog("watch", "--interval", "0.5", "--count", "4", mirror.name)
    assert code == 0, said
    lines = said.splitlines()
    assert len(lines) == 4
    head = rf"\S+Z {mirror.name}: live, \d+ of {mirror.region_count} regions in sync"
    assert re.fullmatch(rf"{head} \(\d+\.\d %\), \S+ [KM]iB/s, \S+ \S+ left", lines[-1]), said
    counts = [int(line.split(" of ")[0].split()[-1]) for line in lines]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]
    code, said = diskulog("wait", "--synced", "--timeout", "0", mirror.log)
    assert code == 1
    assert said.startswith(f"diskulog: not in sync after 0 s: {mirror.name} (")
    assert re.search(r"resync: +\[[#.]{20}\]", diskulog("status", mirror.name)[1])
    switch("slow", f"0 {mirror.length} linear {slow_leg} 0")
    assert diskulog("wait", "--synced", "--timeout", "120")[0] == 0
    assert mirror.in_sync_count() == mirror.region_count
    assert log_of(mirror)["resync"] is None


def test_a_log_that_fails_under_a_mirror_that_does_not_handle_errors(mirror: Mirror, faulty: str) -> None:
    mirror.features = ""
    beneath = run("dmsetup", "table", faulty).split()[3]
    mirror.create()
    mirror.wait_in_sync()
    mirror.wait_clean()
    (warning,) = status(mirror.name)["messages"]
    assert warning["severity"] == "warning"
    assert "lacks 'handle_errors'" in warning["text"]
    switch(faulty, "0 8192 error")
    mirror.write_some(1, WRITTEN)  # unlogged, as the warning says
    until("the log is called failed", lambda: mirror.status().endswith(" D"))
    until("the figures say so", lambda: diskulog("status", mirror.name)[0] == 1)
    found = status(mirror.name, expect=1)
    assert (found["logs"][0]["health"], found["logs"][0]["mirror"]) == ("D", mirror.name)
    assert found["logs"][0]["failures"] > 0
    assert found["messages"][0]["severity"] == "error"
    assert "has failed, and the kernel writes on, unlogged" in found["messages"][0]["text"]
    code, said = diskulog("wait", "--synced", mirror.name)
    assert (code, said) == (1, f"diskulog: never in sync: {mirror.name}: its log has failed\n")
    assert events_until("failed", mirror.uuid)[-1] == "failed"

    switch(faulty, f"0 8192 linear {beneath} 0")
    assert log_of(mirror, expect=1)["health"] == "D"  # healed devices do not heal logs
    mirror.suspend()
    mirror.resume()
    assert events_until("healed", mirror.uuid)[-1] == "healed"
    mirror.wait_in_sync()
    assert mirror.status().endswith(" A")
    until("the figures say so", lambda: diskulog("status", mirror.name)[0] == 0)
    assert log_of(mirror)["health"] == "A"


def test_who_may_not_ask_and_when_nobody_answers(daemon: Daemon) -> None:
    assert diskulog("status")[0] == 0
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        code, said = diskulog("status")
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)
    assert code == 7
    assert "permission denied: be root, or in the socket's group" in said
    daemon.stop()
    for words in (("status",), ("watch", "--count", "1"), ("wait", "--synced"), ("events", "--count", "1")):
        code, said = diskulog(*words)
        assert code == 6, said
        assert said.startswith("diskulog: no daemon: ")
