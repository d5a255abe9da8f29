# SPDX-License-Identifier: LGPL-2.1-or-later
import ctypes
import os
import select
import signal
import threading
import time
from pathlib import Path

import pytest

from diskulog import forks as module
from diskulog import process

# Python 3.12 warns of a fork beside threads, and other tests may have left some
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class TestForks:
    def test_a_worker_dies_with_its_supervisor(self, tmp_path):
        told = tmp_path / "worker"
        parent = os.fork()
        if not parent:
            os.setsid()

            def work() -> int:
                process.die_with_parent(os.getppid())
                told.write_text(str(os.getpid()))
                time.sleep(60)
                return 0

            module.fork(work)
            time.sleep(60)
            os._exit(0)
        while not told.exists() or not told.read_text():
            time.sleep(0.01)
        worker = int(told.read_text())
        os.kill(parent, signal.SIGKILL)
        os.waitpid(parent, 0)
        stat = Path(f"/proc/{worker}/stat")
        for _ in range(500):
            if not stat.exists() or stat.read_text().split()[2] == "Z":
                return
            time.sleep(0.01)
        raise AssertionError("the worker outlived its supervisor")

    def test_a_worker_that_is_dead_but_for_a_thread_in_the_kernel_is_not_waited_for(self, monkeypatch):
        # a thread in uninterruptible sleep keeps a killed process from being reaped; here the first thread ends alone
        monkeypatch.setattr(module, "_LOOK_SECONDS", 0.05)
        child = os.fork()
        if not child:
            threading.Thread(target=time.sleep, args=(60,)).start()
            ctypes.CDLL(None).syscall(60, 7)  # exit(2), not exit_group(2)
        assert module.reap(child) == 7
        assert os.waitpid(child, os.WNOHANG) == (0, 0)
        os.kill(child, signal.SIGKILL)
        pidfd = os.pidfd_open(child)
        select.select([pidfd], [], [], 10)
        os.close(pidfd)
        module.reap_leftovers()
        with pytest.raises(ChildProcessError):
            os.waitpid(child, os.WNOHANG)

    def test_without_children_nothing_is_left_over(self):
        module.reap_leftovers()

    def test_other_things_are_done_while_a_child_lives(self):
        reading, writing = os.pipe()
        done: list[object] = []

        class Meanwhile:
            wait_seconds = 0.01

            def wanted(self) -> list[tuple[int, int]]:
                return [(reading, select.POLLIN)]

            def turn(self, number: int, ready: int) -> None:
                done.append((number, ready, os.read(number, 10)))

            def tick(self) -> None:
                done.append("tick")
                if len(done) > 3:
                    os.kill(child, signal.SIGTERM)

        child = os.fork()
        if not child:
            time.sleep(60)
            os._exit(0)
        os.write(writing, b"asked")
        assert module.reap(child, Meanwhile()) == -signal.SIGTERM
        assert done[0] == (reading, select.POLLIN, b"asked")
        assert done.count("tick") >= 3
        os.close(reading)
        os.close(writing)
