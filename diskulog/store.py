# SPDX-License-Identifier: LGPL-2.1-or-later
"""The life of a log on a block device, and the order in which its changes reach the medium.

Lives here: refusal, activation, open and closed, what one msync may hold (on-disk rules 2 to 12). Does not know how a
device is opened or mapped (``device``), what is believed (``verdict``), or what a request is.
"""

from dataclasses import replace

from bitarray import bitarray

from diskulog import ondisk, verdict
from diskulog.errors import DeviceError, LogFailedError, RefusedError
from diskulog.logstore import Opening
from diskulog.mapped import MappedLog, store_zeros
from diskulog.media import Device, Host, Latch, Mirror
from diskulog.ondisk import CLEAN_OFFSET_BYTES, HEAD_BYTES, Dialect, Extension, Geometry, State
from diskulog.units import MIB
from diskulog.verdict import Verdict


class DiskStore:
    """A log device in use by one luid. Its methods block and are called one at a time."""

    def __init__(
        self, device: Device, mirror: Mirror, opening: Opening, host: Host, latch: Latch, leg_latch: Latch
    ) -> None:
        """Take an open device; nothing is read before ``check``."""
        self.device_number: str | None = device.number
        self.legs_failed = False
        self.clean = bitarray(endian="little")
        self.in_sync = bitarray(endian="little")
        self._device = device
        self._mirror = mirror
        self._opening = opening
        self._host = host
        self._latch = latch
        self._leg_latch = leg_latch
        self._mapped: MappedLog | None = None
        self._extension: Extension | None = None

    # -- before it is live -----------------------------------------------------------------------------------------

    def check(self) -> None:
        """Refuse what must not be used (on-disk rule 8); reads the medium, writes nothing.

        Raises:
            RefusedError, DeviceError.
        """
        device, opening = self._device, self._opening
        head = device.read(0, min(HEAD_BYTES, device.size_bytes))
        verdict.refuse(head, opening.uuid, opening.args, device.size_bytes, device.block_bytes)
        if ondisk.dialect(head) is Dialect.BLANK:
            for offset, length in verdict.blank_ranges(opening.args, device.size_bytes, device.block_bytes):
                self._refuse_unless_zero(offset, length)

    def _refuse_unless_zero(self, offset: int, length: int) -> None:
        for at in range(offset, offset + length, MIB):
            if any(self._device.read(at, min(MIB, offset + length - at))):
                raise RefusedError(
                    "log device",
                    f"is not blank and holds no log (something lies between bytes {at} and {at + MIB})",
                    "name another device, or zero this one with dd",
                )

    def activate(self, luid: int, fresh: bool) -> tuple[str, ...]:
        """Make the log live; see ``logstore.Store``. The order is on-disk rule 10's, one msync a step."""
        self.check()
        if not fresh and self._is_mine(luid, (State.OPEN, State.CLOSED)):
            if self._latch.is_set():
                self._map(verdict.geometry_of(self._known_extension()))
                return self.heal(luid, frozenset())
            self._take_over()
            self._write_open(luid)
            return ()
        found = self._judge()
        self.detach()  # an activation that failed may have left its mapping
        self._device.forget_cache()
        mapped = self._map(found.geometry)
        self._store_forced_dirty(mapped, found)
        self._store_growth(mapped, found)
        self._write_open(luid)
        if found.new_clean:
            self._store_new_clean(mapped, found)
        self._forget_failures()
        self._mirror.look()
        return found.messages

    def reconnect(self, luid: int) -> bool:
        """Take over a log that this luid has open in this boot; see ``logstore.Store``."""
        if not self._is_mine(luid, (State.OPEN,)):
            return False
        self._take_over()
        return True

    # -- while it is live ------------------------------------------------------------------------------------------

    def commit(self, first_region: int, last_region: int) -> None:
        """Make the clean bits of these regions durable with one msync."""
        self._log().commit_regions(first_region, last_region)

    def commit_all(self) -> None:
        """Make both bitmaps durable: the sync bits first, so that no clean region reads as out of sync for long."""
        mapped = self._log()
        mapped.commit_sync()
        mapped.commit_clean()

    def latch_failure(self) -> None:
        """Remember across workers that a write-back failed (rule 5)."""
        self._latch.set()

    def failed_before(self) -> bool:
        """Tell whether a worker of this boot saw it fail."""
        return self._latch.is_set()

    def flush_legs(self) -> None:
        """Flush the write cache of every leg; one that fails may have lost what only an activation finds again."""
        try:
            self._mirror.flush_legs()
        except DeviceError:
            self.legs_failed = True
            self._leg_latch.set()
            raise

    def mirror_suspended(self) -> bool:
        """Tell whether every mirror on this log device is suspended."""
        return self._mirror.suspended()

    def held(self) -> bool:
        """Tell whether a table holds the log device."""
        return self._mirror.held()

    # -- its end, and back -----------------------------------------------------------------------------------------

    def close_log(self) -> None:
        """Make everything durable, then write ``closed`` with both checksums."""
        self.commit_all()
        extension = self._log().checksummed(self._known_extension())
        self._write(replace(extension, state=State.CLOSED, closed_seconds=int(self._host.clock())))
        self._mirror.close()

    def reopen(self, late_marks: frozenset[int]) -> None:
        """Open again what ``close_log`` closed; marks that came meanwhile are dirty before ``open`` is written."""
        if late_marks:
            store_zeros(self.clean, late_marks)
            self.commit_all()
        self._write_open(self._opening.luid)
        self._mirror.look()

    def heal(self, luid: int, late_marks: frozenset[int]) -> tuple[str, ...]:
        """Open a log after a failed write-back: clean is what the medium and the mapping both call clean (rule 5)."""
        head = self._device.read(0, HEAD_BYTES)
        verdict.refuse(head, self._opening.uuid, self._opening.args, self._device.size_bytes, self._device.block_bytes)
        mapped = self._log()
        count = mapped.geometry.region_count
        medium = ondisk.bits_from(self._device.read(CLEAN_OFFSET_BYTES, mapped.geometry.bitmap_bytes), count)
        bits = medium & mapped.clean[:count] & mapped.in_sync[:count]
        store_zeros(bits, late_marks)
        lost = mapped.clean.count(1, 0, count) - bits.count()
        # dirty on the medium before it is out of sync here: should this fail too, nothing clean is called out of sync
        mapped.store_clean(bits)
        mapped.rewrite()
        mapped.commit_clean()
        mapped.store_sync(bits)
        mapped.commit_sync()
        self._write_open(luid)
        self._forget_failures()
        self._mirror.look()
        return (f"its device had failed; {lost} regions that seemed clean are dirty",) if lost else ()

    def detach(self) -> None:
        """Unmap without storing anything."""
        self.clean = self.in_sync = bitarray(endian="little")
        if self._mapped is not None:
            self._mapped.close()
            self._mapped = None
        self._mirror.close()

    def release(self) -> None:
        """Unmap and close without storing anything."""
        self.detach()
        self._device.close()

    # -- the steps -------------------------------------------------------------------------------------------------

    def _is_mine(self, luid: int, states: tuple[State, ...]) -> bool:
        # the medium's word: an O_DIRECT read has the old worker's stores written back first
        device = self._device
        head = device.read(0, HEAD_BYTES)
        extension = verdict.kept_by(head, self._opening, self._host.boot_id, luid, device.size_bytes)
        if extension is None or extension.state not in states:
            return False
        if extension.state is State.CLOSED:
            geometry = verdict.geometry_of(extension)
            clean = device.read(CLEAN_OFFSET_BYTES, geometry.bitmap_bytes)
            sync = device.read(geometry.sync_offset_bytes, geometry.bitmap_bytes)
            if not verdict.checksums_ok(extension, clean, sync):
                return False
        self._extension = extension
        return True

    def _take_over(self) -> None:
        # Both bitmaps as they stand in the page cache. What a dead worker's stores or a failed msync left there looks
        # the same as what is on the medium: every page is stored anew and written before the first answer.
        self._map(verdict.geometry_of(self._known_extension())).rewrite()
        self.commit_all()
        self.legs_failed = self._leg_latch.is_set()
        self._mirror.look()

    def _judge(self) -> Verdict:
        device, args = self._device, self._opening.args
        head = device.read(0, HEAD_BYTES)
        extension = ondisk.unpack_extension(head)
        place = verdict.sync_range(head, device.size_bytes)
        # a closed log's checksum covers all its regions, also those that a shorter target drops
        count = max(args.region_count, extension.region_count if extension and place else 0)
        length = min(ondisk.bitmap_bytes(count), device.size_bytes - CLEAN_OFFSET_BYTES)
        sync = device.read(*place) if place else None
        found = verdict.judge(
            head, device.read(CLEAN_OFFSET_BYTES, length), sync, args, device.size_bytes, device.block_bytes
        )
        self._extension = found.extension
        return found

    def _map(self, geometry: Geometry) -> MappedLog:
        self.detach()
        self._mapped = MappedLog(self._device, geometry)
        self.clean, self.in_sync = self._mapped.clean, self._mapped.in_sync
        return self._mapped

    def _store_forced_dirty(self, mapped: MappedLog, found: Verdict) -> None:
        # (a) Every page as the medium has it, less what is not believed to be clean.
        mapped.fill_from(self._device)
        mapped.clean[: found.known] &= found.bits[: found.known]
        if found.keeps_sync_place:
            mapped.in_sync[: found.known] &= found.bits[: found.known]
        mapped.commit_clean()
        mapped.commit_sync()

    def _store_growth(self, mapped: MappedLog, found: Verdict) -> None:
        # (b) The new clean bits zero, the sync bitmap in its place, then the counts that make them visible.
        mapped.clean[found.known :] = 0
        mapped.commit_clean()
        old = self._extension
        kernels = old is None or old.state is State.RELEASED
        if kernels:  # before the extension, which is foreign without it; and its old bitmap may reach the sync bitmap
            mapped.store_header()
        mapped.store_sync(found.bits)
        mapped.commit_sync()
        resized = ondisk.unpack_header(mapped.head()).nr_regions != found.geometry.region_count
        if kernels or resized or verdict.geometry_of(self._known_extension()) != found.geometry:
            self._extension = mapped.checksummed(verdict.new_extension(self._opening, found, int(self._host.clock())))
            mapped.store_head(self._extension)

    def _write_open(self, luid: int) -> None:
        # (c) From here on no checksum covers the bitmaps, and this luid is the one that is live.
        host, args = self._host, self._opening.args
        self._write(
            self._known_extension().changed(
                state=State.OPEN,
                target_length_sectors=args.target_length_sectors,
                region_size_sectors=args.region_size_sectors,
                resumed_seconds=int(host.clock()),
                boot_id=host.boot_id,
                host_name=host.name,
                live_token=ondisk.live_token(host.boot_id, luid),
                clean_crc32=0,
                sync_crc32=0,
            )
        )

    def _store_new_clean(self, mapped: MappedLog, found: Verdict) -> None:
        # nosync: only now, for a log that is cut off before this is merely dirty where it need not be
        count = found.geometry.region_count
        mapped.in_sync[found.known : count] = 1
        mapped.commit_sync()
        mapped.clean[found.known : count] = 1
        mapped.commit_clean()

    def _forget_failures(self) -> None:
        self._latch.clear()
        self._leg_latch.clear()
        self.legs_failed = False

    def _write(self, extension: Extension) -> None:
        self._log().store_extension(extension)
        self._extension = extension

    def _log(self) -> MappedLog:
        if self._mapped is None:  # fenced while its work waited in the lane
            raise LogFailedError("the log gave way to another one on its device")
        return self._mapped

    def _known_extension(self) -> Extension:
        if self._extension is None:
            raise LogFailedError("the log has no extension")
        return self._extension
