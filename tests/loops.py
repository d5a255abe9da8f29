# SPDX-License-Identifier: LGPL-2.1-or-later
"""Loop devices: a real block device over a file, whose bytes are what the medium holds."""

import gc
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def _missing() -> str | None:
    if os.geteuid() != 0:
        return "loop devices need root"
    if shutil.which("losetup") is None:
        return "there is no losetup here"
    found = subprocess.run(["losetup", "--find"], capture_output=True, text=True, check=False)
    return None if found.returncode == 0 else f"no free loop device: {found.stderr.strip()}"


@contextmanager
def attached(file: Path, *options: str) -> Iterator[str]:
    """Attach a file to a loop device and give its node; skips the test, with the reason, where that cannot be."""
    reason = _missing()
    if reason:
        pytest.skip(reason)
    found = subprocess.run(
        ["losetup", "--find", "--show", *options, str(file)], capture_output=True, text=True, check=False
    )
    if found.returncode:
        pytest.skip(f"losetup refused: {found.stderr.strip()}")
    node = found.stdout.strip()
    try:
        yield node
    finally:
        subprocess.run(["losetup", "--detach", node], check=True)


def sectors_written(node: str) -> int:
    """Sectors written to a device so far."""
    return _statistic(node, 6)


def sectors_read(node: str) -> int:
    """Sectors read from a device so far."""
    return _statistic(node, 2)


def _statistic(node: str, number: int) -> int:
    return int((Path("/sys/block") / Path(node).name / "stat").read_text().split()[number])


def open_descriptors() -> int:
    """Descriptors and mappings of block devices that this process has."""
    # what another test left goes with its threads and its garbage: a mapping has a descriptor of its own
    for thread in threading.enumerate():
        if thread.name.startswith(("device-", "legs-")):
            thread.join(5)
    gc.collect()
    maps = Path("/proc/self/maps").read_text().count("/dev/loop")
    return len(os.listdir("/proc/self/fd")) + maps  # noqa: PTH208 - links to what may be gone
