# SPDX-License-Identifier: LGPL-2.1-or-later
"""What every test may use: the bounded hypothesis profile, a host in memory, loop devices."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.fake_host import Rig

settings.register_profile(
    "bounded", deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("bounded")


@pytest.fixture(params=[True, False], ids=["in place", "served"])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """A host whose log device is blank; work runs at once."""
    made = Rig()
    made.in_place = request.param
    yield made
    made.close()


@pytest.fixture(params=[True, False], ids=["in place", "served"])
def slow(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """A host on which the test decides when each piece of work runs; its log is all clean, and closed."""
    made = Rig(auto=False)
    made.in_place = request.param
    made.disk.format()
    yield made
    made.close()


@pytest.fixture
def loop_device(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """A function that puts bytes on a loop device and returns its name; skipped where that cannot be done."""
    attached: list[str] = []

    def attach(data: bytes, block_bytes: int = 512) -> str:
        backing = tmp_path / f"backing{len(attached)}"
        backing.write_bytes(data)
        if os.geteuid() != 0:
            pytest.skip("needs root")
        command = ["losetup", "--find", "--show", "--sector-size", str(block_bytes), str(backing)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            pytest.skip("no losetup")
        if done.returncode != 0:
            pytest.skip(f"no loop device: {done.stderr.strip()}")
        attached.append(done.stdout.strip())
        return attached[-1]

    yield attach
    for device in attached:
        subprocess.run(["losetup", "--detach", device], check=True)
