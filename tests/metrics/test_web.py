# SPDX-License-Identifier: LGPL-2.1-or-later
import json
import socket
import threading
import urllib.request
from contextlib import contextmanager

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

from diskulog.control import model
from diskulog.errors import DeviceError, RefusedError
from diskulog.exits import Exit, UsageError, exit_for
from diskulog.metrics import exposition, families, web
from tests import fake_control
from tests.fake_control import log, resyncing

ANSWER = fake_control.answer(log(), resyncing(uuid='o"d\\d\n\u00fc'))
FOUND = families.of_answer(model.answer(json.dumps(ANSWER).encode()), lambda _: "home", 1700000000.25)


@contextmanager
def serving(word="127.0.0.1:0", collect=lambda: FOUND):
    with web.server(web.address(word), collect) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def get(server, path="/metrics", host="127.0.0.1", **headers):
    request = urllib.request.Request(f"http://{host}:{server.server_port}{path}", headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.headers["Content-Type"], answer.read().decode()


def series(found):
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in found
        for sample in family.samples
    }


def kinds(found):
    return {family.name: (family.type, family.documentation) for family in found}


def test_the_server_says_what_the_text_says():
    with serving() as server:
        kind, text = get(server)
    assert kind.startswith("text/plain; version=")
    ours = exposition.render(FOUND)
    assert series(plain(text)) == series(plain(ours))
    assert kinds(plain(text)) == kinds(plain(ours))
    assert len(series(plain(ours))) > 50


def test_it_speaks_openmetrics_to_those_who_ask_for_it():
    with serving() as server:
        kind, text = get(server, Accept="application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text")
    assert text.endswith("# EOF\n")
    assert series(openmetrics(text)).items() >= series(plain(exposition.render(FOUND))).items()


def test_each_scrape_asks():
    count = iter(range(9))
    with serving(collect=lambda: families.of_nobody(next(count))) as server:
        assert [get(server)[1].split()[-1] for _ in range(2)] == ["0.0", "1.0"]


def test_a_caller_that_says_nothing_keeps_nobody_waiting():
    with serving() as server, socket.create_connection(("127.0.0.1", server.server_port)):
        assert get(server)[0]


def test_ipv6():
    try:
        with serving("[::1]:0") as server:
            assert web.address("[::1]:0")._replace(port=7).url == "http://[::1]:7/metrics"
            assert get(server, host="[::1]")[0]
    except DeviceError as cause:
        pytest.skip(str(cause))


@pytest.mark.parametrize(
    ("word", "loopback"),
    [
        ("127.0.0.1:9750", True),
        ("127.9.9.9:1", True),
        ("[::1]:9750", True),
        ("localhost:0", True),
        ("0.0.0.0:9750", False),
        ("[::]:9750", False),
        ("192.0.2.1:9750", False),
        ("[fe80::1%lo]:9750", False),
    ],
)
def test_addresses(word, loopback):
    found = web.address(word)
    assert found.loopback is loopback
    assert found.port == int(word.rpartition(":")[2])


@pytest.mark.parametrize(
    "word",
    ["", ":", "9750", ":9750", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:-1", "127.0.0.1:65536",
     "127.0.0.1:\u0661", "[::1]", "::1", "no such host.invalid:1", "a" * 300 + ":1", "\u00fc" * 70 + ".:1"],
)  # fmt: skip
def test_what_is_no_address(word):
    with pytest.raises(UsageError, match="--listen"):
        web.address(word)


def test_a_port_that_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(RefusedError, match="something else listens there; give another port"):
            web.server(web.address(f"127.0.0.1:{port}"), lambda: FOUND)


def test_an_address_that_is_not_here():
    with pytest.raises(DeviceError, match=r"cannot listen at http://192\.0\.2\.1:9750/metrics") as caught:
        web.server(web.address("192.0.2.1:9750"), lambda: FOUND)
    assert exit_for(caught.value) is Exit.IO_ERROR
