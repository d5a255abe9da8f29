#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The guest's half of tools/powercut: a mirror on slow devices, writes without end, and word of what happens.

Lives here: what runs in the VM until its power is cut; events are told on standard output, a line of JSON each. Does
not know when the cut comes, or what the images must say then. Run: powercut_guest.py PLAN, which is JSON.
"""

from __future__ import annotations

import json
import mmap
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from pathlib import Path
from typing import Any

SECTOR_BYTES = 512
MIRROR = "/dev/mapper/mirror"
LEGS = ("a", "b")
DEVICES = {"a": "vda", "b": "vdb", "log": "vdc"}
SLOT_SECTORS = 32
WRITE_SECTORS = (1, 8, 8, SLOT_SECTORS)
FIRST_WRITES = 24  # so many before the load counts as one
LOOK_SECONDS = 0.02
LATE_SECONDS = 0.1  # a look that comes so much after the last one does not know what it missed
WAIT_SECONDS = 240
LIVE = ": live, "  # in what the daemon says of an activation, before "29 of 128 regions in sync"

Plan = dict[str, Any]


def tell(event: str, **facts: object) -> None:
    os.write(1, json.dumps({"event": event, **facts}).encode() + b"\n")  # one write: threads tell too


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}")
    return done.stdout


def until(truth: Callable[[], Any]) -> Any:
    """Wait until something is true, and return it; the limit only ends what hangs."""
    end = time.monotonic() + WAIT_SECONDS
    while not (found := truth()):
        if time.monotonic() > end:
            sys.exit(f"waited {WAIT_SECONDS} s in vain\n{whereabouts()}")
        time.sleep(LOOK_SECONDS)
    return found


def whereabouts() -> str:
    """Tell where every thread stands in the kernel, for whoever looks into a hang."""
    threads = [(task / "comm", task / "stack") for task in Path("/proc").glob("[0-9]*/task/*")]
    return "\n".join(comm.read_text() + stack.read_text() for comm, stack in threads)


def clock_error_seconds() -> float:
    """Compare this kernel's clock with the hardware's: one that was calibrated while the host was busy runs wrong."""
    return abs(int(Path("/sys/class/rtc/rtc0/since_epoch").read_text()) - time.time())


# ---- devices ----


def sectors_written(device: str) -> int:
    return int(Path(f"/sys/block/{device}/stat").read_text().split()[6])


def flushes(device: str) -> int:
    return int(Path(f"/sys/block/{device}/stat").read_text().split()[15])


def table(plan: Plan, name: str, slow: bool) -> str:
    """Give a table of dm-delay over a whole device.

    The daemon flushes the legs in the order of their names: after the first leg's flush, which can be seen, the second
    one's lasts, and so a round of clears has a middle.
    """
    device = f"/dev/{DEVICES[name]}"
    sectors = Path(f"/sys/block/{DEVICES[name]}/size").read_text().strip()
    write_ms = {plan["slow_leg"]: plan["leg_delay_ms"], "log": plan["log_delay_ms"]}.get(name, 0) if slow else 0
    flush_ms = plan["flush_delay_ms"] if name == LEGS[-1] else 0
    return f"0 {sectors} delay {device} 0 0 {device} 0 {write_ms} {device} 0 {flush_ms}"


def make_devices(plan: Plan) -> None:
    """Put a delay over each device: for now of nothing, unless a resync is to be slow."""
    slow = plan["kind"] == "resync"
    run("dmsetup", "create", "--concise", ";".join(f"{name},,,rw,{table(plan, name, slow)}" for name in DEVICES))


def slow_down(plan: Plan) -> None:
    """Make the slow leg and the log slow."""
    for name in (plan["slow_leg"], "log"):
        run("dmsetup", "load", name, "--table", table(plan, name, slow=True))
    run("dmsetup", "resume", plan["slow_leg"], "log")


def make_mirror(plan: Plan) -> None:
    words = ["powercut", *plan["mode"].split(), "disk", "/dev/mapper/log", str(plan["region_size_sectors"])]
    legs = " ".join(f"/dev/mapper/{leg} 0" for leg in LEGS)
    log = f"userspace {len(words)} {' '.join(words)}"
    run("dmsetup", "create", "mirror", "--table", f"0 {plan['length_sectors']} mirror {log} 2 {legs} 1 handle_errors")


def in_sync() -> bool:
    done, count = next(word for word in run("dmsetup", "status", "mirror").split() if "/" in word).split("/")
    return done == count


# ---- the daemon ----


class Daemon:
    """``diskulog serve``, or one with a mistake planted in it. What it says goes to standard error too."""

    def __init__(self, plan: Plan) -> None:
        config = Path("/run/powercut.toml")
        config.write_text(f"[clears]\nhold_seconds = {plan['hold_seconds']}\n")
        program = ["tools.powercut_mistakes", plan["mistake"]] if plan["mistake"] else ["diskulog"]
        command = [sys.executable, "-m", *program, "serve", "--config", str(config)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._lines: list[str] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in self._process.stdout or ():
            self._lines.append(line)
            os.write(2, line.encode())
        tell("the daemon ended", error=f"code {self._process.wait()}")

    def said(self, words: str) -> str:
        """Return the line with these words, if there is one."""
        return next((line for line in self._lines if words in line), "")

    def kill_worker(self) -> None:
        """Kill the daemon's only child."""
        pid = self._process.pid
        (worker,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        os.kill(int(worker), signal.SIGKILL)


# ---- the load ----


class Writers:
    """Threads that write random data to random places of the mirror, until the power is cut.

    Every one has slots of its own: of two writes under way to one sector each leg may keep another, for ever.
    """

    def __init__(self, plan: Plan) -> None:
        self.done = 0
        self._sectors = plan["length_sectors"]
        self._count = plan["writers"]
        for number in range(self._count):
            lot = random.Random(f"{plan['seed']}/{number}")
            threading.Thread(target=self._write, args=(number, lot), daemon=True).start()

    def _write(self, number: int, lot: random.Random) -> None:
        fd = os.open(MIRROR, os.O_WRONLY | os.O_DIRECT)
        aligned = memoryview(mmap.mmap(-1, SLOT_SECTORS * SECTOR_BYTES))
        slots = range(number * SLOT_SECTORS, self._sectors, self._count * SLOT_SECTORS)
        try:
            while True:
                slot = lot.choice(slots)
                end = min(slot + SLOT_SECTORS, self._sectors)
                sector = lot.randrange(slot, end)
                size_bytes = min(lot.choice(WRITE_SECTORS), end - sector) * SECTOR_BYTES
                aligned[:size_bytes] = os.urandom(size_bytes)
                os.pwritev(fd, [aligned[:size_bytes]], sector * SECTOR_BYTES)
                self.done += 1
        except OSError as error:
            tell("a write failed", error=str(error))


class Rounds:
    """Rounds of clears, as the devices show them: nobody but the daemon flushes the legs.

    ``round``: the first leg was flushed, the second one is being flushed. ``round stores``: that is done, the clears
    are stored and written, which takes at least the log's delay. ``round over``: so much time has passed.
    ``round unseen``: something happened, but nobody looked for a while.
    """

    def __init__(self, plan: Plan) -> None:
        self._log_seconds = plan["log_delay_ms"] / 1000
        self._seen = self._counts()
        self._looked = time.monotonic()
        self._over: float | None = None

    def _counts(self) -> tuple[int, int]:
        return flushes(DEVICES["a"]), flushes(DEVICES["b"])

    def look(self) -> None:
        """Look, and tell what is new."""
        counts, now = self._counts(), time.monotonic()
        late, self._looked = now - self._looked > LATE_SECONDS, now
        begun, stores = counts[0] != self._seen[0], counts[1] != self._seen[1]
        self._seen = counts
        if begun or stores:
            self._over = None
            event = "round" if begun else "round stores"
            tell("round unseen" if late or (begun and stores) else event)
            if event == "round stores":
                self._over = now + self._log_seconds
        elif self._over is not None and now > self._over:
            self._over = None
            tell("round over")


def story(plan: Plan, daemon: Daemon, writers: Writers) -> Iterator[None]:
    """What else happens under the load, in steps between two looks."""
    while writers.done < FIRST_WRITES:
        yield
    tell("writing")
    if plan["kind"] != "worker":
        return
    end = time.monotonic() + plan["worker_lives_seconds"]
    while time.monotonic() < end:
        yield
    daemon.kill_worker()
    tell("worker killed")
    while not daemon.said("took over"):
        yield
    tell("worker back")


def main(plan: Plan) -> None:
    tell("begin", clock_error_seconds=clock_error_seconds())
    daemon = Daemon(plan)
    make_devices(plan)
    until(lambda: daemon.said("ready"))
    written = sectors_written(DEVICES["b"])
    make_mirror(plan)
    tell("live", in_sync_count=int(until(lambda: daemon.said(LIVE)).split(LIVE)[1].split()[0]))
    if plan["kind"] != "resync":
        until(in_sync)
        tell("recovered", copied_sectors=sectors_written(DEVICES["b"]) - written)
        if plan["kind"] == "end":
            run("dmsetup", "remove", "mirror")
            return
        until(Path(plan["go"]).exists)
        slow_down(plan)
    rounds = Rounds(plan)
    for _ in chain(story(plan, daemon, Writers(plan)), repeat(None)):
        rounds.look()
        time.sleep(LOOK_SECONDS)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
