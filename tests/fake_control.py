# SPDX-License-Identifier: LGPL-2.1-or-later
"""A daemon's control socket without a daemon: a thread that answers what a test tells it to.

Lives here: the socket, and answers that are well made. Does not know who asks.
"""

import copy
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

NOW = time.time()

Answering = Callable[[socket.socket, dict], None]

DAEMON = {
    "version": "0.1.0",
    "pid": 120,
    "worker_pid": 121,
    "started_seconds": NOW - 7200,
    "worker_restarts": 0,
    "last_worker_end": None,
    "age_seconds": 0.05,
    "overruns": 0,
    "unsent_replies": 0,
    "foreign_datagrams": 0,
    "unreadable_requests": 0,
    "netlink_port": 171,
}
LOG = {
    "uuid": "UUID-1",
    "luid": "0xffff888000000001",
    "log_type": "disk",
    "type_word": "disk",
    "log_device": "253:2",
    "region_size_sectors": 1024,
    "region_count": 1000,
    "target_length_sectors": 1024000,
    "clean_count": 990,
    "in_sync_count": 1000,
    "state": "live",
    "health": "A",
    "recovering_region": None,
    "resync": None,
    "last_flush_seconds": NOW - 3,
    "flush_latency_seconds": {
        "count": 42,
        "sum": 0.1,
        "median": 0.0002,
        "p99": 0.0031,
        "worst": 1.25,
        "buckets": [[0.001, 40], [2.0, 42]],
    },
    "requests": {"IN_SYNC": 4711, "FLUSH": 50},
    "marked_regions": 70,
    "cleared_regions": 60,
    "held_clears": 5,
    "failures": 0,
}
EVENT = {
    "event": "resync_done",
    "time_seconds": 1700000000.5,
    "uuid": "UUID-1",
    "luid": "0xffff888000000001",
    "log_device": "253:2",
    "text": "all 1000 regions are in sync",
}


def log(**changes: object) -> dict:
    """Return a log; each gets a luid of its own by its uuid."""
    made = copy.deepcopy(LOG) | changes
    if "uuid" in changes and "luid" not in changes:
        made["luid"] = f"0x{hash(changes['uuid']) & (2**64 - 1):x}"
    return made


def resyncing(in_sync: int = 250, seconds: float = 10.0, began: int = 0, **changes: object) -> dict:
    """Return a log under resync, which began some seconds ago."""
    resync = {"started_seconds": time.time() - seconds, "started_in_sync_count": began}
    return log(in_sync_count=in_sync, clean_count=in_sync, resync=resync, recovering_region=in_sync, **changes)


def answer(*logs: dict, **daemon: object) -> dict:
    """Return an answer to ``status``."""
    return {"format_version": 1, "daemon": DAEMON | daemon, "logs": list(logs)}


class FakeDaemon:
    """Answers ``status`` with the first of ``answers`` that is left (the last stays), ``events`` with ``events``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.answers: list[dict] = [answer()]
        self.events: list[dict] = []
        self.requests: list[dict] = []
        self.answering: Answering | None = None  # in place of all that

    def reply(self, client: socket.socket, request: dict) -> None:
        """Answer as the daemon would."""
        if request == {"do": "status"}:
            said = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            client.sendall(json.dumps(said).encode() + b"\n")
        else:
            for event in self.events:
                client.sendall(json.dumps(event).encode() + b"\n")

    def serve(self, listening: socket.socket) -> None:
        """Serve one client after the other until the socket is shut down."""
        with suppress(OSError):
            while True:
                client, _ = listening.accept()
                with client, suppress(OSError):
                    line = b""
                    while not line.endswith(b"\n"):
                        line += client.recv(1024)
                    self.requests.append(json.loads(line))
                    (self.answering or self.reply)(client, self.requests[-1])


@contextmanager
def serving(path: Path) -> Iterator[FakeDaemon]:
    """Serve at a path while a test runs."""
    made = FakeDaemon(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(path))
        listening.listen()
        thread = threading.Thread(target=made.serve, args=(listening,), daemon=True)
        thread.start()
        try:
            yield made
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(10)
            path.unlink(missing_ok=True)
