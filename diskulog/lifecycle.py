# SPDX-License-Identifier: LGPL-2.1-or-later
"""How a log comes to life and ends: CTR, RESUME, PRESUSPEND, POSTSUSPEND, DTR, and what a restart makes of them.

Lives here: which luid of a uuid is live, activation against reconnection, fencing. Does not know the wire, or how a
store keeps its promise.
"""

import logging
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import cast

from diskulog import ctr
from diskulog.ctr import CtrArgs
from diskulog.dirtylog import DirtyLog, Phase
from diskulog.errors import LogFailedError, RefusedError
from diskulog.logstore import Kept, LogStore, NoStore, Opening, Store
from diskulog.rounds import store_clears
from diskulog.work import Lane, Steps, Work
from diskulog.world import Entry, World

logger = logging.getLogger("diskulog.log")

# A reconnected log whose string cannot be parsed is blind; every region is then in range, so "in sync".
_UNKNOWN = CtrArgs(2**62, "core", "core", None, 2)


def construct(world: World, entry: Entry, data: bytes) -> Steps:
    """Answer a first CTR: open and judge the log device, touch nothing, name the device to dm.

    Raises:
        RefusedError: with the argument, the reason and the remedy.
        DeviceError: the device cannot be opened or read.
    """
    args = ctr.parse(data, clustered_single_host=world.clustered_single_host)
    if not entry.uuid:
        raise RefusedError("uuid", "is empty", "give the mirror's log a uuid")
    opening = Opening(args, entry.uuid, entry.luid, False, world.log_devices())
    entry.kept = world.keep(opening)
    store: Store = yield Work(Lane.DEVICE, partial(_open_new, world, opening, entry.kept))
    entry.store = store
    entry.log = DirtyLog(args, store, entry.kept, world.policy, world.now)
    logger.info(
        "log %s: constructed, %s%s, %d regions of %d sectors",
        entry.name,
        args.type_word,
        f" on {args.device}" if args.device else "",
        args.region_count,
        args.region_size_sectors,
    )
    return f"{store.device_number}\0".encode() if store.device_number else b""


def reconnect(world: World, entry: Entry, data: bytes) -> Steps:
    """Answer a NUL CTR, the kernel's way to meet a new daemon or one that was deaf: always success, nothing touched."""
    entry.reconnecting = True
    if entry.log is not None:
        return b""
    entry.fresh, entry.unresumed = False, True
    opening = Opening(_UNKNOWN, entry.uuid, entry.luid, True, world.log_devices())
    try:
        # it was accepted once, so whether this host is alone is no question any more
        opening = replace(opening, args=ctr.parse(data, clustered_single_host=True))
        entry.store = yield Work(Lane.DEVICE, partial(world.open_store, opening))
    except Exception as error:  # also a bug: an error here becomes "not in sync" for the caller
        logger.error("log %s: cannot be taken over, its mirror's writes will fail: %s", entry.name, error)  # noqa: TRY400
    entry.kept = world.keep(opening)
    store = entry.store or cast(LogStore, NoStore())
    entry.log = DirtyLog(opening.args, store, entry.kept, world.policy, world.now)
    logger.info("log %s: met again after a restart", entry.name)
    return b""


def take_over(world: World, entry: Entry, data: bytes) -> Steps:
    """Meet a log again that a dead worker kept: what the kernel's own reconnection does, without the kernel."""
    yield from reconnect(world, entry, data)
    yield from _reconnected(world, entry)
    # the kernel knows of no restart: its next RESUME is dm's own
    entry.taking_over = entry.unresumed = entry.reconnecting = False
    return b""


def resume(world: World, entry: Entry) -> Steps:
    """Answer RESUME: a reconnection changes nothing, a resume keeps the bitmaps, an activation reads the medium.

    Raises:
        DiskulogError: an activation failed; dm only warns, and the log answers as a failed one.
    """
    log = _log(entry)
    # A reconnection's RESUME comes again when its answer was lost, or for each caller that waited; none of them may
    # activate or heal. Should one be dm's own after all, the kernel's next question wakes the log.
    again = entry.reconnecting
    if log.phase is Phase.IDLE:
        return (yield from (_reconnected(world, entry) if again else activate(world, entry)))
    if again:
        entry.reconnecting = log.live
        return b""
    if log.failed:
        return (yield from _heal(world, entry))
    if log.phase is Phase.SUSPENDED:
        return (yield from _reopen(world, entry))
    # PRESUSPEND came and POSTSUSPEND was lost, or this RESUME was sent twice
    log.phase = Phase.LIVE
    log.restart_recovery()
    return b""


def activate(world: World, entry: Entry) -> Steps:
    """Make a log live that was not: fence the others of its uuid, believe the medium, then answer.

    Raises:
        DiskulogError: the log cannot be used; it then answers as a failed one, so that nothing diverges.
    """
    log = _log(entry)
    try:
        if entry.store is None:
            raise RefusedError("log device", "could not be opened at reconnection", "load the mirror's table again")
        yield Work(Lane.DEVICE, entry.store.check)  # a table that is refused fences nobody
        yield from _fence_others(world, entry)
        messages = yield Work(Lane.DEVICE, partial(entry.store.activate, entry.luid, entry.fresh))
        bits = yield Work(Lane.DEVICE, log.kept.begin)
    except Exception as error:
        logger.error("log %s: FAILED at its activation: %s", entry.name, error)  # noqa: TRY400
        yield from _go_blind(log)
        raise
    entry.fresh = False
    _went_live(world, entry, "live", messages)
    log.keep_clears(bits)
    return b""


def postsuspend(entry: Entry) -> Steps:
    """Answer POSTSUSPEND: store the held clears if the legs can be flushed, make all durable, close the log."""
    log = _log(entry)
    entry.reconnecting = False
    if not log.live:
        return b""
    if not log.failed:
        yield from store_clears(log, last=True)
    log.phase = Phase.SUSPENDED
    if log.failed or entry.store is None:
        logger.warning("log %s: suspended in failed state, not closed", entry.name)
        return b""
    try:
        yield Work(Lane.DEVICE, entry.store.close_log)
    except Exception as error:
        log.fail()
        logger.error("log %s: FAILED at its suspend: %s", entry.name, error)  # noqa: TRY400
    else:
        logger.info("log %s: suspended, closed, %d of %d regions in sync", entry.name, log.sync_count, log.region_count)
    return b""


def settle(entry: Entry) -> Steps:
    """Make a live log durable before the daemon ends; its state stays open, for it is not suspended."""
    log = _log(entry)
    if log.live and not log.failed and entry.store is not None:
        yield from store_clears(log, last=True)
        try:
            yield Work(Lane.DEVICE, entry.store.commit_all)
        except Exception as error:
            log.fail()
            logger.error("log %s: FAILED at the daemon's end: %s", entry.name, error)  # noqa: TRY400
    return b""


def retire(entry: Entry) -> Steps:
    """Close everything of a log without storing anything: its successor may be live on the same device already."""
    if entry.log is not None:
        entry.log.go_idle()
    if entry.store is not None or entry.kept is not None:
        try:
            yield Work(Lane.DEVICE, partial(_release, entry.store, entry.kept))
        except Exception as error:
            logger.error("log %s: could not be closed: %s", entry.name, error)  # noqa: TRY400
        entry.store = None
    return b""


def _open_new(world: World, opening: Opening, kept: Kept) -> Store:
    kept.remove()  # of a luid that came again; it could be believed before the first RESUME
    return world.open_store(opening)


def _go_blind(log: DirtyLog) -> Steps:
    # marks fail from now on, and whatever is written all the same is known to nobody: held clears are void for good
    log.go_live_failed()
    with suppress(Exception):
        yield Work(Lane.DEVICE, log.kept.remove)
    return b""


def _blind_without_bits(log: DirtyLog, error: Exception) -> None:
    if isinstance(error, LogFailedError):  # it gave way to another table meanwhile: there is no mapping
        log.go_live_failed()


def _release(store: Store | None, kept: Kept | None) -> None:
    try:
        if store is not None:
            store.release()
    finally:
        if kept is not None:
            kept.remove()


def _reconnected(world: World, entry: Entry) -> Steps:
    # Only the luid that is recorded as live is taken over; any other is an inactive or suspended table's, which a
    # status asked for. Should the kernel then ask about regions, the table is live after all: activate.
    log = _log(entry)
    if entry.store is None:
        yield from _go_blind(log)
        return b""
    try:
        live = yield Work(Lane.DEVICE, partial(entry.store.reconnect, entry.luid))
        if live:
            bits, dropped = yield Work(Lane.DEVICE, log.kept.resume)
    except Exception as error:
        logger.error("log %s: cannot be taken over: %s", entry.name, error)  # noqa: TRY400
        yield from _go_blind(log)
        return b""
    if live:
        _went_live(world, entry, "reconnected", ())
        log.keep_clears(bits)
        if entry.distrusted:  # the log may have ended meanwhile
            dropped += log.clears.held_count
            log.clears.drop()
        if dropped:
            logger.warning("log %s: %d clears that the last worker held are dropped", entry.name, dropped)
        if (yield Work(Lane.DEVICE, entry.store.failed_before)):
            log.fail()
            logger.error("log %s: FAILED under the last worker, until its RESUME", entry.name)
    return b""


def _reopen(world: World, entry: Entry) -> Steps:
    log, store = _log(entry), _store(entry)
    try:
        yield from _fence_others(world, entry)
        yield Work(Lane.DEVICE, partial(store.reopen, frozenset(log.late_marks)))
    except Exception as error:
        log.phase = Phase.LIVE
        log.fail()
        _blind_without_bits(log, error)
        logger.error("log %s: FAILED at its resume: %s", entry.name, error)  # noqa: TRY400
        raise
    _went_live(world, entry, "resumed", ())
    return b""


def _heal(world: World, entry: Entry) -> Steps:
    log = _log(entry)
    if log.blind or entry.store is None:
        return (yield from activate(world, entry))
    try:
        yield from _fence_others(world, entry)
        messages = yield Work(Lane.DEVICE, partial(entry.store.heal, entry.luid, frozenset(log.late_marks)))
    except Exception as error:
        log.phase = Phase.LIVE
        _blind_without_bits(log, error)
        logger.error("log %s: still FAILED: %s", entry.name, error)  # noqa: TRY400
        raise
    _went_live(world, entry, "healed", messages)
    return b""


def _fence_others(world: World, entry: Entry) -> Steps:
    for other in world.others_on(entry):
        if other.log is not None and other.log.phase is not Phase.IDLE:
            if other.log.live:
                logger.warning("log %s: gives way to another table on the same device", other.name)
            other.log.go_idle()
            # the lane is the uuid's: another uuid's store is only silenced, its own lane may be using it
            if other.store is not None and other.uuid == entry.uuid:
                yield Work(Lane.DEVICE, other.store.detach)
    return b""


def _went_live(world: World, entry: Entry, how: str, messages: tuple[str, ...]) -> None:
    log = _log(entry)
    for other in world.others_on(entry):
        if other.log is not None and other.log.live:  # it went live while this one was about to
            other.log.go_idle()
    log.go_live(how)
    for message in messages:
        logger.warning("log %s: %s", entry.name, message)
    logger.info("log %s: %s, %d of %d regions in sync", entry.name, how, log.sync_count, log.region_count)


def _log(entry: Entry) -> DirtyLog:
    if entry.log is None:  # the server asks only about entries that were constructed
        raise RefusedError("log", "is not constructed", "load the table again")
    return entry.log


def _store(entry: Entry) -> Store:
    if entry.store is None:
        raise RefusedError("log device", "is not open", "load the table again")
    return entry.store
