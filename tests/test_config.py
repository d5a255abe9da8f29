# SPDX-License-Identifier: LGPL-2.1-or-later
import re
import tomllib
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from diskulog import config
from diskulog.config import Config, load, parse, problems, settings
from diskulog.errors import DeviceError
from diskulog.exits import UsageError

SHIPPED = Path(__file__).parent.parent / "conf" / "diskulog.toml"


@pytest.fixture
def default(tmp_path, monkeypatch):
    path = tmp_path / "default.toml"
    monkeypatch.setattr(config, "DEFAULT_PATH", path)
    return path


def test_the_shipped_file_holds_every_key_with_its_default():
    assert tomllib.loads(SHIPPED.read_text()) == Config().model_dump()


def test_the_shipped_file_explains_every_key():
    lines = SHIPPED.read_text().splitlines()
    for number, line in enumerate(lines):
        if re.match(r"\w+ =", line):
            assert lines[number - 1].startswith("# "), line


def test_the_contract():
    assert Config().model_dump() == {
        "compat": {"clustered_single_host": False},
        "clears": {"hold_seconds": 5.0, "max_held": 4096, "leg_flush_timeout_seconds": 10.0},
        "netlink": {"receive_buffer_bytes": 8388608, "spins": 20},
        "daemon": {"run_directory": "/run/diskulog", "log_level": "info", "worker_timeout_seconds": 10.0},
    }


def test_no_file_means_defaults(default):
    assert load(None, {}) == Config()
    assert load(None, {"DISKULOG_CONFIG": ""}) == Config()


def test_the_order_of_files(default, tmp_path):
    default.write_text("clears.max_held = 1")
    assert load(None, {}).clears.max_held == 1
    (tmp_path / "env").write_text("clears.max_held = 2")
    environ = {"DISKULOG_CONFIG": str(tmp_path / "env")}
    assert load(None, environ).clears.max_held == 2
    (tmp_path / "named").write_text("clears.max_held = 3")
    assert load(tmp_path / "named", environ).clears.max_held == 3


def test_a_named_file_must_exist(default, tmp_path):
    missing = tmp_path / "missing"
    for path, environ in ((missing, {}), (None, {"DISKULOG_CONFIG": str(missing)})):
        with pytest.raises(UsageError, match=r"missing: there is no such file"):
            load(path, environ)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(DeviceError, match=r"configuration .*: Is a directory"):
        load(tmp_path, {})


def test_a_whole_number_is_a_number_of_seconds():
    assert parse(b"[clears]\nhold_seconds = 0", "f").clears.hold_seconds == 0


def test_it_is_frozen():
    with pytest.raises(ValidationError):
        Config().clears.max_held = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("[clears]\nhold = 1", "configuration f: [clears] hold: is not a known key"),
        ("[clear]\nhold = 1", "configuration f: [clear]: is not a known key"),
        ("clears = 3", "configuration f: [clears] = 3: must be a section"),
        (
            "[clears]\nhold_seconds = -1.0",
            "configuration f: [clears] hold_seconds = -1.0: input should be greater than or equal to 0",
        ),
        ("[clears]\nhold_seconds = inf", "configuration f: [clears] hold_seconds = inf: input should be"),
        ("[clears]\nhold_seconds = nan", "configuration f: [clears] hold_seconds = nan: input should be"),
        (
            "[clears]\nleg_flush_timeout_seconds = 0",
            "configuration f: [clears] leg_flush_timeout_seconds = 0: input should be greater than 0",
        ),
        (
            "[clears]\nmax_held = 0",
            "configuration f: [clears] max_held = 0: input should be greater than or equal to 1",
        ),
        ("[clears]\nmax_held = 1.5", "configuration f: [clears] max_held = 1.5: input should be a valid integer"),
        ("[clears]\nmax_held = '5'", "configuration f: [clears] max_held = '5': input should be a valid integer"),
        (
            "[compat]\nclustered_single_host = 'yes'",
            "configuration f: [compat] clustered_single_host = 'yes': input should be a valid boolean",
        ),
        ("[netlink]\nreceive_buffer_bytes = 1", "configuration f: [netlink] receive_buffer_bytes = 1: input should be"),
        ("[daemon]\nlog_level = 'loud'", "configuration f: [daemon] log_level = 'loud': input should be 'info'"),
        ("[daemon]\nrun_directory = 'run'", "configuration f: [daemon] run_directory = 'run': string should match"),
        ("[clears]\nmax_held = []", "configuration f: [clears] max_held: input should be a valid integer"),
        ("[clears]\na = 1\nb = 2\nc = 3", "configuration f: [clears] a: is not a known key; there are "),
        (
            "[clears]\nhol = 1\nb = 2\nc = 3",
            "configuration f: [clears] hol: is not a known key; did you mean hold_seconds? (and 2 more)",
        ),
        ("[clears", "configuration f: is not TOML: "),
    ],
)
def test_one_line_says_what_is_wrong(content, line):
    with pytest.raises(UsageError) as caught:
        parse(content.encode(), "f")
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text():
    with pytest.raises(UsageError, match="is not UTF-8 at byte 1"):
        parse(b"a\xff", "f")


@given(st.binary(max_size=200))
def test_noise_is_refused_or_is_a_configuration_that_says_nothing(noise):
    with suppress(UsageError):
        assert parse(noise, "f") == Config()  # a comment, an empty file


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[clears]\nhold = 1", "[clears] hold: is not a known key; did you mean hold_seconds?"),
        ("[clears]\nhold_secs = 1", "[clears] hold_secs: is not a known key; did you mean hold_seconds?"),
        ("[clear]\nhold = 1", "[clear]: is not a known key; did you mean [clears]?"),
        ("[netlink]\nmax_held = 1", "[netlink] max_held: is not a known key; it belongs in [clears]"),
        ("spins = 1", "[spins]: is not a known key; it belongs in [netlink]"),
        ("[compat]\nx = 1", "[compat] x: is not a known key; there are clustered_single_host"),
        ("[zzz]", "[zzz]: is not a known key; there are [compat], [clears], [netlink], [daemon]"),
    ],
)
def test_an_unknown_key_comes_with_the_nearest_known_one(content, said):
    assert problems(content.encode()) == [said]


def test_all_problems_are_told_and_none_of_what_is_sound():
    assert len(problems(b"[clears]\na = 1\nmax_held = 0\n[zzz]")) == 3
    assert problems(b"") == problems(SHIPPED.read_bytes()) == []
    assert problems(b"\xff") == ["is not UTF-8 at byte 0"]


@pytest.mark.parametrize("setting", list(settings(Config())), ids=lambda setting: setting.key)
def test_every_number_has_a_unit(setting):
    assert (setting.unit is not None) == (type(setting.value) in (int, float))


def test_what_a_file_gives_is_known():
    given = {setting.key for setting in settings(parse(b"clears.max_held = 4096", "f")) if setting.given}
    assert given == {"max_held"}
