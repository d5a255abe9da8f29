# SPDX-License-Identifier: LGPL-2.1-or-later
"""One msync for many FLUSHes, and never for a mark that was stored after it began (on-disk rules 2 and 5)."""

from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskulog.durability import Durability
from diskulog.work import Lane, Work, wait
from tests.fake_host import io_error


class Msyncs:
    """Collects works; each runs and ends when the test says so."""

    def __init__(self) -> None:
        self.committed: list[tuple[int, int]] = []
        self.works: list[Work] = []
        self.fails: BaseException | None = None
        self.marks = Durability(self._commit)

    def _commit(self, first: int, last: int) -> None:
        self.committed.append((first, last))
        if self.fails:
            raise self.fails

    def flush(self) -> dict[str, Any]:
        """Wait for durability, as a FLUSH does; the outcome appears under "result" when it is there."""
        outcome: dict[str, Any] = {}
        steps: Generator[Work, Any, bool] = self.marks.until_durable()

        def advance(value: Any, error: BaseException | None) -> None:
            try:
                work = steps.send(value) if error is None else steps.throw(error)
            except StopIteration as end:
                outcome["result"] = end.value
            except BaseException as failure:
                outcome["result"] = failure
            else:
                wait(lambda _, work: self.works.append(work), b"", work, advance)

        advance(None, None)
        return outcome

    def end_one(self) -> None:
        work = self.works.pop(0)
        try:
            work.finish(work.run(), None)
        except BaseException as error:
            work.finish(None, error)


@pytest.fixture
def msyncs() -> Msyncs:
    return Msyncs()


def test_nothing_stored_is_durable_at_once(msyncs):
    assert not msyncs.marks.pending
    assert msyncs.flush() == {"result": True}
    assert msyncs.works == []


def test_a_stored_mark_waits_for_one_msync_of_its_range(msyncs):
    for region in (9, 4, 7):
        msyncs.marks.stored(region)
    flush = msyncs.flush()
    assert flush == {}
    assert msyncs.works[0].lane is Lane.DEVICE
    msyncs.end_one()
    assert flush == {"result": True}
    assert msyncs.committed == [(4, 9)]
    assert not msyncs.marks.pending


def test_those_who_wait_for_the_same_marks_share_an_msync(msyncs):
    msyncs.marks.stored(1)
    flushes = [msyncs.flush() for _ in range(3)]
    assert len(msyncs.works) == 1
    msyncs.end_one()
    assert flushes == [{"result": True}] * 3
    assert msyncs.works == []


def test_an_msync_under_way_does_not_answer_marks_stored_after_it_began(msyncs):
    msyncs.marks.stored(1)
    first = msyncs.flush()
    msyncs.marks.stored(2)
    second = msyncs.flush()
    msyncs.end_one()
    assert first == {"result": True}
    assert second == {}
    assert msyncs.marks.pending
    msyncs.end_one()
    assert second == {"result": True}
    assert msyncs.committed == [(1, 1), (2, 2)]


def test_a_failed_msync_fails_everybody_and_every_later_flush_that_needs_one(msyncs):
    msyncs.marks.stored(1)
    first = msyncs.flush()
    msyncs.marks.stored(2)
    second = msyncs.flush()
    msyncs.fails = io_error()
    msyncs.end_one()
    assert first == second == {"result": False}
    msyncs.fails = None
    assert msyncs.flush() == {"result": False}
    assert msyncs.works == []


def test_an_msync_that_broke_is_a_failed_one(msyncs):
    msyncs.marks.stored(1)
    flush = msyncs.flush()
    msyncs.fails = ValueError("a bug")
    msyncs.end_one()
    assert isinstance(flush["result"], ValueError)
    assert msyncs.marks.pending
    assert msyncs.flush() == {"result": False}


def test_a_failure_from_outside_is_not_healed_by_the_msync_under_way(msyncs):
    msyncs.marks.stored(1)
    flush = msyncs.flush()
    msyncs.marks.fail()
    msyncs.end_one()
    assert flush == {"result": False}
    assert msyncs.marks.pending


def test_a_resume_begins_anew(msyncs):
    msyncs.marks.stored(1)
    flush = msyncs.flush()
    msyncs.fails = io_error()
    msyncs.end_one()
    assert flush == {"result": False}
    msyncs.fails = None
    msyncs.marks.all_durable()
    assert not msyncs.marks.pending
    msyncs.marks.stored(5)
    flush = msyncs.flush()
    msyncs.end_one()
    assert flush == {"result": True}
    assert msyncs.committed[-1] == (5, 5)


@given(st.lists(st.sampled_from(["store", "flush", "end"]), max_size=40))
def test_a_flush_is_answered_only_by_msyncs_that_began_after_its_marks(steps):
    msyncs = Msyncs()
    stored = 0
    covered = 0  # the marks that a finished msync covers
    began: list[int] = []
    flushes: list[tuple[int, dict[str, Any]]] = []

    def note_new_works() -> None:
        while len(began) < len(msyncs.works):
            began.append(stored)

    for step in steps:
        if step == "store":
            stored += 1
            msyncs.marks.stored(stored)
        elif step == "flush":
            flushes.append((stored, msyncs.flush()))
        elif msyncs.works:
            covered = began.pop(0)
            msyncs.end_one()
        note_new_works()
        assert len(msyncs.works) <= 1
        for wanted, outcome in flushes:
            assert (outcome == {"result": True}) == (wanted <= covered)
