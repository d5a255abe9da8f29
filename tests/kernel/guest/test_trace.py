# SPDX-License-Identifier: LGPL-2.1-or-later
"""A tracer beside the daemon, and its trace replayed: the same bitmaps as the kernel and the daemon made."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from bitarray import bitarray

from diskulog import ondisk
from tests.kernel.guest.rig import Daemon, Mirror, diskulog, read, until

LOG_BYTES = 16384 * 1024
WRITTEN = [3, 7, 8, 9, 40]


class Tracer:
    """``diskulog trace`` as a process."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.out = folder / "trace"
        self._log = folder / "trace.log"
        command = [sys.executable, "-m", "diskulog", "trace", "--out", str(self.out), *options]
        with self._log.open("wb") as out:
            self.process = subprocess.Popen(command, stderr=out)
        until("the tracer listens", lambda: "listening" in self.said() or self.process.poll() is not None)
        assert self.process.poll() is None, self.said()

    def said(self) -> str:
        return self._log.read_text()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0, self.said()
        assert " 0 lost" in self.said()


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return tmp_path / "before.img"


@pytest.fixture
def result(tmp_path: Path) -> Path:
    return tmp_path / "after.img"


@pytest.fixture
def long_hold(daemon: Daemon) -> Iterator[Daemon]:
    yield daemon
    daemon.config.write_text("[clears]\nhold_seconds = 0.5\n")
    daemon.restart()


def bits(content: bytes) -> tuple[ondisk.Extension, bitarray, bitarray]:
    found = ondisk.unpack_extension(content)
    assert found is not None
    clean = ondisk.bits_from(content[1024:], found.region_count)
    return found, clean, ondisk.bits_from(content[found.sync_offset_bytes :], found.region_count)


def replayed(trace: Path, image: Path, result: Path, *options: str) -> list[dict[str, object]]:
    before = image.read_bytes()
    code, said = diskulog("replay", "--json", "--out-image", str(result), *options, str(trace), str(image))
    assert code == 0, said
    assert image.read_bytes() == before
    return [json.loads(line) for line in said.splitlines()]


def test_a_whole_life_replayed_ends_in_the_very_same_log(
    mirror: Mirror, daemon: Daemon, tmp_path: Path, image: Path, result: Path
) -> None:
    image.write_bytes(read(mirror.log, 0, LOG_BYTES))
    tracer = Tracer(tmp_path, "--uuid", mirror.uuid)
    mirror.create()
    mirror.wait_in_sync()
    mirror.write_some(1, WRITTEN)
    mirror.suspend()
    mirror.resume()
    mirror.write_some(2, WRITTEN)
    mirror.load(mirror.table())
    mirror.resume()
    mirror.write_some(3)
    mirror.remove()
    tracer.stop()
    steps = replayed(tracer.out, image, result, "--config", str(daemon.config))
    there, here = bits(read(mirror.log, 0, LOG_BYTES)), bits(result.read_bytes())
    assert here[1:] == there[1:]
    times = ("created_seconds", "resumed_seconds", "closed_seconds")
    assert all(abs(getattr(here[0], name) - getattr(there[0], name)) <= 10 for name in times)
    assert replace(here[0], **dict.fromkeys(times, 0)) == replace(there[0], **dict.fromkeys(times, 0))
    assert steps[-1]["requests"] > 100
    assert [step for step in steps if step.get("error")] == []


def test_a_trace_from_the_middle_of_a_life_gives_the_same_dirty_regions(
    mirror: Mirror, long_hold: Daemon, tmp_path: Path, image: Path, result: Path
) -> None:
    mirror.create()
    mirror.wait_in_sync()
    mirror.wait_clean()
    long_hold.config.write_text("[clears]\nhold_seconds = 600\n")
    long_hold.restart()
    assert mirror.in_sync_count() == mirror.region_count  # it has reconnected
    image.write_bytes(read(mirror.log, 0, LOG_BYTES))
    tracer = Tracer(tmp_path)
    mirror.write_some(1, WRITTEN)
    tracer.stop()
    steps = replayed(tracer.out, image, result, "--uuid", mirror.uuid, "--config", str(long_hold.config))
    there, here = bits(read(mirror.log, 0, LOG_BYTES)), bits(result.read_bytes())
    assert here[1:] == there[1:]
    assert list(here[1].search(0)) == WRITTEN
    assert "starts resumed" in steps[1]["messages"][0]
    assert {step["answer"] for step in steps if step.get("type") == "IN_SYNC"} == {"1"}
    code, said = diskulog("replay", str(tracer.out))
    assert code == 0
    assert "FLUSH" in said


def test_a_ring_keeps_the_last_requests_and_a_daemon_starts_beside_it(
    mirror: Mirror, daemon: Daemon, tmp_path: Path
) -> None:
    mirror.create()
    mirror.wait_in_sync()
    tracer = Tracer(tmp_path, "--ring", "20")
    start = daemon.mark()
    daemon.restart()
    daemon.says(f"process {tracer.process.pid} ", start)
    mirror.write_some(1)
    assert mirror.in_sync_count() == mirror.region_count
    header = tracer.out.read_text()
    tracer.process.send_signal(signal.SIGUSR1)
    until("the ring is written", lambda: tracer.out.read_text() != header)
    assert len(tracer.out.read_text().splitlines()) == 21
    tracer.stop()
    code, said = diskulog("replay", str(tracer.out))
    assert code == 0
    assert len(said.splitlines()) == 21
    assert "no end" not in said
    assert "STATUS_INFO" in said


def test_without_a_daemon_it_does_not_listen(mirror: Mirror, daemon: Daemon, tmp_path: Path) -> None:
    daemon.stop()
    done = subprocess.run(
        [sys.executable, "-m", "diskulog", "trace", "--out", str(tmp_path / "trace")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 6
    assert done.stderr.startswith("diskulog: no daemon answers")
    assert not (tmp_path / "trace").exists()
