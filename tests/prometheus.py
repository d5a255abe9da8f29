# SPDX-License-Identifier: LGPL-2.1-or-later
"""The real Prometheus, which ``tools/setup --prometheus`` has unpacked: its programs, and a server for one test.

Lives here: where they are, how the server is started and asked. Does not know what is scraped.
"""

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

WAIT_SECONDS = 60.0


def program(name: str) -> str:
    """Return the path of ``prometheus`` or ``promtool``; the test is skipped where they are not."""
    ours = os.environ.get("DISKULOG_CACHE")
    cache = Path(ours) if ours else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "diskulog"
    found = cache / "prometheus/usr/bin" / name
    path = str(found) if found.exists() else shutil.which(name)
    if path is None:
        pytest.skip(f"no {name}: tools/setup --prometheus brings it")
    return path


def promtool(*arguments: object, text: str | None = None, folder: Path | None = None) -> str:
    """Run it; return what it prints, and fail if it finds fault."""
    command = [program("promtool"), *map(str, arguments)]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


class Server:
    """A Prometheus that runs."""

    def __init__(self, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
        self.port = port
        self.process = process
        self.log = log

    def get(self, path: str, **parameters: str) -> Any:
        """Return the data of an answer of its API."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                document = json.load(answer)
        except urllib.error.HTTPError as refusal:
            raise AssertionError(refusal.read().decode()) from refusal
        assert document["status"] == "success", document
        return document["data"]

    def query(self, expression: str) -> list[Any]:
        """Return the result of an expression."""
        return list(self.get("query", query=expression)["result"])

    def wait_for(self, what: Callable[[], Any]) -> Any:
        """Ask until there is something, and return it."""
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            try:
                if found := what():
                    return found
            except (OSError, AssertionError):  # it starts still
                pass
            time.sleep(0.1)
        raise AssertionError(self.log.read_text())


@contextmanager
def running(folder: Path, target: str, rules: Path, period_seconds: int = 1) -> Iterator[Server]:
    """Run a Prometheus that scrapes ``target`` again and again."""
    configuration = folder / "prometheus.yml"
    configuration.write_text(
        f"global: {{scrape_interval: {period_seconds}s, evaluation_interval: {period_seconds}s}}\n"
        f"rule_files: [{json.dumps(str(rules))}]\n"
        f"scrape_configs: [{{job_name: diskulog, static_configs: [{{targets: [{json.dumps(target)}]}}]}}]\n"
    )
    promtool("check", "config", configuration)
    port, log = free_port(), folder / "prometheus.log"
    command = [
        program("prometheus"),
        f"--config.file={configuration}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=folder)
    try:
        yield Server(port, process, log)
    finally:
        process.terminate()
        process.wait(30)


def free_port() -> int:
    """Return a port of the loopback where nobody listens just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
