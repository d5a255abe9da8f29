# SPDX-License-Identifier: LGPL-2.1-or-later
"""Held clears that the next worker finds in the run directory."""

import errno
import logging
from pathlib import Path

import pytest

from diskulog import runfile
from diskulog.keptclears import KeptClears
from diskulog.runfile import Whose
from tests.logs import regions
from tests.loops import open_descriptors

WHOSE = Whose(b"UUID", bytes(16), b"\1" * 8)
COUNT = 100


def test_the_next_worker_finds_what_was_held(tmp_path: Path) -> None:
    bits = KeptClears(tmp_path, WHOSE, COUNT).begin()
    assert regions(bits) == set()
    bits[3] = bits[99] = 1
    bits[3] = 0
    again, in_flush = KeptClears(tmp_path, WHOSE, COUNT).resume()
    assert regions(again) == {99}
    assert in_flush == 0


def test_a_flush_of_the_legs_that_nobody_saw_the_end_of_is_told_once(tmp_path: Path) -> None:
    kept = KeptClears(tmp_path, WHOSE, COUNT)
    bits = kept.begin()
    bits[3] = 1
    kept.flushing(True)
    assert KeptClears(tmp_path, WHOSE, COUNT).resume()[1] == 1
    again, dropped = KeptClears(tmp_path, WHOSE, COUNT).resume()  # the second died before it dropped anything itself
    assert (regions(again), dropped) == (set(), 0)
    bits[3] = 1
    kept.flushing(True)
    kept.flushing(False)
    assert KeptClears(tmp_path, WHOSE, COUNT).resume()[1] == 0


def test_a_new_life_holds_nothing(tmp_path: Path) -> None:
    first = KeptClears(tmp_path, WHOSE, COUNT)
    first.begin()[3] = 1
    first.flushing(True)
    second = KeptClears(tmp_path, WHOSE, COUNT)
    assert regions(second.begin()) == set()
    assert second.resume() == (second.begin(), 0)


@pytest.mark.parametrize(
    "other",
    [Whose(b"OTHER", bytes(16), b"\1" * 8), Whose(b"UUID", b"x" * 16, b"\1" * 8), Whose(b"UUID", bytes(16), b"\2" * 8)],
)
def test_another_log_luid_or_boot_finds_nothing(tmp_path: Path, other: Whose) -> None:
    KeptClears(tmp_path, WHOSE, COUNT).begin()[3] = 1
    assert regions(KeptClears(tmp_path, other, COUNT).resume()[0]) == set()


def test_a_log_of_another_size_finds_nothing(tmp_path: Path) -> None:
    KeptClears(tmp_path, WHOSE, COUNT).begin()[3] = 1
    bits, _ = KeptClears(tmp_path, WHOSE, COUNT * 1000).resume()
    assert regions(bits) == set()
    assert len(bits) >= COUNT * 1000


def test_its_end_leaves_neither_file_nor_mapping_nor_descriptor(tmp_path: Path) -> None:
    before = open_descriptors()
    kept = KeptClears(tmp_path, WHOSE, COUNT)
    bits = kept.begin()
    assert (tmp_path / "held").stat().st_mode & 0o777 == 0o700
    kept.remove()
    bits[5] = 1  # whoever still has the bits may go on storing
    del bits
    assert list((tmp_path / "held").iterdir()) == []
    assert str(tmp_path) not in Path("/proc/self/maps").read_text()
    assert open_descriptors() == before
    kept.flushing(True)
    kept.remove()


def test_without_room_clears_are_held_and_die_with_the_worker(tmp_path: Path, monkeypatch, caplog) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(runfile.os, "posix_fallocate", full)
    before = open_descriptors()
    kept = KeptClears(tmp_path, WHOSE, COUNT)
    with caplog.at_level(logging.WARNING, "diskulog.log"):
        bits = kept.begin()
    assert "clears that are held will die with the worker: [Errno 28] No space left on device" in caplog.text
    assert open_descriptors() == before
    bits[99] = 1
    kept.flushing(True)
    monkeypatch.undo()
    assert regions(KeptClears(tmp_path, WHOSE, COUNT).resume()[0]) == set()
