# SPDX-License-Identifier: LGPL-2.1-or-later
"""``diskulog metrics``: what the running daemon says, for Prometheus.

Lives here: its options, the loop, and when it ends. Does not know sockets or the names of metrics.
"""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

from diskulog.commands import console, options
from diskulog.errors import DiskulogError, RefusedError
from diskulog.exits import UsageError

_MOST_SECONDS: Final = 86400

HELP: Final = f"""Print metrics of the running daemon for Prometheus.

With --textfile they go to a file, whole or not at all, for node_exporter's textfile collector; with --interval again
and again. With --listen a small web server answers Prometheus; that needs the package prometheus_client, which
'diskulog[prometheus]' brings. Both end with SIGINT or SIGTERM, and not with the daemon: while none answers, the
metric diskulog_up is 0.

It asks the daemon's control socket as 'diskulog status' does: root may, and the group diskulog. Asking delays no
request.

\b
Examples:
  diskulog metrics
  diskulog metrics --textfile /run/metrics/diskulog.prom --interval 15
  diskulog metrics --listen 127.0.0.1:9750
{console.EXIT_CODES}"""


def metrics(
    textfile: Annotated[Path | None, typer.Option(metavar="FILE", help="Write them to this file.")] = None,
    interval: Annotated[float | None, typer.Option(metavar="SECONDS", help="Write the file again and again.")] = None,
    listen: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Serve them by HTTP, at HOST:PORT of the loopback.")
    ] = None,
    public: Annotated[bool, typer.Option("--yes-it-is-public", help="Listen at an address that others reach.")] = False,
    socket: options.Socket = None,
) -> None:
    """Tell."""
    _check(textfile, interval, listen, public)
    from diskulog.commands.asking import socket_path

    path = socket_path(socket)
    if listen is not None:
        _serve(listen, public, path)
    elif textfile is None:
        _once(None, path)
    elif interval is None:
        _once(textfile, path)
    else:
        _keep_writing(textfile, interval, path)


def _check(textfile: Path | None, interval: float | None, listen: str | None, public: bool) -> None:
    if listen is not None and textfile is not None:
        raise UsageError("metrics: --listen and --textfile: give one of them")
    if interval is not None and textfile is None:
        raise UsageError("metrics: --interval is for --textfile FILE; name the file")
    if public and listen is None:
        raise UsageError("metrics: --yes-it-is-public is for --listen HOST:PORT")
    if interval is not None and not 0 < interval <= _MOST_SECONDS:
        raise UsageError(f"metrics: --interval {interval}: must be more than 0, and {_MOST_SECONDS} seconds at most")


def _once(textfile: Path | None, socket: Path) -> None:
    from diskulog.forensic import output
    from diskulog.metrics import collect, exposition

    if textfile is not None:
        output.check(str(textfile), "--textfile", str(socket))
    failure: DiskulogError | None = None
    try:
        found = collect.once(socket)
    except DiskulogError as cause:
        found, failure = collect.nothing(), cause
    text = exposition.render(found)
    if textfile is None:
        console.emit(text)
    else:  # also of a daemon that is away: what it said before must not stay
        output.write(str(textfile), text.encode())
    if failure is not None:
        raise failure


def _keep_writing(textfile: Path, seconds: float, socket: Path) -> None:
    from diskulog.forensic import output
    from diskulog.metrics import collect, exposition

    output.check(str(textfile), "--textfile", str(socket))
    ask = collect.always(socket, console.complain)
    with _until_stopped():
        while True:
            output.write(str(textfile), exposition.render(ask()).encode(), durable=False)
            time.sleep(seconds)


def _serve(listen: str, public: bool, socket: Path) -> None:
    try:
        from diskulog.metrics import web
    except ModuleNotFoundError as cause:
        if cause.name != "prometheus_client":
            raise
        text = (
            "the package prometheus_client is not installed; install it, or 'diskulog[prometheus]', or use --textfile"
        )
        raise UsageError(f"metrics: --listen: {text}") from cause
    from diskulog.metrics import collect

    where = web.address(listen)
    if not where.loopback and not public:
        remedy = "say --yes-it-is-public to let them, or give an address of the loopback: 127.0.0.1, [::1]"
        raise RefusedError(f"--listen {listen}", "others reach that address, and nobody is asked who he is", remedy)
    with _until_stopped(), web.server(where, collect.always(socket, console.complain)) as server:
        console.complain(f"listening at {where._replace(port=server.server_port).url}")
        server.serve_forever()


class _Stopped(BaseException):
    """A signal asked for the end."""


@contextmanager
def _until_stopped() -> Iterator[None]:
    def stop(*_: object) -> NoReturn:
        raise _Stopped

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    except _Stopped:
        pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
