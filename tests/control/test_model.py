# SPDX-License-Identifier: LGPL-2.1-or-later
import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskulog.control import model
from diskulog.errors import DeviceError, DiskulogError, RefusedError
from diskulog.exits import Exit, UnknownVersionError, exit_for
from tests import fake_control
from tests.fake_control import EVENT, log

SCHEMAS = Path(model.__file__).parent.parent / "schema"


def read(document):
    return model.answer(json.dumps(document).encode())


def test_an_answer_is_read_and_additions_are_passed_over():
    found = read(fake_control.answer(log(tomorrow=1), later=[]) | {"more": {}})
    assert found.daemon.pid == 120
    assert found.logs[0].flush_latency_seconds.buckets == [(0.001, 40), (2.0, 42)]
    assert found.logs[0].requests["IN_SYNC"] == 4711
    nothing = log(log_type="core", log_device=None, clean_count=None, in_sync_count=None, last_flush_seconds=None)
    assert read(fake_control.answer(nothing, worker_pid=None, age_seconds=None)).logs[0].clean_count is None


def test_an_older_daemon_that_counts_no_replies_is_read():
    document = fake_control.answer()
    del document["daemon"]["unsent_replies"]
    assert read(document).daemon.unsent_replies is None


@pytest.mark.parametrize("version", [2, 99, 0])
def test_another_version_is_3_whatever_else_it_says(version):
    for rest in (fake_control.answer(), {}):
        with pytest.raises(UnknownVersionError, match=f"answers in format {version}, and this diskulog knows 1") as bad:
            read(rest | {"format_version": version})
        assert exit_for(bad.value) == Exit.NOT_A_LOG


def test_a_refusal_is_4_with_its_sentence():
    with pytest.raises(RefusedError, match="the daemon refuses: 16 clients are the most; try again") as failed:
        model.answer(b'{"error": "16 clients are the most"}')
    assert exit_for(failed.value) == Exit.REFUSED
    with pytest.raises(RefusedError):
        model.event(b'{"error": "no"}')


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"nonsense",
        b"[]",
        b"null",
        b"{}",
        b"\xff\xfe",
        b'{"format_version": "1"}',
        b"[" * 100_000,
        b'{"a": ' * 10_000,
        b"9" * 10_000,
        b'{"error": 5}',
    ],
    ids=lambda line: line[:24].decode("latin-1"),
)
def test_nonsense_is_5_in_one_line(line):
    for reading in (model.answer, model.event):
        with pytest.raises(DeviceError, match="no answer of a diskulog daemon: ") as failed:
            reading(line)
        assert exit_for(failed.value) == Exit.IO_ERROR
        assert "\n" not in str(failed.value)
        assert len(str(failed.value)) < 300


@pytest.mark.parametrize(
    "change",
    [
        {"log_device": "../../etc"},
        {"log_device": "253:2/.."},
        {"region_size_sectors": -1},
        {"region_count": -1},
        {"region_count": "1000"},
        {"in_sync_count": -1},
        {"state": "well"},
        {"last_flush_seconds": float("nan")},
        {"uuid": None},
        {"requests": {"FLUSH": 1.5}},
    ],
    ids=str,
)
def test_what_cannot_be_of_a_log_is_refused_and_named(change):
    with pytest.raises(DeviceError, match=rf"no answer of a diskulog daemon: logs\.0\.{next(iter(change))}"):
        read(fake_control.answer(log(**change)))


@given(st.binary(max_size=200))
def test_no_bytes_are_a_surprise(line):
    for reading in (model.answer, model.event):
        with suppress(DiskulogError):
            reading(line)


def test_an_event_keeps_what_it_has_more():
    found = model.event(json.dumps(EVENT | {"event": "lost", "count": 5}).encode())
    assert json.loads(model.render(found)) == EVENT | {"event": "lost", "count": 5}


def test_what_is_printed_is_one_line_of_ascii():
    shown = model.render(model.event(json.dumps(EVENT | {"text": "a\x1b[2J\n\x7f\x9b\u202e"}).encode()))
    assert shown.isascii()
    assert shown.isprintable()
    assert json.loads(shown)["text"] == "a\x1b[2J\n\x7f\x9b\u202e"


@pytest.mark.parametrize(("name", "made"), [("status", model.status_schema), ("event", model.event_schema)])
def test_the_published_schema_is_the_model(name, made):
    assert (SCHEMAS / f"{name}-1.json").read_text() == made() + "\n"
