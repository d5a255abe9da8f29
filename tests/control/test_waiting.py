# SPDX-License-Identifier: LGPL-2.1-or-later
import json

import pytest

from diskulog.control import model, view
from diskulog.control.waiting import Verdict, Waiting
from tests import fake_control
from tests.fake_control import log, resyncing

DONE = Verdict((), ())


@pytest.fixture
def waiting():
    """A function that lets one look at logs."""
    made = Waiting()

    def look(*logs, **daemon):
        said = model.answer(json.dumps(fake_control.answer(*logs, **daemon)).encode())
        return made.look(said.daemon, view.join(said, lambda _: None))

    return look


def test_what_is_in_sync_is_not_waited_for(waiting):
    assert waiting() == DONE
    assert waiting(log(uuid="A"), log(uuid="B", state="suspended")) == DONE


def test_what_is_not_says_how_far_it_is(waiting):
    assert waiting(resyncing(250, uuid="A"), log(uuid="B")) == Verdict((), ("A (250 of 1000 regions, 25.0 %)",))
    assert waiting(resyncing(999, uuid="A", state="suspended")).waiting == (
        "A (999 of 1000 regions, 99.9 %, suspended)",
    )
    assert waiting(log(uuid="A", state="inactive", in_sync_count=None)).waiting == ("A (inactive)",)


@pytest.mark.parametrize("broken", [{"state": "failed"}, {"health": "D"}])
def test_a_log_that_fails_ends_it(waiting, broken):
    assert waiting(log(uuid="A", **broken), resyncing(uuid="B")).failed == ("A: its log has failed",)


def test_a_table_that_waits_to_be_resumed_is_not_waited_for(waiting):
    to_come = log(uuid="A", luid="0x9", state="inactive", in_sync_count=None)
    assert waiting(log(uuid="A"), to_come) == DONE
    assert waiting(log(uuid="A", state="failed"), to_come).failed == ("A: its log has failed",)


def test_a_mirror_that_goes_away_before_it_is_in_sync_ends_it(waiting):
    waiting(resyncing(uuid="A"), log(uuid="B"))
    assert waiting() == Verdict(("A: went away",), ())


def test_a_mirror_that_goes_away_when_it_is_in_sync_does_not(waiting):
    waiting(resyncing(uuid="A"), resyncing(uuid="B"))
    waiting(resyncing(uuid="A"), log(uuid="B"))
    assert waiting(log(uuid="A")) == DONE


def test_a_reload_is_no_going_away(waiting):
    waiting(resyncing(uuid="A", luid="0x1"))
    assert waiting(log(uuid="A", luid="0x2")) == DONE


def test_a_daemon_that_was_started_anew_is_given_time(waiting):
    waiting(resyncing(uuid="A"), log(uuid="B"))
    for _ in range(2):
        assert waiting(pid=999) == Verdict((), ("A (not heard of since the daemon was restarted)",))
    assert waiting(resyncing(uuid="A"), pid=999).failed == ()
    assert waiting(pid=999).failed == ("A: went away",)
    assert waiting(log(uuid="C"), pid=999).failed == ("A: went away",)
