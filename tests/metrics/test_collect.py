# SPDX-License-Identifier: LGPL-2.1-or-later
import threading
import time

import pytest

from diskulog import figures, status, sysfs
from diskulog.board import BOARD_BYTES, WRITTEN_US, Board, Names
from diskulog.control import model
from diskulog.exits import NoDaemonError
from diskulog.metrics import collect, exposition, families
from diskulog.wire import RequestType
from tests import fake_control, prometheus
from tests.fake_control import log


@pytest.fixture
def path(tmp_path):
    return tmp_path / "control.sock"


def values(found):
    return {family.name: family.samples[0].value for family in found}


def test_the_daemon_is_asked_each_time(path):
    told = []
    ask = collect.always(path, told.append)
    with fake_control.serving(path) as daemon:
        daemon.answers = [fake_control.answer(log(marked_regions=1)), fake_control.answer(log(marked_regions=2))]
        assert values(ask())["diskulog_log_marked_regions_total"] == 1
        assert values(ask())["diskulog_log_marked_regions_total"] == 2
        assert daemon.requests == [{"do": "status"}] * 2
    assert told == []


def test_a_daemon_that_comes_and_goes_is_told_once_each_time(path):
    told = []
    ask = collect.always(path, told.append)
    assert [values(ask())["diskulog_up"] for _ in range(3)] == [0, 0, 0]
    with fake_control.serving(path) as daemon:
        assert values(ask())["diskulog_up"] == values(ask())["diskulog_up"] == 1
        daemon.answering = lambda client, _: client.sendall(b"nonsense\n")
        assert set(values(ask())) == {"diskulog_up", "diskulog_collected_timestamp_seconds"}
    assert len(told) == 3
    assert str(path) in told[0]
    assert told[1] == f"the daemon answers at {path}"


def test_a_daemon_that_hangs_is_not_waited_for_long(path, monkeypatch):
    assert collect.WAIT_SECONDS < 10  # what Prometheus gives a scrape where nobody says otherwise
    monkeypatch.setattr(collect, "WAIT_SECONDS", 0.05)
    over = threading.Event()
    told = []
    with fake_control.serving(path) as daemon:
        daemon.answering = lambda *_: over.wait(60)
        assert values(collect.always(path, told.append)())["diskulog_up"] == 0
        over.set()
    assert "hangs" in told[0]


def test_once_fails(path):
    with pytest.raises(NoDaemonError):
        collect.once(path)


def test_the_mirror_is_named_by_sysfs(path, tmp_path, monkeypatch):
    monkeypatch.setattr(sysfs, "SYS_BLOCK", tmp_path / "sys")
    mirror = tmp_path / "devices/dm-3"
    (mirror / "dm").mkdir(parents=True)
    (mirror / "dm/name").write_text("home\n")
    (mirror / "dev").write_text("253:3\n")
    for number, name in ((2, "253:2"), (4, "7:0"), (5, "7:1")):
        slave = mirror / f"slaves/dm-{number}"
        slave.mkdir(parents=True)
        (slave / "dev").write_text(f"{name}\n")
    holders = tmp_path / "sys/253:2/holders"
    holders.mkdir(parents=True)
    (holders / "dm-3").symlink_to(mirror)
    with fake_control.serving(path) as daemon:
        daemon.answers = [fake_control.answer(log(), log(uuid="c", log_type="core", log_device=None))]
        found = {family.name: family.samples for family in collect.once(path)}
    names = {dict(sample.labels)["uuid"]: dict(sample.labels)["mirror"] for sample in found["diskulog_log_regions"]}
    assert names == {"UUID-1": "home", "c": ""}


def test_what_the_daemon_really_answers_becomes_metrics():
    """The answer is made by the daemon's own side, of a log that worked."""
    board = Board(memoryview(bytearray(BOARD_BYTES)))
    board.words[WRITTEN_US] = int(time.time() * 1e6)
    words = board.slot(Names(0xFFFF888012345678, b"U", "253:2", "disk"))
    for word, value in ((figures.REGION_SIZE, 1024), (figures.REGION_COUNT, 8), (figures.TARGET_LENGTH, 8192)):
        words[word] = value
    for took_ns in (1000, 5_000_000, 200_000_000_000):
        figures.count_flush(words, took_ns, 1)
    figures.count_request(words, RequestType.FLUSH, 16)
    answers = status.Answers(board, status.About(1, time.time(), 5, 2), time.time, time.monotonic)
    found = families.of_answer(model.answer(answers.status()), lambda _: None, 0.0)
    samples = {
        (family.name + suffix, dict(labels).get("le") or dict(labels).get("request")): value
        for family in found
        for suffix, labels, value in family.samples
    }
    assert samples["diskulog_log_target_size_bytes", None] == 8192 * 512
    assert samples["diskulog_log_marked_regions_total", None] == 2
    assert samples["diskulog_log_requests_total", "FLUSH"] == 1
    assert samples["diskulog_log_flush_latency_seconds_bucket", "+Inf"] == 3
    assert samples["diskulog_log_flush_latency_seconds_count", None] == 3
    assert samples["diskulog_log_flush_latency_seconds_sum", None] == pytest.approx(200.005001)
    series = [value for (name, _), value in samples.items() if name.endswith("_bucket")]
    assert series == sorted(series)
    assert series[0] == 1
    assert prometheus.promtool("check", "metrics", text=exposition.render(found)) == ""
