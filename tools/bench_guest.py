# SPDX-License-Identifier: LGPL-2.1-or-later
"""The guest's half of tools/bench: mirrors on each kind of log, fio and counters; prints one JSON line a result.

Lives here: what is measured, scenario by scenario. Does not know what the figures are compared with (tools/bench).
"""

from __future__ import annotations

import json
import mmap
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

SECTOR_BYTES = 512
REGION_SECTORS = 1024
LEGS, LOG = ("/dev/ram0", "/dev/ram1"), "/dev/ram2"
LEG_SECTORS = 256 * 2048
SPAN_SECTORS = 64 * 2048  # of most mirrors
LOG_BYTES = 8 << 20
SLOW_LOG_MS = 8
SLOW_LEG_MS = 8  # of a write; reads are as fast as RAM
MANY = 64


class Plan:
    """What tools/bench asks for."""

    def __init__(self, floor: str, rounds: int, seconds: float) -> None:
        self.floor, self.rounds, self.seconds = floor, rounds, seconds


def say(scenario: str, log: str, **figures: object) -> None:
    print(json.dumps({"scenario": scenario, "log": log, **figures}), flush=True)


def run(*command: str, timeout: float = 300) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return done.stdout


def zero(device: str) -> None:
    with open(device, "r+b", buffering=0) as out:
        size = out.seek(0, os.SEEK_END)
        out.seek(0)
        for _ in range(0, size, 1 << 20):
            out.write(bytes(min(1 << 20, size - out.tell())))
        os.fsync(out)


# -- who keeps the log ----------------------------------------------------------------------------------------------


@contextmanager
def nobody(_: Plan) -> Iterator[int]:
    yield 0


@contextmanager
def floor(plan: Plan) -> Iterator[int]:
    with served([plan.floor]) as pid:
        yield pid


@contextmanager
def diskulog(_: Plan) -> Iterator[int]:
    with served([sys.executable, "-m", "diskulog", "serve"]) as pid:
        yield pid


@contextmanager
def served(command: list[str]) -> Iterator[int]:
    """Run a daemon; wait for its line that says ready."""
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert running.stdout is not None
    said: list[str] = []
    while not said or "ready" not in said[-1]:
        said.append(running.stdout.readline())
        if not said[-1]:
            raise SystemExit(f"{' '.join(command)} did not get ready:\n{''.join(said)}")
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(running.stdout or ()), daemon=True)
    reader.start()
    try:
        yield running.pid
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait(60)
        reader.join(10)
        for line in lines:
            if line.startswith(("<3>", "<2>")):
                print(line, end="", file=sys.stderr, flush=True)


KEEPERS: dict[str, tuple[Callable[[Plan], object], str]] = {
    "core": (nobody, "core {core_words} {region}{sync}"),
    "disk": (nobody, "disk {disk_words} {log} {region}{sync}"),
    "floor": (floor, "userspace {floor_words} {uuid} integrated_flush core {region}{sync}"),
    "diskulog": (diskulog, "userspace {our_words} {uuid} integrated_flush disk {log} {region}{sync}"),
}


def table(kind: str, log: str, legs: tuple[str, str], sectors: int, region: int, uuid: str, sync: str) -> str:
    more = bool(sync)
    words = KEEPERS[kind][1].format(
        core_words=1 + more,
        disk_words=2 + more,
        floor_words=4 + more,
        our_words=5 + more,
        log=log,
        region=region,
        uuid=uuid,
        sync=sync and f" {sync}",
    )
    return f"0 {sectors} mirror {words} 2 {legs[0]} 0 {legs[1]} 0 1 handle_errors"


@contextmanager
def mirror(
    kind: str,
    log: str = LOG,
    legs: tuple[str, str] = LEGS,
    sectors: int = SPAN_SECTORS,
    region: int = REGION_SECTORS,
    name: str = "bench",
    sync: str = "nosync",
) -> Iterator[str]:
    """A mirror that is in sync from its start, unless ``sync`` is empty."""
    run("dmsetup", "create", name, "--table", table(kind, log, legs, sectors, region, f"UUID-{name}", sync))
    try:
        yield f"/dev/mapper/{name}"
    finally:
        run("dmsetup", "remove", "--retry", name)


@contextmanager
def delayed(name: str, device: str, write_ms: int) -> Iterator[str]:
    sectors = int(run("blockdev", "--getsz", device))
    run("dmsetup", "create", name, "--table", f"0 {sectors} delay {device} 0 0 {device} 0 {write_ms}")
    try:
        yield f"/dev/mapper/{name}"
    finally:
        run("dmsetup", "remove", "--retry", name)


@contextmanager
def looped(size_bytes: int, name: str) -> Iterator[str]:
    """A loop device on a file in memory: it counts what it does, and its file may be sparse."""
    path = Path("/dev/shm") / name
    with path.open("wb") as file:
        file.truncate(size_bytes)
    device = run("losetup", "--find", "--show", str(path)).strip()
    try:
        yield device
    finally:
        run("losetup", "--detach", device)
        path.unlink()


# -- the load --------------------------------------------------------------------------------------------------------


def fio(devices: list[str], seconds: float, depth: int, rw: str = "randwrite", **options: object) -> dict[str, float]:
    """Run fio on each device at once; give the operations a second of all, and the longest one."""
    command = ["fio", "--output-format=json", f"--rw={rw}", "--bs=4k", f"--iodepth={depth}", "--time_based"]
    command += [f"--runtime={seconds:g}", "--ramp_time=1", "--ioengine=libaio", "--randrepeat=1", "--norandommap"]
    command += [f"--{name}={value}" for name, value in {"direct": 1, "thread": 1, **options}.items()]
    for number, device in enumerate(devices):
        command += [f"--name=j{number}", f"--filename={device}"]
    found = run(*command, timeout=seconds + 300)
    jobs = json.loads(found[found.index("{") :])["jobs"]
    sides = [job["read" if "read" in rw else "write"] for job in jobs]
    return {
        "iops": sum(side["iops"] for side in sides),
        "p50_ms": max(side["clat_ns"]["percentile"]["50.000000"] for side in sides) / 1e6 if sides else 0.0,
        "longest_s": max(side["clat_ns"]["max"] for side in sides) / 1e9,
        "count": sum(side["total_ios"] for side in sides),
    }


def counters(device: str) -> tuple[int, int, int]:
    """Writes, sectors and flushes that a device has done (Documentation/block/stat.rst)."""
    fields = [int(word) for word in Path(f"/sys/block/{Path(device).name}/stat").read_text().split()]
    return fields[4], fields[6], fields[15]


def memory_mib(pid: int) -> float:
    """Resident memory of a process and its children, what they share counted once (proc_pid_smaps)."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    total = 0
    for each in [str(pid), *children]:
        total += int(re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{each}/smaps_rollup").read_text(), re.M)[1])  # type: ignore[index]
    return total / 1024


# -- scenarios -------------------------------------------------------------------------------------------------------


def ram(plan: Plan) -> None:
    """Random writes, everything on RAM disks; the floor before and after ours, to see whether it moves."""
    for number in range(plan.rounds):
        for place, kind in enumerate(("core", "disk", "floor", "diskulog", "floor")):
            zero(LOG)
            with KEEPERS[kind][0](plan), mirror(kind) as device:  # type: ignore[attr-defined]
                for depth in (1, 32):
                    say("ram", kind, depth=depth, round=number, place=place, **fio([device], plan.seconds, depth))


def slow_log(plan: Plan) -> None:
    """Random writes, the log on a device that takes some ms for a write."""
    for number in range(plan.rounds):
        for kind in ("disk", "diskulog"):
            zero(LOG)
            with (
                delayed("slow", LOG, SLOW_LOG_MS) as log,
                KEEPERS[kind][0](plan),  # type: ignore[attr-defined]
                mirror(kind, log) as device,
            ):
                for depth in (1, 32):
                    say("slow_log", kind, depth=depth, round=number, **fio([device], plan.seconds, depth))


def log_writes(plan: Plan) -> None:
    """What the log's device does for a mirror's write, with locality: 100 writes a second to 16 MiB."""
    for kind in ("disk", "diskulog"):
        with looped(LOG_BYTES, "log") as log, KEEPERS[kind][0](plan), mirror(kind, log) as device:  # type: ignore[attr-defined]
            before = counters(log)
            done = fio([device], max(plan.seconds, 12), 1, rate_iops=100, size="16m", ramp_time=0)
            time.sleep(7)  # what is held is stored
            writes, sectors, flushes = (after - first for after, first in zip(counters(log), before, strict=True))
            count = done["count"]
            say(
                "log_writes", kind, writes=writes / count, sectors=sectors / count, flushes=flushes / count, count=count
            )


def resync(plan: Plan) -> None:
    """Writes while a resync runs, and after it; on RAM disks, where copying takes the processor, and on slow legs."""
    with delayed("leg-a", LEGS[0], SLOW_LEG_MS) as first, delayed("leg-b", LEGS[1], SLOW_LEG_MS) as second:
        for number in range(plan.rounds):
            for name, legs in (("ram", LEGS), ("slow", (first, second))):
                for kind in ("disk", "floor", "diskulog"):
                    resync_once(plan, kind, round=number, legs_are=name, legs=legs)


def resync_once(plan: Plan, kind: str, legs: tuple[str, str], **told: object) -> None:
    zero(LOG)
    with KEEPERS[kind][0](plan), mirror(kind, legs=legs, sectors=LEG_SECTORS, sync="") as device:  # type: ignore[attr-defined]
        during, seconds = rate(device, lambda: not in_sync("bench"))
        end = time.monotonic() + plan.seconds
        after, _ = rate(device, lambda: time.monotonic() < end)
        say("resync", kind, during=during, after=after, resync_seconds=seconds, **told)


def in_sync(name: str) -> bool:
    done, count = re.search(r" (\d+)/(\d+) ", run("dmsetup", "status", name)).groups()  # type: ignore[union-attr]
    return done == count


def rate(device: str, goes_on: Callable[[], bool]) -> tuple[float, float]:
    """Write single blocks all over a device while something is true; give writes a second, and the seconds."""
    state = {"on": True}

    def watch() -> None:
        while goes_on():
            time.sleep(0.3)
        state["on"] = False

    fd = os.open(device, os.O_WRONLY | os.O_DIRECT)
    blocks = os.lseek(fd, 0, os.SEEK_END) // 4096
    watcher = threading.Thread(target=watch)
    count, begun = 0, time.monotonic()
    watcher.start()
    with mmap.mmap(-1, 4096) as block:
        while state["on"]:
            os.pwritev(fd, [block], count * 7919 % blocks * 4096)
            count += 1
    seconds = time.monotonic() - begun
    watcher.join()
    os.close(fd)
    return count / seconds, seconds


def reads(plan: Plan) -> None:
    """Reads past the page cache, and through it: each 4 KiB costs an IN_SYNC."""
    for number in range(plan.rounds):
        for kind in ("core", "disk", "floor", "diskulog"):
            zero(LOG)
            with KEEPERS[kind][0](plan), mirror(kind) as device:  # type: ignore[attr-defined]
                direct = fio([device], plan.seconds, 1, "randread")
                run("blockdev", "--flushbufs", device)
                begun = time.monotonic()
                with open(device, "rb", buffering=0) as source:
                    length = len(source.read(4 << 20))
                buffered = length / (time.monotonic() - begun) / (1 << 20)
                say("reads", kind, round=number, buffered_mib_s=buffered, **direct)


def regions(plan: Plan) -> None:
    """2^24 regions against 2^10 over the same sparse target."""
    sectors = 8 << 24
    with looped(sectors * SECTOR_BYTES, "a") as a, looped(sectors * SECTOR_BYTES, "b") as b:
        for number in range(plan.rounds):
            for power, region in ((10, sectors >> 10), (24, 8)):
                with looped(LOG_BYTES, "log") as log, diskulog(plan) as pid:
                    begun = time.monotonic()
                    with mirror("diskulog", log, (a, b), sectors, region) as device:
                        create, begun = time.monotonic() - begun, time.monotonic()
                        run("dmsetup", "status", "bench")
                        status = time.monotonic() - begun
                        # a span that is written again and again, and the whole target, where each write marks
                        near = fio([device], plan.seconds, 1, size="1m", ramp_time=3)
                        far = fio([device], plan.seconds, 1)
                        figures = {"create_s": create, "status_s": status, "memory_mib": memory_mib(pid)}
                        say("regions", f"2^{power}", round=number, far_iops=far["iops"], **figures, **near)


def many(plan: Plan) -> None:
    """One mirror, and 64 at once, each with a writer of its own."""
    leg, log = LEG_SECTORS // MANY, 512
    pieces = []
    for number in range(MANY):
        for part, device, length in (("a", LEGS[0], leg), ("b", LEGS[1], leg), ("l", LOG, log)):
            pieces.append(f"p{number}{part}")
            run("dmsetup", "create", pieces[-1], "--table", f"0 {length} linear {device} {number * length}")
    zero(LOG)
    with diskulog(plan) as pid:
        devices, names = [], []
        for number in range(MANY):
            names.append(f"many{number}")
            legs = (f"/dev/mapper/p{number}a", f"/dev/mapper/p{number}b")
            words = table("diskulog", f"/dev/mapper/p{number}l", legs, leg, REGION_SECTORS, f"UUID-{number}", "nosync")
            run("dmsetup", "create", names[-1], "--table", words)
            devices.append(f"/dev/mapper/{names[-1]}")
        for number in range(plan.rounds):
            say("many", "1", round=number, **fio(devices[:1], plan.seconds, 1))
            figures = fio(devices, 2 * plan.seconds, 1, ramp_time=5)
            say("many", str(MANY), round=number, memory_mib=memory_mib(pid), **figures)
        for name in names:
            run("dmsetup", "remove", "--retry", name)
    for name in pieces:
        run("dmsetup", "remove", "--retry", name)


def idle(plan: Plan) -> None:
    """The daemon with one small log: its memory."""
    zero(LOG)
    begun = time.monotonic()
    with diskulog(plan) as pid:
        ready = time.monotonic() - begun
        with mirror("diskulog"):
            say("idle", "diskulog", ready_s=ready, memory_mib=memory_mib(pid))


SCENARIOS = {each.__name__: each for each in (ram, slow_log, log_writes, resync, reads, regions, many, idle)}


def main() -> None:
    names, floor_path, rounds, seconds = sys.argv[1:]
    run("modprobe", "-a", "dm-mirror", "dm-log-userspace", "dm-delay", "loop")
    run("modprobe", "brd", "rd_nr=3", f"rd_size={LEG_SECTORS // 2}")
    plan = Plan(floor_path, int(rounds), float(seconds))
    for name in names.split(","):
        begun = time.monotonic()
        SCENARIOS[name](plan)
        print(f"# {name}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
