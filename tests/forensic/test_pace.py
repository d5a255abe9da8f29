# SPDX-License-Identifier: LGPL-2.1-or-later
import os
import signal

import pytest

from diskulog.forensic.pace import Pace
from diskulog.forensic.verify import Stopped


class Time:
    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def time():
    return Time()


def test_a_rate_is_kept(time):
    pace = Pace(1000, time.clock, time.sleep)
    for _ in range(10):
        pace.passed(500)
    assert time.now == pytest.approx(105.0)
    assert max(time.slept) <= 0.1


def test_time_that_was_lost_is_not_made_up_for(time):
    pace = Pace(1000, time.clock, time.sleep)
    time.now += 60
    pace.passed(2000)
    assert time.now == pytest.approx(162.0)
    time.now += 1.5  # the reading itself took longer than it may
    began = time.now
    pace.passed(1000)
    assert time.now - began == pytest.approx(1.0)


def test_without_a_rate_it_does_not_sleep(time):
    pace = Pace(None, time.clock, time.sleep)
    pace.passed(10**12)
    assert time.slept == []
    assert pace.now() == 100.0


def test_a_pause_ends_soon_after_a_stop(time):
    pace = Pace(None, time.clock, time.sleep)

    def stop(seconds):
        time.now += seconds
        pace.stopped = True

    pace._sleep = stop
    with pytest.raises(Stopped):
        pace.pause(60)
    assert time.now == pytest.approx(100.1)
    with pytest.raises(Stopped):
        pace.passed(1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_and_a_second_one_does_what_it_always_did(number, time):
    seen = []
    before = signal.signal(number, lambda *_: seen.append("before"))
    try:
        pace = Pace(None, time.clock, time.sleep)
        with pace.watching():
            pace.passed(1)
            os.kill(os.getpid(), number)
            with pytest.raises(Stopped):
                pace.passed(1)
            assert seen == []
            os.kill(os.getpid(), number)
            assert seen == ["before"]
        os.kill(os.getpid(), number)
        assert seen == ["before", "before"]
    finally:
        signal.signal(number, before)


def test_a_signal_that_is_ignored_stays_so(time):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in a script's background
    try:
        pace = Pace(None, time.clock, time.sleep)
        with pace.watching():
            os.kill(os.getpid(), signal.SIGINT)
            pace.passed(1)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_afterwards_signals_are_as_they_were(time):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(ZeroDivisionError), Pace(None, time.clock, time.sleep).watching():
        raise ZeroDivisionError
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
