# SPDX-License-Identifier: LGPL-2.1-or-later
import errno
import os
import signal
from collections import deque

import pytest

from diskulog.trace import tracer as module
from diskulog.trace.record import End, Heard, Lost
from diskulog.trace.tracer import Limits, Tracer, header, signals
from tests.traces import heard


class Listener:
    """A socket that hears what the test wrote down, then says that nothing comes."""

    def __init__(self, *script):
        self.script = deque(script)
        self.on_silence = lambda: None

    def recvfrom(self, size, flags):
        assert size >= 528
        if not self.script:
            self.on_silence()
            raise BlockingIOError(errno.EAGAIN, "nothing")
        item = self.script.popleft()
        if isinstance(item, OSError):
            raise item
        if callable(item):
            item()
            raise BlockingIOError(errno.EAGAIN, "nothing")
        content, sender = item if isinstance(item, tuple) else (item, 0)
        return content, (sender, 0)


class Sink:
    def __init__(self):
        self.records = []
        self.rests = self.writes = 0

    def put(self, record):
        self.records.append(record)

    def rest(self):
        self.rests += 1

    def write_now(self):
        self.writes += 1


ALL = Limits()
LOST = OSError(errno.ENOBUFS, "No buffer space available")


def asked(seq, kind=9, **more):
    return heard(kind, seq=seq, **more).datagram


@pytest.fixture(autouse=True)
def no_sleep(monkeypatch):
    slept = []
    monkeypatch.setattr(module.time, "sleep", slept.append)
    return slept


def run(*script, limits=ALL, now=None):
    listener, sink = Listener(*script), Sink()
    times = iter(range(10**6))
    tracer = Tracer(listener, sink, limits, now or (lambda: float(next(times))))
    listener.on_silence = tracer.stop
    tracer.run()
    return tracer, sink


def test_everything_is_heard_until_it_is_stopped():
    tracer, sink = run(asked(5), asked(6, 8), asked(7, 200))
    assert [record.datagram for record in sink.records[:-1]] == [asked(5), asked(6, 8), asked(7, 200)]
    times = [record.at_seconds for record in sink.records]
    assert times == sorted(times)
    assert sink.records[-1][1:] == (3, 0)
    assert (tracer.requests, tracer.lost, sink.writes) == (3, 0, 1)


def test_what_lay_there_when_it_was_stopped_is_heard():
    listener, sink = Listener(*map(asked, range(5000))), Sink()
    tracer = Tracer(listener, sink, ALL, lambda: 0.0)
    tracer.stop()
    tracer.run()
    assert tracer.requests == 5000


def test_it_ends_though_more_comes_all_the_time(monkeypatch):
    monkeypatch.setattr(module, "_LAST_BATCHES", 2)
    tracer = Tracer(Listener(*map(asked, range(5000))), Sink(), ALL, lambda: 0.0)
    tracer.stop()
    tracer.run()
    assert tracer.requests == 2048


def test_a_process_is_not_heard():
    assert run((asked(5), 4711), asked(6))[0].requests == 1


def test_what_is_no_request_is_kept_when_all_logs_are():
    unreadable = asked(5)[:100]
    others = bytearray(asked(5))
    others[16] = 8
    _, sink = run(unreadable, b"no connector's", bytes(others), asked(6))
    assert [record.datagram for record in sink.records[:-1]] == [unreadable, asked(6)]
    assert run(unreadable, limits=Limits(uuid=b"u"))[0].requests == 0


def test_one_log_may_be_chosen():
    tracer, sink = run(asked(5), asked(6, uuid=b"other"), asked(7), limits=Limits(uuid=b"other"))
    assert [record.datagram for record in sink.records[:-1]] == [asked(6, uuid=b"other")]
    assert (tracer.requests, tracer.lost) == (1, 0)


@pytest.mark.parametrize("script", [(asked(5), LOST, asked(9)), (asked(5), asked(9))], ids=["ENOBUFS", "gap"])
def test_what_was_lost_is_counted_by_the_kernels_own_numbers(script):
    tracer, sink = run(*script)
    assert [type(record) for record in sink.records] == [Heard, Lost, Heard, End]
    assert sink.records[1].requests == 3
    assert sink.records[-1].lost == tracer.lost == 3


def test_lost_requests_of_unknown_number_are_marked():
    assert [type(record) for record in run(LOST, asked(5), asked(6))[1].records] == [Lost, Heard, Heard, End]
    records = run(asked(5), LOST)[1].records
    assert records[1].requests is None
    assert [type(record) for record in records] == [Heard, Lost, End]


def test_numbers_that_begin_anew_or_wrap_are_no_loss():
    assert run(asked(50000), asked(0), asked(1))[0].lost == 0
    assert run(asked(2**32 - 1), asked(0))[0].lost == 0


def test_another_failure_of_the_socket_is_not_hidden():
    with pytest.raises(OSError, match="Bad file"):
        run(OSError(errno.EBADF, "Bad file descriptor"))


def test_it_ends_after_so_many_requests():
    tracer, sink = run(*map(asked, range(10)), limits=Limits(count=3))
    assert tracer.requests == 3
    assert len(sink.records) == 4


def test_it_ends_after_so_long():
    clock = [0.0]

    def later():
        clock[0] += 0.2

    tracer, _ = run(later, asked(1), later, asked(2), later, asked(3), limits=Limits(seconds=0.3), now=lambda: clock[0])
    assert tracer.requests == 1


def test_a_burst_is_taken_at_once_and_then_it_rests(no_sleep):
    _, sink = run(*map(asked, range(3000)))
    assert len(sink.records) == 3001
    assert len(no_sleep) == 3
    assert sink.rests == 3


def test_signals_end_it_and_have_it_write():
    listener, sink = Listener(), Sink()
    tracer = Tracer(listener, sink, Limits(), lambda: 0.0)
    sent = iter([signal.SIGUSR1, signal.SIGUSR1, signal.SIGTERM])
    listener.on_silence = lambda: os.kill(os.getpid(), next(sent, signal.SIGTERM))
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGUSR1), signal.getsignal(signal.SIGINT)
    with signals(tracer):
        tracer.run()
    assert sink.writes == 3
    assert (
        signal.getsignal(signal.SIGTERM),
        signal.getsignal(signal.SIGUSR1),
        signal.getsignal(signal.SIGINT),
    ) == before


def test_the_header_says_where_and_of_what():
    made = header(Limits(uuid=b"u\xff"), 5)
    assert (made.uuid, made.ring, made.kernel) == ("u\udcff", 5, os.uname().release)
    assert header(Limits(), None).uuid is None
