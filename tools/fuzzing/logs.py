# SPDX-License-Identifier: LGPL-2.1-or-later
"""Targets that read a log: the format and the verdict, the store, the forensic side, its command line.

Lives here: what must hold of each, over devices and images in memory. Does not know requests or workers.
"""

import io
import tempfile
from collections.abc import Hashable
from contextlib import redirect_stderr, redirect_stdout, suppress
from functools import cache
from pathlib import Path
from types import SimpleNamespace

from bitarray import bitarray

from diskulog import cli, ctr, ondisk, verdict
from diskulog.errors import BadLogError, DiskulogError, RefusedError
from diskulog.exits import UsageError
from diskulog.forensic import adopt, belief, difference, dump, findings, image, model, repair, report, text, undump
from diskulog.forensic.chart import Terminal
from diskulog.logstore import Opening
from diskulog.media import Host
from diskulog.store import DiskStore
from tests.crash_device import FakeLatch, FakeMirror
from tests.fake_host import UUID
from tests.images import MemorySource
from tools.fuzzing.parsers import gist

_BLOCK_BYTES = 512
_BOOT = bytes(range(16))
_LUID = 0xFFFF_8880_1234_5678
_HUGE = 2**62


def only(bits: bitarray, medium: bytes) -> bool:
    """Whether nothing is clean that is not on the medium too."""
    return not int.from_bytes(bits.tobytes(), "little") & ~int.from_bytes(medium, "little")


def _table_and_log(data: bytes) -> tuple[ctr.CtrArgs | None, bytes]:
    string, _, log = data.partition(b"\n")
    try:
        return ctr.parse(string), log
    except RefusedError:
        return None, log


def _uuid(head: bytes) -> bytes:
    extension = ondisk.unpack_extension(head)
    return extension.uuid.encode("utf-8", "surrogateescape") if extension else UUID


def run_ondisk(data: bytes) -> Hashable:
    """The format and the verdict: only refusals, places on the device, nothing clean that the medium calls dirty."""
    args, log = _table_and_log(data)
    head = log[: ondisk.HEAD_BYTES]
    try:
        ondisk.version_known(ondisk.unpack_header(head))
    except BadLogError:
        assert len(head) < ondisk.HEADER.size
    dialect = ondisk.dialect(head)
    extension = ondisk.unpack_extension(head)
    if extension is not None:
        ondisk.incompatibility(extension)
        assert ondisk.unpack_extension(head[:512] + extension.pack()) is not None
    for device_bytes in (len(log), _HUGE):
        place = verdict.sync_range(head, device_bytes)
        if place is not None:
            assert ondisk.HEAD_BYTES <= place[0] <= sum(place) <= device_bytes, f"sync bitmap at {place}"
            assert place[1] <= ondisk.bitmap_bytes(ctr.MAX_REGION_COUNT), f"a sync bitmap of {place[1]} bytes is read"
    if args is None:
        return dialect, extension is None
    opening = Opening(args, _uuid(head), _LUID, False, frozenset())
    verdict.kept_by(head, opening, extension.boot_id if extension else _BOOT, _LUID, len(log))
    try:
        verdict.refuse(head, opening.uuid, args, len(log), _BLOCK_BYTES)
    except RefusedError as error:
        return gist(error)
    for start, length in verdict.blank_ranges(args, len(log), _BLOCK_BYTES):
        assert 0 <= start <= start + length <= len(log)
    return _judged(args, log, opening)


def _judged(args: ctr.CtrArgs, log: bytes, opening: Opening) -> Hashable:
    head, place = log[: ondisk.HEAD_BYTES], verdict.sync_range(log[: ondisk.HEAD_BYTES], len(log))
    sync = log[place[0] : sum(place)] if place else None
    clean = log[ondisk.CLEAN_OFFSET_BYTES :]
    found = verdict.judge(head, clean, sync, args, len(log), _BLOCK_BYTES)
    assert len(found.bits) == args.region_count == found.geometry.region_count
    assert ondisk.fits(found.geometry, len(log)), "a place that the device does not have"
    assert not found.bits.count(1, found.known)
    assert only(found.bits, clean), "clean here, dirty on the medium"
    assert sync is None or only(found.bits, sync), "clean here, out of sync on the medium"
    made = verdict.new_extension(opening, found, 0)
    assert ondisk.unpack_extension(head[:512] + made.pack()) == made
    return found.known == 0, found.new_clean, found.keeps_sync_place, gist(*found.messages)


class Medium:
    """Keeps ``diskulog.media.Device``: memory, and an allowance for what one read may ask for."""

    number = "7:0"
    block_bytes = _BLOCK_BYTES

    def __init__(self, log: bytes) -> None:
        self.memory, self.size_bytes = bytearray(log), len(log)

    def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        """Read; what is beyond the end is zero."""
        assert 0 <= length_bytes <= self.size_bytes + 64, f"{length_bytes} bytes read of {self.size_bytes}"
        return bytes(self.memory[offset_bytes : offset_bytes + length_bytes]).ljust(length_bytes, b"\0")

    def map(self, offset_bytes: int, length_bytes: int) -> SimpleNamespace:
        """Map, rounded outwards to pages."""
        assert 0 <= offset_bytes <= offset_bytes + length_bytes <= self.size_bytes, "mapped beyond the device"
        start, end = offset_bytes & -4096, min(-(-(offset_bytes + length_bytes) // 4096) * 4096, self.size_bytes)
        view = memoryview(self.memory)[start:end]
        return SimpleNamespace(offset_bytes=start, view=view, sync=lambda *_: None, close=view.release)

    def forget_cache(self) -> None:
        """Do nothing: there is none."""

    close = forget_cache


def run_store(data: bytes) -> Hashable:
    """A log's whole life on a device that holds anything: refused, or the next worker and the next boot believe it."""
    args, log = _table_and_log(data)
    if args is None:
        return None
    medium, uuid = Medium(log), _uuid(log[: ondisk.HEAD_BYTES])

    def store(boot_id: bytes, reconnect: bool) -> DiskStore:
        opening = Opening(args, uuid, _LUID, reconnect, frozenset())
        return DiskStore(medium, FakeMirror(), opening, Host(boot_id, "fuzz", lambda: 1.0), FakeLatch(), FakeLatch())

    first = store(_BOOT, False)
    try:
        first.check()
        messages = first.activate(_LUID, True)
        clean = first.clean[: args.region_count]
    except DiskulogError as error:
        assert medium.memory == log, "what was refused was written to"
        first.release()
        return gist(error)
    believed = only(clean, log[ondisk.CLEAN_OFFSET_BYTES :])
    assert believed or args.sync is ctr.Sync.NOSYNC, "clean here, dirty on the medium"
    second = store(_BOOT, True)
    assert second.reconnect(_LUID), "the next worker does not know the log"
    second.close_log()
    second.reopen(frozenset((0, 2**62)))
    second.heal(_LUID, frozenset())
    second.close_log()
    third = store(bytes(16), False)
    third.check()
    third.activate(_LUID, True)
    expected = clean.copy()
    expected[0] = 0
    assert args.sync is ctr.Sync.SYNC or third.clean[: args.region_count] == expected, "the next boot reads another log"
    for each in (first, second, third):
        each.release()
    return gist(*messages)


def run_image(data: bytes) -> Hashable:
    """The forensic readers over every kind of source: a report that adds up, or one reason why not."""
    _, log = _table_and_log(data)
    stream, lying = MemorySource(log), MemorySource(log)
    stream.size_bytes, lying.size_bytes = None, _HUGE
    sources = (MemorySource(log), MemorySource(log, ("dm-0",), True), stream, lying)
    return tuple(_inspected(source, limit) for limit, source in enumerate(sources))


def _inspected(source: MemorySource, limit: int) -> Hashable:
    try:
        found = image.load(source)
    except BadLogError as error:
        return gist(error)
    subject = report.report(found)
    lines = text.render(subject, text.Layout(limit, terminal=Terminal() if limit else None))
    assert lines.replace("\n", "").isprintable(), "text that moves the cursor"
    _check_document(model.render(model.document(subject)))
    for uuid in (None, "LVM-new"):
        with suppress(RefusedError, UsageError):
            sector = adopt.plan(found, uuid, _BLOCK_BYTES).sector
            if sector is not None:
                _check_adoption(source, sector)
    told = findings.findings(subject)
    verdict_lines = "".join(findings.text("it", findings.exit_status(told), told))
    assert verdict_lines.replace("\n", "").isprintable(), "text that moves the cursor"
    _check_repair(source, found)
    return subject.belief, subject.dialect, gist(*(message.text for message in subject.messages))


def _check_repair(source: MemorySource, found: image.Image) -> None:
    """What is repaired is believed, has no clean region that was not clean, and goes through a dump unharmed."""
    plan = repair.plan(repair.load(source), None)
    whole = plan.image or found
    assert belief.judge(whole) in belief.TAKES_CLEAN | belief.TAKES_BOTH, "a repair that is not believed"
    assert not belief.stray_bits(whole), "a repair with stray bits"
    made_clean = difference.Difference(found, whole).changes["became_clean"]
    assert not made_clean.zeros, "a repair that makes regions clean"
    text_of = "".join(dump.text(whole))
    again = "".join(dump.text(undump.load(MemorySource(text_of.encode()))))
    assert again == text_of, "a dump that is not read as it was written"


def _check_document(rendered: str) -> int:
    found = model.InspectDocument.model_validate_json(rendered)  # the published schema is this model's
    if found.log is not None:
        end = 0
        for first, count in found.dirty:
            assert first >= end, "ranges out of order"
            assert count > 0, "an empty range"
            end = first + count
        assert end <= found.log.clean_count + found.log.dirty_count
        assert sum(count for _, count in found.dirty) == found.log.dirty_count
        assert sum(count for _, count in found.out_of_sync) == (found.log.out_of_sync_count or 0)
    return found.exit_status


def _check_adoption(source: MemorySource, sector: bytes) -> None:
    adopted = MemorySource(source.data[:512] + sector + source.data[1024:])
    adopted.size_bytes = source.size_bytes
    assert belief.judge(image.load(adopted)) in (belief.Belief.RELEASED, belief.Belief.CLOSED)


@cache
def _directory() -> tempfile.TemporaryDirectory[str]:
    memory = Path("/dev/shm")
    return tempfile.TemporaryDirectory(prefix="diskulog-fuzz-", dir=memory if memory.is_dir() else None)


def run_inspect(data: bytes) -> Hashable:
    """The command line over a file: an exit code of the table, JSON by the schema, and the file is left alone."""
    path = Path(_directory().name) / "log"
    path.write_bytes(_table_and_log(data)[1])
    before = path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ctime_ns
    met = []
    for arguments in (["inspect", "--json"], ["inspect", "--map", "--raw"], ["adopt", "--dry-run"]):
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
        with redirect_stdout(out), redirect_stderr(err):
            status = cli.run([*arguments, str(path)])
        printed, complaint = (stream.buffer.getvalue().decode() for stream in (out, err))
        assert status in (0, 1, 3, 4), f"{arguments}: exit code {status}: {complaint}"
        assert "internal error" not in complaint + printed
        assert "Traceback" not in complaint
        if "--json" in arguments:
            assert _check_document(printed) == status
        met.append(status)
    assert (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ctime_ns) == before, "the image was changed"
    return tuple(met)
