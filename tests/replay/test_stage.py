# SPDX-License-Identifier: LGPL-2.1-or-later
import pytest

from diskulog.replay.stage import PlayedKept, PlayedLanes, PlayedLatch, PlayedMirror
from diskulog.work import Lane, Work


def test_lanes_run_in_order_with_what_follows():
    lanes, seen = PlayedLanes(), []

    def then(value, error):
        seen.append((value, error))
        if len(seen) == 1:
            lanes.submit(b"u", Work(Lane.LEGS, lambda: "second", waiters=[then]))

    failure = ValueError("no")

    def fails():
        raise failure

    lanes.submit(b"u", Work(Lane.DEVICE, lambda: "first", waiters=[then]))
    lanes.submit(b"u", Work(Lane.DEVICE, fails, waiters=[then]))
    assert seen == []
    lanes.run()
    assert seen == [("first", None), (None, failure), ("second", None)]


def test_an_interruption_is_not_a_works_result():
    lanes = PlayedLanes()

    def interrupted():
        raise KeyboardInterrupt

    lanes.submit(b"u", Work(Lane.DEVICE, interrupted))
    with pytest.raises(KeyboardInterrupt):
        lanes.run()


def test_a_latch_remembers():
    latch = PlayedLatch()
    assert not latch.is_set()
    latch.set()
    assert latch.is_set()
    latch.clear()
    assert not latch.is_set()


def test_no_clear_is_kept():
    kept = PlayedKept(5)
    assert (len(kept.begin()), kept.begin().count()) == (5, 0)
    assert kept.resume() == (kept.begin(), 0)
    kept.flushing(True)
    kept.remove()


def test_the_mirror_is_suspended_unless_a_resume_may_have_been_lost():
    mirror = PlayedMirror()
    mirror.look()
    mirror.flush_legs()
    assert mirror.held()
    assert mirror.suspended()
    mirror.unheard = True
    assert not mirror.suspended()
    mirror.close()
    assert mirror.suspended()
