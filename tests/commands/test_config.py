# SPDX-License-Identifier: LGPL-2.1-or-later
"""``diskulog config check`` and ``config show``."""

import json
import tomllib

import pytest

from diskulog import config
from diskulog.config import Config
from diskulog.exits import Exit


@pytest.fixture(autouse=True)
def default(tmp_path, monkeypatch):
    """Put the default file, and nothing else that is on this machine, in a place of its own."""
    found = tmp_path / "default.toml"
    monkeypatch.setattr(config, "DEFAULT_PATH", found)
    monkeypatch.delenv(config.ENVIRONMENT_VARIABLE, raising=False)
    return found


def test_no_file_is_no_problem(run, default):
    assert run("config", "check") == (0, f"{default}: is not there, so that every value is the default\n", "")
    status, out, err = run("config", "show")
    assert (status, err) == (0, "")
    assert tomllib.loads(out) == Config().model_dump()


def test_the_files_are_those_that_serve_reads(run, default, path, monkeypatch):
    default.write_text("clears.max_held = 1")
    path.write_text("clears.max_held = 2")
    assert "max_held = 1 " in run("config", "show")[1]
    assert run("config", "check")[1] == f"{default}: nothing is wrong with it\n"
    monkeypatch.setenv(config.ENVIRONMENT_VARIABLE, str(path))
    assert "regions, file of DISKULOG_CONFIG" in run("config", "show")[1]
    document = json.loads(run("config", "show", "--json")[1])
    assert document["file"] == {"path": str(path), "named_by": "environment"}
    assert "max_held = 1 " in run("config", "show", default)[1]


def test_everything_that_is_wrong_is_said(run, path):
    path.write_text("[clears]\nhold = 1\nmax_held = 0\nspins = 3\n[clear]\n")
    status, out, err = run("config", "check", path)
    assert (status, err) == (Exit.PROBLEM, "")
    assert sorted(out.splitlines()) == [
        f"{path}: [clear]: is not a known key; did you mean [clears]?",
        f"{path}: [clears] hold: is not a known key; did you mean hold_seconds?",
        f"{path}: [clears] max_held = 0: input should be greater than or equal to 1",
        f"{path}: [clears] spins: is not a known key; it belongs in [netlink]",
    ]
    status, out, err = run("config", "show", path)
    assert (status, out) == (Exit.USAGE, "")
    assert err.startswith(f"diskulog: configuration {path}: [clears] ")
    assert err.endswith(" (and 3 more)\n")


@pytest.mark.parametrize("content", [b"[clears", b"\xff", b'"a\\u0007\\nb" = 1', b"x = " + b"[" * 100000])
def test_noise_is_one_line_for_each_thing(run, path, content):
    path.write_bytes(content)
    status, out, err = run("config", "check", path)
    assert (status, err) == (Exit.PROBLEM, "")
    assert out.startswith(f"{path}: ")
    assert out.count("\n") == 1
    assert "\a" not in out


@pytest.mark.parametrize("words", [("check",), ("show",), ("show", "--json")])
def test_files_that_are_not_there_or_cannot_be_read(run, tmp_path, words):
    for name, said in (("none", "there is no such file"), ("", "Is a directory")):
        status, out, err = run("config", *words, tmp_path / name)
        assert status != Exit.FINE
        assert said in err
        assert (json.loads(out)["exit_status"] == status) if "--json" in words else (out == "")
