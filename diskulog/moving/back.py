# SPDX-License-Identifier: LGPL-2.1-or-later
"""The way back when a step of a move failed, and what the failure is told as.

Lives here: which table goes on, and what is undone for that. Does not know how the steps are done.
"""

import errno as errnos
from contextlib import suppress

from bitarray import bitarray

from diskulog.errors import DeviceError, DiskulogError, RefusedError
from diskulog.moving import logs, under_way
from diskulog.moving.plan import Step
from diskulog.moving.table import WHO
from diskulog.moving.under_way import Job


def after_failure(job: Job, step: Step) -> str:
    """Go back to the old table as far as that can be, and say how the mirror stands."""
    if step is Step.CONFIRM:
        return "the new table is in use"
    try:
        if step in (Step.CLEAR, Step.PREPARE) and not job.doors.mapper.info(job.name).suspended:
            return "the mirror was not touched"
        return _go_back(job)
    except DiskulogError as error:
        return f"and the mirror could not be brought back ({error}): try again, or 'dmsetup resume {job.name}'"


def _go_back(job: Job) -> str:
    mapper, plan = job.doors.mapper, job.plan
    live, info = under_way.live(job), mapper.info(job.name)
    if live.same_as(plan.new):  # it changed hands before it failed
        if info.suspended:
            mapper.resume(job.name)
        return "the new table is in use"
    if not live.same_as(plan.old):
        if info.has_inactive and under_way.waits(job).same_as(plan.new):
            mapper.clear(job.name)
        if info.suspended:  # by us
            mapper.resume(job.name)
        return "the mirror goes on with what somebody else gave it"
    if Step.RESTORE in plan.steps and info.suspended and not job.retirement:
        logs.restore(job.name, job.old_node, plan.old)
    if job.retirement:
        with suppress(DiskulogError):  # a log that failed, or one of diskulog's, which writes its extension itself
            logs.retire(job.retirement, undo=True)
    if info.has_inactive:
        mapper.clear(job.name)
    if info.suspended:
        mapper.resume(job.name)
    if not plan.same_device:
        with suppress(DiskulogError):  # what was copied there grows old from now on
            logs.store(job.name, job.new_node, plan.new, bitarray(plan.new.region_count, endian="little"))
    return f"the mirror goes on with {WHO[plan.old.log.kind]} {under_way.where(plan.old.log)} as before"


def failure(name: str, cause: BaseException, outcome: str) -> DiskulogError:
    """Return what to raise for a step that failed; ``outcome`` says how the mirror stands."""
    text = "interrupted" if isinstance(cause, KeyboardInterrupt) else str(cause)
    text = text.removeprefix(f"{name}: ")
    if isinstance(cause, (RefusedError, KeyboardInterrupt)):
        return RefusedError(name, text, outcome)
    number = getattr(cause, "errno", None) or errnos.EIO
    return DeviceError(f"{name}: {text}", OSError(number, outcome))
