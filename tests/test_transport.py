# SPDX-License-Identifier: LGPL-2.1-or-later
import errno
import logging
import os
import socket
import struct
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from diskulog import transport as module
from diskulog import wire
from diskulog.errors import RefusedError
from diskulog.handover import HANDOVER_BYTES, Handover
from diskulog.neighbours import refuse_beside_another
from diskulog.transport import Transport
from tests.fake_kernel import IN_SYNC, datagram, parse_reply

CONNECTOR = 11
BUFFER = 256 * 1024


def native_problem() -> str | None:
    """Why no real socket can join the group here; None when one can."""
    try:
        Transport(BUFFER, Handover(memoryview(bytearray(HANDOVER_BYTES)))).close()
    except (OSError, RefusedError) as error:
        return f"a connector socket cannot join group 7 here: {error}"
    return None


@pytest.fixture
def native() -> Iterator[Transport]:
    problem = native_problem()
    if problem:
        pytest.skip(problem)
    made = Transport(BUFFER, Handover(memoryview(bytearray(HANDOVER_BYTES))))
    yield made
    made.close()


class ScriptedSocket:
    """A netlink socket that says what the test wrote down."""

    def __init__(self, *script: bytes | tuple[bytes, int] | OSError) -> None:
        self.script = deque(script)
        self.sent: list[bytes] = []
        self.woken: list[tuple[bytes, int, tuple[int, int]]] = []
        self.options: list[tuple[int, int, int]] = []
        self.bound: tuple[int, int] | None = None
        self.flags: list[int] = []
        self.blocking = False
        self.closed = False
        self.send_failure: OSError | None = None
        self.option_failure: OSError | None = None

    def bind(self, address):
        self.bound = address

    def getsockname(self):
        return (4711, 0)

    def setsockopt(self, *option):
        if self.option_failure:
            raise self.option_failure
        self.options.append(option)

    def setblocking(self, blocking):
        self.blocking = blocking

    def recvfrom_into(self, buffer, nbytes=0, flags=0):
        self.flags.append(flags)
        if not self.script:
            raise BlockingIOError(errno.EAGAIN, "nothing")
        item = self.script.popleft()
        if isinstance(item, OSError):
            raise item
        content, sender = item if isinstance(item, tuple) else (item, 0)
        buffer[: len(content)] = content
        return len(content), (sender, 0)

    def send(self, content):
        if self.send_failure:
            raise self.send_failure
        self.sent.append(bytes(content))

    def sendto(self, content, flags, address):
        if self.send_failure:
            raise self.send_failure
        self.woken.append((bytes(content), flags, address))
        self.script.append((bytes(content), address[0]))

    def close(self):
        self.closed = True


def scripted(monkeypatch, *script, spins: int = 0) -> tuple[Transport, ScriptedSocket]:
    sock = ScriptedSocket(*script)
    monkeypatch.setattr(module.netns, "create_socket", lambda **_: sock)
    return Transport(BUFFER, Handover(memoryview(bytearray(HANDOVER_BYTES))), spins), sock


def received(transport: Transport) -> list[bytes]:
    found, drained = [], False
    while not drained:
        datagram = transport.receive()
        if datagram is not None:
            found.append(bytes(datagram))
        drained = transport.drained
    return found


class TestOpening:
    def test_it_binds_to_no_group_and_joins_the_one_it_wants_after_the_buffer_is_large(self, monkeypatch):
        transport, sock = scripted(monkeypatch)
        assert sock.bound == (0, 0)
        one_ms = struct.pack("@ll", 0, 1000)
        assert sock.options == [
            (socket.SOL_SOCKET, 33, BUFFER),
            (270, 1, 7),
            (socket.SOL_SOCKET, socket.SO_RCVTIMEO, one_ms),
        ]
        assert sock.blocking
        assert transport.port == 4711
        transport.close()
        assert sock.closed

    def test_a_kernel_without_a_connector_is_refused_with_the_way_out(self, monkeypatch):
        def fails(**_):
            raise OSError(errno.EPROTONOSUPPORT, "Protocol not supported")

        monkeypatch.setattr(module.netns, "create_socket", fails)
        with pytest.raises(RefusedError, match="netlink connector: cannot be opened: Protocol not supported; run in"):
            Transport(BUFFER, Handover(memoryview(bytearray(HANDOVER_BYTES))))

    def test_a_missing_capability_is_an_os_error_and_leaves_no_socket(self, monkeypatch):
        sock = ScriptedSocket()
        sock.option_failure = PermissionError(errno.EPERM, "Operation not permitted")
        monkeypatch.setattr(module.netns, "create_socket", lambda **_: sock)
        with pytest.raises(PermissionError):
            Transport(BUFFER, Handover(memoryview(bytearray(HANDOVER_BYTES))))
        assert sock.closed


class TestReceiving:
    def test_datagrams_of_the_kernel_come_in_order_then_nothing(self, monkeypatch):
        transport, _ = scripted(monkeypatch, b"one", b"two two")
        assert received(transport) == [b"one", b"two two"]
        assert transport.receive() is None

    def test_a_datagram_is_memory_that_the_next_one_takes(self, monkeypatch):
        transport, _ = scripted(monkeypatch, b"one", b"two")
        first = transport.receive()
        assert isinstance(first, memoryview)
        transport.receive()
        assert bytes(first) == b"two"

    def test_processes_are_not_heard_but_counted_and_one_is_named(self, monkeypatch, caplog):
        transport, _ = scripted(monkeypatch, (b"forged", 4242), b"kernel", (b"forged too", 1))
        assert received(transport) == [b"kernel"]
        assert transport.foreign == 2
        assert caplog.messages == ["netlink port 4242 sends what only the kernel may; it is dropped"]

    def test_a_full_buffer_is_counted_and_survived_and_told_once(self, monkeypatch, caplog):
        full = OSError(errno.ENOBUFS, "No buffer space available")
        transport, _ = scripted(monkeypatch, full, b"one", full, b"two")
        assert received(transport) == [b"one", b"two"]
        assert transport.overruns == 2
        assert caplog.messages == ["requests do not fit the receive buffer; the kernel asks again"]

    def test_after_a_full_buffer_somebody_is_to_act_before_more_is_answered(self, monkeypatch):
        transport, _ = scripted(monkeypatch, OSError(errno.ENOBUFS, "No buffer space available"), b"one")
        assert transport.receive() is None
        assert transport.overrun
        assert not transport.drained
        assert transport.receive() is not None
        assert transport.receive() is None
        assert transport.drained

    def test_what_is_answered_in_place_is_sent_and_no_longer_in_hand(self, monkeypatch):
        first, second = (datagram(IN_SYNC, b"UUID", 7, bytes(8), seq=seq) for seq in (41, 42))
        transport, sock = scripted(monkeypatch, first, second)
        sizes = []

        def answer(size: int) -> memoryview | None:
            sizes.append(size)
            return transport.buffer[: size - 8] if len(sizes) == 1 else None

        assert bytes(transport.receive(answer)) == second
        assert sizes == [len(first), len(second)]
        assert sock.sent == [first[:-8]]
        assert transport.left_behind() == ([], [42])

    def test_an_answer_in_place_that_cannot_be_sent_is_one_line(self, monkeypatch, caplog):
        transport, sock = scripted(monkeypatch, datagram(IN_SYNC, b"UUID", 7, bytes(8)), b"rest")
        sock.send_failure = OSError(errno.ECONNREFUSED, "Connection refused")
        answers = [transport.buffer[:204], None]
        assert bytes(transport.receive(lambda _: answers.pop(0))) == b"rest"
        assert transport.unsent == 1
        assert caplog.messages == ["a reply could not be sent: Connection refused"]

    def test_after_some_answers_the_caller_looks_at_the_clock(self, monkeypatch):
        requests = [datagram(IN_SYNC, b"UUID", 7, bytes(8), seq=seq) for seq in range(20)]
        transport, sock = scripted(monkeypatch, *requests)
        assert transport.receive(lambda size: transport.buffer[:size]) is None
        assert len(sock.sent) == 8
        assert not transport.drained

    def test_after_an_answer_the_next_request_is_looked_for_before_it_sleeps(self, monkeypatch):
        nothing = BlockingIOError(errno.EAGAIN, "nothing")
        first, second, third = (datagram(IN_SYNC, b"UUID", 7, bytes(8), seq=seq) for seq in range(3))
        transport, sock = scripted(
            monkeypatch, first, nothing, nothing, second, nothing, nothing, nothing, third, spins=3
        )
        left = [3]

        def answer(size: int) -> memoryview | None:
            left[0] -= 1
            return transport.buffer[:size] if left[0] else None

        assert bytes(transport.receive(answer)) == third
        asleep, looking = 0, socket.MSG_DONTWAIT
        assert sock.flags == [asleep, looking, looking, looking, looking, looking, looking, asleep]
        assert transport.receive(answer) is None
        assert sock.flags[-1] == asleep  # what the server has in hand takes longer
        assert transport.drained

    def test_the_waiting_time_has_the_layout_that_the_machine_wants(self, monkeypatch):
        assert module._timeval(1.5) == struct.pack("@ll", 1, 500000)
        monkeypatch.setattr(module.socket, "SO_RCVTIMEO", 66)
        assert module._timeval(1.5) == struct.pack("=qq", 1, 500000)

    def test_it_goes_on_looking_after_a_look_at_the_clock(self, monkeypatch):
        requests = [datagram(IN_SYNC, b"UUID", 7, bytes(8), seq=seq) for seq in range(8)]
        transport, sock = scripted(monkeypatch, *requests, spins=2)
        assert transport.receive(lambda size: transport.buffer[:size]) is None
        assert transport.receive(lambda size: transport.buffer[:size]) is None
        assert sock.flags[-3:] == [socket.MSG_DONTWAIT, socket.MSG_DONTWAIT, 0]

    def test_whoever_wakes_it_is_looked_after_before_the_next_request(self, monkeypatch):
        first, second = (datagram(IN_SYNC, b"UUID", 7, bytes(8), seq=seq) for seq in (41, 42))
        transport, sock = scripted(monkeypatch, first, second)
        transport.wake()
        assert sock.woken == [(bytes(4), socket.MSG_DONTWAIT, (4711, 0))]
        assert transport.receive(lambda size: transport.buffer[:size]) is None
        assert sock.sent == [first]
        assert sock.flags == [socket.MSG_DONTWAIT]
        assert not transport.drained
        assert bytes(transport.receive()) == second
        assert transport.receive() is None  # the datagram itself wakes nobody twice, and is nobody's
        assert transport.foreign == 0
        assert transport.drained

    def test_whoever_wakes_it_hears_first_of_requests_that_were_lost(self, monkeypatch):
        # else a round of clears could end before anybody knew that its log may be gone
        transport, sock = scripted(monkeypatch, OSError(errno.ENOBUFS, "No buffer space available"))
        for _ in range(3):
            transport.wake()
        assert transport.receive() is None
        assert transport.overrun
        assert sock.flags == [socket.MSG_DONTWAIT]

    def test_while_lost_requests_are_to_be_acted_on_nothing_is_waited_for(self, monkeypatch):
        request = datagram(IN_SYNC, b"UUID", 7, bytes(8), seq=41)
        nothing = BlockingIOError(errno.EAGAIN, "nothing")
        full = OSError(errno.ENOBUFS, "No buffer space available")
        transport, sock = scripted(monkeypatch, request, full, request, nothing, request, spins=5)
        assert transport.receive(lambda size: transport.buffer[:size]) is None
        assert transport.overrun
        assert transport.receive(lambda size: transport.buffer[:size]) is None
        assert transport.drained  # at the first look that found nothing
        assert len(sock.sent) == 2
        assert sock.flags[2:] == [socket.MSG_DONTWAIT] * 2

    def test_a_flood_of_processes_keeps_nobody_waiting(self, monkeypatch):
        transport, _ = scripted(monkeypatch, *[(b"forged", 4242)] * 20)
        assert transport.receive() is None
        assert transport.foreign == 8

    def test_a_buffer_too_full_to_be_woken_by_wakes_by_itself(self, monkeypatch):
        transport, sock = scripted(monkeypatch, b"one")
        sock.send_failure = BlockingIOError(errno.EAGAIN, "full")
        transport.wake()
        assert bytes(transport.receive()) == b"one"
        assert transport.receive() is None
        assert transport.drained

    def test_the_waiting_time_is_told_to_the_kernel_once(self, monkeypatch):
        transport, sock = scripted(monkeypatch)
        before = len(sock.options)
        for seconds in (0.5, 0.5, 2.25, 0.0, 0.001):
            transport.wait_at_most(seconds)
        times = [struct.unpack("@ll", value) for _, _, value in sock.options[before:]]
        assert times == [(0, 500000), (2, 250000), (0, 1000)]

    def test_any_other_error_is_not_hidden(self, monkeypatch):
        transport, _ = scripted(monkeypatch, OSError(errno.EBADF, "Bad file descriptor"))
        with pytest.raises(OSError, match="Bad file descriptor"):
            transport.receive()


class TestSending:
    def test_replies_go_to_the_kernel(self, monkeypatch):
        transport, sock = scripted(monkeypatch)
        transport.send(bytearray(b"reply"))
        assert sock.sent == [b"reply"]

    def test_a_reply_that_the_kernel_has_no_room_for_is_one_line(self, monkeypatch, caplog):
        transport, sock = scripted(monkeypatch)
        sock.send_failure = OSError(errno.ECONNREFUSED, "Connection refused")
        with caplog.at_level(logging.WARNING, "diskulog.transport"):
            transport.send(b"reply")
            transport.send(b"reply")
        assert transport.unsent == 2
        assert [record.message for record in caplog.records] == ["a reply could not be sent: Connection refused"]


class TestWhatAWorkerLeaves:
    def test_what_it_had_in_hand_is_asked_for_anew_and_then_forgotten(self, monkeypatch):
        request = datagram(IN_SYNC, b"UUID", 7, bytes(8), seq=41)
        transport, sock = scripted(monkeypatch, request)
        transport.receive()
        assert transport.left_behind() == ([], [41])
        transport.ask_again(41)
        assert transport.left_behind() == ([], [])
        answer = parse_reply(*sock.sent)
        assert (answer.seq, answer.error) == (41, -errno.EAGAIN)

    def test_the_waiting_time_that_it_told_the_socket_is_not_trusted(self, monkeypatch):
        transport, sock = scripted(monkeypatch)
        before = len(sock.options)
        transport.left_behind()
        transport.wait_at_most(0.0)
        assert len(sock.options) == before + 1

    def test_what_it_answered_is_not(self, monkeypatch):
        request = datagram(IN_SYNC, b"UUID", 7, bytes(8), seq=41)
        transport, _ = scripted(monkeypatch, request)
        found = wire.unframe(transport.receive())
        transport.send(wire.reply(found, bytes(8)))
        assert transport.left_behind() == ([], [])


class TestTheRealSocket:
    def test_nothing_is_there_at_first(self, native):
        assert native.receive() is None
        assert native.port > 0

    def test_it_is_in_group_seven_alone(self, native):
        line = next(
            words
            for words in map(str.split, Path("/proc/net/netlink").read_text().splitlines()[1:])
            if (int(words[1]), int(words[2])) == (CONNECTOR, native.port)
        )
        assert int(line[3], 16) == 1 << 6

    def test_a_process_that_sends_to_it_is_not_heard(self, native):
        with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, CONNECTOR) as other:
            other.bind((0, 0))
            other.sendto(bytes(64), (native.port, 0))
        assert native.receive() is None
        assert native.drained
        assert native.foreign == 1

    def test_a_thread_wakes_it(self, native):
        native.wait_at_most(60.0)
        timer = threading.Timer(0.05, native.wake)
        timer.start()
        assert native.receive() is None
        assert not native.drained
        timer.join()

    def test_a_full_buffer_loses_datagrams_and_not_the_socket(self, native):
        with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, CONNECTOR) as other:
            other.bind((0, 0))
            other.setblocking(False)
            for _ in range(4 * BUFFER // 4000):
                with suppress(OSError):  # nobody had room
                    other.sendto(bytes(4000), (0, 1 << 6))
            assert native.receive() is None
            assert native.overruns == 1
            while not native.drained:
                assert native.receive() is None
            heard = native.foreign
            assert heard > 0
            other.sendto(bytes(64), (native.port, 0))
        assert native.receive() is None
        assert native.foreign == heard + 1

    def test_it_is_itself_found_by_the_next_daemon(self, native):
        with pytest.raises(RefusedError, match=f"netlink group 7: process {os.getpid()} .* is listening and may"):
            refuse_beside_another()


class TestASocketThatWasKept:
    def test_it_is_used_with_what_came_meanwhile(self):
        with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, CONNECTOR) as first:
            first.bind((0, 0))
            port = first.getsockname()[0]
            kept = module.usable(os.dup(first.fileno()))
        assert kept.getsockname()[0] == port
        kept.close()

    @pytest.mark.parametrize(
        "kind",
        [(socket.AF_UNIX, socket.SOCK_DGRAM, 0), (socket.AF_NETLINK, socket.SOCK_DGRAM, 0)],
        ids=["unix", "another netlink"],
    )
    def test_another_socket_is_closed(self, kind):
        fd = socket.socket(*kind).detach()
        assert module.usable(fd) is None
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(fd)

    def test_one_that_is_not_bound_is_closed(self):
        fd = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, CONNECTOR).detach()
        assert module.usable(fd) is None

    def test_what_is_no_socket_is_closed(self):
        fd = os.open("/dev/null", os.O_RDONLY)
        assert module.usable(fd) is None
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(fd)

    def test_it_is_not_bound_again_and_its_buffer_has_the_size_of_today(self):
        sock = ScriptedSocket()
        made = Transport(BUFFER, Handover(memoryview(bytearray(HANDOVER_BYTES))), 0, sock)
        assert sock.bound is None
        assert sock.options[0] == (socket.SOL_SOCKET, 33, BUFFER)
        assert sock.blocking
        made.resize(2 * BUFFER)
        assert sock.options[-1] == (socket.SOL_SOCKET, 33, 2 * BUFFER)


class TestListening:
    def test_a_listener_joins_as_the_daemon_does_and_waits_so_long(self, monkeypatch):
        sock = ScriptedSocket()
        monkeypatch.setattr(module.netns, "create_socket", lambda **_: sock)
        assert module.listener(BUFFER, 0.5) is sock
        assert sock.bound == (0, 0)
        half = struct.pack("@ll", 0, 500000)
        assert sock.options == [
            (socket.SOL_SOCKET, 33, BUFFER),
            (270, 1, 7),
            (socket.SOL_SOCKET, socket.SO_RCVTIMEO, half),
        ]
        assert sock.blocking

    def test_a_missing_capability_closes_it(self, monkeypatch):
        sock = ScriptedSocket()
        sock.option_failure = PermissionError(errno.EPERM, "Operation not permitted")
        monkeypatch.setattr(module.netns, "create_socket", lambda **_: sock)
        with pytest.raises(PermissionError):
            module.listener(BUFFER, 0.5)
        assert sock.closed
