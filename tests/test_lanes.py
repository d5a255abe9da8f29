# SPDX-License-Identifier: LGPL-2.1-or-later
import logging
import threading
from collections.abc import Iterator

import pytest

from diskulog.lanes import Lanes
from diskulog.work import Lane, Work

PATIENCE = 30.0  # how long a test waits for a thread before it fails; no test needs it
ONE, TWO = b"LVM-uuid-one", b"LVM-uuid-two"


class Bench:
    """Lanes with a clock that the test turns, and what came back from them."""

    def __init__(self) -> None:
        self.now = 0.0
        self.woken = threading.Semaphore(0)
        self.lanes = Lanes(lambda: self.now, self.woken.release)
        self.results: list[tuple[object, BaseException | None]] = []

    def submit(self, run, lane: Lane = Lane.DEVICE, uuid: bytes = ONE, timeout: float | None = None) -> Work:
        work = Work(lane, run, timeout, [lambda value, error: self.results.append((value, error))])
        self.lanes.submit(uuid, work)
        return work

    def collect(self, count: int) -> list[object]:
        """Collect until so many results are here; the values, in order."""
        while len(self.results) < count:
            assert self.woken.acquire(timeout=PATIENCE), "no work came back"
            self.lanes.collect()
        return [value for value, _ in self.results]

    def threads(self) -> set[str]:
        return {thread.name for thread in threading.enumerate() if thread.name.startswith(("device-", "legs-"))}

    def close(self) -> None:
        running = [thread for thread in threading.enumerate() if thread.name.startswith(("device-", "legs-"))]
        self.lanes.close()
        for thread in running:
            thread.join(PATIENCE)
        assert self.threads() == set(), "a thread is left"


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


def test_work_of_a_lane_runs_in_order_on_one_thread(bench):
    seen = []
    for number in range(50):
        bench.submit(lambda number=number: seen.append(threading.current_thread().name) or number)
    assert bench.collect(50) == list(range(50))
    assert set(seen) == {"device-uuid-one"}


def test_lanes_and_uuids_do_not_wait_for_each_other(bench):
    gate = threading.Event()
    bench.submit(lambda: gate.wait(PATIENCE) and "slow")
    bench.submit(lambda: "other lane", Lane.LEGS)
    assert bench.collect(1) == ["other lane"]
    bench.submit(lambda: "other uuid", uuid=TWO)
    assert bench.collect(2) == ["other lane", "other uuid"]
    gate.set()
    assert bench.collect(3)[-1] == "slow"


def test_results_come_back_on_the_thread_that_collects(bench):
    threads = []
    work = Work(Lane.DEVICE, lambda: 1, waiters=[lambda *_: threads.append(threading.current_thread())])
    bench.lanes.submit(ONE, work)
    bench.submit(lambda: 2)
    bench.collect(1)
    assert threads == [threading.current_thread()]


@pytest.mark.parametrize("failure", [ValueError("v"), OSError(5, "e"), SystemExit(3), KeyboardInterrupt()])
def test_whatever_goes_wrong_reaches_the_one_who_waits_and_the_thread_lives_on(bench, failure):
    def run():
        raise failure

    bench.submit(run)
    bench.submit(lambda: "next")
    bench.collect(2)
    assert bench.results == [(None, failure), ("next", None)]


def test_everybody_who_waits_for_the_same_work_gets_its_result_once_and_in_order(bench):
    calls = []
    work = Work(Lane.DEVICE, lambda: "x", waiters=[lambda *a, n=n: calls.append((n, a)) for n in range(3)])
    bench.lanes.submit(ONE, work)
    bench.submit(lambda: None)
    bench.collect(1)
    assert calls == [(n, ("x", None)) for n in range(3)]
    work.finish("again", None)
    assert len(calls) == 3


def test_a_thread_that_cannot_be_started_is_tried_again_with_the_next_work(bench, monkeypatch):
    def fails(_):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fails)
        with pytest.raises(RuntimeError):
            bench.submit(lambda: "lost", timeout=5.0)
    assert not bench.lanes.deadlines
    bench.submit(lambda: "next")
    assert bench.collect(1) == ["next"]


def test_collecting_when_nothing_came_does_nothing(bench):
    bench.lanes.collect()
    bench.lanes.end_overdue(bench.now)
    assert bench.results == []
    assert not bench.lanes.deadlines


class TestTimeLimits:
    @pytest.fixture
    def stuck(self, bench) -> Iterator[threading.Event]:
        """Work that takes until the event is set, with a limit of 10 s; it is running."""
        gate, running = threading.Event(), threading.Event()

        def run():
            running.set()
            gate.wait(PATIENCE)
            return "late"

        bench.submit(run, Lane.LEGS, timeout=10.0)
        assert running.wait(PATIENCE)
        yield gate
        gate.set()

    def test_before_its_limit_work_is_left_alone(self, bench, stuck):
        assert bench.lanes.deadlines
        bench.now = 9.99
        bench.lanes.collect()
        bench.lanes.end_overdue(bench.now)
        assert bench.results == []

    def test_at_its_limit_the_waiters_get_a_timeout_and_the_late_result_is_dropped(self, bench, stuck, caplog):
        bench.now = 10.0
        with caplog.at_level(logging.WARNING, "diskulog.lanes"):
            bench.lanes.collect()
            bench.lanes.end_overdue(bench.now)
        assert [type(error) for _, error in bench.results] == [TimeoutError]
        assert [record.message for record in caplog.records] == ["a flush of a mirror's legs takes longer than 10.0 s"]
        assert not bench.lanes.deadlines
        stuck.set()
        bench.submit(lambda: "next", Lane.LEGS)
        assert bench.collect(2) == [None, "next"]

    def test_work_that_nobody_waits_for_any_more_is_not_begun(self, bench, stuck):
        begun = []
        bench.submit(lambda: begun.append("queued"), Lane.LEGS, timeout=5.0)
        bench.now = 5.0
        bench.lanes.collect()
        bench.lanes.end_overdue(bench.now)
        assert [type(error) for _, error in bench.results] == [TimeoutError]
        stuck.set()
        bench.submit(lambda: "after", Lane.LEGS)
        assert bench.collect(3)[-2:] == ["late", "after"]
        assert begun == []

    def test_the_earliest_limit_is_the_next_one_and_what_has_ended_has_none(self, bench, stuck):
        bench.submit(lambda: "quick", timeout=3.0)
        assert bench.lanes.deadlines
        bench.collect(1)
        assert bench.lanes.deadlines
        bench.now = 4.0
        bench.lanes.collect()
        bench.lanes.end_overdue(bench.now)
        assert len(bench.results) == 1

    def test_equal_limits_end_in_the_order_of_submission(self, bench, stuck):
        ends = []
        for number in range(3):
            work = Work(Lane.LEGS, lambda: None, 10.0, [lambda *_, number=number: ends.append(number)])
            bench.lanes.submit(ONE, work)
        bench.now = 10.0
        bench.lanes.collect()
        bench.lanes.end_overdue(bench.now)
        assert ends == [0, 1, 2]


class TestEnd:
    def test_threads_begin_with_their_first_work_and_end_when_their_uuid_retires(self, bench):
        assert bench.threads() == set()
        for lane in Lane:
            bench.submit(lambda: None, lane)
        bench.submit(lambda: None, uuid=TWO)
        bench.collect(3)
        assert bench.threads() == {"device-uuid-one", "legs-uuid-one", "device-uuid-two"}
        ending = [thread for thread in threading.enumerate() if thread.name.endswith("one")]
        bench.lanes.retire(ONE)
        for thread in ending:
            thread.join(PATIENCE)
        assert bench.threads() == {"device-uuid-two"}

    def test_a_uuid_that_comes_again_gets_a_thread_again(self, bench):
        bench.submit(lambda: 1)
        bench.collect(1)
        bench.lanes.retire(ONE)
        bench.lanes.retire(ONE)
        bench.submit(lambda: 2)
        assert bench.collect(2) == [1, 2]

    def test_work_that_is_queued_is_done_before_the_thread_ends(self, bench):
        for number in range(5):
            bench.submit(lambda number=number: number)
        bench.lanes.close()
        assert bench.collect(5) == list(range(5))
