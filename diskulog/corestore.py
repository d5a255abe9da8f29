# SPDX-License-Identifier: LGPL-2.1-or-later
"""A log without a device: both bitmaps in a mapped file of the run directory, so that a reconnect finds them.

Lives here: when they are believed. Does not know the file's layout (``runfile``). Nothing in it outlives the boot, so
nothing is flushed for anybody.
"""

from pathlib import Path
from typing import Final

from bitarray import bitarray

from diskulog import ondisk
from diskulog.ctr import Sync
from diskulog.errors import DeviceError, RefusedError
from diskulog.logstore import Opening
from diskulog.media import Host
from diskulog.runfile import RunFile, Whose

_MAGIC: Final = b"dulgcore"
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
        self._count = opening.args.region_count
        whose = Whose(opening.uuid, host.boot_id, ondisk.live_token(host.boot_id, opening.luid))
        self._file = RunFile(directory / "core", whose, _MAGIC, self._count, 2)
        try:
            if opening.reconnect:
                self._file.open()
            else:
                self._file.create()
        except ValueError as reason:
            raise RefusedError("core log", str(reason), "load the mirror's table again") from reason
        except OSError as error:
            raise DeviceError(f"core log in {directory / 'core'}", error) from error
        self.clean, self.in_sync = self._file.bitmaps

    def _life(self) -> int:
        if not self._file.is_open:
            raise RefusedError("core log", "is closed", "load the mirror's table again")
        return self._file.flag

    def check(self) -> None:
        """Do nothing: its file was made or checked when it was opened."""

    def activate(self, luid: int, fresh: bool) -> tuple[str, ...]:
        """Make the log live: a new luid knows nothing, so all is dirty, or clean with ``nosync``."""
        del luid
        life = self._life()
        if fresh:
            life = _NEVER_LIVE
        if life != _LIVE:
            # one that gave way has missed writes: nosync speaks of regions that are new
            value = int(self._opening.args.sync is Sync.NOSYNC and life == _NEVER_LIVE)
            for bits in (self.clean, self.in_sync):
                bits.setall(0)
                bits[: self._count] = value
        self._file.flag = _LIVE
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
        self._file.flag = _GAVE_WAY

    def release(self) -> None:
        """Unmap, and remove the file: this is the log's end."""
        self.clean = self.in_sync = bitarray(endian="little")
        self._file.remove()
