# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fixtures inside the guest: ram disks made once, one daemon for all, a fresh mirror a test."""

import itertools
import subprocess
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from diskulog import process
from tests.kernel.guest.rig import Daemon, Mirror, forget, run, scramble, zero

_RAM_DISKS = 8
_numbers = itertools.count(1)


@pytest.fixture(scope="session", autouse=True)
def ram_disks() -> None:
    run("modprobe", "brd", f"rd_nr={_RAM_DISKS}", "rd_size=16384")


@pytest.fixture(scope="session")
def one_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path_factory.mktemp("daemon"))
    daemon.start()
    yield daemon
    daemon.stop()


@pytest.fixture
def daemon(one_daemon: Daemon) -> Iterator[Daemon]:
    one_daemon.start()
    start = one_daemon.mark()
    yield one_daemon
    said = one_daemon.said(start)
    assert "bug:" not in said, said
    assert "Traceback" not in said, said


@pytest.fixture
def mirror(daemon: Daemon) -> Iterator[Mirror]:
    """A mirror that is not created yet: its legs differ everywhere, its log device is blank."""
    made = Mirror(f"m{next(_numbers)}", ["/dev/ram0", "/dev/ram1"], "/dev/ram2", f"UUID-{next(_numbers)}")
    zero(made.log)
    scramble(made)
    yield made
    daemon.start()
    forget(made.name)


@pytest.fixture
def slow(mirror: Mirror) -> Iterator[str]:
    """A leg on which copying a region takes a second: a resync is under way until ``undelay``."""
    table = f"0 {mirror.length} delay {mirror.legs[1]} 0 0 {mirror.legs[1]} 0 1000"
    run("dmsetup", "create", "slow", "--table", table)
    mirror.legs[1] = "/dev/mapper/slow"
    yield "slow"
    forget(mirror.name)
    forget("slow")


@pytest.fixture
def weak(mirror: Mirror) -> Iterator[str]:
    """A first leg that fails and comes back, at a time when the other one has what it missed."""
    run("dmsetup", "create", "weak", "--table", f"0 {mirror.length} linear {mirror.legs[0]} 0")
    mirror.legs[0] = "/dev/mapper/weak"
    # writes go on with the other leg
    mirror.features = "2 handle_errors keep_log"
    yield "weak"
    forget(mirror.name)
    forget("weak")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lock no memory: that of this process is large, and a fork copies it; the first test does as a command does."""
    monkeypatch.setattr(process, "needing_no_io", nullcontext)


@pytest.fixture
def many_mirrors(daemon: Daemon) -> Iterator[list[Mirror]]:
    """Eight small mirrors that are not created yet, on pieces of three ram disks."""
    length, mirrors, pieces = 1024, [], []
    for number in range(8):
        for part, device in (("a", "/dev/ram4"), ("b", "/dev/ram5"), ("l", "/dev/ram6")):
            pieces.append(f"piece{number}{part}")
            run("dmsetup", "create", pieces[-1], "--table", f"0 {length} linear {device} {number * length}")
        legs, log = [f"/dev/mapper/piece{number}{part}" for part in "ab"], f"/dev/mapper/piece{number}l"
        zero(log)
        mirrors.append(Mirror(f"many{number}", legs, log, f"UUID-many-{number}", region_size=16, length=length))
    yield mirrors
    for name in [mirror.name for mirror in mirrors] + pieces:
        forget(name)


@pytest.fixture
def dmesg() -> Iterator[list[str]]:
    """The kernel's messages of this test, filled at its end; shown when it fails."""
    before = len(run("dmesg").splitlines())
    lines: list[str] = []
    yield lines
    lines += run("dmesg").splitlines()[before:]


@pytest.fixture
def loop_file(tmp_path: Path) -> Iterator[object]:
    """Make loop devices of files in memory: they have a write cache, and any sector size."""
    made: list[str] = []

    def make(size_bytes: int, sector_bytes: int = 512) -> str:
        path = Path("/dev/shm") / f"{tmp_path.name}-{len(made)}"
        with path.open("wb") as file:
            file.truncate(size_bytes)
        done = subprocess.run(
            ["losetup", "--find", "--show", "--sector-size", str(sector_bytes), str(path)],
            check=True,
            capture_output=True,
            text=True,
        )
        made.append(done.stdout.strip())
        return made[-1]

    yield make
    for device in made:
        run("blockdev", "--setrw", device, check=False)  # the number keeps that for its next file
        run("losetup", "--detach", device, check=False)
