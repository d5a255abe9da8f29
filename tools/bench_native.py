# SPDX-License-Identifier: LGPL-2.1-or-later
"""What an answer costs without a kernel's mirror: the worker and the floor on a real netlink socket, asked in turn.

Lives here: building the yardsticks, starting both, the table of ratios. Does not know what is asked (bench_asker.c).
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

TOOLS = Path(__file__).resolve().parent
PORT_ABOVE = 1 << 28  # as in bench_asker.c
NETLINK_USERSOCK = 2


def built(name: str, folder: Path) -> Path:
    """Compile one of the yardsticks."""
    program = folder / name
    subprocess.run(["cc", "-O2", "-o", program, TOOLS / f"{name}.c"], check=True)
    return program


def serve_natively() -> None:
    """Be a worker that is asked by bench_asker: prints its port, serves until a signal."""
    from diskulog import process, transport
    from diskulog.board import BOARD_BYTES, Board
    from diskulog.config import Config
    from diskulog.config import Daemon as DaemonSection
    from diskulog.daemon import Daemon
    from diskulog.handover import HANDOVER_BYTES, Handover
    from diskulog.livesettings import SETTINGS_BYTES, LiveSettings

    def user_socket(**_: object) -> socket.socket:
        return socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_USERSOCK)

    with tempfile.TemporaryDirectory() as folder, mock.patch.object(transport.netns, "create_socket", user_socket):
        config = Config(daemon=DaemonSection(run_directory=folder))
        made = transport.Transport(
            config.netlink.receive_buffer_bytes, Handover(process.shared_memory(HANDOVER_BYTES)), config.netlink.spins
        )
        made._kernel = made.port + PORT_ABOVE
        made._socket.connect((made._kernel, 0))
        board = Board(process.shared_memory(BOARD_BYTES))
        live = LiveSettings(process.shared_memory(SETTINGS_BYTES))
        with Daemon(config, made, board, live) as daemon:
            gc.collect()
            gc.freeze()  # as process.become_io_path does; the rest of that takes more than a test machine allows
            print("ready", made.port, flush=True)
            daemon.run()


@contextmanager
def server(command: list[str]) -> Iterator[tuple[int, int]]:
    """Run a server; give its netlink port and its number."""
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert running.stdout is not None
        yield int(running.stdout.readline().split()[1]), running.pid
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait()


def asked(program: Path, command: list[str], count: int) -> dict[str, tuple[float, ...]]:
    """Ask a server; return nanoseconds, processor nanoseconds and instructions for each type of request."""
    with server(command) as (port, pid):
        done = subprocess.run([program, str(port), str(pid), str(count)], check=True, capture_output=True, text=True)
    rows = (line.split() for line in done.stdout.splitlines())
    return {name: tuple(float(number) for number in numbers) for name, *numbers in rows}


def compared(count: int, rounds: int) -> dict[str, dict[str, float]]:
    """Ask both in turn; give the medians, and the median of the ratios round by round."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        floor, asker = built("bench_floor", folder), built("bench_asker", folder)
        ours = [sys.executable, str(Path(__file__).resolve()), "serve"]
        pairs = [(asked(asker, [str(floor), "usersock"], count), asked(asker, ours, count)) for _ in range(rounds)]
    table = {}
    for kind in pairs[0][0]:
        row = {}
        for at, what in enumerate(("ns", "cpu_ns", "instructions")):
            both = [(theirs[kind][at], our[kind][at]) for theirs, our in pairs]
            row[f"floor_{what}"] = statistics.median(theirs for theirs, _ in both)
            row[f"diskulog_{what}"] = statistics.median(our for _, our in both)
            if all(theirs for theirs, _ in both):
                row[f"ratio_{what}"] = statistics.median(our / theirs for theirs, our in both)
        table[kind] = row
    return table


def main() -> None:
    if sys.argv[1:] == ["serve"]:
        sys.path.insert(0, str(TOOLS.parent))
        os.environ.pop("NOTIFY_SOCKET", None)
        serve_natively()
        return
    count, rounds = (int(word) for word in [*sys.argv[1:], "20000", "3"][:2])
    for kind, row in compared(count, rounds).items():
        print(kind.ljust(22), *(f"{name}={value:.2f}" for name, value in row.items() if value))


if __name__ == "__main__":
    main()
