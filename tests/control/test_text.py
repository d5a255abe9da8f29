# SPDX-License-Identifier: LGPL-2.1-or-later
import json

import pytest

from diskulog.control import model, text, view
from diskulog.control.mirrors import Mirror
from diskulog.control.resync import Progress, Rates
from diskulog.control.waiting import Waiting
from tests import fake_control
from tests.fake_control import log

NOW = 1_700_000_000.0
HOME = Mirror("home", "253:5", ("7:0", "7:1"), False)
NODES = {"7:0": "/dev/loop0", "253:2": "/dev/dm-2", "253:5": "/dev/dm-5"}


def shown(*logs, mirror=None, **daemon):
    said = model.answer(json.dumps(fake_control.answer(*logs, started_seconds=NOW - 7200, **daemon)).encode())
    return said, view.join(said, lambda _: mirror)


def status(*logs, mirror=None, **daemon):
    said, found = shown(*logs, mirror=mirror, **daemon)
    return "".join(text.status(said, found, view.messages(said, found), NODES.get, NOW))


def test_a_mirror_under_resync():
    resync = {"started_seconds": NOW - 10, "started_in_sync_count": 0}
    known = log(in_sync_count=500, clean_count=490, resync=resync, recovering_region=500, last_flush_seconds=NOW - 3)
    last = {"worker_restarts": 2, "last_worker_end": "signal 9"}
    assert status(known, mirror=HOME, **last) == (
        "diskulog 0.1.0, process 120, up 2.0 h, 2 worker restarts (the last: signal 9), 1 log\n"
        "\n"
        "home: live, 500 of 1000 regions in sync\n"
        "  uuid:       UUID-1\n"
        "  mirror:     /dev/dm-5 (253:5)\n"
        "  legs:       /dev/loop0 (7:0), 7:1\n"
        "  log:        /dev/dm-2 (253:2), disk\n"
        "  regions:    1000 of 512.0 KiB (1024 sectors)\n"
        "  in sync:    500 (50.0 %), 250.0 MiB\n"
        "  clean:      490 (49.0 %), 245.0 MiB\n"
        "  resync:     [##########..........]  50.0 %  250.0 MiB of 500.0 MiB  25.0 MiB/s  10 s left, at region 500\n"
        "  last flush: 2023-11-14 22:13:17 UTC, 3 s ago\n"
        "  flushes:    42, median 200 us, 99th percentile 3.1 ms, worst 1.25 s\n"
        "  marks:      70, clears 60, clears held 5\n"
        "  failures:   0\n"
        "  warning: home: the mirror's table lacks 'handle_errors': if its log fails, the kernel writes on, unlogged; "
        "load its table again with '1 handle_errors' at the end, then suspend and resume it\n"
    )


@pytest.mark.parametrize(
    ("counted", "told"),
    [
        ({"overruns": 0, "unsent_replies": None}, ""),
        ({"overruns": 1, "unsent_replies": 1}, "1 overrun, 1 unsent reply, "),
        ({"overruns": 3, "unsent_replies": 2}, "3 overruns, 2 unsent replies, "),
    ],
)
def test_what_was_lost_on_the_way_is_told(counted, told):
    assert status(**counted) == f"diskulog 0.1.0, process 120, up 2.0 h, 0 worker restarts, {told}0 logs\n"


def test_a_log_of_which_little_is_known():
    none = {"count": 0, "sum": 0.0, "median": None, "p99": None, "worst": None, "buckets": []}
    unknown = dict.fromkeys(("log_device", "clean_count", "in_sync_count", "last_flush_seconds"))
    said = status(
        log(log_type="core", type_word="core", state="inactive", flush_latency_seconds=none, **unknown),
        worker_restarts=1,
    )
    assert ", 1 worker restart, 1 log\n" in said
    assert "\nUUID-1: inactive\n" in said
    assert "  mirror:" not in said
    assert "legs:" not in said
    assert "  log:        in memory, core\n" in said
    assert "  in sync:    not known: the log was not activated yet\n" in said
    assert "  last flush: never\n" in said
    assert "  flushes:    none\n" in said


def test_a_failed_log_is_seen_at_once():
    said = status(log(state="failed", failures=1), mirror=HOME)
    assert "\nhome: FAILED\n" in said
    assert "  error: home: the log device 253:2 has failed" in said


@pytest.mark.parametrize("in_sync", [None, 0, 7])
def test_a_log_of_the_moment_in_which_it_is_made(in_sync):
    resync = {"started_seconds": NOW, "started_in_sync_count": 0} if in_sync else None
    new = log(region_count=0, region_size_sectors=0, target_length_sectors=0, in_sync_count=in_sync, resync=resync)
    assert "  regions:    0 of 0 bytes (0 sectors)\n" in status(new)
    said, found = shown(new)
    assert not found[0].in_sync
    progress = Rates().progress(found[0].log, 0.0, NOW)
    assert list(text.frame(said, [(found[0], progress)], NOW))
    assert list(text.plain([(found[0], progress)], NOW))
    assert len(Waiting().look(said.daemon, found).waiting) == 1


def test_no_logs_and_a_worker_that_hangs():
    assert status(age_seconds=60.0).splitlines() == [
        "diskulog 0.1.0, process 120, up 2.0 h, 0 worker restarts, 0 logs",
        "  warning: the worker's figures are 60 s old: it is busy, or it hangs; look at the daemon's log",
    ]


def test_what_comes_from_outside_moves_no_cursor():
    evil = "a\x1b[2J\nb"
    mirror = Mirror(evil, "253:5", ("7:0", "7:1"), True)
    said, found = shown(log(uuid=evil, state="failed", type_word=evil), mirror=mirror, version=evil)
    pieces = [
        *text.status(said, found, view.messages(said, found), lambda _: evil, NOW),
        *(f"{line}\n" for line in text.frame(said, [(each, None) for each in found], NOW)),
        *(f"{line}\n" for line in text.plain([(each, None) for each in found], NOW)),
        text.complaint(NOW, evil) + "\n",
    ]
    for piece in pieces:
        assert piece.strip("\n").isprintable()
        assert piece.count("\n") <= 2


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.0, "0 us"), (0.000085, "85 us"), (0.001, "1 ms"), (0.01234, "12.3 ms"), (1.0, "1 s"), (95.5, "95.5 s")],
)
def test_short_times(seconds, words):
    assert text.latency(seconds) == words


@pytest.mark.parametrize(
    ("progress", "words"),
    [
        (Progress(0, 100, None, None), "[....................]   0.0 %  0 bytes of 100 bytes  rate not known yet"),
        (Progress(99, 100, 0.0, None), "[###################.]  99.0 %  99 bytes of 100 bytes  standing still"),
        (Progress(101, 100, 1.0, 0), "[####################] 100.0 %  101 bytes of 100 bytes  1 bytes/s  0 s left"),
        (Progress(0, 0, None, None), "[####################]   0.0 %  0 bytes of 0 bytes  rate not known yet"),
        (
            Progress(1, 100, 1e-3, 10**12),
            "[....................]   1.0 %  1 bytes of 100 bytes  0 bytes/s  11574074.1 days left",
        ),
    ],
)
def test_bars(progress, words):
    assert text.bar(progress) == words


def test_a_frame_and_its_plain_lines():
    resync = {"started_seconds": NOW - 10, "started_in_sync_count": 0}
    said, found = shown(
        log(uuid="B", state="suspended"),
        log(uuid="LONG", in_sync_count=500, resync=resync),
        log(uuid="X", state="failed", resync=resync),
    )
    progress = Progress(50, 100, 5.0, 10)
    pairs = [(found[0], None), (found[1], progress), (found[2], progress)]
    assert list(text.frame(said, pairs, NOW)) == [
        "diskulog 0.1.0, process 120, up 2.0 h, 0 worker restarts, 3 logs",
        "B     suspended, in sync",
        "LONG  [##########..........]  50.0 %  50 bytes of 100 bytes  5 bytes/s  10 s left",
        "X     FAILED",
    ]
    assert list(text.plain(pairs, NOW)) == [
        "2023-11-14T22:13:20Z B: suspended, in sync",
        "2023-11-14T22:13:20Z LONG: live, 500 of 1000 regions in sync (50.0 %), 5 bytes/s, 10 s left",
        "2023-11-14T22:13:20Z X: FAILED",
    ]
