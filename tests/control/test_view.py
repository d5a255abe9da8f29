# SPDX-License-Identifier: LGPL-2.1-or-later
import json

import pytest

from diskulog.control import model, view
from diskulog.control.mirrors import Mirror
from diskulog.exits import Exit, UsageError
from tests import fake_control
from tests.fake_control import log

HOME = Mirror("home", "253:5", ("7:0", "7:1"), True)


def answer(*logs, **daemon):
    return model.answer(json.dumps(fake_control.answer(*logs, **daemon)).encode())


def joined(*logs, **mirrors):
    """Join logs with mirrors by uuid."""
    return view.join(answer(*logs), lambda known: mirrors.get(known.uuid))


def titles(found):
    return [shown.title for shown in found]


def messages(shown, **daemon):
    return [(each.severity, each.text) for each in view.messages(answer(**daemon), shown)]


def test_logs_come_by_the_name_of_their_mirror_the_active_table_first():
    logs = [
        log(uuid="Z"),
        log(uuid="U", luid="0x1", state="inactive", in_sync_count=None),
        log(uuid="U", luid="0x2"),
        log(uuid="A", log_type="core", log_device=None),
    ]
    found = joined(*logs, U=HOME)
    assert titles(found) == ["A", "Z", "home", "home"]
    assert [shown.log.luid for shown in found[2:]] == ["0x2", "0x1"]


@pytest.mark.parametrize("word", ["home", "/dev/mapper/home", "U", "253:5", "253:2", "/dev/its-log", "/dev/its-mirror"])
def test_a_log_is_chosen_by_any_of_its_names(word):
    numbers = {"/dev/its-log": "253:2", "/dev/its-mirror": "253:5"}
    found = joined(log(uuid="U"), log(uuid="V", log_device="253:9"), U=HOME)
    assert titles(view.chosen(found, [word], numbers.get)) == ["home"]


def test_all_are_chosen_where_none_is_named_and_several_may_be():
    found = joined(log(uuid="U"), log(uuid="V", log_device="253:9"), log(uuid="W", log_type="core", log_device=None))
    assert view.chosen(found, [], {}.get) == found
    assert titles(view.chosen(found, ["W", "V"], {}.get)) == ["V", "W"]


@pytest.mark.parametrize(("logs", "known"), [((), "none"), ((log(uuid="U"), log(uuid="V")), "U, V")])
def test_a_word_that_means_none_is_2(logs, known):
    with pytest.raises(
        UsageError, match=f"x: no mirror, uuid or log device that the daemon serves; it serves: {known}"
    ):
        view.chosen(joined(*logs), ["x"], {"x": "1:1"}.get)


def test_a_core_log_is_not_meant_by_what_is_no_device():
    with pytest.raises(UsageError):
        view.chosen(joined(log(uuid="U", log_type="core", log_device=None)), ["x"], {}.get)


def test_nothing_is_said_of_what_is_well():
    assert messages(joined(log(uuid="U"), log(uuid="V"), U=HOME)) == []


def test_a_failed_log_is_an_error_with_what_to_do():
    for broken in ({"state": "failed"}, {"health": "D"}):
        ((severity, text),) = messages(joined(log(uuid="U", **broken), U=HOME))
        assert severity == "error"
        assert text.startswith("home: the log device 253:2 has failed, and the mirror's writes wait; ")
        assert "'diskulog replace-log home NEWDEV'" in text


def test_a_mirror_without_handle_errors_is_warned_of():
    lacking = Mirror("home", "253:5", ("7:0", "7:1"), False)
    ((severity, text),) = messages(joined(log(uuid="U"), U=lacking))
    assert severity == "warning"
    assert "lacks 'handle_errors'" in text
    assert "'1 handle_errors'" in text
    failed, _ = messages(joined(log(uuid="U", state="failed"), U=lacking))
    assert "the kernel writes on, unlogged;" in failed[1]
    unknown = Mirror("home", "253:5", ("7:0", "7:1"), None)
    assert messages(joined(log(uuid="U"), U=unknown)) == []


def test_a_worker_that_hangs_or_is_not_there_is_warned_of():
    assert messages([], age_seconds=10.0) == []
    ((severity, text),) = messages([], age_seconds=35.2)
    assert (severity, text[:38]) == ("warning", "the worker's figures are 35 s old: it ")
    ((severity, text),) = messages([], worker_pid=None)
    assert (severity, text[:28]) == ("warning", "no worker runs just now: req")


def test_an_error_alone_makes_the_code_1():
    found = joined(log(uuid="U", state="failed"))
    told = view.messages(answer(), found)
    assert view.exit_status(told) == Exit.PROBLEM
    assert view.exit_status([message.model_copy(update={"severity": "warning"}) for message in told]) == Exit.FINE


def test_the_document_has_the_answer_and_what_this_host_knows():
    said = answer(log(uuid="U"))
    found = view.join(said, lambda _: HOME)
    document = json.loads(model.render(view.document(said, found, [], {"7:0": "/dev/loop0", "253:2": "/dev/dm-2"}.get)))
    assert (document["format_version"], document["command"], document["exit_status"]) == (1, "status", 0)
    assert document["daemon"] == json.loads(said.daemon.model_dump_json())
    (shown,) = document["logs"]
    assert shown == json.loads(said.logs[0].model_dump_json()) | {
        "mirror": "home",
        "mirror_device": "253:5",
        "log_node": "/dev/dm-2",
        "legs": [{"device": "7:0", "node": "/dev/loop0"}, {"device": "7:1", "node": None}],
        "handle_errors": True,
    }
