# SPDX-License-Identifier: LGPL-2.1-or-later
"""Traces for tests: of a host in memory, of real kernels' datagrams, and written to files."""

from collections.abc import Iterable
from pathlib import Path

from diskulog.trace.record import End, Header, Heard, Record, header_line, line
from tests import schemas
from tests.fake_host import Rig
from tests.fake_kernel import datagram

START = 1_700_000_000.0
BOOT = bytes(range(16))
HEADER = Header(BOOT, "anvil", "6.12.0", START)
LUID = 0xFFFF888000001000
DATA = Path(__file__).parent / "data"


def write(path: Path, records: Iterable[Record], header: Header = HEADER) -> Path:
    lines = [header_line(header), *map(line, records)]
    for each in lines[:1000]:
        schemas.line("trace", each)
    path.write_text("".join(lines))
    return path


def heard(kind: int, data: bytes = b"", at: float = 1.0, uuid: bytes = b"LVM-s0me-m1rror", **more: int) -> Heard:
    luid = more.pop("luid", LUID)
    return Heard(at, datagram(kind, uuid, luid, data, **more))


def of_a_kernel(kernel: str, uuid: bytes | None = None, apart_seconds: float = 0.3) -> list[Record]:
    """What a real kernel sent, at even times."""
    lines = (DATA / f"datagrams-{kernel}.txt").read_text().splitlines()
    found = [bytes.fromhex(content) for content in lines]
    records: list[Record] = [
        Heard(round(number * apart_seconds, 6), content)
        for number, content in enumerate(found, 1)
        if uuid is None or content[44:173].rstrip(b"\0") == uuid
    ]
    return [*records, End(len(found) * apart_seconds, len(records), 0)]


class Recorder:
    """Hears what a host's kernel sends, as a tracer beside the daemon does."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.start = rig.now
        self.records: list[Record] = []
        self._daemon = rig.kernel.daemon
        rig.kernel.daemon = self._receive

    def _receive(self, content: bytes) -> None:
        self.records.append(Heard(round(self.rig.now - self.start, 6), content))
        assert self._daemon is not None
        self._daemon(content)

    def pass_time(self, seconds: float) -> None:
        """Let the host's timers run as often as the daemon looks at them."""
        for _ in range(round(seconds * 10)):
            self.rig.tick(0.1)
        self.records.append(End(round(self.rig.now - self.start, 6), len(self.records), 0))
