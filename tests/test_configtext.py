# SPDX-License-Identifier: LGPL-2.1-or-later
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from diskulog import configtext
from diskulog.config import Config, Daemon, File, Named, parse, settings
from tests import schemas

FILE = File(Path("/etc/x.toml"), Named.ARGUMENT)
CHANGED = b'[clears]\nmax_held = 7\n[compat]\nclustered_single_host = true\n[daemon]\nlog_level = "info"\n'


def remarks(text):
    return {line.split(" = ")[0]: line.partition("  # ")[2] for line in text.splitlines() if " = " in line}


def test_each_value_has_its_unit_and_its_origin():
    found = remarks(configtext.as_toml(parse(CHANGED, "x"), FILE))
    assert found["max_held"] == "regions, file (default 4096)"
    assert found["clustered_single_host"] == "file (default false)"
    assert found["hold_seconds"] == "seconds, default"
    assert found["log_level"] == 'file (default "info")'  # given, and the same as the default
    named = File(FILE.path, Named.ENVIRONMENT)
    assert remarks(configtext.as_toml(parse(CHANGED, "x"), named))["max_held"] == (
        "regions, file of DISKULOG_CONFIG (default 4096)"
    )


def test_the_head_says_which_file():
    assert configtext.as_toml(Config(), None).startswith("# no file: every value is the default\n\n[compat]\n")
    assert configtext.as_toml(Config(), FILE).startswith("# /etc/x.toml\n")
    named = configtext.as_toml(Config(), File(Path("/a\nb"), Named.ENVIRONMENT))
    assert named.startswith("# /a\\u000ab, which DISKULOG_CONFIG names\n")


def test_what_is_printed_is_the_configuration():
    for config in (Config(), parse(CHANGED, "x")):
        assert parse(configtext.as_toml(config, FILE).encode(), "shown") == config


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_any_text_comes_back_and_moves_no_cursor(name):
    config = Config(daemon=Daemon(run_directory=f"/{name}"))
    shown = configtext.as_toml(config, FILE)
    assert parse(shown.encode(), "shown") == config
    assert all(char.isprintable() or char == "\n" for char in shown)


def test_json():
    document = schemas.document(configtext.as_json(parse(CHANGED, "x"), File(FILE.path, Named.ENVIRONMENT)))
    assert (document["format_version"], document["command"], document["exit_status"]) == (1, "config show", 0)
    assert document["file"] == {"path": "/etc/x.toml", "named_by": "environment"}
    values = {each["key"]: each for each in document["values"]}
    assert values["max_held"] == {
        "section": "clears",
        "key": "max_held",
        "value": 7,
        "unit": "regions",
        "default": 4096,
        "source": "environment",
    }
    assert values["spins"]["source"] == "default"
    assert [each["key"] for each in document["values"]] == [each.key for each in settings(Config())]
    alone = schemas.document(configtext.as_json(Config(), None))
    assert alone["file"] is None
    assert {each["source"] for each in alone["values"]} == {"default"}
