# SPDX-License-Identifier: LGPL-2.1-or-later
"""Targets that drive a worker: an input is a program of what the kernel, the disks and time do, or a memory.

Lives here: how bytes become actions, and what a dead worker may have left. Does not know how an answer is judged.
"""

import struct
from collections.abc import Hashable
from typing import Any

from diskulog import handover, wire
from diskulog.handover import Handover
from tests import fake_kernel as kernel
from tests.fake_host import UUID
from tools.fuzzing.worker import MAX_WAITING, Worker, working


class Reader:
    """Takes small numbers off an input; after its end all is zero."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        """Take bytes."""
        self.at += count
        return self.data[self.at - count : self.at].ljust(count, b"\0")

    def choose(self, choices: tuple) -> Any:
        """Take one of some things."""
        return choices[self.take(1)[0] % len(choices)]

    def regions(self, count: int) -> bytes:
        """Take regions: those of a small log, and some from the end of all numbers."""
        return struct.pack(f"={count}Q", *(byte if byte < 250 else 2**64 - byte for byte in self.take(count)))


STRINGS = (
    b"8168 disk /dev/log 1024",
    b"8168 disk /dev/log 1024 nosync block_on_error",
    b"8168 core 1024 sync",
    b"9192 disk /dev/log 1024",
    b"8168 disk /dev/none 1024",
    b"8168 clustered-disk /dev/log 1024",
    b"99999999999999999999 core 2",
    b"",
)
UUIDS = (UUID, UUID, b"other \xff", b"u" * 129, b"")
LUIDS = (0xFFFF888000001000, 0xFFFF888000002000, 0, 2**64 - 1)
_LOGS = (*((UUID, LUIDS[0]),) * 12, *((uuid, luid) for luid in LUIDS for uuid in UUIDS))
_PAYLOADS = (
    lambda reader: b"",
    lambda reader: reader.regions(1),
    lambda reader: reader.regions(reader.take(1)[0] % 42),
    lambda reader: reader.regions(2),
    lambda reader: reader.choose(STRINGS),
    lambda reader: reader.choose(STRINGS) + b"\0",
    lambda reader: reader.take(reader.take(1)[0] * 2),
)
# what the payload of a type usually is; any other is drawn now and then
_USUAL = {
    **dict.fromkeys((kernel.IS_CLEAN, kernel.IN_SYNC, kernel.IS_REMOTE_RECOVERING), 1),
    **dict.fromkeys((kernel.MARK, kernel.CLEAR, kernel.FLUSH), 2),
    kernel.SET_REGION_SYNC: 3,
    kernel.CTR: 4,
}


def _request(worker: Worker, reader: Reader) -> None:
    kind, how = reader.take(2)
    uuid, luid = reader.choose(_LOGS)
    kind = kind % 20 if kind < 240 else kind
    payload = _PAYLOADS[_USUAL.get(kind, 0) if how < 200 else how % len(_PAYLOADS)](reader)
    if kind == kernel.CTR and how & 1 and how < 200:
        payload += b"\0"
    version = 3 if how < 240 else how - 240
    worker.link.ask(kernel.datagram(kind, uuid, luid, payload, version=version, error=how - 200))


def _raw(worker: Worker, reader: Reader) -> None:
    worker.link.ask(reader.take(int.from_bytes(reader.take(2), "little") % 700))


def _foreign(worker: Worker, reader: Reader) -> None:
    worker.link.queue.append((reader.take(int.from_bytes(reader.take(2), "little") % 700), 4712))


def _step(worker: Worker, reader: Reader) -> None:
    ready = [key for key, queue in worker.executor.queues.items() if queue]
    if ready:
        uuid, lane = reader.choose(tuple(ready))
        worker.executor.step(lane, uuid)


def _fault(worker: Worker, reader: Reader) -> None:
    worker.disk.fail(
        reader.choose(("check", "activate", "reconnect", "commit", "commit_all", "close_log", "flush_legs"))
    )


def _turn(worker: Worker, reader: Reader) -> None:
    worker.disk.held, worker.disk.suspended = reader.choose(((True, False), (True, True), (False, False)))
    worker.server.drop_phantoms()


_ACTIONS = (
    *(_request,) * 6,
    _raw,
    _foreign,
    _step,
    _fault,
    _turn,
    lambda worker, reader: worker.serve(),
    lambda worker, reader: worker.serve(),
    lambda worker, reader: worker.executor.run_all(),
    lambda worker, reader: worker.tick(reader.take(1)[0]),
    lambda worker, reader: worker.executor.time_out(),
    lambda worker, reader: len(worker.link.late) < 4 * MAX_WAITING and worker.link.time_out(),
    lambda worker, reader: worker.die(),
    lambda worker, reader: worker.server.settle(),
)
RAW = bytes([_ACTIONS.index(_raw)])  # begins a datagram that comes as it stands


def run_server(data: bytes) -> Hashable:
    """Any datagrams, in any order, over failing disks and dying workers: each is answered once, and well."""
    reader = Reader(data)
    with working() as worker:
        for _ in range(200):
            if reader.at >= len(data):
                break
            reader.choose(_ACTIONS)(worker, reader)
        worker.finish()
        return frozenset(worker.link.met)


SLOTS = (0, *(4096 + 544 * n for n in range(8)), *(4096 + 544 * (handover.MAX_OWED + n) for n in range(8)))


def run_handover(data: bytes) -> Hashable:
    """The memory that a dying worker leaves, full of anything: the supervisor reads it, and the next worker serves."""
    reader = Reader(data)
    with working() as worker:
        while reader.at < len(data):
            at = reader.choose(SLOTS)
            content = reader.take(int.from_bytes(reader.take(2), "little") % 700)
            worker.memory[at : at + len(content)] = content
        left = Handover(worker.memory)
        left.take_over()
        for request in left.in_hand():
            kernel.parse_reply(bytes(wire.fallback_reply(request)))
        left.forget(0)
        worker.die()
        kept = worker.handover.logs()
        for luid, uuid, string in kept:
            for kind in (kernel.IN_SYNC, kernel.FLUSH, kernel.CTR, kernel.STATUS_INFO, kernel.DTR):
                payload = {kernel.IN_SYNC: bytes(8), kernel.CTR: string[-332:]}.get(kind, b"")
                worker.link.ask(kernel.datagram(kind, uuid, luid, payload))
        worker.finish()
        return len(kept), frozenset(worker.link.met)
