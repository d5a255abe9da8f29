# SPDX-License-Identifier: LGPL-2.1-or-later
"""``status`` against a socket of a test's making."""

import json
from pathlib import Path

import pytest

from diskulog.control import client, mirrors, model
from diskulog.control.mirrors import Mirror
from diskulog.exits import Exit
from tests import fake_control
from tests.fake_control import log, resyncing


@pytest.fixture
def status(run, socket_path):
    return lambda *words: run("status", "--socket", socket_path, *words)


@pytest.fixture(autouse=True)
def home(monkeypatch):
    """The mirror of the log UUID-1, without a look at this machine's sysfs."""
    found = {"UUID-1": Mirror("home", "253:5", ("7:0", "7:1"), False)}
    monkeypatch.setattr(mirrors, "mirror_of", lambda uuid, device, known: found.get(uuid))
    monkeypatch.setattr(mirrors, "found_tables", tuple)


def one_line(err):
    assert err.startswith("diskulog: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    return err


def test_the_text(status, daemon):
    daemon.answers = [fake_control.answer(log(), resyncing(uuid="other"))]
    code, out, err = status()
    assert (code, err) == (Exit.FINE, "")
    assert out.startswith("diskulog 0.1.0, process 120, up 2.0 h, 0 worker restarts, 2 logs\n")
    assert "\nhome: live, in sync\n" in out
    assert "  warning: home: the mirror's table lacks 'handle_errors'" in out
    assert "\nother: live, 250 of 1000 regions in sync\n" in out
    assert "[#####...............]  25.0 %" in out


@pytest.mark.parametrize("word", ["home", "UUID-1", "253:5"])
def test_one_mirror(status, daemon, word):
    daemon.answers = [fake_control.answer(log(), log(uuid="other", log_device="8:1"))]
    code, out, _ = status(word)
    assert (code, "\nhome:" in out, "\nother:" in out) == (Exit.FINE, True, False)
    assert ", 2 logs\n" in out


def test_a_mirror_that_there_is_not(status, daemon):
    daemon.answers = [fake_control.answer(log())]
    code, out, err = status("work")
    assert (code, out) == (Exit.USAGE, "")
    assert one_line(err) == "diskulog: work: no mirror, uuid or log device that the daemon serves; it serves: home\n"


def test_the_json(status, daemon):
    daemon.answers = [fake_control.answer(log())]
    code, out, err = status("--json", "home")
    document = json.loads(out)
    assert (code, err, out.count("\n")) == (Exit.FINE, "", 1)
    assert list(document) == ["format_version", "command", "exit_status", "daemon", "logs", "messages"]
    assert (document["format_version"], document["command"], document["exit_status"]) == (1, "status", 0)
    assert document["daemon"] == fake_control.DAEMON
    ((shown,), (message,)) = document["logs"], document["messages"]
    assert {name: shown[name] for name in fake_control.LOG} == fake_control.LOG
    assert (shown["mirror"], [leg["device"] for leg in shown["legs"]]) == ("home", ["7:0", "7:1"])
    assert (message["severity"], message["luid"]) == ("warning", shown["luid"])


def test_a_failed_log_is_1(status, daemon):
    daemon.answers = [fake_control.answer(log(state="failed", health="D"))]
    code, out, _ = status()
    assert (code, "error: home: the log device 253:2 has failed" in out) == (Exit.PROBLEM, True)
    code, out, _ = status("--json")
    assert (code, json.loads(out)["exit_status"]) == (Exit.PROBLEM, Exit.PROBLEM)


def sent(data):
    return lambda peer, _: peer.sendall(data)


@pytest.mark.parametrize(
    ("answering", "code", "words"),
    [
        (sent(b""), Exit.NO_DAEMON, "closed it without an answer"),
        (sent(b'{"format_version": 1'), Exit.NO_DAEMON, "went away in the middle"),
        (sent(b"nonsense\n"), Exit.IO_ERROR, "no answer of a diskulog daemon"),
        (
            sent(b'{"format_version": 7, "x": [\x31]}\n'),
            Exit.NOT_A_LOG,
            "answers in format 7, and this diskulog knows 1",
        ),
        (sent(b'{"error": "too many \\u001b[2J"}\n'), Exit.REFUSED, r"too many \x1b[2J"),
        (sent(b" " * (1 << 21)), Exit.IO_ERROR, "longer than 1048576 bytes"),
    ],
    ids=["nothing", "half", "nonsense", "future", "refusal", "huge"],
)
def test_a_daemon_that_answers_otherwise(status, daemon, monkeypatch, answering, code, words):
    monkeypatch.setattr(client, "MAX_LINE_BYTES", 1 << 20)
    daemon.answering = answering
    found, out, err = status()
    assert (found, out) == (code, "")
    assert words in one_line(err)
    found, out, err = status("--json")
    document = json.loads(out)
    assert (found, document["exit_status"], document["daemon"], document["logs"]) == (code, code, None, [])
    assert words in document["messages"][0]["text"] or "\x1b" in document["messages"][0]["text"]
    assert "\x1b" not in out + err


def test_without_a_daemon(status, socket_path):
    code, out, err = status()
    assert (code, out) == (Exit.NO_DAEMON, "")
    assert one_line(err).startswith(f"diskulog: no daemon: there is no control socket {socket_path}; start it ")


def test_the_socket_is_where_the_configuration_says(run, daemon, tmp_path, monkeypatch):
    config = tmp_path / "diskulog.toml"
    config.write_text(f'[daemon]\nrun_directory = "{tmp_path}"\n')
    monkeypatch.setenv("DISKULOG_CONFIG", str(config))
    assert run("status")[0] == Exit.FINE
    config.write_text("nonsense = 1\n")
    assert run("status")[0] == Exit.USAGE
    assert run("status", "--socket", daemon.path)[0] == Exit.FINE  # it is not even read
    monkeypatch.delenv("DISKULOG_CONFIG")
    monkeypatch.setattr("diskulog.config.DEFAULT_PATH", Path("/nonexistent/diskulog.toml"))
    assert "control socket /run/diskulog/control.sock" in run("status")[2]


def test_the_schema_needs_no_daemon(run):
    code, out, err = run("status", "--schema")
    assert (code, err) == (Exit.FINE, "")
    assert out == (Path(model.__file__).parent.parent / "schema" / "status-1.json").read_text()


@pytest.mark.parametrize("words", [("--nonsense",), ("--socket",), ("--socket", "x" * 200)])
def test_usage_errors_are_one_line_and_2(run, words):
    code, _, err = run("status", *words)
    assert code == Exit.USAGE
    one_line(err)
