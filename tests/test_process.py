# SPDX-License-Identifier: LGPL-2.1-or-later
import ctypes
import errno
import fcntl
import gc
import os
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from diskulog import process
from diskulog.errors import RefusedError

ALL = 0x1FFFFFFFFFF
NAMES = {12: "CAP_NET_ADMIN", 14: "CAP_IPC_LOCK", 21: "CAP_SYS_ADMIN", 24: "CAP_SYS_RESOURCE"}


def status_file(folder: Path, effective: int) -> Path:
    file = folder / "status"
    file.write_text(f"Name:\tpython3\nState:\tR (running)\nCapEff:\t{effective:016x}\nSeccomp:\t0\n")
    return file


class TestPrivileges:
    @pytest.fixture(autouse=True)
    def initial_namespace(self, monkeypatch):
        monkeypatch.setattr(process.os.path, "samefile", lambda *_: True)

    def test_nothing_is_missing_with_every_capability(self, tmp_path):
        assert process.missing_privileges(status_file(tmp_path, ALL)) == []

    @pytest.mark.parametrize(("bit", "name"), NAMES.items())
    def test_each_missing_capability_is_named_with_its_reason(self, tmp_path, bit, name):
        (line,) = process.missing_privileges(status_file(tmp_path, ALL & ~(1 << bit)))
        assert line.startswith(f"{name} is missing: it ")
        assert process._NEEDED[name][1] in line

    def test_without_any_four_lines_say_so(self, tmp_path):
        lines = process.missing_privileges(status_file(tmp_path, 0))
        assert [line.split()[0] for line in lines] == list(NAMES.values())

    def test_another_network_namespace_is_named(self, tmp_path, monkeypatch):
        monkeypatch.setattr(process.os.path, "samefile", lambda *_: False)
        (line,) = process.missing_privileges(status_file(tmp_path, ALL))
        assert line.startswith("this is not the initial network namespace")

    def test_a_process_1_that_is_not_ours_to_look_at_is_no_reason(self, tmp_path, monkeypatch):
        def fails(*_):
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(process.os.path, "samefile", fails)
        assert process.missing_privileges(status_file(tmp_path, ALL)) == []

    def test_this_process_can_be_judged(self):
        assert all(isinstance(line, str) for line in process.missing_privileges())


class TestGivingUpAnswering:
    def test_the_capability_to_answer_goes_from_every_set_and_no_other(self, monkeypatch):
        class Libc:
            def capget(self, header, sets):
                assert struct.unpack("=Ii", header) == (0x20080522, 0)
                struct.pack_into("=6I", sets, 0, *range(0xFFFFFFFA, 0x100000000))
                return 0

            def capset(self, header, sets):
                self.written = struct.unpack_from("=6I", sets)
                return 0

        libc = Libc()
        monkeypatch.setattr(process, "_libc", libc)
        process.give_up_answering()
        keeps = [word & ~(1 << 21) for word in range(0xFFFFFFFA, 0xFFFFFFFD)]
        assert libc.written == (*keeps, *range(0xFFFFFFFD, 0x100000000))

    def test_in_a_process_of_its_own(self):
        script = (
            "from diskulog import process, neighbours; process.give_up_answering(); print(neighbours._may_answer({}))"
        )
        done = subprocess.run(
            [sys.executable, "-c", script.format("'self'")], capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.stdout, done.stderr) == ("False\n", "")

    @pytest.mark.parametrize("call", ["capget", "capset"])
    def test_a_refusal_is_raised(self, monkeypatch, call):
        class Libc:
            def __getattr__(self, name):
                return lambda *_: -1 if name == call else 0

        monkeypatch.setattr(process, "_libc", Libc())
        with pytest.raises(OSError, match=call):
            process.give_up_answering()


class Libc:
    """Counts the calls and answers as told."""

    def __init__(self, **failures: int) -> None:
        self.calls: list[tuple] = []
        self.failures = failures

    def __getattr__(self, name):
        def call(*arguments):
            self.calls.append((name, *arguments))
            number = self.failures.get(name, 0)
            ctypes.set_errno(number)
            return -1 if number else 0

        return call


class TestIoPath:
    @pytest.fixture(autouse=True)
    def undisturbed(self, tmp_path, monkeypatch):
        before = threading.stack_size()
        monkeypatch.setattr(process, "_OOM_SCORE", tmp_path / "oom_score_adj")
        yield
        gc.unfreeze()
        threading.stack_size(before)

    def test_it_says_so_to_the_kernel_and_then_locks_all_memory(self, monkeypatch):
        libc = Libc()
        monkeypatch.setattr(process, "_libc", libc)
        process.become_io_path()
        assert libc.calls == [("prctl", 57, 1, 0, 0, 0), ("mlockall", 3)]

    def test_the_oom_killer_does_not_choose_us(self, tmp_path, monkeypatch):
        monkeypatch.setattr(process, "_libc", Libc())
        process.become_io_path()
        assert (tmp_path / "oom_score_adj").read_text() == "-1000"

    def test_a_threads_stack_is_small_for_it_is_locked(self, monkeypatch):
        monkeypatch.setattr(process, "_libc", Libc())
        process.become_io_path()
        assert threading.stack_size() == 256 * 1024

    @pytest.mark.parametrize(("call", "what"), [("prctl", "PR_SET_IO_FLUSHER"), ("mlockall", "mlockall")])
    def test_what_fails_is_named(self, monkeypatch, call, what):
        monkeypatch.setattr(process, "_libc", Libc(**{call: errno.EPERM}))
        with pytest.raises(OSError, match=f"{what}: Operation not permitted") as failed:
            process.become_io_path()
        assert failed.value.errno == errno.EPERM


class TestNeedingNoIo:
    def test_it_lasts_as_long_as_it_is_needed(self, monkeypatch):
        libc = Libc()
        monkeypatch.setattr(process, "_libc", libc)
        with pytest.raises(ZeroDivisionError), process.needing_no_io():
            libc.calls.append(1 // 0 if libc.calls == [("prctl", 57, 1, 0, 0, 0), ("mlockall", 3)] else libc.calls)
        assert libc.calls[2:] == [("munlockall",), ("prctl", 57, 0, 0, 0, 0)]

    @pytest.mark.parametrize("call", ["prctl", "mlockall"])
    def test_what_fails_is_named(self, monkeypatch, call):
        monkeypatch.setattr(process, "_libc", Libc(**{call: errno.EPERM}))
        with pytest.raises(OSError, match="Operation not permitted"), process.needing_no_io():
            pass


class TestClaim:
    def test_the_directory_is_made_and_a_second_daemon_is_refused(self, tmp_path):
        run = tmp_path / "run" / "diskulog"
        first = process.claim(run)
        before = len(list(Path("/proc/self/fd").iterdir()))
        with pytest.raises(RefusedError, match=f"daemon: another one holds {run}/lock; stop it first"):
            process.claim(run)
        assert len(list(Path("/proc/self/fd").iterdir())) == before
        os.close(first)
        os.close(process.claim(run))

    def test_the_lock_does_not_reach_children(self, tmp_path):
        fd = process.claim(tmp_path)
        assert fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
        os.close(fd)

    def test_a_directory_that_cannot_be_made_is_an_os_error(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(NotADirectoryError):
            process.claim(tmp_path / "file" / "run")


class TestNotify:
    @pytest.mark.parametrize("abstract", [False, True], ids=["path", "abstract"])
    def test_the_message_reaches_the_socket(self, tmp_path, monkeypatch, abstract):
        name = f"@diskulog-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.bind("\0" + name[1:] if abstract else name)
            monkeypatch.setenv("NOTIFY_SOCKET", name)
            process.notify("READY=1")
            assert sock.recv(100, socket.MSG_DONTWAIT) == b"READY=1"

    @pytest.mark.parametrize("address", [None, ""])
    def test_without_an_address_nobody_is_told(self, monkeypatch, address):
        monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
        if address is not None:
            monkeypatch.setenv("NOTIFY_SOCKET", address)

        def never(*_):
            raise AssertionError("a socket was made")

        monkeypatch.setattr(process.socket, "socket", never)
        assert process.notify("READY=1") is None

    @pytest.mark.parametrize("address", ["/nowhere/at/all", "/" + "x" * 200])
    def test_a_message_that_cannot_be_delivered_is_not_worth_a_daemon(self, monkeypatch, address):
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        assert process.notify("READY=1") is None


def test_the_boot_id_is_the_kernels_sixteen_bytes():
    text = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    found = process.boot_id()
    assert len(found) == 16
    assert found.hex() == text.replace("-", "")
