# SPDX-License-Identifier: LGPL-2.1-or-later
"""A round of held clears: the legs are flushed, then what is left of it is stored and made durable (on-disk rule 4).

Lives here: that order, and what a failure of it means. Does not know when a round is due (``clears``), or requests.
"""

import logging
import math

from diskulog.dirtylog import DirtyLog
from diskulog.errors import NotResumedError
from diskulog.work import Lane, Steps, Work

logger = logging.getLogger("diskulog.log")


def store_clears(log: DirtyLog, last: bool = False, now_seconds: float = math.inf) -> Steps:
    """Flush the legs, then store what is left of the round and make it durable.

    ``last`` leaves the msync to the caller, who closes the log. With ``now_seconds``, what has not been held for long
    is left for another round.
    """
    clears = log.clears
    number = clears.begin_round(now_seconds)
    try:
        if clears.closing:
            yield Work(Lane.LEGS, lambda: _flush_legs(log), clears.policy.leg_flush_timeout_seconds)
    except TimeoutError:
        clears.forget(clears.take_round(number))
    except Exception as error:
        logger.warning(
            "log on %s: legs cannot be flushed, regions stay dirty until a reload: %s", log.args.device, error
        )
        clears.drop()
    stored = _store_clean(log, number)
    if stored and not last:
        yield from _commit(log)
    clears.end_round(number, log.now())
    return b""


def _flush_legs(log: DirtyLog) -> None:
    # on the lane: a cache reports its loss once, also to a round that gave up waiting or has passed
    if not log.live:  # ended or fenced meanwhile: the legs would be opened again
        return
    log.kept.flushing(True)
    try:
        log.store.flush_legs()
    except NotResumedError:
        raise
    except Exception:
        log.clears.disabled = True
        raise
    finally:
        log.kept.flushing(False)


def _store_clean(log: DirtyLog, number: int) -> int:
    if not log.sound:
        return 0
    clean, in_sync, stored = log.store.clean, log.store.in_sync, 0
    taken = log.clears.take_round(number)
    for region in taken:
        if in_sync[region] and not clean[region]:
            clean[region] = 1
            stored += 1
    log.clean_count += stored
    log.clears.forget(taken)  # only now: a worker that dies in between leaves them held
    return stored


def _commit(log: DirtyLog) -> Steps:
    try:
        yield Work(Lane.DEVICE, log.store.commit_all)
    except Exception:
        log.fail()
    return b""
