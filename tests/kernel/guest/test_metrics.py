# SPDX-License-Identifier: LGPL-2.1-or-later
"""A real Prometheus scrapes the metrics of a real daemon with real mirrors: what it knows, and when it alerts."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import prometheus, toolbox
from tests.kernel.guest.load import Writer, blocks
from tests.kernel.guest.rig import Daemon, Mirror, forget, run, switch, undelay, until

RULES = toolbox.TOP / "conf/prometheus/diskulog.rules.yml"
PERIOD_SECONDS = 3  # a scrape takes about one here
LOG_SECTORS = 8192


@pytest.fixture
def target() -> Iterator[str]:
    """The address at which ``diskulog metrics --listen`` serves."""
    command = [sys.executable, "-m", "diskulog", "metrics", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, cwd=toolbox.TOP, stderr=subprocess.PIPE, text=True) as exporter:
        assert exporter.stderr is not None
        found = re.search(r"http://([\d.:]+)/metrics", exporter.stderr.readline())
        assert found is not None
        yield found[1]
        exporter.terminate()
    assert exporter.returncode == 0


@pytest.fixture
def server(target: str, tmp_path: Path) -> Iterator[prometheus.Server]:
    with prometheus.running(tmp_path, target, RULES, PERIOD_SECONDS) as made:
        yield made


@pytest.fixture
def faulty(mirror: Mirror) -> Iterator[str]:
    """A log device whose table can be switched."""
    run("dmsetup", "create", "faulty", "--table", f"0 {LOG_SECTORS} linear {mirror.log} 0")
    mirror.log = "/dev/mapper/faulty"
    yield "faulty"
    forget(mirror.name)
    forget("faulty")


def test_what_prometheus_knows_of_a_mirror(
    mirror: Mirror, faulty: str, slow: str, server: prometheus.Server, daemon: Daemon
) -> None:
    """It sees the resync go on and end, a log fail and heal, with the alert, and the worker's restart."""

    def value(name: str, more: str = "") -> float | None:
        found = server.query(f"{name}{{{more}}}")
        return float(found[0]["value"][1]) if found else None

    of_it = f'uuid="{mirror.uuid}", mirror="{mirror.name}"'
    failed = f'alertname="DiskulogLogFailed", alertstate="firing", {of_it}, severity="critical"'
    beneath = run("dmsetup", "table", faulty).split()[3]

    mirror.create()
    server.wait_for(lambda: value("diskulog_log_regions", of_it) == mirror.region_count)
    before = value("diskulog_log_in_sync_regions", of_it)
    assert before is not None
    assert before < mirror.region_count
    assert value("diskulog_log_state", f'{of_it}, state="live"') == 1
    undelay(slow)
    mirror.wait_in_sync()
    server.wait_for(lambda: value("diskulog_log_in_sync_regions", of_it) == mirror.region_count)
    assert value("diskulog_log_failed", of_it) == 0
    assert value("ALERTS", failed) is None
    mirror.wait_clean()

    switch(faulty, f"0 {LOG_SECTORS} error")
    with Writer(mirror.device, blocks(mirror.length * 512)) as writer:
        until("the log is called failed", lambda: mirror.status().endswith(" D"))
        server.wait_for(lambda: value("ALERTS", failed) == 1)
        assert writer.count == 0
        switch(faulty, f"0 {LOG_SECTORS} linear {beneath} 0")
        mirror.load(mirror.table())
        mirror.suspend("--noflush")
        mirror.resume()
        until("the held write goes on", lambda: writer.count > 10)
        server.wait_for(lambda: value("diskulog_log_failed", of_it) == 0)
        server.wait_for(lambda: value("ALERTS", failed) is None)
        flushes = value("diskulog_log_flush_latency_seconds_count", of_it)
        assert flushes is not None
        server.wait_for(lambda: (value("diskulog_log_flush_latency_seconds_count", of_it) or 0) > flushes)

    restarts = value("diskulog_worker_restarts_total")
    assert restarts is not None
    os.kill(daemon.worker, signal.SIGKILL)
    server.wait_for(lambda: value("diskulog_worker_restarts_total") == restarts + 1)
    mirror.wait_in_sync()
    mirror.remove()
    server.wait_for(lambda: value("diskulog_log_regions", of_it) is None)
    assert mirror.differing() == []
