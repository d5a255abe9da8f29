# SPDX-License-Identifier: LGPL-2.1-or-later
"""A small web server for Prometheus; needs the package prometheus_client, which speaks its formats.

Lives here: the address, the server, families in that package's words. Does not know how families are got.
"""

import errno as errnos
import ipaddress
import socket
from collections.abc import Callable, Iterable, Iterator
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, Final, NamedTuple
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, Metric, make_wsgi_app

from diskulog.errors import DeviceError, RefusedError
from diskulog.exits import UsageError
from diskulog.metrics.families import Family
from diskulog.printable import printable

_READ_SECONDS: Final = 10.0  # for a caller that sends nothing
_COUNTER: Final = "_total"
_MOST_PORTS: Final = 65535


class Address(NamedTuple):
    """Where to listen."""

    family: socket.AddressFamily
    host: str
    port: int

    @property
    def url(self) -> str:
        """Return what a browser takes."""
        host = f"[{self.host}]" if self.family == socket.AF_INET6 else self.host
        return f"http://{host}:{self.port}/metrics"

    @property
    def loopback(self) -> bool:
        """Tell whether only this host can reach it."""
        return ipaddress.ip_address(self.host.partition("%")[0]).is_loopback


def address(word: str) -> Address:
    """Read ``HOST:PORT``; an IPv6 address stands in brackets, and a name is looked up.

    Raises:
        UsageError: when it is anything else.
    """
    host, colon, digits = word.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    port = int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= len(str(_MOST_PORTS)) else -1
    if not (colon and host and 0 <= port <= _MOST_PORTS):
        raise UsageError(f"--listen {word!r}: write HOST:PORT, for example 127.0.0.1:9750, or [::1]:9750")
    try:
        family, _, _, _, found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as cause:
        raise UsageError(f"--listen {word!r}: {host!r} is no address of this host: {cause}") from cause
    return Address(family, str(found[0]), port)


class _Collector:
    """What prometheus_client asks at each scrape."""

    def __init__(self, collect: Callable[[], Iterable[Family]]) -> None:
        self._collect = collect

    def collect(self) -> Iterator[Metric]:
        for family in self._collect():
            metric = Metric(family.name.removesuffix(_COUNTER), family.help, family.kind)
            end = _COUNTER if family.kind == "counter" else ""
            for suffix, labels, value in family.samples:
                shown = {name: printable(text) for name, text in labels}
                metric.add_sample(f"{metric.name}{end}{suffix}", shown, float(value))
            yield metric


class _Handler(WSGIRequestHandler):
    timeout = _READ_SECONDS

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: there is a scrape every few seconds."""


def server(where: Address, collect: Callable[[], Iterable[Family]]) -> WSGIServer:
    """Return a server that listens, and asks ``collect`` at each scrape.

    Raises:
        RefusedError: when something else listens there.
        DeviceError: when it may not, or there is no such address here.
    """

    class Server(ThreadingMixIn, WSGIServer):
        address_family = where.family
        daemon_threads = True

        def server_bind(self) -> None:
            TCPServer.server_bind(self)  # the library's would ask a name server who we are
            self.server_name, self.server_port = where.host, self.server_address[1]
            self.setup_environ()

    registry = CollectorRegistry()
    registry.register(_Collector(collect))
    try:
        return make_server(where.host, where.port, make_wsgi_app(registry), Server, _Handler)
    except OSError as cause:
        if cause.errno == errnos.EADDRINUSE:
            raise RefusedError(where.url, "something else listens there", "give another port") from cause
        raise DeviceError(f"cannot listen at {where.url}", cause) from cause
