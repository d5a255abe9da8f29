# SPDX-License-Identifier: LGPL-2.1-or-later
from diskulog.work import Lane, Work, wait


def test_work_is_submitted_once_however_many_wait():
    submitted, ends = [], []
    work = Work(Lane.DEVICE, lambda: None)
    for number in range(3):
        wait(
            lambda uuid, given: submitted.append((uuid, given)),
            b"uuid",
            work,
            lambda *end, number=number: ends.append((number, *end)),
        )
    assert submitted == [(b"uuid", work)]
    work.finish("value", None)
    work.finish("late", None)
    assert ends == [(0, "value", None), (1, "value", None), (2, "value", None)]


def test_work_that_cannot_be_submitted_ends_for_the_one_who_waits():
    failure, ends = RuntimeError("can't start new thread"), []

    def submit(uuid, work):
        raise failure

    wait(submit, b"uuid", Work(Lane.LEGS, lambda: None), lambda *end: ends.append(end))
    assert ends == [(None, failure)]


def test_two_works_are_never_equal():
    assert Work(Lane.LEGS, print) != Work(Lane.LEGS, print)
