# SPDX-License-Identifier: LGPL-2.1-or-later
import json

import pytest

from diskulog.commands import doctor as module
from diskulog.control import client
from diskulog.doctor import host as looking
from diskulog.doctor.facts import Facts, FailedLog
from diskulog.errors import DeviceError
from diskulog.exits import Exit
from diskulog.neighbours import Neighbour

WELL = Facts(neighbours=(Neighbour(30, "diskulog", True),))


@pytest.fixture
def facts(monkeypatch):
    """What is found; a test puts something else there."""
    seen = {"facts": WELL, "problem": None}

    def collect(config, problem, ask):
        seen["problem"] = problem
        seen["ask"] = ask
        return seen["facts"]

    monkeypatch.setattr(looking, "collect", collect)
    return seen


def test_a_host_that_is_well(run, facts):
    assert run("doctor") == (0, "this host: nothing is wrong\n", "")
    found = json.loads(run("doctor", "--json")[1])
    assert found == {"format_version": 1, "command": "doctor", "exit_status": 0, "findings": []}


def test_findings_have_a_meaning_and_a_remedy(run, facts):
    facts["facts"] = Facts(neighbours=WELL.neighbours, failed_logs=(FailedLog("u", "8:0"),))
    status, out, err = run("doctor")
    assert (status, err) == (Exit.PROBLEM, "")
    assert out.startswith("this host: something is wrong\n\nerror: log-failed: the log of u on 8:0 failed\n  means: ")
    assert "\n  do:    Replace the device" in out
    status, out, _ = run("doctor", "--json")
    (found,) = json.loads(out)["findings"]
    assert (status, sorted(found)) == (1, ["meaning", "name", "remedy", "severity", "text"])


def test_a_configuration_that_cannot_be_read_is_a_finding(run, facts, path):
    path.write_text("nonsense = 1")
    run("doctor", "--config", path)
    assert "nonsense" in facts["problem"]
    path.write_text("")
    run("doctor", "--config", path)
    assert facts["problem"] is None


def test_the_daemon_is_asked_over_its_socket(monkeypatch, path):
    monkeypatch.setattr(client, "status", lambda asked: {path: b'{"logs": []}'}[asked])
    assert module._ask(path) == {"logs": []}
    monkeypatch.setattr(client, "status", lambda _: b"[]")
    assert module._ask(path) == {}


def test_what_cannot_be_looked_at_is_one_line_and_a_document(run, monkeypatch):
    def fail(*_):
        raise DeviceError("x", OSError(5, "no"))

    monkeypatch.setattr(looking, "collect", fail)
    status, out, err = run("doctor", "--json")
    assert (status, err.count("\n"), json.loads(out)["exit_status"]) == (5, 1, 5)
