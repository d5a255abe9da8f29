# SPDX-License-Identifier: LGPL-2.1-or-later
"""Carries a plan out.

Lives here: the steps as calls, and that nothing disturbs a mirror that is suspended. Decides nothing, prints nothing,
and does not know what is undone when a step fails.
"""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from diskulog import process
from diskulog.errors import DiskulogError, RefusedError
from diskulog.exits import NoDaemonError
from diskulog.moving import back, logs, look, under_way
from diskulog.moving.look import Doors
from diskulog.moving.plan import AT_EASE, Plan, Step
from diskulog.moving.situation import GOOD
from diskulog.moving.table import Kind, Table
from diskulog.moving.under_way import Job

_PAUSE_SECONDS: Final = 0.02
_REST_SECONDS: Final = 10.0
_CONFIRM_SECONDS: Final = 30.0
_POSTPONED: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP)


def perform(plan: Plan, doors: Doors) -> tuple[str, ...]:
    """Carry out a plan, and return what is worth a word.

    Raises:
        RefusedError, DeviceError: a step failed; the message says what became of the mirror.
    """
    job, step = Job(plan, doors), plan.steps[0]
    with process.needing_no_io(), _postponed(_POSTPONED):
        try:
            for step in plan.steps:
                with _postponed((signal.SIGINT,) if step not in AT_EASE else ()):
                    _DO[step](job)
        except (Exception, KeyboardInterrupt) as cause:
            with _postponed((signal.SIGINT,)):
                outcome = back.after_failure(job, step)
            raise back.failure(plan.name, cause, outcome) from cause
    return tuple(job.notes)


@contextmanager
def _postponed(numbers: tuple[signal.Signals, ...]) -> Iterator[None]:
    """Let signals wait: whoever goes away now would leave the mirror suspended."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# -- the steps ---------------------------------------------------------------------------------------------------------


def _clear(job: Job) -> None:
    job.doors.mapper.clear(job.name)


def _restore(job: Job) -> None:
    under_way.check_suspended(job)
    logs.restore(job.name, job.old_node, job.plan.old)


def _prepare(job: Job) -> None:
    if job.plan.new.log.kind is Kind.DISKULOG:
        job.doors.load_module()
    logs.prepare(job.new_node, job.plan.new)


def _load(job: Job) -> None:
    # without what is true only while the mirror is suspended: whoever resumes it, some day, would take it for true then
    _load_line(job, job.plan.new.lasting())


def _load_line(job: Job, new: Table) -> None:
    job.doors.mapper.load(job.name, new.line.text(), read_only=job.plan.read_only)


def _suspend(job: Job) -> None:
    job.doors.mapper.suspend(job.name)
    under_way.check_suspended(job)
    under_way.check_unchanged(job)
    # a new table knows nothing of a leg that failed since the mirror was looked at, and might copy from it
    legs = look.status(job.doors.mapper, job.name).legs
    if {*legs} != {GOOD}:
        raise RefusedError(job.name, f"a leg failed meanwhile (the kernel says {legs})", "replace the leg first")


def _settle(job: Job) -> None:
    # The kernel's mirror may still write its log after the suspend, from a thread that nobody waits for: the clears of
    # what fell idle last. Such a write behind the back of the next log would undo marks. When all that is in sync is
    # clean on the medium there is nothing left to clear.
    end = time.monotonic() + _REST_SECONDS
    before = None
    while True:
        bits = logs.clean_regions(job.name, job.old_node, job.plan.old)
        in_sync_count = look.status(job.doors.mapper, job.name).in_sync_count
        at_rest = bits.count() == in_sync_count
        if at_rest and bits == before:
            job.bits = bits
            return
        if time.monotonic() > end:
            reason = f"its log does not come to rest: {in_sync_count} regions are in sync, {bits.count()} are clean"
            raise RefusedError(job.name, reason, "look at the kernel's messages (dmesg)")
        before = bits if at_rest else None
        time.sleep(_PAUSE_SECONDS)


def _closed(job: Job) -> None:
    job.bits = logs.clean_regions(job.name, job.old_node, job.plan.old)


def _agree(job: Job) -> None:
    # nothing is written now, and what was has reached all legs or made its region out of sync
    stands, plan = look.status(job.doors.mapper, job.name), job.plan
    under_way.check_suspended(job)
    under_way.check_unchanged(job)
    if {*stands.legs} != {GOOD}:
        raise RefusedError(job.name, f"is not as it was any more (legs {stands.legs})", "try again")
    if plan.new.log.options:
        if stands.in_sync_count != plan.old.region_count:
            reason = f"{stands.in_sync_count} of {plan.old.region_count} regions are in sync now"
            raise RefusedError(job.name, reason, "try again")
        _load_line(job, plan.new)


def _copy(job: Job) -> None:
    assert job.bits is not None
    under_way.check_suspended(job)
    logs.store(job.name, job.new_node, job.plan.new, job.bits)


def _release(job: Job) -> None:
    under_way.check_suspended(job)
    logs.release(job.name, job.old_node, job.plan.old, job.plan.new)


def _retire(job: Job) -> None:
    under_way.check_suspended(job)
    try:
        job.retirement = logs.retirement(job.name, job.old_node, job.plan.old)
        logs.retire(job.retirement)
    except DiskulogError as cause:
        if not job.plan.failed:
            raise
        job.notes.append(
            f"the old log on {job.plan.old.log.device} could not be taken out of use ({cause}): "
            "never activate the mirror with it again, for what it calls clean is old; overwrite it when it works again"
        )


def _resume(job: Job) -> None:
    if not under_way.waits(job).same_as(job.plan.new):
        raise RefusedError(job.name, "another table than ours waits for the resume", "try again")
    job.doors.mapper.resume(job.name)


def _confirm(job: Job) -> None:
    end = time.monotonic() + _CONFIRM_SECONDS
    while (state := _state(job)) != "live":
        if state == "failed" or time.monotonic() > end:
            raise RefusedError(
                job.name,
                f"its new log {under_way.where(job.plan.new.log)} is {state}",
                f"look at the daemon's log or dmesg; 'diskulog replace-log {job.name} NEWDEV' gives it another one",
            )
        time.sleep(_PAUSE_SECONDS)


def _state(job: Job) -> str:
    new = job.plan.new.log
    if new.kind is Kind.KERNEL:
        return "live" if look.status(job.doors.mapper, job.name).log_letter == GOOD else "failed"
    try:
        served = job.doors.served()
    except NoDaemonError:  # it starts again
        return "not seen, for no daemon answers"
    found = [each for each in served if (each.uuid, each.number) == (new.uuid, new.number or None)]
    if any(each.failed for each in found):
        return "failed"
    return "live" if any(each.state == "live" for each in found) else "not live yet"


_DO: Final[dict[Step, Callable[[Job], None]]] = {
    Step.CLEAR: _clear,
    Step.RESTORE: _restore,
    Step.PREPARE: _prepare,
    Step.LOAD: _load,
    Step.SUSPEND: _suspend,
    Step.SETTLE: _settle,
    Step.CLOSED: _closed,
    Step.COPY: _copy,
    Step.AGREE: _agree,
    Step.RELEASE: _release,
    Step.RETIRE: _retire,
    Step.RESUME: _resume,
    Step.CONFIRM: _confirm,
}
