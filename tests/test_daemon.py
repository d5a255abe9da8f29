# SPDX-License-Identifier: LGPL-2.1-or-later
import logging
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from diskulog import config as settings
from diskulog import daemon as module
from diskulog import journal, server
from diskulog.board import BOARD_BYTES, FOREIGN, HEARTBEAT, OVERRUNS, UNREADABLE, UNSENT, WRITTEN_US, Board
from diskulog.clears import ClearPolicy
from diskulog.config import Config
from diskulog.daemon import Daemon, open_disk_store
from diskulog.errors import DeviceError, RefusedError
from diskulog.exits import Exit
from diskulog.handover import KeptLog
from diskulog.livesettings import SETTINGS_BYTES, LiveSettings, Settings
from diskulog.ondisk import State
from diskulog.units import KIB
from tests.fake_kernel import (
    CTR,
    DTR,
    FLUSH,
    GET_SYNC_COUNT,
    IN_SYNC,
    MARK,
    POSTSUSPEND,
    RESUME,
    Answer,
    datagram,
    parse_reply,
)
from tests.logs import LUID, UUID, diskulog_log, extension_of, host, opening, table
from tests.loops import attached, open_descriptors

REGION = (5).to_bytes(8, "little")
CORE = b"800 core 8"


class FakeTransport:
    """The kernel's end as a script: the next request comes when the last one was answered, at its end a signal."""

    script: deque[bytes | Callable[[], None]]
    signal_number = signal.SIGTERM
    made: list["FakeTransport"] = []

    left: tuple[list[KeptLog], list[int]] = ([], [])

    def __init__(self) -> None:
        self.asked_again: list[int] = []
        self.port, self.overrun, self.closed = 4711, False, False
        self.overruns = self.foreign = self.unsent = 0
        self.answers: list[Answer] = []
        self.waiting, self.drained = False, False
        self.buffer = memoryview(bytearray(4096))
        self.waits: list[float] = []
        self._woken = threading.Event()
        FakeTransport.made.append(self)

    def wait_at_most(self, seconds: float) -> None:
        self.waits.append(seconds)

    def wake(self) -> None:
        self._woken.set()

    def receive(self, answer: Callable[[int], memoryview | None]) -> bytes | None:
        self.drained = self.waiting
        if self.waiting:
            self._woken.wait(self.waits[-1] if self.waits else 0.01)
            self._woken.clear()
            return None
        while self.script:
            item = self.script.popleft()
            if isinstance(item, bytes):
                self.buffer[: len(item)] = item
                reply = answer(len(item))
                if reply is not None:
                    self.answers.append(parse_reply(bytes(reply)))
                    return None
                self.waiting = True
                return item
            item()
        os.kill(os.getpid(), self.signal_number)
        self.waiting = True
        return None

    def send(self, reply: bytes | bytearray) -> None:
        self.answers.append(parse_reply(bytes(reply)))
        self.waiting = False
        self._woken.set()

    def left_behind(self) -> tuple[list[KeptLog], list[int]]:
        return self.left

    def ask_again(self, seq: int) -> None:
        self.asked_again.append(seq)

    def close(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def undisturbed() -> Iterator[None]:
    """Keep what belongs to the process as it was: signals and logging."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    root = logging.getLogger("diskulog")
    before = (root.handlers[:], root.propagate, root.level)
    FakeTransport.made, FakeTransport.script, FakeTransport.left = [], deque(), ([], [])
    FakeTransport.signal_number = signal.SIGTERM
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
    journal.drain(10)
    root.handlers[:], root.propagate, root.level = before[0], before[1], before[2]
    signal.set_wakeup_fd(-1)


def config(tmp_path: Path, log_level: str = "info") -> Config:
    return Config(daemon=settings.Daemon(run_directory=str(tmp_path / "run"), log_level=log_level))


def ask(request_type: int, data: bytes = b"", luid: int = LUID) -> bytes:
    return datagram(request_type, UUID, luid, data, seq=request_type)


def run(
    tmp_path: Path, *script: bytes | Callable[[], None], log_level: str = "info", first: bool = True
) -> tuple[int, list[Answer]]:
    FakeTransport.script = deque(script)
    journal.log_to_stderr(log_level)
    transport = FakeTransport()
    board = Board(memoryview(bytearray(BOARD_BYTES)))
    settings_memory = LiveSettings(memoryview(bytearray(SETTINGS_BYTES)))
    with Daemon(config(tmp_path, log_level), transport, board, settings_memory) as daemon:
        daemon.run(first, takes_over=not first)
    journal.drain(10)
    assert not transport.closed, "the next worker needs it"
    transport.close()
    return Exit.FINE, transport.answers


def lines(capfd: pytest.CaptureFixture[str]) -> list[str]:
    found = capfd.readouterr()
    assert found.out == ""
    return found.err.splitlines()


class TestItsEnd:
    def test_sigterm_ends_it_in_order(self, tmp_path, capfd):
        assert run(tmp_path) == (Exit.FINE, [])
        assert lines(capfd) == [
            "<6>ready, version of the requests 1 to 3, netlink port 4711",
            "<6>ended; the buffer overran 0 times, 0 requests of processes were dropped",
        ]

    def test_sigint_does_too(self, tmp_path, capfd):
        FakeTransport.signal_number = signal.SIGINT
        assert run(tmp_path) == (Exit.FINE, [])
        assert len(lines(capfd)) == 2

    def test_ready_is_said_once_and_first(self, tmp_path, capfd):
        run(tmp_path, ask(CTR, CORE), ask(RESUME))
        assert [line.count("ready") for line in lines(capfd)][:3] == [1, 0, 0]

    def test_ready_is_said_at_every_level(self, tmp_path, capfd):
        run(tmp_path, log_level="error")
        assert lines(capfd) == ["<6>ready, version of the requests 1 to 3, netlink port 4711"]


class TestASecondWorker:
    def test_it_meets_the_logs_again_and_asks_for_what_was_in_hand(self, tmp_path, capfd):
        run(tmp_path, ask(CTR, CORE), ask(RESUME), ask(IN_SYNC, REGION), ask(CTR, CORE, LUID + 1))
        kept = [KeptLog(LUID, UUID, CORE + b"\0"), KeptLog(LUID + 1, UUID, CORE + b"\0")]
        capfd.readouterr()
        FakeTransport.left = (kept, [41, 42])
        code, answers = run(tmp_path, ask(IN_SYNC, REGION), ask(GET_SYNC_COUNT, luid=LUID + 1), first=False)
        assert code == Exit.FINE
        assert [(answer.type, answer.error) for answer in answers] == [(IN_SYNC, 0), (GET_SYNC_COUNT, 0)]
        assert FakeTransport.made[-1].asked_again == [41, 42]
        said = lines(capfd)
        assert not any("ready" in line for line in said)
        assert "<4>took over 2 logs and 2 requests of the last worker" in said
        assert sum("reconnected" in line for line in said) == 1, "only the one that was live"


class TestTheLoop:
    def test_a_core_log_lives_and_is_answered(self, tmp_path, capfd):
        code, answers = run(
            tmp_path,
            ask(CTR, CORE),
            ask(RESUME),
            ask(IN_SYNC, REGION),
            ask(MARK, REGION),
            ask(FLUSH),
            ask(POSTSUSPEND),
            ask(DTR),
        )
        assert code == Exit.FINE
        assert [(answer.type, answer.error) for answer in answers] == [
            (kind, 0) for kind in (CTR, RESUME, IN_SYNC, MARK, FLUSH, POSTSUSPEND, DTR)
        ]
        assert answers[2].data == bytes(8)
        assert not any("live" in line and line.startswith("<4>") for line in lines(capfd))
        assert list((tmp_path / "run" / "core").iterdir()) == []

    def test_live_logs_are_settled_and_named_in_one_warning(self, tmp_path, capfd):
        code, _ = run(
            tmp_path, ask(CTR, CORE), ask(RESUME), ask(CTR, CORE, LUID + 1), ask(CTR, b"80 core 8", 77), ask(RESUME)
        )
        assert code == Exit.FINE
        warnings = [line for line in lines(capfd) if line.startswith("<4>")]
        assert warnings == ["<4>1 logs are live: their mirrors' I/O waits until a daemon serves again"]

    def test_a_log_that_cannot_be_settled_is_named(self, tmp_path, capfd, monkeypatch):
        monkeypatch.setattr(module, "_SETTLE_SECONDS", 0.0)
        monkeypatch.setattr(server.Server, "settled", lambda _: False)
        assert run(tmp_path)[0] == Exit.FINE
        assert "<3>some logs could not be made durable in 0 s" in lines(capfd)

    def test_after_an_overrun_held_clears_are_distrusted_until_the_buffer_was_empty(self, tmp_path, monkeypatch):
        distrusted: list[str] = []
        plain = server.Server.distrust_clears

        def overrun() -> None:
            FakeTransport.made[-1].overrun = True
            distrusted.append("overrun")

        def note(self: server.Server) -> None:
            distrusted.append("distrusted")
            plain(self)

        monkeypatch.setattr(server.Server, "distrust_clears", note)
        run(tmp_path, ask(CTR, CORE), overrun, ask(RESUME), ask(GET_SYNC_COUNT))
        # with each request that may have been sent before, and once more when nothing was left
        assert distrusted[0] == "overrun"
        assert distrusted.count("distrusted") >= 2
        assert not FakeTransport.made[-1].overrun

    def test_phantoms_are_looked_for_from_time_to_time(self, tmp_path, capfd, monkeypatch):
        looked = []
        monkeypatch.setattr(module, "_PHANTOM_CHECK_SECONDS", -1.0)
        monkeypatch.setattr(server.Server, "drop_phantoms", lambda _: looked.append(1))
        run(tmp_path, ask(CTR, CORE), ask(RESUME))
        assert looked

    def test_phantoms_are_not_looked_for_at_every_turn(self, tmp_path, monkeypatch):
        looked = []
        monkeypatch.setattr(server.Server, "drop_phantoms", lambda _: looked.append(1))
        run(tmp_path, ask(CTR, CORE), ask(RESUME))
        assert looked == []

    def test_a_flood_that_is_answered_in_place_keeps_no_timer_waiting(self, tmp_path, monkeypatch):
        ticks = []
        monkeypatch.setattr(module, "_IDLE_SECONDS", 0.0)
        monkeypatch.setattr(server.Server, "tick", lambda _: ticks.append(len(FakeTransport.made[-1].answers)))
        _, answers = run(tmp_path, ask(CTR, CORE), ask(RESUME), *(ask(IN_SYNC, REGION) for _ in range(50)))
        assert len(answers) == 52
        assert set(range(3, 52)) <= set(ticks)

    def test_its_heart_beats_and_its_counts_are_on_the_board(self, tmp_path):
        FakeTransport.script = deque([ask(CTR, CORE), ask(RESUME), ask(IN_SYNC, REGION)])
        transport = FakeTransport()
        board = Board(memoryview(bytearray(BOARD_BYTES)))
        live = LiveSettings(memoryview(bytearray(SETTINGS_BYTES)))
        with Daemon(config(tmp_path), transport, board, live) as daemon:
            transport.overruns, transport.foreign, transport.unsent = 3, 4, 5
            daemon.run()
        assert board.words[HEARTBEAT] >= 3
        assert [board.words[each] for each in (OVERRUNS, FOREIGN, UNSENT)] == [3, 4, 5]
        assert board.words[WRITTEN_US] > 1_700_000_000_000_000
        assert [names.uuid for names, _ in board.logs()] == [UUID]

    def test_what_the_last_worker_counted_is_counted_on(self, tmp_path):
        FakeTransport.script = deque([ask(CTR, CORE)])
        transport, board = FakeTransport(), Board(memoryview(bytearray(BOARD_BYTES)))
        before = {OVERRUNS: 3, FOREIGN: 4, UNREADABLE: 5, UNSENT: 6}
        for word, count in before.items():
            board.words[word] = count
        with Daemon(config(tmp_path), transport, board, LiveSettings(memoryview(bytearray(SETTINGS_BYTES)))) as daemon:
            transport.overruns += 1
            daemon.run()
        assert {word: board.words[word] for word in before} == {**before, OVERRUNS: 4}

    def test_settings_that_change_reach_what_is_there_and_what_will_be(self, tmp_path):
        FakeTransport.script = deque([ask(CTR, CORE), ask(RESUME)])
        transport = FakeTransport()
        live = LiveSettings(memoryview(bytearray(SETTINGS_BYTES)))
        with Daemon(config(tmp_path), transport, Board(memoryview(bytearray(BOARD_BYTES))), live) as daemon:
            live.write(Settings(0.5, 7, 2.0, 3, 1, logging.ERROR))
            daemon.run()
            policy = ClearPolicy(0.5, 7, 2.0)
            assert (daemon._world.policy, daemon._world.clustered_single_host) == (policy, True)
            assert [entry.log.clears.policy for entry in daemon._world.entries.values()] == [policy]
        assert transport.spins == 3
        assert logging.getLogger("diskulog").level == logging.ERROR

    def test_nothing_is_left_open(self, tmp_path):
        run(tmp_path, ask(CTR, CORE), ask(RESUME), ask(POSTSUSPEND), ask(DTR))
        before = open_descriptors()
        run(tmp_path, ask(CTR, CORE), ask(RESUME), ask(POSTSUSPEND), ask(DTR))
        assert open_descriptors() == before


@pytest.mark.loop
class TestOnALoopDevice:
    @pytest.fixture
    def medium(self, tmp_path) -> Iterator[tuple[str, Path]]:
        file = tmp_path / "medium"
        file.write_bytes(bytes(diskulog_log(100, {7}, size=64 * KIB)))
        with attached(file) as node:
            yield node, file

    def test_a_mark_is_on_the_medium_when_its_flush_is_answered(self, tmp_path, medium, capfd):
        node, file = medium
        at_answer: list[int] = []
        code, answers = run(
            tmp_path,
            ask(CTR, b"800 disk %s 8" % node.encode()),
            ask(RESUME),
            ask(MARK, REGION),
            ask(FLUSH),
            lambda: at_answer.append(file.read_bytes()[1024]),
        )
        assert code == Exit.FINE
        assert [answer.error for answer in answers] == [0] * 4
        status = Path(node).stat()
        assert answers[0].data == f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}\0".encode()
        assert at_answer == [0xFF & ~(1 << 5) & ~(1 << 7)]
        assert extension_of(file.read_bytes()).state is State.OPEN, "it is not suspended"
        assert "<4>1 logs are live: their mirrors' I/O waits until a daemon serves again" in lines(capfd)

    def test_the_next_daemon_takes_it_over_and_closes_it(self, tmp_path, medium):
        node, file = medium
        string = b"800 disk %s 8" % node.encode()
        run(tmp_path, ask(CTR, string), ask(RESUME), ask(MARK, REGION), ask(FLUSH))
        FakeTransport.made = []
        _, answers = run(tmp_path, ask(CTR, string + b"\0"), ask(RESUME), ask(IN_SYNC, REGION), ask(POSTSUSPEND))
        assert [answer.error for answer in answers] == [0] * 4
        assert answers[0].data == b""
        assert answers[2].data == b"\x01" + bytes(7)
        found = extension_of(file.read_bytes())
        assert found.state is State.CLOSED
        assert not file.read_bytes()[1024] & 1 << 5

    def test_a_refusal_is_one_line_and_an_error_to_dm(self, tmp_path, medium, capfd):
        node, file = medium
        before = file.read_bytes()
        _, answers = run(tmp_path, ask(CTR, b"800 disk %s 16" % node.encode()))
        assert answers[0].error < 0
        (line,) = [line for line in lines(capfd) if line.startswith("<3>")]
        assert "refused: region size: the log was kept with 8 sectors, not 16" in line
        assert file.read_bytes() == before

    def test_opening_a_store_reads_and_judges_it(self, medium, tmp_path):
        node, _ = medium
        store = open_disk_store(opening(_args(node)), host(), tmp_path)
        assert store.device_number
        store.release()

    def test_a_refused_store_leaves_nothing_open(self, medium, tmp_path):
        node, _ = medium
        before = open_descriptors()
        with pytest.raises(RefusedError, match="uuid"):
            open_disk_store(opening(_args(node), uuid=b"LVM-other"), host(), tmp_path)
        assert open_descriptors() == before

    def test_a_reconnection_is_opened_whatever_the_medium_says(self, medium, tmp_path):
        node, _ = medium
        store = open_disk_store(opening(_args(node), uuid=b"LVM-other", reconnect=True), host(), tmp_path)
        store.release()

    def test_a_device_on_a_mirror_served_here_is_refused(self, medium, monkeypatch, tmp_path):
        node, _ = medium
        monkeypatch.setattr(module, "stands_on_served_mirror", lambda *_: "dm-7")
        before = open_descriptors()
        with pytest.raises(RefusedError, match="log device: stands on the mirror dm-7, whose log is served here"):
            open_disk_store(opening(_args(node)), host(), tmp_path)
        assert open_descriptors() == before


def _args(node: str):
    made = table(100)
    return type(made)(made.target_length_sectors, "disk", "disk", node, made.region_size_sectors)


def test_a_log_device_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(DeviceError, match="No such file"):
        open_disk_store(opening(_args("/dev/nothing-here")), host(), tmp_path)
