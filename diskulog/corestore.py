# SPDX-License-Identifier: LGPL-2.1-or-later
"""A log without a device: both bitmaps in a mapped file of the run directory, so that a reconnect finds them.

Lives here: the file's name and layout. Nothing in it outlives the boot, so nothing is flushed for anybody.
"""

import mmap
import os
import struct
from hashlib import blake2b
from pathlib import Path
from typing import Final

from bitarray import bitarray

from diskulog import ondisk
from diskulog.ctr import Sync
from diskulog.errors import DeviceError, RefusedError
from diskulog.logstore import Opening
from diskulog.media import Host
from diskulog.units import round_up

# magic, boot id, live token, how it lives, region count
_HEAD: Final = struct.Struct("<8s16s8sIxxxxQ")
_MAGIC: Final = b"dulgcore"
_BITS_AT: Final = 64
_NEVER_LIVE, _LIVE, _GAVE_WAY = range(3)


class CoreStore:
    """The bits of a ``core`` log."""

    device_number: str | None = None

    def __init__(self, directory: Path, opening: Opening, host: Host) -> None:
        """Create the log's file, or find it again when the kernel reconnects.

        Raises:
            RefusedError: a reconnection finds a file that is another log's.
            DeviceError: it finds none, or the run directory cannot be used.
        """
        self.clean = bitarray(endian="little")
        self.in_sync = bitarray(endian="little")
        self._opening = opening
        self._host = host
        self._map: mmap.mmap | None = None
        self._view: memoryview | None = None
        token = ondisk.live_token(host.boot_id, opening.luid)
        self._token = token
        name = blake2b(opening.uuid + token, digest_size=16).hexdigest()
        self._path = directory / "core" / name
        try:
            if opening.reconnect:
                self._open_again()
            else:
                self._create()
        except OSError as error:
            raise DeviceError(f"core log in {self._path.parent}", error) from error

    def _create(self) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path.unlink(missing_ok=True)
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            # allocated now: a full tmpfs must refuse the table, not kill the daemon at the first mark
            os.posix_fallocate(fd, 0, self._size())
            self._map_file(fd)
        finally:
            os.close(fd)
        self._write_head(_NEVER_LIVE)

    def _open_again(self) -> None:
        fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        try:
            if os.fstat(fd).st_size != self._size():
                raise RefusedError("core log", "its file has another size", "load the mirror's table again")
            self._map_file(fd)
        finally:
            os.close(fd)
        magic, boot_id, token, _, count = _HEAD.unpack_from(self._mapped())
        if (magic, boot_id, token, count) != (_MAGIC, self._host.boot_id, self._token, self._count):
            self.release()
            raise RefusedError("core log", "its file is another log's", "load the mirror's table again")

    @property
    def _count(self) -> int:
        return self._opening.args.region_count

    def _size(self) -> int:
        return round_up(_BITS_AT + 2 * ondisk.bitmap_bytes(self._count), mmap.PAGESIZE)

    def _map_file(self, fd: int) -> None:
        self._map = mmap.mmap(fd, self._size())
        self._view = memoryview(self._map)
        bitmap = ondisk.bitmap_bytes(self._count)
        self.clean = bitarray(buffer=self._view[_BITS_AT : _BITS_AT + bitmap], endian="little")
        self.in_sync = bitarray(buffer=self._view[_BITS_AT + bitmap : _BITS_AT + 2 * bitmap], endian="little")

    def _mapped(self) -> memoryview:
        if self._view is None:
            raise RefusedError("core log", "is closed", "load the mirror's table again")
        return self._view

    def _write_head(self, life: int) -> None:
        head = _HEAD.pack(_MAGIC, self._host.boot_id, self._token, life, self._count)
        self._mapped()[: _HEAD.size] = head

    def _life(self) -> int:
        life: int = _HEAD.unpack_from(self._mapped())[3]
        return life

    def check(self) -> None:
        """Do nothing: its file was made or checked when it was opened."""

    def activate(self, luid: int, fresh: bool) -> tuple[str, ...]:
        """Make the log live: a new luid knows nothing, so all is dirty, or clean with ``nosync``."""
        del luid
        life = _NEVER_LIVE if fresh else self._life()
        if life != _LIVE:
            # one that gave way has missed writes: nosync speaks of regions that are new
            value = int(self._opening.args.sync is Sync.NOSYNC and life == _NEVER_LIVE)
            for bits in (self.clean, self.in_sync):
                bits.setall(0)
                bits[: self._count] = value
        self._write_head(_LIVE)
        return ()

    def reconnect(self, luid: int) -> bool:
        """Go on where the last daemon was, if this luid was live."""
        del luid
        return self._life() == _LIVE

    def reopen(self, late_marks: frozenset[int]) -> None:
        """Go on after a suspend."""
        for region in late_marks:
            self.clean[region] = 0

    def heal(self, luid: int, late_marks: frozenset[int]) -> tuple[str, ...]:
        """Go on; memory does not fail."""
        del luid
        self.reopen(late_marks)
        return ()

    def commit(self, first_region: int, last_region: int) -> None:
        """Do nothing: no mark of a core log outlives the boot."""

    def commit_all(self) -> None:
        """Do nothing."""

    legs_failed = False

    def flush_legs(self) -> None:
        """Do nothing: after a crash every region of a core log is resynced."""

    def latch_failure(self) -> None:
        """Do nothing: memory does not fail."""

    def failed_before(self) -> bool:
        """Say no."""
        return False

    def close_log(self) -> None:
        """Do nothing: a suspended core log keeps its bits."""

    def mirror_suspended(self) -> bool:
        """Say no: sysfs does not lead to the mirror, and a core log that wakes for a straggler stores nothing."""
        return False

    def held(self) -> bool:
        """Say yes: sysfs does not lead to the mirror."""
        return True

    def detach(self) -> None:
        """Say that this luid is live no more; another one of the uuid is."""
        if self._view is not None:
            self._write_head(_GAVE_WAY)

    def release(self) -> None:
        """Unmap, and remove the file if this is the log's end."""
        self.clean = self.in_sync = bitarray(endian="little")
        if self._view is not None and self._map is not None:
            self._view.release()
            self._map.close()
        self._view = self._map = None
        self._path.unlink(missing_ok=True)
