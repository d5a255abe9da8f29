# SPDX-License-Identifier: LGPL-2.1-or-later
"""``diskulog trace``: hears what the kernel asks the daemon, and writes it down.

Lives here: its options, what it refuses before it listens. Does not know sockets or the format.
"""

import math
import os
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from diskulog.commands import console, schema
from diskulog.errors import DeviceError
from diskulog.exits import Exit, UsageError

_MOST: Final = 10**9

HELP: Final = f"""Record what the kernel asks a running daemon.

Every request of every mirror is heard, with its time; the daemon does not know, and does nothing for it. Answers are
not heard, for they go to the kernel alone: 'diskulog replay' computes them. A mark in the trace says where requests
were lost, and how many. 'replay' without an image prints a trace. Ends with SIGINT, SIGTERM or a limit.

The file is readable by its owner only. Put it on no device whose mirror is recorded: each write would be heard, and
written. While this runs and no daemon does, whatever needs one waits, instead of failing at once.

\b
Examples:
  diskulog trace --out home.trace --uuid LVM-abc
  diskulog trace --ring 100000 --out last.trace
  diskulog replay home.trace
{console.EXIT_CODES}"""


def trace(
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="A new file, written as requests come.")] = None,
    ring: Annotated[
        int | None,
        typer.Option(metavar="N", help="Keep the last N in memory; written at the end, and at SIGUSR1."),
    ] = None,
    uuid: Annotated[str | None, typer.Option(metavar="U", help="Only the log with this uuid.")] = None,
    seconds: Annotated[float | None, typer.Option(metavar="S", help="End after so long.")] = None,
    count: Annotated[int | None, typer.Option(metavar="N", help="End after so many requests.")] = None,
    alone: Annotated[bool, typer.Option("--alone", help="Also when no daemon answers.")] = False,
    _schema: schema.OfLine = False,
) -> None:
    """Listen."""
    if out is None:
        raise UsageError("trace: --out FILE is missing: name a new file")
    for name, value in (("--ring", ring), ("--seconds", seconds), ("--count", count)):
        if value is not None and not 0 < value <= _MOST:
            raise UsageError(f"trace: {name} {value}: must be more than 0, and {_MOST} at most")
    from diskulog import neighbours, process, transport
    from diskulog.trace import sinks, tracer

    if not alone and not neighbours.somebody_answers():
        console.complain("no daemon answers, and requests would wait for one while this listens; --alone listens still")
        raise typer.Exit(Exit.NO_DAEMON)
    limits = tracer.Limits(
        math.inf if seconds is None else seconds,
        math.inf if count is None else count,
        None if uuid is None else uuid.encode("utf-8", "surrogateescape"),
    )
    try:
        process.give_up_answering()  # before it can be heard of: a daemon refuses to start beside one that may answer
        listener = transport.listener(tracer.BUFFER_BYTES, tracer.WAIT_SECONDS)
    except PermissionError as cause:
        raise DeviceError("cannot listen to the kernel's requests (CAP_NET_ADMIN is needed)", cause) from cause
    os.nice(tracer.NICE)
    with listener:
        header = tracer.header(limits, ring)
        sink = sinks.FileSink(out, header) if ring is None else sinks.RingSink(out, header, ring)
        listening = tracer.Tracer(listener, sink, limits, time.monotonic)
        with tracer.signals(listening):
            console.complain("listening")
            listening.run()
    console.complain(f"{listening.requests} requests, {listening.lost} lost")
