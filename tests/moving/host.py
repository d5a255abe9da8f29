# SPDX-License-Identifier: LGPL-2.1-or-later
"""A host with one mirror in memory and its log devices in files: dm, the kernel's own log, and diskulog's, as models.

``truth`` are the regions whose legs are equal and that nobody writes. Whatever happens, no log may call another region
clean when a table that names it is activated.
"""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from diskulog import ctr, ondisk, verdict
from diskulog.dm import Info
from diskulog.errors import DeviceError, DiskulogError, RefusedError
from diskulog.moving import logs, look, plan, run, table
from diskulog.moving.situation import Served, Target
from diskulog.moving.table import Kind, Table
from diskulog.ondisk import CLEAN_OFFSET_BYTES, Dialect, Header, State
from tests.logs import ones, put, regions

SIZE = 16 * 1024
COUNT = 100
REGION_SECTORS = 8
LENGTH = COUNT * REGION_SECTORS - 1
UUID = "mirror-1"
OLD, NEW = "253:2", "253:9"
DIRTY = frozenset({3, 4, 70})
KERNEL_LOG = f"disk 2 {OLD} {REGION_SECTORS}"
DISKULOG_LOG = f"userspace 5 {UUID} integrated_flush disk {OLD} {REGION_SECTORS}"
REST = "2 253:0 0 253:1 0 1 handle_errors"


class Killed(BaseException):
    """What no code of ours catches, as it does not run any more."""


def line(log: str, rest: str = REST) -> str:
    return f"0 {LENGTH} mirror {log} {rest}"


class Host:
    """Also its own ``Mapper``."""

    def __init__(self, folder: Path, log: str, truth: frozenset[int], failed: bool = False) -> None:
        self.folder = folder
        self.live, self.waiting, self.suspended = line(log), "", False
        self.truth = set(truth)
        self.failed = failed  # the live log
        self.late: set[int] = set()  # what the kernel's own log clears behind the suspend
        self.late_after = 0
        self.uuid = ""
        self.legs = "AA"
        self.read_only = False
        self.daemon = True
        self.does: list[str] = []
        self.faults: dict[str, BaseException] = {}
        for number in (OLD, NEW):
            self.path(number).write_bytes(bytes(SIZE))
        if self.now.log.kind is Kind.KERNEL:
            self.put(OLD, 0, Header(nr_regions=COUNT).pack())
            self.put(OLD, CLEAN_OFFSET_BYTES, ondisk.bits_to_bytes(self.bits(truth)))
        else:
            self.keep_open(self.now, set(truth))

    # -- devices -----------------------------------------------------------------------------------------------------

    def path(self, number: str) -> Path:
        return self.folder / number.replace(":", "-")

    def node(self, number: str) -> str:
        return str(self.path(number))

    def number_of(self, word: str) -> str:
        return Path(word).name.replace("-", ":") if word.startswith("/") else word

    def put(self, number: str, offset: int, data: bytes) -> None:
        image = bytearray(self.path(number).read_bytes())
        put(image, offset, data)
        self.path(number).write_bytes(image)

    def bits(self, clean) -> "ondisk.bitarray":
        return ~ones(COUNT, clean)

    def head(self, number: str) -> bytes:
        return self.path(number).read_bytes()[: ondisk.HEAD_BYTES]

    def doors(self) -> look.Doors:
        return look.Doors(self, self.served, self.node, self.number_of, lambda: self._do("modprobe"))

    @property
    def now(self) -> Table:
        return table.parse("m", self.live, self.number_of)

    # -- dm ----------------------------------------------------------------------------------------------------------

    def _do(self, what: str) -> None:
        self.does.append(what)
        if what in self.faults:
            raise self.faults.pop(what)

    def info(self, name: str) -> Info:
        return Info(name, self.uuid, "253:5", self.suspended, True, bool(self.waiting), self.read_only)

    def table(self, name: str, *, inactive: bool = False) -> str:
        return self.waiting if inactive else self.live

    def status(self, name: str) -> str:
        self._do("status")
        if self.late and self.suspended:
            self.late_after -= 1
            if self.late_after < 0:
                self.late = set()
                self.write_kernels()
        letter = "D" if self.failed else "A"
        log = f"3 disk {self.now.log.number} {letter}"
        return f"0 {LENGTH} mirror 2 253:0 253:1 {len(self.truth)}/{COUNT} 1 {self.legs} {log}"

    def load(self, name: str, text: str, *, read_only: bool) -> None:
        self._do("load")
        wanted = table.parse(name, text, self.number_of)
        if wanted.log.kind is Kind.DISKULOG:
            try:
                self.refuse(wanted)
            except RefusedError as cause:
                raise DeviceError("m: dm cannot load the new table", OSError(22, str(cause))) from cause
        self.waiting = text

    def clear(self, name: str) -> None:
        self._do("clear")
        self.waiting = ""

    def suspend(self, name: str) -> None:
        self._do("suspend")
        self.suspended = True
        if self.failed:
            return
        if self.now.log.kind is Kind.KERNEL:
            self.write_kernels()
        else:
            self.close(self.now, self.truth)

    def resume(self, name: str) -> None:
        self._do("resume")
        if self.waiting:
            self.live, self.waiting, self.failed = self.waiting, "", False
            self.activate()
        elif self.suspended and self.now.log.kind is Kind.KERNEL:
            self.activate()  # the kernel's own log reads its header at each resume
        elif self.suspended and not self.failed:
            self.keep_open(self.now, self.truth)  # from memory
        self.suspended = False

    def served(self) -> tuple[Served, ...]:
        assert self.daemon
        found = []
        for text, state in ((self.live, "suspended" if self.suspended else "live"), (self.waiting, "inactive")):
            known = table.parse("m", text, self.number_of) if text else None
            if known and known.log.kind is Kind.DISKULOG:
                failed = self.failed and text == self.live
                found.append(
                    Served(known.log.uuid, known.log.number, "failed" if failed else state, "D" if failed else "A")
                )
        return tuple(found)

    # -- logs --------------------------------------------------------------------------------------------------------

    def write_kernels(self) -> None:
        # the header and the extension as they were read at the resume, which nobody may have changed meanwhile
        self.put(OLD, CLEAN_OFFSET_BYTES, ondisk.bits_to_bytes(self.bits(self.truth - self.late)))

    def keep_open(self, mine: Table, clean: set[int]) -> None:
        self._diskulogs(mine, clean, State.OPEN)

    def close(self, mine: Table, clean: set[int]) -> None:
        self._diskulogs(mine, clean, State.CLOSED)

    def _diskulogs(self, mine: Table, clean: set[int], state: State) -> None:
        number, bits = mine.log.number, ondisk.bits_to_bytes(self.bits(clean))
        size = SIZE
        geometry = ondisk.choose_geometry(COUNT, size, 512)
        crc = ondisk.bitmap_crc32(bits, COUNT) if state is State.CLOSED else 0
        extension = ondisk.Extension(
            mine.log.uuid, REGION_SECTORS, LENGTH, COUNT, geometry.sync_offset_bytes, size - geometry.sync_offset_bytes,
            state, clean_crc32=crc, sync_crc32=crc,
        )  # fmt: skip
        self.put(number, 0, ondisk.head(Header(nr_regions=COUNT), extension))
        self.put(number, CLEAN_OFFSET_BYTES, bits)
        self.put(number, geometry.sync_offset_bytes, bits)

    def refuse(self, wanted: Table) -> None:
        log = wanted.log
        args = ctr.parse(f"{LENGTH} disk {log.device} {log.region_size_sectors}".encode())
        verdict.refuse(self.head(log.number), log.uuid.encode(), args, SIZE, 512)

    def believed(self, wanted: Table) -> set[int]:
        """The regions that an activation of a table would call clean.

        Raises:
            RefusedError: it is refused.
        """
        number = wanted.log.number
        image = self.path(number).read_bytes()
        head = image[: ondisk.HEAD_BYTES]
        if wanted.log.kind is Kind.KERNEL:
            header = ondisk.unpack_header(head)
            known = header.nr_regions if header.magic == ondisk.MAGIC else 0
            return {r for r in regions(ondisk.bits_from(image[CLEAN_OFFSET_BYTES:], COUNT)) if r < known}
        self.refuse(wanted)
        if ondisk.dialect(head) is Dialect.BLANK:
            return set()
        args = ctr.parse(f"{LENGTH} disk {wanted.log.device} {REGION_SECTORS}".encode())
        place = verdict.sync_range(head, len(image))
        sync = image[place[0] : sum(place)] if place else None
        clean = image[CLEAN_OFFSET_BYTES : CLEAN_OFFSET_BYTES + ondisk.bitmap_bytes(COUNT)]
        return regions(verdict.judge(head, clean, sync, args, len(image), 512).bits)

    def activate(self) -> None:
        mine = self.now
        try:
            clean = self.believed(mine)
        except RefusedError:
            self.failed = True
            return
        assert clean <= self.truth, f"regions {clean - self.truth} differ and are called clean"
        self.truth = clean
        if mine.log.kind is Kind.DISKULOG:
            self.keep_open(mine, clean)
        else:
            self.put(mine.log.number, 0, Header(nr_regions=COUNT).pack())

    def write_region(self, region: int) -> None:
        """Write a region through the mirror, which does not come to its end."""
        assert not self.suspended
        assert not self.failed
        self.truth.discard(region)
        mine = self.now
        if mine.log.kind is Kind.DISKULOG:
            self.keep_open(mine, self.truth)
        else:
            self.put(mine.log.number, CLEAN_OFFSET_BYTES, ondisk.bits_to_bytes(self.bits(self.truth)))

    # -- moves -------------------------------------------------------------------------------------------------------

    def target(self, kind: Kind, device: str | None, failed: bool) -> Target:
        return Target(kind, device and self.node(device), device, failed=failed)

    def plan(self, target: Target, uuid: str = "fresh-1") -> plan.Plan:
        found = look.situation(self.doors(), "m", target.kind, target.device, uuid)
        if found.new and table.parse("m", self.waiting, self.number_of).log.number == NEW if self.waiting else False:
            found = replace(found, new=replace(found.new, holders=("m",)))
        return plan.plan(found, target)

    def move(self, target: Target, uuid: str = "fresh-1") -> tuple[str, ...]:
        made = self.plan(target, uuid)
        return run.perform(made, self.doors()) if made.steps else ()

    def refusal(self, target: Target) -> str:
        try:
            self.plan(target)
        except RefusedError as refusal:
            return str(refusal)
        return ""

    def safe_for(self, *lines: str) -> None:
        """Check that whichever of these tables is activated after a power cut, it calls nothing clean that is not."""
        for text in lines:
            with suppress(DiskulogError):
                clean = self.believed(table.parse("m", text, self.number_of))
                assert clean <= self.truth, f"{text}: {sorted(clean - self.truth)} differ and are called clean"


__all__ = ["logs"]
