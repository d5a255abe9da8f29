# SPDX-License-Identifier: LGPL-2.1-or-later
import json
import logging
import os
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from diskulog import config as settings
from diskulog import journal, process
from diskulog import supervisor as module
from diskulog.attendant import Attendant
from diskulog.board import BOARD_BYTES, Board
from diskulog.config import Config
from diskulog.errors import RefusedError
from diskulog.exits import Exit
from diskulog.handover import HANDOVER_BYTES, Handover
from diskulog.livesettings import LiveSettings
from diskulog.status import About
from diskulog.supervisor import Supervisor, serve
from tests.fake_kernel import FLUSH, IN_SYNC, datagram, parse_reply

# Python 3.12 warns of a fork beside threads, and other tests may have left some
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class FakeTransport:
    made: list["FakeTransport"] = []

    port = 4711

    def __init__(self, receive_buffer_bytes: int, handover: Handover, spins: int = 0, kept: object = None) -> None:
        self.spins, self.kept = spins, kept
        self.receive_buffer_bytes, self.handover, self.closed = receive_buffer_bytes, handover, False
        self.sent: list[bytes] = []
        FakeTransport.made.append(self)

    def send(self, reply: bytes | bytearray) -> None:
        self.sent.append(bytes(reply))

    def fileno(self) -> int:
        return 0

    def resize(self, receive_buffer_bytes: int) -> None:
        self.receive_buffer_bytes = receive_buffer_bytes

    def close(self) -> None:
        self.closed = True


class FakeDaemon:
    """What a worker does, as the test says; it runs in a child process."""

    does: Callable[[bool], None] = staticmethod(lambda _: None)
    begins: Callable[[bool], None] = staticmethod(lambda _: None)

    def __init__(self, config: Config, transport: FakeTransport, board: Board, settings: LiveSettings) -> None:
        FakeDaemon.begins(True)
        FakeDaemon.board, FakeDaemon.settings = board, settings

    def __enter__(self) -> "FakeDaemon":
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: os._exit(0))
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(self, first: bool, takes_over: bool) -> None:
        FakeDaemon.took_over = takes_over
        FakeDaemon.does(first)


@pytest.fixture(autouse=True)
def undisturbed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep what belongs to the process as it was: signals, logging, memory; and all privileges are there."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    root = logging.getLogger("diskulog")
    before = (root.handlers[:], root.propagate, root.level)
    monkeypatch.setattr(process, "missing_privileges", list)
    monkeypatch.setattr(process, "become_io_path", lambda: None)
    monkeypatch.setattr(module, "refuse_beside_another", lambda _: None)
    monkeypatch.setattr(module, "Transport", FakeTransport)
    monkeypatch.setattr(module, "Daemon", FakeDaemon)
    monkeypatch.setattr(module, "_PAUSE_SECONDS", 0.01)
    FakeTransport.made = []
    yield
    signal.pthread_sigmask(signal.SIG_UNBLOCK, handlers)
    for number, handler in handlers.items():
        signal.signal(number, handler)
    journal.drain(10)
    root.handlers[:], root.propagate, root.level = before[0], before[1], before[2]


def config(tmp_path: Path) -> Config:
    return Config(daemon=settings.Daemon(run_directory=str(tmp_path / "run")))


def works(monkeypatch: pytest.MonkeyPatch, does: Callable[[bool], None]) -> None:
    monkeypatch.setattr(FakeDaemon, "does", staticmethod(does))


def lines(capfd: pytest.CaptureFixture[str]) -> list[str]:
    journal.drain(10)
    return capfd.readouterr().err.splitlines()


def die(number: int = signal.SIGKILL) -> None:
    os.kill(os.getpid(), number)
    time.sleep(10)


def until_told(_: bool) -> None:
    os.kill(os.getppid(), signal.SIGTERM)
    time.sleep(10)


class TestServe:
    def test_sigterm_goes_to_the_worker_and_its_code_is_ours(self, tmp_path, monkeypatch):
        works(monkeypatch, until_told)
        assert serve(config(tmp_path)) == Exit.FINE
        (transport,) = FakeTransport.made
        assert transport.closed
        assert transport.receive_buffer_bytes == 8 * 1024 * 1024

    @pytest.mark.parametrize(("processors", "spins"), [({0}, 0), ({0, 3}, 20)])
    def test_on_a_single_processor_no_request_is_looked_for(self, tmp_path, monkeypatch, processors, spins):
        works(monkeypatch, until_told)
        monkeypatch.setattr(module.os, "sched_getaffinity", lambda _: processors)
        assert serve(config(tmp_path)) == Exit.FINE
        assert FakeTransport.made[-1].spins == spins

    def test_missing_privileges_end_it_with_7_and_a_line_each(self, tmp_path, capfd, monkeypatch):
        monkeypatch.setattr(process, "missing_privileges", lambda: ["CAP_A is missing: it x", "CAP_B is missing: it y"])
        assert serve(config(tmp_path)) == Exit.NO_PERMISSION == 7
        assert lines(capfd) == ["<3>CAP_A is missing: it x", "<3>CAP_B is missing: it y"]
        assert not (tmp_path / "run").exists()

    def test_a_second_daemon_ends_with_4(self, tmp_path, capfd):
        first = process.claim(tmp_path / "run")
        assert serve(config(tmp_path)) == Exit.REFUSED == 4
        assert lines(capfd) == [f"<3>daemon: another one holds {tmp_path}/run/lock; stop it first"]
        os.close(first)

    def test_another_listener_that_may_answer_ends_it_with_4(self, tmp_path, capfd, monkeypatch):
        def refuse(_):
            raise RefusedError("netlink group 7", "process 5 (x) is listening", "stop it")

        monkeypatch.setattr(module, "refuse_beside_another", refuse)
        assert serve(config(tmp_path)) == Exit.REFUSED
        assert lines(capfd) == ["<3>netlink group 7: process 5 (x) is listening; stop it"]

    def test_what_the_system_refuses_ends_it_with_5(self, tmp_path, capfd, monkeypatch):
        def fails():
            raise OSError(12, "mlockall: Cannot allocate memory")

        monkeypatch.setattr(process, "become_io_path", fails)
        assert serve(config(tmp_path)) == Exit.IO_ERROR
        assert lines(capfd) == ["<3>cannot serve: [Errno 12] mlockall: Cannot allocate memory"]

    def test_the_lock_is_free_after_its_end(self, tmp_path, monkeypatch):
        works(monkeypatch, until_told)
        assert serve(config(tmp_path)) == Exit.FINE
        assert serve(config(tmp_path)) == Exit.FINE

    def test_a_first_worker_that_cannot_begin_is_the_end(self, tmp_path, monkeypatch, capfd):
        def fails(_):
            raise OSError(12, "no memory")

        monkeypatch.setattr(FakeDaemon, "begins", staticmethod(fails))
        assert serve(config(tmp_path)) == Exit.IO_ERROR
        assert "the worker cannot serve: [Errno 12] no memory" in capfd.readouterr().err

    def test_a_bug_in_the_first_worker_is_the_end_and_shown(self, tmp_path, monkeypatch, capfd):
        def fails(_):
            raise ZeroDivisionError

        monkeypatch.setattr(FakeDaemon, "begins", staticmethod(fails))
        assert serve(config(tmp_path)) == Exit.IO_ERROR
        assert "bug: the worker ended" in capfd.readouterr().err


class TestDeaths:
    def test_a_worker_that_is_killed_is_followed_by_another_that_is_not_the_first(self, tmp_path, monkeypatch, capfd):
        log = tmp_path / "lives"

        def does(first):
            with log.open("a") as out:
                out.write(f"{first}\n")
            if log.read_text().count("\n") < 4:
                die()
            until_told(first)

        works(monkeypatch, does)
        assert serve(config(tmp_path)) == Exit.FINE
        assert log.read_text().split() == ["True", "False", "False", "False"]
        assert lines(capfd) == ["<3>the worker ended (signal 9), a new one starts"] * 3

    def test_a_later_worker_that_ends_by_itself_is_followed_too(self, tmp_path, monkeypatch, capfd):
        log = tmp_path / "lives"

        def does(first):
            with log.open("a") as out:
                out.write("x")
            if first:
                die()
            if len(log.read_text()) < 3:
                os._exit(5)
            until_told(first)

        works(monkeypatch, does)
        assert serve(config(tmp_path)) == Exit.FINE
        assert "<3>the worker ended (code 5), a new one starts" in lines(capfd)

    def test_the_first_deaths_in_a_row_delay_nobody_and_later_ones_ever_longer(self, monkeypatch):
        monkeypatch.setattr(module, "_PAUSE_SECONDS", 0.5)
        pauses = [module._pause_seconds(lives) for lives in range(5000)]
        assert pauses[:9] == [0.0] * 9
        assert pauses[9:12] == [0.02, 0.04, 0.08]
        assert set(pauses[20:]) == {0.5}

    def test_a_signal_between_two_lives_is_not_lost(self, tmp_path, monkeypatch):
        works(monkeypatch, lambda _: die())
        monkeypatch.setattr(Supervisor, "_after_death", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        assert serve(config(tmp_path)) == Exit.FINE


class TestPoison:
    def test_nothing_is_blamed_for_a_kill_from_outside(self, tmp_path):
        supervisor, memory, transport = self.supervisor(tmp_path)
        self.receive(memory, 5, FLUSH, b"").make_room()
        for _ in range(10):
            supervisor._after_death(-signal.SIGKILL)
        assert transport.sent == []
        assert [request.seq for request in Handover(memory).in_hand()] == [5]

    def supervisor(self, tmp_path) -> tuple[Supervisor, memoryview, FakeTransport]:
        memory = memoryview(bytearray(HANDOVER_BYTES))
        transport = FakeTransport(1, Handover(memory))
        board = Board(memoryview(bytearray(BOARD_BYTES)))
        attendant = Attendant(board, None, 10.0, None)
        about = About(os.getpid(), 0.0, 4711)
        return Supervisor(config(tmp_path), transport, memory, board, about, attendant), memory, transport

    def receive(self, memory: memoryview, seq: int, kind: int = IN_SYNC, data: bytes = bytes(8)) -> Handover:
        worker = Handover(memory)
        worker.take_over()
        worker.make_room()
        request = datagram(kind, b"UUID", 1, data, seq=seq)
        worker.buffer[: len(request)] = request
        return worker

    def test_a_request_that_was_being_handled_at_three_deaths_is_left_behind(self, tmp_path):
        supervisor, memory, transport = self.supervisor(tmp_path)
        for seq in (11, 12, 13):
            assert transport.sent == []
            worker = self.receive(memory, seq)
            supervisor._after_death(-signal.SIGBUS)
            if seq < 13:
                worker.forget(seq)  # asked again: it comes with a new seq
        (answer,) = map(parse_reply, transport.sent)
        assert (answer.seq, answer.error, answer.data) == (13, -3, bytes(8))
        assert Handover(memory).overrun  # the next worker trusts no held clear
        assert Handover(memory).in_hand() == []

    def test_what_waited_for_a_thread_is_not_blamed_for_what_was_being_handled(self, tmp_path):
        supervisor, memory, transport = self.supervisor(tmp_path)
        self.receive(memory, 5, FLUSH, b"")
        for seq in (11, 12, 13):
            worker = self.receive(memory, seq)
            supervisor._after_death(-signal.SIGBUS)
            worker.forget(seq)
        assert [parse_reply(reply).type for reply in transport.sent] == [IN_SYNC]
        assert [request.seq for request in Handover(memory).in_hand()] == [5]

    def test_without_a_current_request_those_that_waited_are_blamed(self, tmp_path):
        supervisor, memory, transport = self.supervisor(tmp_path)
        self.receive(memory, 5, FLUSH, b"").make_room()
        for _ in range(3):
            supervisor._after_death(-signal.SIGBUS)
        (answer,) = map(parse_reply, transport.sent)
        assert (answer.type, answer.seq, answer.error) == (FLUSH, 5, -5)


class TestWhatSystemdKept:
    """A daemon that systemd starts again gets the socket and what its forerunner had in hand."""

    @pytest.fixture
    def systemd(self, tmp_path, monkeypatch) -> Iterator[socket.socket]:
        name = str(tmp_path / "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.bind(name)
            sock.setblocking(False)
            monkeypatch.setenv("NOTIFY_SOCKET", name)
            yield sock

    def told(self, systemd: socket.socket) -> list[str]:
        found = []
        while True:
            try:
                message, fds, _, _ = socket.recv_fds(systemd, 1000, 10)
            except BlockingIOError:
                return found
            for fd in fds:
                os.close(fd)
            found.append(f"{message.decode()} +{len(fds)}" if fds else message.decode())

    def passes(self, monkeypatch, **descriptors: int) -> None:
        monkeypatch.setattr(process, "passed_descriptors", lambda: dict(descriptors))
        monkeypatch.setattr(module, "usable", lambda fd: socket.socket(fileno=fd))

    def memory(self, change: Callable[[memoryview], None] = lambda _: None) -> int:
        fd, memory = process.kept_memory(HANDOVER_BYTES)
        Handover(memory)
        change(memory)
        return fd

    def a_socket(self) -> int:
        return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).detach()

    def test_the_first_start_gives_both_to_be_kept(self, tmp_path, monkeypatch, systemd):
        works(monkeypatch, until_told)
        assert serve(config(tmp_path)) == Exit.FINE
        assert self.told(systemd)[:2] == ["FDSTORE=1\nFDNAME=handover +1", "FDSTORE=1\nFDNAME=netlink +1"]
        assert FakeTransport.made[0].kept is None

    def test_a_later_start_goes_on_with_both(self, tmp_path, monkeypatch, systemd):
        told_file = tmp_path / "told"
        works(monkeypatch, lambda first: (told_file.write_text(f"{first} {FakeDaemon.took_over}"), until_told(first)))
        fd = self.memory(lambda memory: memory.__setitem__(0, 77))
        kept = self.a_socket()
        seen = []
        monkeypatch.setattr(module, "refuse_beside_another", seen.append)
        self.passes(monkeypatch, netlink=kept, handover=fd)
        inode = os.fstat(kept).st_ino
        assert serve(config(tmp_path)) == Exit.FINE
        (transport,) = FakeTransport.made
        assert (seen, transport.kept.fileno()) == ([inode], kept)
        assert transport.handover.buffer[0] == 77
        assert told_file.read_text() == "True True"
        assert self.told(systemd) == ["STOPPING=1"]
        transport.kept.close()
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(fd)

    def test_memory_of_another_version_is_not_read(self, tmp_path, monkeypatch, systemd):
        told_file = tmp_path / "told"
        works(monkeypatch, lambda first: (told_file.write_text(f"{first} {FakeDaemon.took_over}"), until_told(first)))
        fd = self.memory(lambda memory: memory.__setitem__(slice(-8, None), b"dulgho99"))
        self.passes(monkeypatch, netlink=self.a_socket(), handover=fd)
        assert serve(config(tmp_path)) == Exit.FINE
        told = self.told(systemd)
        assert told == ["FDSTOREREMOVE=1\nFDNAME=handover", "FDSTORE=1\nFDNAME=handover +1", "STOPPING=1"]
        FakeTransport.made[0].kept.close()

    def test_memory_without_a_socket_is_not_read(self, tmp_path, monkeypatch, systemd):
        works(monkeypatch, until_told)
        self.passes(monkeypatch, handover=self.memory(lambda memory: memory.__setitem__(0, 77)))
        assert serve(config(tmp_path)) == Exit.FINE
        assert FakeTransport.made[0].handover.buffer[0] == 0
        assert "FDSTORE=1\nFDNAME=netlink +1" in self.told(systemd)

    def test_what_is_not_memory_is_not_read(self, tmp_path, monkeypatch, systemd):
        works(monkeypatch, until_told)
        self.passes(monkeypatch, netlink=self.a_socket(), handover=self.a_socket(), other=self.a_socket())
        assert serve(config(tmp_path)) == Exit.FINE
        FakeTransport.made[0].kept.close()


class TestReload:
    def test_what_may_change_does_and_the_rest_is_told(self, tmp_path, capfd, monkeypatch):
        supervisor, _, transport = TestPoison().supervisor(tmp_path)
        supervisor._settings.write(module._live(supervisor._config))
        journal.log_to_stderr("info")
        supervisor._reload(
            Config(
                clears=settings.Clears(hold_seconds=1.0),
                netlink=settings.Netlink(receive_buffer_bytes=1 << 20, spins=0),
                daemon=settings.Daemon(run_directory="/other", log_level="warning", worker_timeout_seconds=3.0),
            )
        )
        live = supervisor._settings.read()
        assert (supervisor._settings.generation, live.hold_seconds, live.spins, live.log_level) == (2, 1.0, 0, 30)
        assert transport.receive_buffer_bytes == 1 << 20
        assert supervisor._attendant.timeout_seconds == 3.0
        assert lines(capfd) == ["<4>configuration: [daemon] run_directory changes with the next start only"]

    def test_sighup_reads_it_again(self, tmp_path, capfd, monkeypatch):
        def does(_: bool) -> None:
            os.kill(os.getppid(), signal.SIGHUP)
            while FakeDaemon.settings.generation < 2:
                time.sleep(0.01)
            (tmp_path / "told").write_text(str(FakeDaemon.settings.read().max_held))
            until_told(True)

        works(monkeypatch, does)
        again = config(tmp_path).model_copy(update={"clears": settings.Clears(max_held=7)})
        assert serve(config(tmp_path), lambda: again) == Exit.FINE
        assert (tmp_path / "told").read_text() == "7"
        assert "<6>the configuration was read again" in lines(capfd)


def test_a_death_is_an_event_and_counted(tmp_path):
    supervisor, _, _ = TestPoison().supervisor(tmp_path)
    supervisor._tell_death(-9)
    supervisor._tell_death(5)
    about, events = supervisor._about, supervisor._board.events(1)[0]
    assert (about.worker_restarts, about.last_worker_end) == (2, "code 5")
    assert [(event.in_sync_count, event.region_count) for event in events] == [(9, 0), (0, 5)]


def test_a_control_socket_that_cannot_be_made_is_a_warning(tmp_path, capfd, monkeypatch):
    works(monkeypatch, until_told)
    folder = tmp_path / ("x" * 100)
    assert serve(Config(daemon=settings.Daemon(run_directory=str(folder)))) == Exit.FINE
    assert lines(capfd)[0].startswith(f"<4>nobody can ask how things stand: {folder}/control.sock: ")


def test_a_worker_does_not_hold_the_daemons_lock(tmp_path, monkeypatch):
    told = tmp_path / "told"

    def does(_: bool) -> None:
        names = {str(fd.readlink()) for fd in Path("/proc/self/fd").iterdir() if fd.exists()}
        told.write_text("\n".join(names))
        until_told(True)

    works(monkeypatch, does)
    assert serve(config(tmp_path)) == Exit.FINE
    assert told.read_text()
    assert f"{tmp_path}/run/lock" not in told.read_text()


def test_whoever_asks_is_answered_while_the_worker_does_nothing_at_all(tmp_path, monkeypatch):
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        told = tmp_path / "told"

        def does(_: bool) -> None:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(30)
                sock.connect(f"{folder}/control.sock")
                sock.sendall(b'{"do": "status"}\n')
                told.write_bytes(sock.makefile("rb").read())
            until_told(True)

        works(monkeypatch, does)
        assert serve(Config(daemon=settings.Daemon(run_directory=folder))) == Exit.FINE
        daemon = json.loads(told.read_text())["daemon"]
        assert (daemon["pid"], daemon["turns"], daemon["age_seconds"]) == (os.getpid(), 0, None)
        assert daemon["worker_pid"] not in (None, os.getpid())
        assert not Path(folder, "control.sock").exists()
