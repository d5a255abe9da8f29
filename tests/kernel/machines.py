# SPDX-License-Identifier: LGPL-2.1-or-later
"""The VMs of one test run: as many at once as there are processors, each begun before a test asks how it went.

Lives here: a queue, and ending what still runs. Does not know what any VM does, nor which tests there are.
"""

import os
import subprocess
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

TOP = Path(__file__).resolve().parents[2]
_END_SECONDS = 20  # tools/vm takes its guest with it
_FEWEST = 2  # one for each kernel, on a machine with one processor, too

_pool = ThreadPoolExecutor(max(_FEWEST, os.cpu_count() or _FEWEST))
_running: list[subprocess.Popen[str]] = []
_stopped = threading.Event()


def queue(work: Callable[..., T], *arguments: object) -> Future[T]:
    """Have ``work`` done as soon as a processor is free; it runs VMs by means of ``run``, one at a time."""
    return _pool.submit(work, *arguments)


def run(command: Sequence[str | Path], output: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command at the top of the repository to its end; what it prints goes to ``output``, or is returned."""
    with open(output or os.devnull, "w") as file:
        out, err = (file, file) if output else (subprocess.PIPE, subprocess.PIPE)
        with subprocess.Popen(command, cwd=TOP, stdout=out, stderr=err, text=True) as process:
            _running.append(process)
            if _stopped.is_set():
                process.terminate()
            said, complained = process.communicate()
    _running.remove(process)
    return subprocess.CompletedProcess(process.args, process.returncode, said or "", complained or "")


def stop() -> None:
    """End whatever runs, and do not begin what waits."""
    _stopped.set()
    ending = list(_running)
    for process in ending:
        process.terminate()
    for process in ending:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_END_SECONDS)
        process.kill()
    _pool.shutdown(cancel_futures=True)


def blank_disks(directory: Path, sizes_bytes: Sequence[int]) -> list[Path]:
    """Make images full of zeros, in the order in which a guest sees them."""
    disks = [directory / f"disk{number}" for number in range(len(sizes_bytes))]
    for disk, size in zip(disks, sizes_bytes, strict=True):
        with disk.open("wb") as file:
            file.truncate(size)
    return disks


def vm(kernel: str, timeout_seconds: int, *options: str, disks: Sequence[Path] = ()) -> list[str]:
    """Return the beginning of a command that starts a VM with one processor; ``--`` and the guest's command follow."""
    command = [str(TOP / "tools/vm"), "--kernel", kernel, "--cpus", "1", "--timeout", str(timeout_seconds), *options]
    return command + [word for disk in disks for word in ("--disk", str(disk))]
