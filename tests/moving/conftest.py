# SPDX-License-Identifier: LGPL-2.1-or-later
import tempfile
from contextlib import nullcontext
from pathlib import Path

import pytest

from diskulog import process
from diskulog.moving import run
from tests.moving.host import Host

_IN_MEMORY = Path("/dev/shm")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(process, "needing_no_io", nullcontext)
    monkeypatch.setattr(run, "_PAUSE_SECONDS", 0.0)


@pytest.fixture
def folder(tmp_path):
    """A folder on which an fsync costs nothing: there are thousands of them."""
    if not _IN_MEMORY.is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=_IN_MEMORY) as made:
        yield Path(made)


@pytest.fixture
def host(folder):
    def make(*arguments, **options):
        return Host(folder, *arguments, **options)

    return make
