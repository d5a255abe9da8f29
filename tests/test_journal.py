# SPDX-License-Identifier: LGPL-2.1-or-later
import logging
import re
import sys
from collections.abc import Iterator

import pytest

from diskulog import journal


@pytest.fixture(autouse=True)
def undisturbed() -> Iterator[None]:
    root = logging.getLogger("diskulog")
    before = (root.handlers[:], root.propagate, root.level)
    yield
    root.handlers[:], root.propagate, root.level = before[0], before[1], before[2]


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    found = capsys.readouterr()
    assert found.out == ""
    return found.err.splitlines()


class TestLogging:
    @pytest.mark.parametrize(
        ("level", "number"),
        [("debug", 7), ("info", 6), ("warning", 4), ("error", 3), ("critical", 3)],
    )
    def test_each_line_begins_with_its_syslog_level(self, capsys, level, number):
        journal.log_to_stderr("debug")
        getattr(logging.getLogger("diskulog.x"), level)("a %s", "b")
        assert lines(capsys) == [f"<{number}>a b"]

    def test_lines_below_the_level_are_not_written(self, capsys):
        journal.log_to_stderr("warning")
        for level in (logging.DEBUG, logging.INFO, logging.WARNING):
            logging.getLogger("diskulog.x").log(level, "line")
        assert lines(capsys) == ["<4>line"]

    def test_other_programs_loggers_are_left_alone(self, capsys, caplog):
        before = logging.getLogger().handlers[:]
        journal.log_to_stderr("debug")
        logging.getLogger("diskulog").error("ours")
        assert logging.getLogger().handlers == before
        assert caplog.records == []

    def test_a_terminal_gets_the_time_instead(self, capsys, monkeypatch):
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
        journal.log_to_stderr("info")
        logging.getLogger("diskulog.x").info("hello")
        (line,) = lines(capsys)
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} hello", line)

    def test_a_second_start_does_not_say_everything_twice(self, capsys):
        journal.log_to_stderr("info")
        journal.log_to_stderr("info")
        logging.getLogger("diskulog.x").info("once")
        assert lines(capsys) == ["<6>once"]

    def test_every_line_of_a_traceback_has_its_level(self, capsys):
        journal.log_to_stderr("info")
        try:
            raise ValueError("x")
        except ValueError:
            logging.getLogger("diskulog.x").exception("bug")
        found = lines(capsys)
        assert len(found) > 3
        assert all(line.startswith("<3>") for line in found)
