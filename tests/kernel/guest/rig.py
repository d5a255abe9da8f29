# SPDX-License-Identifier: LGPL-2.1-or-later
"""A mirror in the guest: ram disks, dmsetup, the daemon, and the comparison of legs and log.

Lives here: what every kernel test needs. Does not know what any of them wants to show.
"""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from pathlib import Path

from diskulog import cli

SECTOR_BYTES = 512
WAIT_SECONDS = 60


def run(*command: str, check: bool = True, timeout: float = WAIT_SECONDS) -> str:
    """Run a command and return what it printed on standard output."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(command)} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def fails(*command: str) -> str:
    """Run a command that must fail, and return what it said."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False)
    assert done.returncode != 0, f"{' '.join(command)} succeeded: {done.stdout}"
    return done.stdout + done.stderr


def until(what: str, truth: Callable[[], object], seconds: float = WAIT_SECONDS) -> None:
    """Wait until something is true; the limit is only there to end a test that hangs."""
    end = time.monotonic() + seconds
    while not truth():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.05)


def diskulog(*words: str) -> tuple[int, str]:
    """Run a command of ours in this process (starting Python takes seconds here): its exit code, what it printed."""
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, write_through=True)
    with redirect_stdout(out), redirect_stderr(out):
        code = cli.run(words)
    return code, raw.getvalue().decode()


def zero(device: str) -> None:
    """Fill a device with zeros, on the medium too."""
    fd = os.open(device, os.O_WRONLY)
    try:
        size = os.lseek(fd, 0, os.SEEK_END)
        os.lseek(fd, 0, os.SEEK_SET)
        while (at := os.lseek(fd, 0, os.SEEK_CUR)) < size:
            os.write(fd, bytes(min(1 << 20, size - at)))
        os.fsync(fd)
    finally:
        os.close(fd)


def write(device: str, offset_bytes: int, data: bytes) -> None:
    """Write and wait until it is on the device."""
    fd = os.open(device, os.O_WRONLY)
    try:
        os.pwrite(fd, data, offset_bytes)
        os.fsync(fd)
    finally:
        os.close(fd)


def drop_cache(device: str) -> None:
    """Forget what the page cache holds of a device, so that the next read asks the device."""
    run("blockdev", "--flushbufs", device)


def read(device: str, offset_bytes: int, length_bytes: int) -> bytes:
    """Read what the device holds, not an old page of it."""
    drop_cache(device)
    fd = os.open(device, os.O_RDONLY)
    try:
        return os.pread(fd, length_bytes, offset_bytes)
    finally:
        os.close(fd)


class Daemon:
    """``diskulog serve`` as a process; restarted whenever a test finds it dead."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = directory / "serve.log"
        self.config = directory / "diskulog.toml"
        self.config.write_text("[clears]\nhold_seconds = 0.5\n")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", "diskulog", "serve", "--config", str(self.config)]

    @property
    def worker(self) -> int:
        """The daemon's only child."""
        (child,) = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return int(child)

    def start(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        with self.log.open("ab") as out:
            start = out.tell()
            self._process = subprocess.Popen(self.command, stderr=out, stdout=out)
        until("the daemon is ready", lambda: "ready" in self.said(start) or self._process.poll() is not None)
        assert self._process.poll() is None, self.said(start)

    def said(self, start: int = 0) -> str:
        return self.log.read_bytes()[start:].decode()

    def says(self, words: str, start: int, times: int = 1) -> None:
        """Wait until the log has words: a thread of the daemon's writes it, some time after what it tells of."""
        until(f"the daemon says {words!r}", lambda: self.said(start).count(words) >= times)

    def mark(self) -> int:
        """Return where the log ends now, for ``said``."""
        return self.log.stat().st_size

    @contextmanager
    def holding(self, seconds: float) -> Iterator[None]:
        """Hold clears for some time, and then again as before; the daemon goes on."""
        before = self.config.read_text()
        self._configured(re.sub("hold_seconds = .*", f"hold_seconds = {seconds}", before))
        try:
            yield
        finally:
            self._configured(before)

    def _configured(self, text: str) -> None:
        start = self.mark()
        self.config.write_text(text)
        os.kill(self.pid, signal.SIGHUP)
        self.says("the configuration was read again", start)

    def restart(self, number: int = signal.SIGKILL) -> None:
        """End the daemon, by default without a word, and start another."""
        self.stop(number)
        self.start()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, and return how the daemon ended."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(WAIT_SECONDS)


@dataclass
class Mirror:
    """A dm-mirror of two legs with its log, over the length of the legs."""

    name: str
    legs: list[str]
    log: str
    uuid: str
    region_size: int = 128
    length: int = 8192
    mode: str = "integrated_flush"
    word: str = "disk"
    options: str = ""
    features: str = "1 handle_errors"
    leg_start: int = 0
    made: bool = field(default=False)

    @property
    def device(self) -> str:
        return f"/dev/mapper/{self.name}"

    @property
    def region_count(self) -> int:
        return -(-self.length // self.region_size)

    @property
    def region_bytes(self) -> int:
        return self.region_size * SECTOR_BYTES

    def table(self) -> str:
        """The table line with the log in diskulog."""
        words = [self.uuid, self.mode, self.word, self.log if self.word.endswith("disk") else "", str(self.region_size)]
        words = " ".join([*words, self.options]).split()
        return self._table(f"userspace {len(words)} {' '.join(words)}")

    def kernel_table(self) -> str:
        """The table line with the kernel's own log: on the same device, or in memory."""
        word = "disk" if self.word.endswith("disk") else "core"
        words = f"{self.log} {self.region_size} {self.options}".split()
        return self._table(f"{word} {len(words)} {' '.join(words)}")

    def _table(self, log: str) -> str:
        legs = " ".join(f"{leg} {self.leg_start}" for leg in self.legs)
        return f"0 {self.length} mirror {log} {len(self.legs)} {legs} {self.features}"

    def create(self, table: str | None = None) -> None:
        run("dmsetup", "create", self.name, "--table", table or self.table())
        self.made = True

    def remove(self) -> None:
        until("the mirror can be removed", lambda: "rc=0" in run("sh", "-c", f"dmsetup remove {self.name}; echo rc=$?"))
        self.made = False

    def load(self, table: str) -> None:
        run("dmsetup", "load", self.name, "--table", table)

    def suspend(self, *options: str) -> None:
        run("dmsetup", "suspend", *options, self.name)

    def resume(self) -> None:
        run("dmsetup", "resume", self.name)

    def status(self) -> str:
        return run("dmsetup", "status", self.name).strip()

    def in_sync_count(self) -> int:
        """The first number of ``29/128`` in dmsetup's status."""
        return int(next(word for word in self.status().split() if "/" in word).split("/")[0])

    def wait_in_sync(self) -> None:
        until("the mirror is in sync", lambda: self.in_sync_count() == self.region_count)

    def wait_clean(self) -> None:
        """Wait until every clear that was held is stored: nothing changes the log then but a request."""
        until("idle regions become clean", lambda: self.inspect()["log"]["dirty_count"] == 0)

    def differing(self) -> list[int]:
        """Compare the legs themselves, region by region."""
        count = self.length * SECTOR_BYTES
        first, *others = (read(leg, 0, count) for leg in self.legs)
        size = self.region_bytes
        return [
            region
            for region in range(self.region_count)
            if any(
                first[region * size : (region + 1) * size] != leg[region * size : (region + 1) * size] for leg in others
            )
        ]

    def inspect(self, expect: Iterable[int] = (0,)) -> dict[str, object]:
        """What ``diskulog inspect --json`` says of the log."""
        code, said = diskulog("inspect", "--json", self.log)
        assert code in expect, said
        return json.loads(said)

    def compare(self) -> dict[str, object]:
        """Check the promise: every region in which the legs differ is dirty in the log."""
        report = self.inspect(expect=(0, 1))
        dirty = {region for first, count in report["dirty"] for region in range(first, first + count)}
        apart = set(self.differing())
        assert apart <= dirty, f"regions {sorted(apart - dirty)} differ and are called clean"
        return report

    def write_some(self, seed: int = 1, regions: Iterable[int] | None = None) -> None:
        """Write one block of bytes to the start of regions, through the mirror."""
        block = bytes([seed % 256]) * 4096
        fd = os.open(self.device, os.O_WRONLY | os.O_DSYNC)
        try:
            for region in range(self.region_count) if regions is None else regions:
                os.pwrite(fd, block, region * self.region_bytes)
        finally:
            os.close(fd)


def scramble(mirror: Mirror) -> None:
    """Make the legs differ everywhere, so that only a resync makes them equal."""
    for number, leg in enumerate(mirror.legs):
        write(leg, 0, os.urandom(mirror.length * SECTOR_BYTES) if number else bytes(mirror.length * SECTOR_BYTES))


def switch(name: str, table: str) -> None:
    """Give a mapped device another table at once."""
    run("dmsetup", "load", name, "--table", table)
    run("dmsetup", "suspend", "--noflush", name)
    run("dmsetup", "resume", name)


def undelay(name: str) -> None:
    """Let a slow device be as fast as what is beneath it."""
    start, length, kind, device, *_ = run("dmsetup", "table", name).split()
    assert kind == "delay"
    switch(name, f"{start} {length} linear {device} 0")


def forget(name: str) -> None:
    """Remove a mapped device if it is there, whatever state it is in."""
    if name in run("dmsetup", "ls", check=False):
        with suppress(AssertionError, subprocess.TimeoutExpired):
            run("dmsetup", "wipe_table", "--noflush", name, check=False, timeout=20)
        run("dmsetup", "remove", "--retry", name)
