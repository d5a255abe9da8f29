# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every state that the media can be in between two flushes, from recordings of a real mirror's life.

Lives here: the lives that are recorded, and the daemons that must not pass. Does not know how a recording is made
(``log_writes``) or what is asked of a state (``crash_points``).
"""

import mmap
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from diskulog.ctr import CtrArgs, Sync
from diskulog.forensic.belief import Belief
from tests import logs
from tests.kernel.guest.crash_points import Recording, clean_while_cached, cut_everywhere
from tests.kernel.guest.log_writes import Recorder
from tests.kernel.guest.rig import SECTOR_BYTES, Daemon, Mirror, forget, until

_LEGS = ("a", "b")
_WRITERS = 4
_KERNEL = "kernel"  # in the place of a mode: the kernel's own log


@dataclass(frozen=True, slots=True)
class Life:
    """A mirror that grows once, and what it lies on."""

    region_size: int
    counts: tuple[int, int]  # regions
    log_sectors: tuple[int, int]
    options: str  # of the first table
    written: tuple[int, ...]  # regions
    doubted: frozenset[Belief]  # what it may look like for a moment, while it grows: then all is dirty

    @property
    def region_bytes(self) -> int:
        return self.region_size * SECTOR_BYTES

    @property
    def tables(self) -> tuple[CtrArgs, CtrArgs]:
        lengths = (count * self.region_size for count in self.counts)
        first, last = (CtrArgs(length, "disk", "disk", "7:0", self.region_size) for length in lengths)
        return replace(first, sync=Sync(self.options)), last

    def before(self) -> tuple[bytes, bytes]:
        """What the legs hold at first: they agree where the first table says so, and differ everywhere else."""
        agree_bytes = self.counts[0] * self.region_bytes if self.options else 0
        other_bytes = self.counts[1] * self.region_bytes - agree_bytes
        return bytes(agree_bytes + other_bytes), bytes(agree_bytes) + random.Random(1).randbytes(other_bytes)


# the header's count and the extension's lie in two sectors: torn apart, somebody else seems to have resized the log
SMALL = Life(8, (48, 64), (32, 32), "", tuple(range(0, 48, 3)), frozenset({Belief.RESIZED}))
# the clean bitmap grows out of its page, over the place where the sync bitmap was, whose checksum fails until it moved
WIDE = Life(
    2,
    (24_560, 24_640),
    (16, 32),
    "nosync",
    (0, 1, 4_095, 4_096, 9_000, 9_001, 12_345, 16_384, 20_480, 24_000, 24_559),
    frozenset({Belief.RESIZED, Belief.CHANGED}),
)


@dataclass
class Stage:
    """A mirror on recorded pieces, not created yet; the recording sees the flushes of one piece."""

    life: Life
    recorder: Recorder
    mirror: Mirror

    @classmethod
    def build(cls, life: Life, mode: str, flushed: str) -> "Stage":
        length_sectors = life.counts[1] * life.region_size
        recorder = Recorder({"log": life.log_sectors[1]} | dict.fromkeys(_LEGS, length_sectors))
        mirror = Mirror(
            "crashing",
            [recorder.pieces[leg].device for leg in _LEGS],
            recorder.pieces["log"].device,
            logs.UUID.decode(),
            region_size=life.region_size,
            length=life.counts[0] * life.region_size,
            mode=mode,
            options=life.options,
        )
        return cls(life, recorder, mirror)

    def write(self, seed: int, times: int = 1) -> None:
        """Write past the page cache, some blocks at a time, never the same bytes twice; nothing is flushed."""
        regions = list(self.life.written) * times
        random.Random(seed).shuffle(regions)
        size = min(self.life.region_bytes, mmap.PAGESIZE)
        fd = os.open(self.mirror.device, os.O_WRONLY | os.O_DIRECT)

        def one(region: int) -> None:
            with mmap.mmap(-1, mmap.PAGESIZE) as aligned, memoryview(aligned)[:size] as block:
                block[:] = os.urandom(size)
                assert os.pwrite(fd, block, region * self.life.region_bytes) == size

        try:
            with ThreadPoolExecutor(_WRITERS) as writers:
                list(writers.map(one, regions))
        finally:
            os.close(fd)

    @contextmanager
    def writing(self, seed: int) -> Iterator[None]:
        """Have writes under way meanwhile."""
        with ThreadPoolExecutor(1) as other:
            job = other.submit(self.write, seed, times=2)
            yield
            job.result()

    def live(self) -> None:
        """Create, resync, write, suspend and resume, grow, remove; create again, remove."""
        mirror, life = self.mirror, self.life
        mirror.create()
        mirror.wait_in_sync()
        self.write(1)
        mirror.wait_clean()
        with self.writing(2):
            mirror.suspend()
            mirror.resume()
        self.write(3, times=4)
        self.recorder.grow("log")
        mirror.length, mirror.options = life.counts[1] * life.region_size, ""
        mirror.load(mirror.table())
        with self.writing(4):
            mirror.resume()
        mirror.wait_in_sync()
        mirror.remove()
        mirror.create()
        self.write(5, times=3)
        mirror.remove()

    def live_quietly(self) -> None:
        """Create, resync, write until all is clean, and remove amid held clears."""
        self.mirror.create(self.mirror.kernel_table() if self.mirror.mode == _KERNEL else None)
        self.mirror.wait_in_sync()
        self.write(1, times=3)
        self.mirror.wait_clean()
        self.write(2, times=3)
        self.mirror.remove()

    def recording(self) -> Recording:
        """End the recording, and return it."""
        pieces = self.recorder.pieces
        first, second = (pieces[leg] for leg in _LEGS)
        return Recording(self.recorder.stop(), pieces["log"], (first, second), self.life.before(), self.life.tables)


@contextmanager
def staged(life: Life, mode: str, flushed: str) -> Iterator[Stage]:
    stage = Stage.build(life, mode, flushed)
    try:
        contents = dict(zip(_LEGS, life.before(), strict=True))
        stage.recorder.start(contents, flushed, {"log": life.log_sectors[0]})
        yield stage
    finally:
        forget(stage.mirror.name)
        stage.recorder.discard()


# the daemon, with a mistake in it for as long as a file of that name lies in its directory
_CARELESS = """
import os, sys
from diskulog import cli, mirror, store

def unless(name, work):
    path = os.path.join(sys.argv[1], name)
    return lambda *arguments: None if os.path.exists(path) else work(*arguments)

mirror.SysfsMirror.flush_legs = unless("no leg flush", mirror.SysfsMirror.flush_legs)
store.DiskStore.commit = unless("no msync", store.DiskStore.commit)
sys.exit(cli.run(sys.argv[2:]))
"""


class CarelessDaemon(Daemon):
    """A daemon that can be told to make a mistake; it holds clears for a moment only, so that more are stored."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.config.write_text("[clears]\nhold_seconds = 0.02\n")

    def start(self) -> None:
        with self.log.open("ab") as out:
            command = [sys.executable, "-c", _CARELESS, str(self.directory), "serve", "--config", str(self.config)]
            self._process = subprocess.Popen(command, stderr=out, stdout=out)
        until("the daemon is ready", lambda: "ready" in self.said() or self._process.poll() is not None)
        assert self._process.poll() is None, self.said()

    @contextmanager
    def without(self, what: str) -> Iterator[None]:
        """Leave something out meanwhile."""
        mistake = self.directory / f"no {what}"
        mistake.touch()
        yield
        mistake.unlink()


@pytest.fixture(scope="module")
def daemon(one_daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CarelessDaemon]:
    """Serve in the place of the one daemon, which starts again with the next test that wants it."""
    one_daemon.stop()
    careless = CarelessDaemon(tmp_path_factory.mktemp("careless"))
    careless.start()
    yield careless
    careless.stop()
    assert "bug:" not in careless.said()
    assert "Traceback" not in careless.said()


@pytest.mark.parametrize(
    ("life", "mode"),
    [(SMALL, "integrated_flush"), (SMALL, ""), (WIDE, "integrated_flush")],
    ids=["small-integrated", "small-plain", "wide-integrated"],
)
def test_at_no_point_of_a_life_does_a_power_cut_leave_a_region_in_sync_whose_legs_differ(
    daemon: CarelessDaemon, life: Life, mode: str
) -> None:
    with staged(life, mode, flushed="log") as stage:
        stage.live()
        recording = stage.recording()
    found = cut_everywhere(recording)
    assert found.wrong == []
    assert found.states > 50
    assert found.beliefs - life.doubted == {None, Belief.KERNEL, Belief.OPEN, Belief.CLOSED}
    assert found.at_last.all()


def test_a_daemon_that_answers_a_flush_without_an_msync_is_caught(daemon: CarelessDaemon) -> None:
    with staged(SMALL, "", flushed="log") as stage, daemon.without("msync"):
        stage.live_quietly()
        recording = stage.recording()
    assert cut_everywhere(recording).wrong


@pytest.mark.parametrize(
    ("mode", "leg"),
    [("integrated_flush", "a"), ("integrated_flush", "b"), ("", "b"), (_KERNEL, "b")],
    ids=["integrated-a", "integrated-b", "plain-b", "kernel-b"],
)
def test_a_region_is_called_clean_only_when_each_leg_has_its_writes_on_the_medium(
    daemon: CarelessDaemon, mode: str, leg: str
) -> None:
    with staged(SMALL, mode, flushed=leg) as stage:
        stage.live_quietly()
        recording = stage.recording()
    found = clean_while_cached(recording, stage.recorder.pieces[leg])
    assert found.wrong == []
    assert found.became_clean > SMALL.counts[0]


def test_a_daemon_that_does_not_flush_the_legs_is_caught(daemon: CarelessDaemon) -> None:
    with staged(SMALL, "", flushed="b") as stage, daemon.without("leg flush"):
        stage.live_quietly()
        recording = stage.recording()
    assert clean_while_cached(recording, stage.recorder.pieces["b"]).wrong
