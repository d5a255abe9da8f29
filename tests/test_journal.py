# SPDX-License-Identifier: LGPL-2.1-or-later
import linecache
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from diskulog import journal


@pytest.fixture(autouse=True)
def undisturbed() -> Iterator[None]:
    root = logging.getLogger("diskulog")
    before = (root.handlers[:], root.propagate, root.level)
    yield
    journal.drain(10)
    root.handlers[:], root.propagate, root.level = before[0], before[1], before[2]


def lines(capfd: pytest.CaptureFixture[str]) -> list[str]:
    journal.drain(10)
    found = capfd.readouterr()
    assert found.out == ""
    return found.err.splitlines()


class TestLogging:
    @pytest.mark.parametrize(
        ("level", "number"),
        [("debug", 7), ("info", 6), ("warning", 4), ("error", 3), ("critical", 3)],
    )
    def test_each_line_begins_with_its_syslog_level(self, capfd, level, number):
        journal.log_to_stderr("debug")
        getattr(logging.getLogger("diskulog.x"), level)("a %s", "b")
        assert lines(capfd) == [f"<{number}>a b"]

    def test_lines_below_the_level_are_not_written(self, capfd):
        journal.log_to_stderr("warning")
        for level in (logging.DEBUG, logging.INFO, logging.WARNING):
            logging.getLogger("diskulog.x").log(level, "line")
        assert lines(capfd) == ["<4>line"]

    def test_other_programs_loggers_are_left_alone(self, capfd, caplog):
        before = logging.getLogger().handlers[:]
        journal.log_to_stderr("debug")
        logging.getLogger("diskulog").error("ours")
        assert logging.getLogger().handlers == before
        assert caplog.records == []

    def test_a_terminal_gets_the_time_instead(self, capfd, monkeypatch):
        monkeypatch.setattr(journal.os, "isatty", lambda _: True)
        journal.log_to_stderr("info")
        logging.getLogger("diskulog.x").info("hello")
        (line,) = lines(capfd)
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} hello", line)

    def test_the_kernels_log_is_told_who_speaks(self, capfd, monkeypatch):
        kernel_log = os.stat_result((0o020644, 0, 0, 1, 0, 0, 0, 0, 0, 0), {"st_rdev": os.makedev(1, 11)})
        with monkeypatch.context() as while_it_looks:
            while_it_looks.setattr(journal.os, "fstat", lambda _: kernel_log)
            journal.log_to_stderr("info")
        logging.getLogger("diskulog.x").info("hello")
        assert lines(capfd) == ["<6>diskulog: hello"]

    def test_another_device_is_not_the_kernels_log(self, capfd, monkeypatch):
        null = Path("/dev/null").stat()
        with monkeypatch.context() as while_it_looks:
            while_it_looks.setattr(journal.os, "fstat", lambda _: null)
            journal.log_to_stderr("info")
        logging.getLogger("diskulog.x").info("hello")
        assert lines(capfd) == ["<6>hello"]

    def test_a_second_start_does_not_say_everything_twice(self, capfd):
        journal.log_to_stderr("info")
        journal.log_to_stderr("info")
        logging.getLogger("diskulog.x").info("once")
        assert lines(capfd) == ["<6>once"]

    def test_every_line_of_a_traceback_has_its_level(self, capfd):
        journal.log_to_stderr("info")
        try:
            raise ValueError("x")
        except ValueError:
            logging.getLogger("diskulog.x").exception("bug")
        found = lines(capfd)
        assert len(found) > 3
        assert all(line.startswith("<3>") for line in found)

    def test_a_traceback_reads_no_file(self, capfd, monkeypatch):
        def never(*_):
            raise AssertionError("a file was read")

        monkeypatch.setattr(linecache, "updatecache", never)
        journal.log_to_stderr("info")
        try:
            raise ValueError("x")
        except ValueError:
            logging.getLogger("diskulog.x").exception("bug")
        head, title, place, error = lines(capfd)
        assert (head, title, error) == ("<3>bug", "<3>Traceback (most recent call last):", "<3>ValueError: x")
        assert re.fullmatch(r'<3>  File ".*test_journal.py", line \d+, in test_a_traceback_reads_no_file', place)

    def test_a_line_that_cannot_be_formatted_is_a_line_and_no_error(self, capfd):
        journal.log_to_stderr("info")
        logging.getLogger("diskulog.x").info("%d", "no number")
        assert lines(capfd) == ["<3>bug: a line that cannot be formatted: '%d'"]


@pytest.fixture
def full_pipe() -> Iterator[tuple[int, int]]:
    """A pipe that has no room: whoever writes to it waits until somebody reads."""
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    with suppress(BlockingIOError):
        while True:
            os.write(write_end, bytes(4096))
    os.set_blocking(write_end, True)
    yield read_end, write_end
    os.close(read_end)
    os.close(write_end)


def read_lines(fd: int, number: int) -> list[str]:
    got = b""
    while got.count(b"\n") < number:
        got += os.read(fd, 65536)
    return got.lstrip(b"\0").decode().splitlines()


class TestLines:
    def test_who_logs_does_not_wait_for_who_reads(self, full_pipe):
        read_end, write_end = full_pipe
        waiting = journal.Lines(write_end)
        for number in range(100):
            waiting.put(str(number))
        assert read_lines(read_end, 100) == [str(number) for number in range(100)]

    def test_what_is_too_much_is_counted_and_told_in_its_place(self, full_pipe):
        read_end, write_end = full_pipe
        waiting = journal.Lines(write_end, max_waiting=3)
        waiting.put("first")
        until(lambda: not waiting._waiting)  # the thread has it, and stands before the pipe
        for number in range(10):
            waiting.put(str(number))
        told = "<4>7 lines are missing here: they were not read fast enough"
        assert read_lines(read_end, 5) == ["first", "0", "1", "2", told]

    def test_a_line_comes_whole_through_a_descriptor_that_does_not_block(self, full_pipe):
        read_end, write_end = full_pipe
        os.set_blocking(write_end, False)
        waiting = journal.Lines(write_end)
        waiting.put("x" * 100_000)
        assert read_lines(read_end, 1) == ["x" * 100_000]

    def test_the_thread_ends_when_all_is_written_and_another_comes_with_the_next_line(self, capfd):
        waiting = journal.Lines(2)
        for text in ("one", "two"):
            waiting.put(text)
            waiting.drain(10)
            assert waiting._thread is None
        assert capfd.readouterr().err == "one\ntwo\n"

    def test_the_wait_at_the_end_is_bounded(self, full_pipe):
        read_end, write_end = full_pipe
        waiting = journal.Lines(write_end)
        waiting.put("last words")
        waiting.drain(0.01)
        assert waiting._thread is not None
        assert read_lines(read_end, 1) == ["last words"]

    def test_a_reader_that_is_gone_is_no_error(self):
        read_end, write_end = os.pipe()
        os.close(read_end)
        waiting = journal.Lines(write_end)
        waiting.put("nobody hears")
        waiting.drain(10)
        assert waiting._thread is None
        os.close(write_end)

    def test_without_memory_for_a_thread_the_line_waits_for_the_next(self, capfd, monkeypatch):
        def fails(_):
            raise RuntimeError("can't start new thread")

        waiting = journal.Lines(2)
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", fails)
            waiting.put("one")
        waiting.put("two")
        waiting.drain(10)
        assert capfd.readouterr().err == "one\ntwo\n"

    def test_a_child_does_not_say_again_what_its_parent_has_not_said_yet(self, full_pipe, monkeypatch):
        read_end, write_end = full_pipe
        monkeypatch.setattr(journal, "_STDERR", write_end)
        journal.log_to_stderr("info")
        logging.getLogger("diskulog.x").info("the parent's")
        child = os.fork()
        if not child:
            journal.begin_in_child()
            logging.getLogger("diskulog.x").info("the child's")
            journal.drain(10)
            os._exit(0)
        assert sorted(read_lines(read_end, 2)) == ["<6>the child's", "<6>the parent's"]
        assert os.waitpid(child, 0)[1] == 0


def until(truth: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not truth():
        assert time.monotonic() < end
        time.sleep(0.001)
