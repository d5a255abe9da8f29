# SPDX-License-Identifier: LGPL-2.1-or-later
"""A real Prometheus scrapes ``diskulog metrics --listen`` with a fake control socket behind it; rules and dashboard."""

import json
import re
import subprocess
import sys

import pytest

from diskulog.control import model
from diskulog.metrics import families
from tests import fake_control, prometheus, toolbox
from tests.fake_control import log, resyncing

RULES = toolbox.TOP / "conf/prometheus/diskulog.rules.yml"
RULES_TEST = toolbox.TOP / "conf/prometheus/diskulog-rules-test.yml"
DASHBOARD = toolbox.TOP / "conf/grafana/diskulog.json"
METRIC = r"\bdiskulog_\w+"

ANSWER = fake_control.answer(resyncing(uuid="r"), log(uuid="f", health="D", state="failed"), log())
FOUND = families.of_answer(model.answer(json.dumps(ANSWER).encode()), lambda _: None, 0)
NAMES = {family.name + sample.suffix for family in FOUND for sample in family.samples}


def alerts():
    return re.findall(r"- alert: (\w+)", RULES.read_text())


def expressions():
    """Every expression of the dashboard, as Grafana asks it when all hosts and mirrors are chosen."""
    dashboard = json.loads(DASHBOARD.read_text())
    targets = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    found = [*targets, *(each["expr"] for each in dashboard["annotations"]["list"])]
    for name, value in (("$__rate_interval", "1m"), ("$__range", "1h"), ("$instance", ".*"), ("$mirror", ".*")):
        found = [each.replace(name, value) for each in found]
    return found


def test_promtool_finds_no_fault_in_the_rules():
    said = prometheus.promtool("check", "rules", RULES)
    assert f"{len(alerts())} rules found" in said


def test_every_alert_fires_when_it_should_and_not_before():
    assert "SUCCESS" in prometheus.promtool("test", "rules", RULES_TEST, folder=RULES_TEST.parent)
    tested = re.findall(r"alertname: (\w+)\n +eval_time: \w+\n +exp_alerts:( \[\])?", RULES_TEST.read_text())
    for alert in alerts():
        assert {quiet for name, quiet in tested if name == alert} == {"", " []"}, alert


@pytest.mark.parametrize("number", range(len(alerts())), ids=alerts())
def test_an_alert_that_does_not_fire_would_be_seen(tmp_path, number):
    """Each expression in turn is made one that holds never."""
    head, *parts = re.split(r"(?m)^(?=      - alert: )", RULES.read_text())
    parts[number] = re.sub(r"(expr: )(?:\|\n(?: {10}.*\n)+|.*\n)", r"\1vector(1) > 2\n", parts[number])
    (tmp_path / RULES.name).write_text("".join([head, *parts]))
    (tmp_path / RULES_TEST.name).write_text(RULES_TEST.read_text())
    prometheus.promtool("check", "rules", tmp_path / RULES.name)
    with pytest.raises(AssertionError, match=alerts()[number]):
        prometheus.promtool("test", "rules", RULES_TEST.name, folder=tmp_path)


@pytest.mark.parametrize(
    "text", [*expressions(), RULES.read_text(), RULES_TEST.read_text()], ids=lambda text: text[:40]
)
def test_rules_and_dashboard_speak_of_metrics_that_there_are(text):
    assert set(re.findall(METRIC, text)) <= NAMES | set(re.findall(r"diskulog_\w+(?=\.toml)", text))


def test_the_dashboard_is_whole():
    dashboard = json.loads(DASHBOARD.read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    fields = [(panel["gridPos"], panel["title"]) for panel in panels]
    for place, title in fields:
        assert place["x"] + place["w"] <= 24, title
        others = [other for other, name in fields if name != title]
        assert not any(_overlap(place, other) for other in others), title
    assert {each["datasource"]["uid"] for each in panels} == {"${datasource}"}
    assert {each["name"] for each in dashboard["templating"]["list"]} == {"datasource", "instance", "mirror"}
    shown = set(re.findall(METRIC, DASHBOARD.read_text()))
    assert {family.name for family in FOUND} - {name.removesuffix("_bucket") for name in shown} == {
        # of no use as a curve: what alerts are for, and what other panels tell
        "diskulog_build_info",
        "diskulog_collected_timestamp_seconds",
        "diskulog_log_flush_latency_worst_seconds",
        "diskulog_log_recovering",
        "diskulog_log_resync_start_timestamp_seconds",
    }


def _overlap(one, other):
    return all(one[at] < other[at] + other[size] and other[at] < one[at] + one[size] for at, size in ("xw", "yh"))


def test_a_real_prometheus(tmp_path):
    """It scrapes, stores what was served, takes the rules and answers what the dashboard asks; an alert fires."""
    socket_path = tmp_path / "control.sock"
    command = [sys.executable, "-m", "diskulog", "metrics", "--socket", str(socket_path), "--listen", "127.0.0.1:0"]
    prometheus.program("prometheus")
    with fake_control.serving(socket_path) as daemon:
        daemon.answers = [ANSWER]
        with subprocess.Popen(command, cwd=toolbox.TOP, stderr=subprocess.PIPE, text=True) as exporter:
            try:
                target = re.search(r"http://([\d.:]+)/metrics", exporter.stderr.readline())[1]
                with prometheus.running(tmp_path, target, RULES) as server:
                    _look(server)
                    daemon.answering = lambda client, _: client.close()  # the daemon goes away, its metrics stay
                    server.wait_for(lambda: server.query("diskulog_up == 0"))
                    server.wait_for(lambda: server.query("up == 1"))
            finally:
                exporter.terminate()
    assert exporter.returncode == 0


def _look(server):
    server.wait_for(lambda: server.query("diskulog_up == 1"))
    # a scrape that takes more than its second counts as failed, and until the next one nothing has a value
    server.wait_for(lambda: _targets(server) == [("up", "")])
    asked = server.wait_for(lambda: server.query("diskulog_log_in_sync_regions"))
    regions = {each["metric"]["uuid"]: each["value"][1] for each in asked}
    assert regions == {"r": "250", "f": "1000", "UUID-1": "1000"}
    stored = set(server.get("label/__name__/values"))
    assert stored >= NAMES
    metadata = server.wait_for(lambda: server.get("metadata"))
    for family in FOUND:
        # OpenMetrics, which is what a Prometheus asks for, names a counter without its end
        (said,) = metadata.get(family.name) or metadata[family.name.removesuffix("_total")]
        assert (said["type"], said["help"]) == (family.kind, family.help)
    for expression in expressions():
        server.query(expression)
    quantile = "histogram_quantile(0.5, diskulog_log_flush_latency_seconds_bucket{uuid='r'})"
    assert 0 < float(server.wait_for(lambda: server.query(quantile))[0]["value"][1]) < 0.001
    rules = server.wait_for(lambda: _evaluated(server))
    assert {rule["name"] for rule in rules} == set(alerts())
    assert {rule["health"] for rule in rules} == {"ok"}
    (failed,) = server.wait_for(lambda: server.query("ALERTS{alertname='DiskulogLogFailed', alertstate='firing'}"))
    assert (failed["metric"]["uuid"], failed["metric"]["severity"]) == ("f", "critical")


def _targets(server):
    return [(target["health"], target["lastError"]) for target in server.get("targets")["activeTargets"]]


def _evaluated(server):
    rules = server.get("rules")["groups"][0]["rules"]
    fires = server.query("ALERTS{alertname='DiskulogLogFailed', alertstate='firing'}")
    return rules if fires and all(rule["health"] != "unknown" for rule in rules) else None
