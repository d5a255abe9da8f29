# SPDX-License-Identifier: LGPL-2.1-or-later
"""A failure that outlives the worker that saw it."""

import logging
from pathlib import Path

from diskulog.latch import FailureLatch

TOKEN = b"\1" * 8


def test_it_is_found_by_the_next_worker_until_it_is_cleared(tmp_path: Path) -> None:
    FailureLatch(tmp_path, b"UUID", TOKEN, "log").set()
    FailureLatch(tmp_path, b"UUID", TOKEN, "log").set()
    again = FailureLatch(tmp_path, b"UUID", TOKEN, "log")
    assert again.is_set()
    again.clear()
    assert not FailureLatch(tmp_path, b"UUID", TOKEN, "log").is_set()
    again.clear()


def test_another_log_and_another_luid_have_not_failed(tmp_path: Path) -> None:
    FailureLatch(tmp_path, b"UUID", TOKEN, "log").set()
    assert not FailureLatch(tmp_path, b"UUID2", TOKEN, "log").is_set()
    assert not FailureLatch(tmp_path, b"UUID", TOKEN, "legs").is_set()
    assert not FailureLatch(tmp_path, b"UUID", b"\2" * 8, "log").is_set()


def test_only_root_may_look(tmp_path: Path) -> None:
    FailureLatch(tmp_path, b"UUID", TOKEN, "log").set()
    assert (tmp_path / "failed").stat().st_mode & 0o777 == 0o700


def test_a_directory_that_cannot_be_written_is_a_line_and_no_error(tmp_path: Path, caplog) -> None:
    (tmp_path / "failed").write_text("a file")
    with caplog.at_level(logging.ERROR, "diskulog.latch"):
        FailureLatch(tmp_path, b"UUID", TOKEN, "log").set()
    assert "will not know that the log failed" in caplog.text
