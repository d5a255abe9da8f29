# SPDX-License-Identifier: LGPL-2.1-or-later
"""All logs and all 17 requests: a datagram comes in, its reply goes out, now or when the work behind it is done.

Lives here: who is asked, in which order, and what an error becomes on the wire. Does not know sockets, threads,
devices, or the rules of a log.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from errno import EINVAL, ESRCH
from functools import partial
from typing import Any

from diskulog import ctr, figures, lifecycle, refusals, wire
from diskulog.complaints import Complaints
from diskulog.dirtylog import DirtyLog, Phase
from diskulog.errors import DiskulogError
from diskulog.handlers import HANDLERS
from diskulog.rounds import store_clears
from diskulog.wire import Request, Unreadable
from diskulog.wire import RequestType as _T
from diskulog.work import Steps, Submit, wait
from diskulog.world import Entry, World

logger = logging.getLogger("diskulog.server")

_PHANTOM_SECONDS = 5.0  # dm takes the log device right after the CTR's answer; until then nobody holds it


@dataclass(slots=True, eq=False)
class _Job:
    """Steps under way: for a request that is owed a reply, or for ourselves."""

    steps: Steps
    entry: Entry
    request: Request | None
    changes_life: bool = False
    began_seconds: float | None = None  # of a FLUSH that has something to make durable
    ended: bool = False


class Server:
    """Answers datagrams. ``send`` takes a finished reply, ``submit`` blocking work for a uuid's lane."""

    def __init__(
        self,
        world: World,
        send: Callable[[bytes | bytearray], None],
        submit: Submit,
        retire_lanes: Callable[[bytes], None] = lambda uuid: None,
    ) -> None:
        """Take the logs' world and the two ways out; ``retire_lanes`` is told of a uuid that has no log any more."""
        self.world = world
        self._send = send
        self._submit = submit
        self._retire_lanes = retire_lanes
        self.holding: set[Entry] = set()  # logs that hold clears: the only ones a timer looks at
        self._settling: list[_Job] = []
        self._complain = Complaints(logger, world.now)
        self.unreadable = 0

    # -- datagrams -------------------------------------------------------------------------------------------------

    def receive(self, datagram: bytes | bytearray | memoryview) -> None:
        """Take one datagram of the kernel; whatever waits for an answer gets one, sooner or later."""
        request = wire.unframe(datagram)
        if request is None:
            return
        if isinstance(request, Unreadable):
            self.unreadable += 1
            self._complain.say("unreadable", "a request cannot be read (%s) and was refused", request.reason)
            self._send(wire.bare_refusal(request.seq, EINVAL))
            return
        self._answer(request)

    def _answer(self, request: Request) -> None:
        try:
            self._handle(request)
        except DiskulogError as error:
            self._send(refusals.refusal(request, error, self._complain, self._log_of(request)))
        except Exception:
            logger.exception("bug: request type %d was answered with the least harmful reply", request.type)
            self._send(refusals.least_harmful(request, self._log_of(request)))

    def _handle(self, request: Request) -> None:
        if request.version not in wire.VERSIONS:
            self._complain.say("version", "version %d of the requests is not known", request.version)
            self._send(refusals.least_harmful(request, self._log_of(request)))
            return
        entry = self.world.entries.get(request.luid)
        if entry is not None and entry.uuid != request.uuid:
            entry = None
        if request.type == _T.CTR:
            self._ctr(request, entry)
            return
        if entry is None:
            self._send(refusals.unknown_log(request))
            return
        if entry.busy:
            entry.backlog.append(request)
            return
        log = entry.log
        if log is None:
            self._send(refusals.unknown_log(request))
            return
        if entry.unresumed and request.type == _T.GET_SYNC_COUNT:
            # another caller's reconnection: the right count is known after RESUME, and this makes the kernel send one
            self._send(wire.error_reply(request, ESRCH))
            return
        if not log.live and self._wakes(request, log, entry):
            return
        figures.count_request(log.words, request.type, len(request.data))
        handler = HANDLERS.get(request.type)
        if handler is None:
            self._life_or_unknown(request, entry)
            return
        answer = handler(log, request.data)
        if isinstance(answer, bytes):
            self._send(wire.reply(request, answer))
            if log.clears.collected:
                self.holding.add(entry)
        else:
            began = self.world.now() if request.type == _T.FLUSH else None
            self._run(_Job(answer, entry, request, began_seconds=began))

    # -- the life of logs ------------------------------------------------------------------------------------------

    def _ctr(self, request: Request, entry: Entry | None) -> None:
        holder = self.world.entries.get(request.luid)
        if holder is not None and holder.busy:  # also one of another uuid: a thread is at work for it
            holder.backlog.append(request)
            return
        again = ctr.is_reconnect(request.data)
        if entry is None or not again:
            # a luid is a kernel address and comes again; what was known under it has lost its DTR
            if holder is not None:
                logger.warning("log %s: constructed anew without a DTR; the old one is dropped", holder.name)
                self._retire(holder)
            entry = Entry(request.uuid, request.luid, since_seconds=self.world.now())
            self.world.add(entry)
        begin = lifecycle.reconnect if again else lifecycle.construct
        self._change(entry, request, begin(self.world, entry, request.data))

    def _retire(self, entry: Entry) -> None:
        # as a job of its own, on the lane of its own uuid, behind whatever is still under way there
        self.holding.discard(entry)
        self.world.remove(entry)
        self._change(entry, None, lifecycle.retire(entry))

    def take_over(self, luid: int, uuid: bytes, string: bytes) -> None:
        """Meet a log again that the last worker kept; requests about it wait until that is done."""
        entry = Entry(uuid, luid, since_seconds=self.world.now(), taking_over=True)
        self.world.add(entry)
        self._change(entry, None, lifecycle.take_over(self.world, entry, string))

    def _life_or_unknown(self, request: Request, entry: Entry) -> None:
        if request.type == _T.RESUME:
            entry.unresumed = False
            self._change(entry, request, lifecycle.resume(self.world, entry))
        elif request.type == _T.POSTSUSPEND:
            self._change(entry, request, lifecycle.postsuspend(entry))
        elif request.type == _T.DTR:
            logger.info("log %s: destroyed", entry.name)
            self.holding.discard(entry)
            self._change(entry, request, lifecycle.retire(entry))
        else:
            self._complain.say("unknown", "request type %d is not known", request.type)
            self._send(wire.error_reply(request, EINVAL))

    def _wakes(self, request: Request, log: DirtyLog, entry: Entry) -> bool:
        """Begin an activation that the kernel's question implies: dm resumed the table while nobody listened."""
        if request.type not in _GOES_LIVE or (request.type == _T.FLUSH and not request.data):
            return False
        if log.phase is Phase.SUSPENDED:
            # a straggler, unless dm says that the table runs: then our RESUME was lost
            if entry.store is not None and entry.store.mirror_suspended():
                return False
            steps = lifecycle.resume(self.world, entry)
        else:
            steps = lifecycle.activate(self.world, entry)
        logger.warning("log %s: its RESUME was lost, the mirror is live", entry.name)
        entry.reconnecting = entry.unresumed = False
        entry.backlog.append(request)
        self._change(entry, None, steps)
        return True

    def _change(self, entry: Entry, request: Request | None, steps: Steps) -> None:
        entry.busy = True
        self._run(_Job(steps, entry, request, changes_life=True))

    # -- jobs ------------------------------------------------------------------------------------------------------

    def _run(self, job: _Job) -> None:
        self._advance(job, None, None)

    def _advance(self, job: _Job, value: Any, error: BaseException | None) -> None:
        try:
            work = job.steps.send(value) if error is None else job.steps.throw(error)
        except StopIteration as end:
            self._count_flush(job)
            self._end(job, job.request and wire.reply(job.request, _ctr_payload(job.request, end.value)))
        except DiskulogError as failure:
            self._end(job, job.request and refusals.refusal(job.request, failure, self._complain, job.entry.log))
        except Exception:
            logger.exception("bug: log %s: steps ended early", job.entry.name)
            self._end(job, job.request and refusals.least_harmful(job.request, job.entry.log))
        else:
            wait(self._submit, job.entry.uuid, work, partial(self._advance, job))

    def _end(self, job: _Job, reply: bytearray | None) -> None:
        job.ended = True
        entry = job.entry
        gone = job.changes_life and (entry.log is None or (job.request is not None and job.request.type == _T.DTR))
        if gone and self.world.entries.get(entry.luid) is entry:
            self.world.remove(entry)
        if reply is not None:
            self._send(reply)
        if entry.log is not None and entry.log.clears.collected:
            self.holding.add(entry)
        if job.changes_life or (entry.log is not None and entry.log.failed):
            self._show(entry)
        if job.changes_life:
            entry.busy = False
            backlog = list(entry.backlog)
            entry.backlog.clear()
            for request in backlog:
                self._answer(request)
            if all(other.uuid != entry.uuid for other in self.world.entries.values()):
                self._retire_lanes(entry.uuid)

    def _count_flush(self, job: _Job) -> None:
        if job.began_seconds is not None and job.entry.log is not None:
            now = self.world.now()
            took_ns = int((now - job.began_seconds) * 1e9)
            figures.count_flush(job.entry.log.words, took_ns, int(now * 1e6))

    def _show(self, entry: Entry) -> None:
        if self.world.entries.get(entry.luid) is entry:
            self.world.shown.show(entry)

    def _log_of(self, request: Request) -> DirtyLog | None:
        entry = self.world.entries.get(request.luid)
        return entry.log if entry is not None else None

    # -- time ------------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Begin the rounds of clears that are due."""
        now = self.world.now()
        for entry in tuple(self.holding):
            log = entry.log
            if log is None or not log.clears.collected or not log.live:
                self.holding.discard(entry)
            elif not entry.busy and log.clears.due(now):
                self._run(_Job(store_clears(log, now_seconds=now), entry, None))

    @property
    def taking_over(self) -> bool:
        """Whether a log of the last worker is still on its way to this one."""
        return any(entry.taking_over for entry in self.world.entries.values())

    def distrust_clears(self) -> None:
        """Drop every held clear: a lost request may have been a log's end, and another log keeps its device."""
        for entry in self.world.entries.values():
            entry.distrusted = True
            if entry.log is not None:
                entry.log.clears.drop()

    def drop_phantoms(self) -> None:
        """Drop logs whose device no table holds any more: their DTR was lost."""
        now = self.world.now()
        for entry in tuple(self.world.entries.values()):
            if entry.busy or entry.store is None or now - entry.since_seconds < _PHANTOM_SECONDS:
                continue
            if not entry.store.held():
                logger.warning("log %s: its mirror is gone without a DTR; dropped", entry.name)
                self._retire(entry)

    def settle(self) -> int:
        """Begin to make every live log durable, before the daemon ends; return how many are live."""
        live = [entry for entry in self.world.entries.values() if entry.log and entry.log.live]
        for entry in live:
            self._settling.append(_Job(lifecycle.settle(entry), entry, None))
            self._run(self._settling[-1])
        return len(live)

    def settled(self) -> bool:
        """Tell whether what ``settle`` began has ended."""
        return all(job.ended for job in self._settling)


def _ctr_payload(request: Request, payload: bytes) -> bytes:
    # version 1 knows no device name, and a reconnect gives no room for one
    return b"" if request.type == _T.CTR and request.version < 2 else payload


# Asked only of a table that runs: met by a log that is not live, they mean that its RESUME was lost.
_GOES_LIVE = frozenset({_T.IN_SYNC, _T.MARK_REGION, _T.FLUSH, _T.GET_RESYNC_WORK, _T.SET_REGION_SYNC})
