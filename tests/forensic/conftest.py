# SPDX-License-Identifier: LGPL-2.1-or-later
import os
import subprocess

import pytest


@pytest.fixture
def loop_device(tmp_path):
    """A function that puts bytes on a loop device and returns its name; skipped where that cannot be done."""
    attached = []

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
