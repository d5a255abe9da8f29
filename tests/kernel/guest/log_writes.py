# SPDX-License-Identifier: LGPL-2.1-or-later
"""One device that records every write and flush in order, carved into a mirror's log and legs.

Lives here: dm-log-writes, the format of its recording, which piece's flushes it sees. Does not know what the writes
mean.
"""

import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tests.kernel.guest.rig import SECTOR_BYTES, forget, read, run, write

# drivers/md/dm-log-writes.c: the first sector, then for each entry one sector and the data written
_SUPER = struct.Struct("<QQQI")  # magic, version, number of entries, bytes of a sector
_ENTRY = struct.Struct("<QQQQ")  # sector, sectors, flags, bytes of a mark
_MAGIC = 0x6A736677736872
_VERSION = 1
_END = b"dm-log-writes-end"  # the mark that it sets when it is removed, after what was never flushed
_FLUSH, _FUA, _DISCARD, _MARK = (1 << bit for bit in range(4))

_GROUND = [f"/dev/ram{number}" for number in range(3, 7)]
_TAPE = "/dev/ram7"
_DISK_SECTORS = 32768


@dataclass(frozen=True, slots=True)
class Entry:
    """A flush of the cache, a write, or a flush and then a write; in the order in which they completed.

    A flush stands where it was submitted: what completed before it was submitted comes before it.
    """

    offset_bytes: int
    data: bytes
    flush: bool
    fua: bool


def entries(recording: bytes) -> Iterator[Entry]:
    """Take a recording apart."""
    magic, version, count, sector_bytes = _SUPER.unpack_from(recording)
    assert (magic, version, sector_bytes) == (_MAGIC, _VERSION, SECTOR_BYTES), "this is no recording"
    at, mark = SECTOR_BYTES, b""
    for _ in range(count):
        sector, sectors, flags, mark_bytes = _ENTRY.unpack_from(recording, at)
        assert not flags & _DISCARD, "nobody discards here"
        start, at = at + SECTOR_BYTES, at + SECTOR_BYTES + sectors * SECTOR_BYTES
        if flags & _MARK:
            mark = recording[start - SECTOR_BYTES + _ENTRY.size :][:mark_bytes]
        else:
            yield Entry(sector * SECTOR_BYTES, recording[start:at], bool(flags & _FLUSH), bool(flags & _FUA))
    assert mark == _END, "the recording is cut off: the tape was too short"


@dataclass(frozen=True, slots=True)
class Piece:
    """Sectors of the recorded device that are a device of their own."""

    name: str
    start_sectors: int
    reserved_sectors: int

    @property
    def device(self) -> str:
        return f"/dev/mapper/{self.name}"

    def at(self, entry: Entry) -> int | None:
        """Where in the piece an entry writes, in bytes; None when it does not."""
        offset = entry.offset_bytes - self.start_sectors * SECTOR_BYTES
        return offset if entry.data and 0 <= offset < self.reserved_sectors * SECTOR_BYTES else None


class Recorder:
    """Ram disks under dm-log-writes under the pieces.

    A flush of the recorded device speaks for all pieces, and does not say whose it was. So only one piece passes its
    flushes on; the others say that they have no write cache, and the block layer ends theirs.
    """

    def __init__(self, sectors: dict[str, int]) -> None:
        """Carve the pieces, so many sectors each; ``start`` begins to record."""
        self.pieces: dict[str, Piece] = {}
        self._total_sectors = 0
        for name, count in sectors.items():
            self.pieces[name] = Piece(f"recorded-{name}", self._total_sectors, count)
            self._total_sectors += count

    def start(self, contents: dict[str, bytes], flushed: str, sectors: dict[str, int] | None = None) -> None:
        """Fill the pieces, with zeros where nothing is said, and record from now on; ``sectors`` makes a piece smaller.

        ``flushed`` is the piece whose flushes are seen.
        """
        run("modprobe", "dm-log-writes")
        write(_TAPE, 0, bytes(SECTOR_BYTES))
        run("dmsetup", "create", "ground", "--table", "\n".join(_ground(self._total_sectors)))
        before = bytearray(self._total_sectors * SECTOR_BYTES)
        for name, content in contents.items():
            start = self.pieces[name].start_sectors * SECTOR_BYTES
            before[start : start + len(content)] = content
        write("/dev/mapper/ground", 0, bytes(before))
        table = f"0 {self._total_sectors} log-writes /dev/mapper/ground {_TAPE}"
        run("dmsetup", "create", "recorded", "--table", table)
        for name, piece in self.pieces.items():
            count = (sectors or {}).get(name, piece.reserved_sectors)
            run("dmsetup", "create", piece.name, "--table", _linear(piece, count))
            if name != flushed:
                _end_flushes(piece.device)

    def grow(self, name: str) -> None:
        """Give a piece all sectors that are reserved for it."""
        piece = self.pieces[name]
        run("dmsetup", "load", piece.name, "--table", _linear(piece, piece.reserved_sectors))
        run("dmsetup", "resume", piece.name)

    def stop(self) -> list[Entry]:
        """Remove everything, and return what was recorded."""
        self.discard()
        return list(entries(read(_TAPE, 0, _DISK_SECTORS * SECTOR_BYTES)))

    def discard(self) -> None:
        """Remove everything that is there."""
        for name in [piece.name for piece in self.pieces.values()] + ["recorded", "ground"]:
            forget(name)


def _linear(piece: Piece, sectors: int) -> str:
    return f"0 {sectors} linear /dev/mapper/recorded {piece.start_sectors}"


def _ground(sectors: int) -> Iterable[str]:
    for number, disk in enumerate(_GROUND):
        start = number * _DISK_SECTORS
        if start < sectors:
            yield f"{start} {min(sectors - start, _DISK_SECTORS)} linear {disk} 0"
    assert sectors <= len(_GROUND) * _DISK_SECTORS, "the ram disks are too small"


def _end_flushes(device: str) -> None:
    number = os.stat(device).st_rdev
    switch = f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/queue/write_cache"
    with open(switch, "w") as file:
        file.write("write through")
    with open(switch) as file:
        assert file.read().strip() == "write through"
