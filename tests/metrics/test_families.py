# SPDX-License-Identifier: LGPL-2.1-or-later
import json
import re

import pytest

from diskulog.control import model
from diskulog.metrics import families
from tests import fake_control, toolbox
from tests.fake_control import LOG, log

NOW = 1700000000.5
LABELS = (("uuid", "UUID-1"), ("mirror", "home"), ("log_device", "253:2"))


def metrics(*logs, mirror="home", **daemon):
    """Return every sample: name with suffix and labels -> value."""
    answer = model.answer(json.dumps(fake_control.answer(*logs, **daemon)).encode())
    found = {}
    for family in families.of_answer(answer, lambda _: mirror, NOW):
        for suffix, labels, value in family.samples:
            key = (family.name + suffix, labels)
            assert key not in found, "twice: Prometheus would refuse all of it"
            found[key] = value
    return found


def of_log(found, name, *more):
    return found.get((f"diskulog_log_{name}", (*LABELS, *more)))


def test_the_daemon():
    counts = {"overruns": 3, "unsent_replies": 6, "foreign_datagrams": 4, "unreadable_requests": 5}
    found = metrics(worker_restarts=2, started_seconds=7.5, **counts)
    assert found == {
        ("diskulog_up", ()): 1,
        ("diskulog_collected_timestamp_seconds", ()): NOW,
        ("diskulog_build_info", (("version", "0.1.0"),)): 1,
        ("diskulog_start_time_seconds", ()): 7.5,
        ("diskulog_worker_restarts_total", ()): 2,
        ("diskulog_status_age_seconds", ()): 0.05,
        ("diskulog_overruns_total", ()): 3,
        ("diskulog_unsent_replies_total", ()): 6,
        ("diskulog_foreign_datagrams_total", ()): 4,
        ("diskulog_unreadable_requests_total", ()): 5,
    }


def test_no_daemon():
    found = {family.name: family.samples[0].value for family in families.of_nobody(NOW)}
    assert found == {"diskulog_up": 0, "diskulog_collected_timestamp_seconds": NOW}


def test_a_log():
    found = metrics(log(recovering_region=0, resync={"started_seconds": 9.5, "started_in_sync_count": 3}, failures=6))
    for name, value in {
        "failed": 0,
        "target_size_bytes": 1024000 * 512,
        "region_size_bytes": 1024 * 512,
        "regions": 1000,
        "clean_regions": 990,
        "in_sync_regions": 1000,
        "recovering": 1,  # region 0 is one too
        "resync_start_timestamp_seconds": 9.5,
        "last_flush_timestamp_seconds": LOG["last_flush_seconds"],
        "flush_latency_worst_seconds": 1.25,
        "marked_regions_total": 70,
        "cleared_regions_total": 60,
        "held_clears": 5,
        "failures_total": 6,
    }.items():
        assert of_log(found, name) == value, name
    assert of_log(found, "info", ("log_type", "disk"), ("type_word", "disk")) == 1
    states = {state: of_log(found, "state", ("state", state)) for state in ("inactive", "live", "suspended", "failed")}
    assert states == {"inactive": 0, "live": 1, "suspended": 0, "failed": 0}
    assert of_log(found, "requests_total", ("request", "FLUSH")) == 50


def test_every_figure_of_the_answer_is_a_metric():
    """A number that changes changes a metric; the list says which need not."""
    without = {
        "luid", "median", "p99", "count", "sum", "buckets", "started_in_sync_count",  # computed by Prometheus
    }  # fmt: skip
    base = log(recovering_region=1, resync={"started_seconds": 9.5, "started_in_sync_count": 3})
    before = metrics(base)
    changed = {
        "log_type": "core",
        "state": "suspended",
        "health": "D",
        "log_device": "253:3",
        "recovering_region": None,
    }
    for key, value in base.items():
        if key not in without and not isinstance(value, dict):
            other = changed.get(key, f"{value}x" if isinstance(value, str) else (value or 0) + 1)
            assert metrics(base | {key: other}) != before, key
    for key in ("worker_restarts", "started_seconds", "age_seconds", "overruns", "unsent_replies"):
        assert metrics(base, **{key: 77}) != before


def test_an_older_daemon_does_not_tell_of_replies():
    assert ("diskulog_unsent_replies_total", ()) not in metrics(unsent_replies=None)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"clean_count": None}, "clean_regions"),
        ({"in_sync_count": None}, "in_sync_regions"),
        ({"resync": None}, "resync_start_timestamp_seconds"),
        ({"last_flush_seconds": None}, "last_flush_timestamp_seconds"),
        ({"flush_latency_seconds": LOG["flush_latency_seconds"] | {"worst": None}}, "flush_latency_worst_seconds"),
    ],
)
def test_what_is_not_known_is_left_out(changes, name):
    assert of_log(metrics(log(**changes)), name) is None


@pytest.mark.parametrize(("changes", "failed"), [({"health": "D"}, 1), ({"state": "failed"}, 1), ({}, 0)])
def test_a_failed_log_is_seen_by_either_word(changes, failed):
    assert of_log(metrics(log(**changes)), "failed") == failed


def test_a_core_log_and_a_mirror_that_is_not_known():
    found = metrics(log(log_type="core", type_word="core", log_device=None), mirror=None)
    labels = (("uuid", "UUID-1"), ("mirror", ""), ("log_device", ""))
    assert found["diskulog_log_regions", labels] == 1000


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize(
    ("shown", "hidden"),
    [
        ({"state": "live"}, {"state": "inactive"}),
        ({"state": "live"}, {"state": "suspended"}),
        ({"state": "suspended"}, {"state": "inactive"}),
        ({"state": "failed"}, {"state": "live"}),
        ({"state": "live", "health": "D"}, {"state": "suspended"}),
    ],
)
def test_of_two_tables_of_one_mirror_one_is_shown(shown, hidden, first):
    """While a table is replaced the daemon has two logs with one uuid, and no label tells them apart."""
    logs = [log(luid="0x1", marked_regions=1, **shown), log(luid="0x2", marked_regions=2, **hidden)]
    assert of_log(metrics(*(logs if first else reversed(logs))), "marked_regions_total") == 1


def buckets(latency):
    found = metrics(log(flush_latency_seconds=latency))
    series = {dict(labels)["le"]: value for (name, labels), value in found.items() if name.endswith("_seconds_bucket")}
    return series, of_log(found, "flush_latency_seconds_count"), of_log(found, "flush_latency_seconds_sum")


def test_the_histogram():
    known = LOG["flush_latency_seconds"]
    assert buckets(known) == ({"0.001": 40, "2.0": 42, "+Inf": 42}, 42, 0.1)
    assert buckets(known | {"buckets": []}) == ({"+Inf": 42}, 42, 0.1)
    nothing = {"count": 0, "sum": 0.0, "median": None, "p99": None, "worst": None, "buckets": [[0.001, 0]]}
    assert buckets(nothing) == ({"0.001": 0, "+Inf": 0}, 0, 0)


def test_a_histogram_never_falls():
    """Its figures were read while they changed."""
    known = LOG["flush_latency_seconds"] | {"count": 7, "buckets": [[2.0, 9], [0.001, 8], [1.0, 6]]}
    assert buckets(known) == ({"0.001": 8, "1.0": 8, "2.0": 9, "+Inf": 9}, 9, 0.1)


def test_names_and_units_are_those_of_the_conventions():
    answer = model.answer(json.dumps(fake_control.answer(fake_control.resyncing())).encode())
    every = families.of_answer(answer, lambda _: None, NOW)
    assert len({family.name for family in every}) == len(every)
    for family in every:
        assert re.fullmatch(r"diskulog_[a-z_]+", family.name)
        assert (family.kind == "counter") == family.name.endswith("_total"), family.name
        assert family.help.endswith(".")
        assert "\n" not in family.help
        assert "\\" not in family.help


def test_the_man_page_has_every_metric_and_no_other():
    answer = model.answer(json.dumps(fake_control.answer(fake_control.resyncing())).encode())
    page = (toolbox.TOP / "docs/man/diskulog-metrics.8.rst").read_text()
    named = re.findall(r"``(diskulog_\w+)``", page.partition("The metrics\n")[2].partition("EXIT STATUS")[0])
    assert sorted(named) == sorted(family.name for family in families.of_answer(answer, lambda _: None, NOW))
