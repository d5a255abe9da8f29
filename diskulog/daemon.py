# SPDX-License-Identifier: LGPL-2.1-or-later
"""The worker: puts socket, server, lanes and stores together, and turns the loop until it is told to end.

Lives here: composition, the loop, signals. Does not know requests, bits or formats, or who starts it (``supervisor``).
"""

import logging
import signal
import socket
import time
from pathlib import Path

from diskulog import ondisk, process
from diskulog.board import FOREIGN, HEARTBEAT, OVERRUNS, UNREADABLE, UNSENT, WRITTEN_US, Board
from diskulog.clears import ClearPolicy
from diskulog.config import Config
from diskulog.corestore import CoreStore
from diskulog.device import BlockDevice
from diskulog.errors import RefusedError
from diskulog.hotpath import HotPath
from diskulog.keptclears import KeptClears
from diskulog.lanes import Lanes
from diskulog.latch import FailureLatch
from diskulog.livesettings import LiveSettings
from diskulog.logstore import Opening, Store
from diskulog.media import Host
from diskulog.mirror import SysfsMirror, stands_on_served_mirror
from diskulog.publish import Publisher
from diskulog.runfile import Whose
from diskulog.server import Server
from diskulog.store import DiskStore
from diskulog.transport import Transport
from diskulog.world import World

logger = logging.getLogger("diskulog.daemon")
_ready = logging.getLogger("diskulog.daemon.ready")
_ready.setLevel(logging.INFO)

_TICK_SECONDS = 0.1  # while clears are held or a flush of legs has a time limit
_IDLE_SECONDS = 1.0  # a signal that came between two bytecodes waits no longer
_PHANTOM_CHECK_SECONDS = 30.0
_SETTLE_SECONDS = 20.0


class Daemon:
    """Everything that serves, wired together; a context manager that closes it."""

    def __init__(self, config: Config, transport: Transport, board: Board, settings: LiveSettings) -> None:
        """Take the socket and the shared memory, and prepare the rest; nothing is answered before ``run``."""
        self._transport = transport
        self._board = board
        self._settings = settings
        self._generation = settings.generation
        self._lanes = Lanes(time.monotonic, transport.wake)
        host = Host(process.boot_id(), socket.gethostname(), time.time)
        run_directory = Path(config.daemon.run_directory)
        policy = ClearPolicy(
            config.clears.hold_seconds, config.clears.max_held, config.clears.leg_flush_timeout_seconds
        )

        def open_store(opening: Opening) -> Store:
            if opening.args.log_type == "core":
                return CoreStore(run_directory, opening, host)
            return open_disk_store(opening, host, run_directory)

        def keep(opening: Opening) -> KeptClears:
            whose = Whose(opening.uuid, host.boot_id, ondisk.live_token(host.boot_id, opening.luid))
            return KeptClears(run_directory, whose, opening.args.region_count)

        alone = config.compat.clustered_single_host
        self._publisher = Publisher(board, time.time)
        world = World({}, open_store, keep, policy, time.monotonic, alone, shown=self._publisher)
        self._world = world
        self._server = Server(world, self._transport.send, self._lanes.submit, self._lanes.retire)
        self._read_words()
        self._hot_path = HotPath(world.known, self._server.holding, transport.buffer)
        self._stopping = False
        self._look_seconds = 0.0  # monotonic; when timers are looked at again
        self._phantoms_seconds = time.monotonic() + _PHANTOM_CHECK_SECONDS

    def __enter__(self) -> "Daemon":
        """Catch the signals that end it."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        return self

    def __exit__(self, *_: object) -> None:
        """End the threads; logs that are live keep their state, and the socket stays for the next worker."""
        self._lanes.close()

    def _stop(self, number: int, _: object) -> None:
        self._stopping = True
        self._transport.wake()

    def run(self, first: bool = True, takes_over: bool = False) -> None:
        """Answer requests until a signal, then make every live log durable.

        The ``first`` one tells that it is ready; one that ``takes_over`` begins with what the last one left.
        """
        self._write_words()
        if takes_over:
            self._take_over()
        # whatever the level: scripts and people wait for this line
        if first:
            _ready.info("ready, version of the requests 1 to 3, netlink port %d", self._transport.port)
        while not self._stopping:
            self._turn()
        self._settle()

    def _take_over(self) -> None:
        kept, owed = self._transport.left_behind()
        for luid, uuid, string in kept:
            self._server.take_over(luid, uuid, string)
        for seq in owed:
            self._transport.ask_again(seq)
        logger.warning("took over %d logs and %d requests of the last worker", len(kept), len(owed))

    def _turn(self) -> None:
        transport, server = self._transport, self._server
        self._board.words[HEARTBEAT] += 1
        request = transport.receive(self._hot_path.answer)
        if request is not None:
            server.receive(request)
            transport.wait_at_most(_TICK_SECONDS)  # it may have begun something that has a time
        if transport.overrun:
            # what was lost may have been the end of any log; what still lay in the buffer was sent before that
            server.distrust_clears()
            transport.overrun = not transport.drained or server.taking_over
            self._look_seconds = 0.0
        self._lanes.collect()
        now = time.monotonic()
        late = self._look_seconds > now + _TICK_SECONDS and (request is not None or server.holding)
        if late or now >= self._look_seconds:
            self._look(now)

    def _look(self, now: float) -> None:
        # timers are looked at so often that none is late by more than some ticks, whatever is asked meanwhile
        self._lanes.end_overdue(now)
        self._server.tick()
        self._publisher.look(self._world.entries)
        self._write_words()
        if self._settings.generation != self._generation:
            self._apply()
        if now >= self._phantoms_seconds:
            self._server.drop_phantoms()
            self._phantoms_seconds = now + _PHANTOM_CHECK_SECONDS
        waiting = self._server.holding or self._lanes.deadlines
        tick = _TICK_SECONDS if waiting else _IDLE_SECONDS
        self._look_seconds = now + tick
        self._transport.wait_at_most(tick)

    def _read_words(self) -> None:
        # the last worker's: they count since the daemon began
        words, transport = self._board.words, self._transport
        transport.overruns, transport.unsent, transport.foreign = words[OVERRUNS], words[UNSENT], words[FOREIGN]
        self._server.unreadable = words[UNREADABLE]

    def _write_words(self) -> None:
        words, transport = self._board.words, self._transport
        words[OVERRUNS], words[UNSENT], words[FOREIGN] = transport.overruns, transport.unsent, transport.foreign
        words[UNREADABLE] = self._server.unreadable
        words[WRITTEN_US] = int(time.time() * 1e6)

    def _apply(self) -> None:
        self._generation, live = self._settings.generation, self._settings.read()
        world = self._world
        world.policy = ClearPolicy(live.hold_seconds, live.max_held, live.leg_flush_timeout_seconds)
        world.clustered_single_host = bool(live.clustered_single_host)
        for entry in world.entries.values():
            if entry.log is not None:
                entry.log.clears.policy = world.policy
        self._transport.spins = live.spins
        logging.getLogger("diskulog").setLevel(live.log_level)

    def _settle(self) -> None:
        live = self._server.settle()
        until = time.monotonic() + _SETTLE_SECONDS
        while not self._server.settled() and time.monotonic() < until:
            self._turn()
        if live:
            logger.warning("%d logs are live: their mirrors' I/O waits until a daemon serves again", live)
        if not self._server.settled():
            logger.error("some logs could not be made durable in %g s", _SETTLE_SECONDS)
        overruns, foreign = self._transport.overruns, self._transport.foreign
        logger.info("ended; the buffer overran %d times, %d requests of processes were dropped", overruns, foreign)


def open_disk_store(opening: Opening, host: Host, run_directory: Path) -> DiskStore:
    """Open and judge a log device; raises RefusedError or DeviceError, and then nothing stays open."""
    device = BlockDevice(opening.args.device or "")
    try:
        below = stands_on_served_mirror(device.number, opening.log_devices)
        if below:
            raise RefusedError(
                "log device",
                f"stands on the mirror {below}, whose log is served here and would wait for itself",
                "keep this log on another device",
            )
        token = ondisk.live_token(host.boot_id, opening.luid)
        latches = [FailureLatch(run_directory, opening.uuid, token, what) for what in ("log", "legs")]
        store = DiskStore(device, SysfsMirror(device.number), opening, host, *latches)
        if not opening.reconnect:  # a reconnection never fails; what is wrong then shows at its RESUME
            store.check()
    except BaseException:
        device.close()
        raise
    return store
