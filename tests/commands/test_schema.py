# SPDX-License-Identifier: LGPL-2.1-or-later
"""The schemas fit the JSON closely: a document with a field less, one more, or another kind of value is refused.

That real outputs are what they say is asked wherever a test has one (tests/schemas.py).
"""

import json
import re
import struct
from collections.abc import Iterator

import pytest
from jsonschema import Draft202012Validator

from diskulog.commands import schema
from diskulog.doctor import host as looking
from diskulog.doctor import rules
from diskulog.doctor.facts import Facts
from diskulog.errors import DeviceError
from diskulog.exits import Exit
from diskulog.forensic import dump, findings
from diskulog.ondisk import State
from diskulog.trace.record import End, Heard, Lost
from diskulog.wire import RequestType
from tests import images, schemas
from tests.fake_kernel import CLEAR, FLUSH, IN_SYNC
from tests.traces import heard, write
from tools import commandline

# made of the models that print, which have their tests (control/test_model.py, forensic/test_report.py)
OPEN = {"inspect", "status"}
NAMES = {
    command.name
    for command in commandline.commands()
    if any(option.name == "--schema" for option in command.options) and command.name != "events"
}
CLOSED = sorted(NAMES - OPEN)
LINE = "0 8192 mirror userspace 5 u integrated_flush disk /dev/l 1024 2 /dev/a 0 /dev/b 0 1 handle_errors"
# what a document may have, and need not
OPTIONAL = {
    "trace": {"version"},
    "diff": {"dialect", "state", "region_count", "bit_count", *(name for name, _ in dump.FIELDS)},
    "replay": {"clean", "sync"},
    "inspect": {"format_version", "command"},  # always there, and its schema does not say so
}


def load(name):
    return json.loads(schema.file_of(name).read_text())


# ---- which there are ----


def test_whatever_prints_json_has_a_schema_and_tells_it():
    known = {command.name for command in commandline.commands() if "--json" in {each.name for each in command.options}}
    assert known | {"trace"} == NAMES
    assert {path.name for path in schema.HOME.iterdir()} == {schema.file_of(name).name for name in NAMES} | {
        "event-1.json"
    }


@pytest.mark.parametrize("name", sorted(NAMES))
def test_it_is_printed_and_nothing_else_is_asked_for(run, name):
    assert run(*name.split(), "--schema") == (Exit.FINE, schema.file_of(name).read_text(), "")


@pytest.mark.parametrize("name", CLOSED)
def test_it_is_printed_whatever_else_is_said(run, name, tmp_path):
    more = () if name in ("doctor", "mirror list", "trace") else (tmp_path / "none",)
    assert run(*name.split(), *more, "--schema")[1] == schema.file_of(name).read_text()


def test_one_that_is_not_there_is_one_line(run, monkeypatch, tmp_path):
    monkeypatch.setattr(schema, "HOME", tmp_path)
    status, out, err = run("check", "--schema")
    assert (status, out, err.count("\n")) == (Exit.USAGE, "", 1)
    assert f"{tmp_path}/check-1.json" in err


# ---- how they are made ----


@pytest.mark.parametrize("name", sorted(NAMES))
def test_it_is_a_schema(name):
    Draft202012Validator.check_schema(load(name))


def objects(found) -> Iterator[dict]:
    """List the schemas of objects in a schema, at any depth."""
    if isinstance(found, dict):
        if "properties" in found and isinstance(found.get("type"), str):
            yield found
        for each in found.values():
            yield from objects(each)
    elif isinstance(found, list):
        for each in found:
            yield from objects(each)


@pytest.mark.parametrize("name", CLOSED)
def test_every_object_is_closed_and_every_part_is_used(name):
    document = load(name)
    assert (document["$schema"], document["title"][-4:] in ("ment", "Line")) == (schemas.DIALECT, True)
    of_inspect = set(load("inspect")["$defs"]) | {"InspectDocument"} if name == "replay" else set()
    for part, definition in document["$defs"].items():
        assert f'"#/$defs/{part}"' in json.dumps(document), part
        if part not in of_inspect:
            assert all(each["additionalProperties"] is False for each in objects(definition)), part
            assert all(set(each["required"]) <= set(each["properties"]) for each in objects(definition)), part


def test_what_a_replay_ends_with_is_that_of_inspect():
    inspect, parts = load("inspect"), load("replay")["$defs"]
    assert parts["InspectDocument"] | {"$defs": inspect["$defs"]} == inspect
    assert inspect["$defs"].items() <= parts.items()


def test_the_names_of_requests_are_the_kernels():
    parts = load("trace")["$defs"]
    assert parts["Request"]["properties"]["type"]["anyOf"][0]["enum"] == [kind.name for kind in RequestType]


@pytest.mark.parametrize(("name", "explained"), [("check", findings.EXPLAINED), ("doctor", rules.EXPLAINED)])
def test_every_rule_has_a_name_that_may_be(name, explained):
    pattern = load(name)["$defs"]["Finding"]["properties"]["name"]["pattern"]
    assert all(re.fullmatch(pattern, rule) for rule in explained)


@pytest.mark.parametrize("name", [name for name in CLOSED if name != "trace"])
def test_a_failure_ends_in_any_code_but_two(name):
    failed = load(name)["$defs"]["Failure"]["properties"]["exit_status"]["enum"]
    assert failed == [code for code in Exit if code not in (Exit.FINE, Exit.PROBLEM)]


# ---- real documents, spoilt ----


@pytest.fixture
def real(run, host, path, tmp_path, monkeypatch):
    """What each command prints, as (command, document), failures among it."""
    made = []

    def keep(*words):
        out = run(*words, "--json")[1]
        name = next(name for name in NAMES if f"{' '.join(map(str, words))} ".startswith(f"{name} "))
        made.extend((name, json.loads(each)) for each in (out.splitlines() if name in schemas.LINES else [out]))

    def written(name, data):
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    ours, changed = written("ours", images.diskulog(100, dirty=[5])), written("changed", images.changed())
    kernel, released = written("kernel", images.kernel(100)), written("released", images.diskulog(state=State.RELEASED))
    none = tmp_path / "none"
    for log in (changed, none):
        keep("check", log)
    for log in (ours, kernel, released, none):
        keep("dump", log)
    for both in ((ours, changed), (kernel, ours), (ours, none)):
        keep("diff", *both)

    host.mirror("home", LINE)
    keep("mirror", "list")
    (host.state / "said").write_text("Permission denied")
    keep("mirror", "list")

    config = written("config", b"[clears]\nmax_held = 7\n")
    for file in (config, none):
        keep("config", "show", file)

    legs = [written(name, bytes([number]) * 100 * 512) for number, name in enumerate("ab")]
    sized = written("sized", images.diskulog(50, region_size_sectors=2, target_length_sectors=100))
    keep("verify", sized, *legs)
    keep("verify", none, *legs)

    regions = struct.pack("=2Q", 3, 4)
    records = [
        heard(IN_SYNC, bytes(8), at=0.5),
        heard(FLUSH, regions, at=1.0, version=2),
        heard(FLUSH, regions, at=1.1),
        Lost(1.2, 2),
        heard(CLEAR, regions, at=2.0),
        heard(200, b"", at=2.5),
        Heard(3.0, b"raw"),
        End(60.0, 4, 2),
    ]
    trace = write(tmp_path / "trace", records)
    made.extend(("trace", json.loads(each)) for each in trace.read_text().splitlines())
    keep("replay", trace, ours)
    keep("replay", trace, none)

    for found in (Facts(root=False, suspended=("home",)), None):
        monkeypatch.setattr(looking, "collect", lambda *_, found=found: _found(found))
        keep("doctor")
    return made


def _found(facts):
    if facts is None:
        raise DeviceError("x", OSError(5, "no"))
    return facts


def places(found, way=()) -> Iterator[tuple]:
    """List the ways to every object and list, at any depth, and what is there."""
    if isinstance(found, dict | list):
        yield way, found
        for key, value in found.items() if isinstance(found, dict) else enumerate(found[:3]):
            yield from places(value, (*way, key))


def spoilt(found, way, change):
    copy = json.loads(json.dumps(found))
    at = copy
    for key in way:
        at = at[key]
    change(at)
    return copy


def refused(name, found) -> bool:
    return not schemas.validator(name).is_valid(found)


def test_each_command_and_each_part_of_its_schema_was_met(real):
    assert {name for name, _ in real} == set(CLOSED)
    for name in CLOSED:
        document = load(name)
        forms = {each["$ref"].rpartition("/")[2] for each in document["oneOf"]}
        met = set()
        for form in forms:
            one = Draft202012Validator({"$ref": f"#/$defs/{form}", "$defs": document["$defs"]})
            met |= {form for of, found in real if of == name and one.is_valid(found)}
        assert met == forms, name


def test_a_field_that_is_missing_is_refused(real):
    for name, found in real:
        for way, at in places(found):
            for key in at if isinstance(at, dict) else ():
                whose = "inspect" if way[:1] == ("inspect",) else name
                if key not in OPTIONAL.get(whose, ()):
                    assert refused(name, spoilt(found, way, lambda at, key=key: at.pop(key))), (name, way, key)


def test_a_field_that_was_renamed_or_added_is_refused(real):
    for name, found in real:
        for way, at in places(found):
            if isinstance(at, dict) and way[:1] != ("inspect",):
                assert refused(name, spoilt(found, way, lambda at: at.update(tomorrow=1))), (name, way)
                for key in at:
                    renamed = spoilt(found, way, lambda at, key=key: at.update({f"{key}s": at.pop(key)}))
                    assert refused(name, renamed), (name, way, key)


def test_a_value_of_another_kind_is_refused(real):
    for name, found in real:
        for way, at in places(found):
            for key, value in list(at.items() if isinstance(at, dict) else enumerate(at))[:20]:
                for other in ({"x": 1}, [[]]):
                    if type(other) is not type(value) or isinstance(other, dict):
                        changed = spoilt(found, way, lambda at, key=key, other=other: at.__setitem__(key, other))
                        assert refused(name, changed), (name, way, key, other)


def test_a_number_below_zero_and_a_word_that_nobody_knows_are_refused(real):
    words = {"severity", "kept_by", "dialect", "state", "named_by", "source", "unit", "command"}
    for name, found in real:
        for way, at in places(found):
            for key, value in at.items() if isinstance(at, dict) else ():
                other = -1 if isinstance(value, int) and key not in ("value", "default") else None
                other = "nonsense" if key in words and isinstance(value, str) else other
                if other is not None:
                    changed = spoilt(found, way, lambda at, key=key, other=other: at.__setitem__(key, other))
                    assert refused(name, changed), (name, way, key)
