#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What tools/demo --forensic runs where the mirror is: up to the crash (before), and from it on (after).

Lives here: daemon, devices, mirror, writes. Does not know how the machine crashes, or what is looked at then
(demo_forensic.py). Needs nothing but Python's library. Run: demo_guest.py before|after LEG LEG LOG, all three devices.
"""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import cycle
from pathlib import Path

SECTOR_BYTES = 512
REGION_SECTORS = 1024
REGION_BYTES = REGION_SECTORS * SECTOR_BYTES
REGIONS = 128
IDLE = range(20, 26)  # written once, and clean again before the crash
BUSY = ((40, 41), (42, 43), (44, 45), (90, 91), (92, 93))  # each pair by a writer of its own, until the crash
WRITING = "(writing, until the power is cut)"  # what is printed when the crash may come
SLOW_MS = 300
WAIT_SECONDS = 240
CLEAN_OFFSET_BYTES = 1024

TABLE = (
    f"0 {REGIONS * REGION_SECTORS} mirror userspace 5 demo-mirror integrated_flush disk /dev/mapper/log "
    f"{REGION_SECTORS} 2 /dev/mapper/leg-a 0 /dev/mapper/leg-b 0 1 handle_errors"
)
SERVE = "diskulog serve 2>serve.log &"
CREATE = f"dmsetup create mirror --table '{TABLE}'"
STATUS = "dmsetup status mirror"
DUMP = "diskulog dump /dev/mapper/log >log.dump"
REMOVE = "dmsetup remove mirror"


def say(text: str) -> None:
    print(text, flush=True)


def run(command: str) -> str:
    """Run a command and return what it printed; end with what it said where it fails."""
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{command}: code {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def show(command: str) -> str:
    say(f"$ {command}")
    out = run(command)
    if out:
        say(out.rstrip("\n"))
    return out


def until(what: str, truth: Callable[[], object]) -> None:
    """Wait; the limit only ends what hangs."""
    end = time.monotonic() + WAIT_SECONDS
    while not truth():
        if time.monotonic() > end:
            sys.exit(f"waited {WAIT_SECONDS} s in vain until {what}\n{Path('serve.log').read_text()}")
        time.sleep(0.1)


@contextmanager
def daemon() -> Iterator[None]:
    """``diskulog serve``, from its ready line on."""
    say(f"$ {SERVE}")
    with Path("serve.log").open("w+") as log:
        process = subprocess.Popen(["diskulog", "serve"], stderr=log, start_new_session=True)
        try:
            until("the daemon is ready", lambda: process.poll() is not None or said("ready"))
            if process.poll() is not None:
                sys.exit(f"the daemon ended: {Path('serve.log').read_text()}")
            yield
        finally:
            process.terminate()
            process.wait()


def said(word: str) -> list[str]:
    return [line for line in Path("serve.log").read_text().splitlines() if word in line]


# ---- devices: each leg and the log behind a name, so that one can be made slow, or held ----


def table(device: str, slow: bool = False) -> str:
    sectors = run(f"blockdev --getsz {device}").strip()
    # a read comes at once, a write after SLOW_MS
    return f"0 {sectors} " + (f"delay {device} 0 0 {device} 0 {SLOW_MS}" if slow else f"linear {device} 0")


@contextmanager
def devices(legs: list[str], log: str, slow: bool) -> Iterator[None]:
    named = {"leg-a": table(legs[0]), "leg-b": table(legs[1], slow), "log": table(log)}
    try:
        for name, line in named.items():
            run(f"dmsetup create {name} --table '{line}'")
        yield
    finally:
        for name in ("mirror", *named):
            subprocess.run(["dmsetup", "remove", "--retry", name], capture_output=True, check=False)


def slow_down(leg: str) -> None:
    run(f"dmsetup load leg-b --table '{table(leg, slow=True)}'")
    run("dmsetup resume leg-b")


def sectors_written(device: str) -> int:
    return int(Path(f"/sys/block/{Path(device).name}/stat").read_text().split()[6])


def dirty() -> set[int]:
    """Read the clean bitmap as it stands on the device: bit 1 is clean."""
    with open("/dev/mapper/log", "rb") as log:
        log.seek(CLEAN_OFFSET_BYTES)
        bits = int.from_bytes(log.read(REGIONS // 8), "little")
    return {region for region in range(REGIONS) if not bits >> region & 1}


def wait_in_sync() -> None:
    """Print the status whenever it is another one, until both numbers of "29/128" are the same."""
    say(f"$ {STATUS}")
    before = ""
    while True:
        line = run(STATUS).strip()
        if line != before:
            say(line)
        done, count = next(word for word in line.split() if "/" in word).split("/")
        if done == count:
            return
        before = line
        time.sleep(0.2)


# ---- the writes ----


class Writers:
    """Threads, each of which writes some bytes here and there in regions of its own, until they are stopped."""

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(pair,), daemon=True) for pair in BUSY]
        for thread in self._threads:
            thread.start()

    def _write(self, regions: tuple[int, ...]) -> None:
        with suppress(OSError):  # the devices may go first
            for region in cycle(regions):
                if self._stopped.is_set():
                    return
                write(region, int.from_bytes(os.urandom(1), "little") % 128)

    def stop(self) -> None:
        """End them, each after its write."""
        self._stopped.set()
        for thread in self._threads:
            thread.join(WAIT_SECONDS)


def write(region: int, block: int) -> None:
    """Write 4 KiB somewhere in a region, and wait until each leg has them."""
    fd = os.open("/dev/mapper/mirror", os.O_WRONLY | os.O_DIRECT)
    try:
        with mmap.mmap(-1, 4096) as page:  # O_DIRECT wants whole pages
            page[:] = os.urandom(4096)
            os.pwrite(fd, page, region * REGION_BYTES + block * 4096)
    finally:
        os.close(fd)


# ---- the two lives ----


def before(legs: list[str], log: str) -> None:
    """Live until somebody cuts the power."""
    with daemon(), devices(legs, log, slow=False):
        say(said("ready")[0])
        show(CREATE)
        wait_in_sync()
        until("every region is clean", lambda: not dirty())
        show(DUMP)
        say("")
        say(f"# leg b gets slow ({SLOW_MS} ms a write), and these regions are written:")
        say(f"# once: {IDLE[0]} to {IDLE[-1]}; all the time: {', '.join(f'{a} and {b}' for a, b in BUSY)}")
        slow_down(legs[1])
        for region in IDLE:
            write(region, 0)
        writers = Writers()
        try:
            busy = {region for pair in BUSY for region in pair}
            until("what was written once is clean again", lambda: dirty() == busy)
            show(STATUS)
            say(WRITING)
            while True:
                signal.pause()
        finally:
            writers.stop()


def after(legs: list[str], log: str) -> None:
    """Activate the mirror again, and count what the resync writes."""
    with daemon(), devices(legs, log, slow=True):
        written = sectors_written(legs[1])
        show(CREATE)
        wait_in_sync()
        copied = sectors_written(legs[1]) - written
        say(said("live")[0])
        show(REMOVE)
        say(f"sectors written to leg b: {copied}, which are {copied / REGION_SECTORS:g} regions")


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    lives: dict[str, Callable[[list[str], str], None]] = {"before": before, "after": after}
    life, *legs, log = sys.argv[1:]
    lives[life](legs, log)


if __name__ == "__main__":
    main()
