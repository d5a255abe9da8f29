# SPDX-License-Identifier: LGPL-2.1-or-later
"""Power cuts while a log comes to life, is closed, opened again or healed: at every store, in every mixture of pages.

What another boot makes of the medium then may never be better than the truth (on-disk rules 1 to 6 and 9 to 13), and
the log may never be refused. Marks and clears at work are in test_crash_requests.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import pytest
from bitarray import bitarray

from diskulog import ondisk, verdict
from diskulog.ctr import CtrArgs, Sync
from diskulog.errors import DeviceError
from diskulog.mapped import MappedLog
from diskulog.ondisk import ALL_REGIONS, Dialect, Header, State
from diskulog.store import DiskStore
from tests import logs
from tests.crash_device import CrashDevice, watch_bits
from tests.logs import (
    LUID,
    SIZE,
    activated,
    after_death,
    diskulog_log,
    extension_of,
    kernel_log,
    ones,
    put,
    store_on,
    table,
    zeros,
)

COUNT = 5000  # two 512-byte pages of bits


@pytest.fixture(autouse=True)
def watched(monkeypatch):
    watch_bits(monkeypatch)


def verify(image: bytes, differ: bitarray, tables: Iterable[CtrArgs]) -> None:
    """Another boot activates the image: what it calls in sync must be."""
    for args in tables:
        store = activated(image, args)
        count = args.region_count
        assert store.clean == store.in_sync, "activation leaves clean and in sync the same"
        assert not store.in_sync[count:].any(), "the padding is dirty"
        wrong = store.in_sync[:count] & (differ + ones(count))[:count]  # nobody knows of regions beyond the truth
        assert not wrong.any(), f"{wrong.count()} regions whose legs differ are called in sync, first {wrong.find(1)}"


def verify_for_kernel(image: bytes, differ: bitarray) -> None:
    """The kernel's own log takes the image: it believes the clean bitmap, as far as the header goes."""
    header = ondisk.unpack_header(image)
    if header.magic != ondisk.MAGIC:
        return
    count = len(differ) if header.nr_regions == ALL_REGIONS else min(header.nr_regions, len(differ))
    wrong = ondisk.bits_from(image[1024:], count) & differ[:count]
    assert not wrong.any(), f"the kernel would believe {wrong.count()} regions whose legs differ, first {wrong.find(1)}"


class Watch:
    """Verifies what the medium may hold at every step of a device, each image once for each truth."""

    def __init__(self, device: CrashDevice, differ: bitarray, *tables: CtrArgs, kernel: bool = False) -> None:
        self.device, self.differ, self.tables, self.kernel = device, differ, tables, kernel
        self.seen: set[bytes] = set()
        device.on_step = self.look

    def look(self, _: str = "") -> None:
        for image in self.device.crash_images(limit=16, seed=len(self.seen)):
            if image in self.seen:
                continue
            self.seen.add(image)
            verify(image, self.differ, self.tables)
            if self.kernel:
                verify_for_kernel(image, self.differ)

    def done(self, at_least: int = 3) -> bytes:
        """Look once more; the number of images says that something was looked at."""
        self.look()
        self.device.on_step = None
        assert len(self.seen) >= at_least, f"only {len(self.seen)} images were seen"
        return bytes(self.device.durable)


@dataclass(frozen=True)
class Case:
    """An activation: an image, the regions that may differ, the table, and what is in sync when it is done."""

    image: bytes
    differ: bitarray
    table: CtrArgs
    in_sync: bitarray
    old_table: CtrArgs | None = None
    kernel: bool = True


DIRTY = {3, 64, 4095, 4096, 4999}
STALE = {5, 4500}  # clean, and out of sync: what a failing leg leaves of an open log
BIG = 2 * SIZE


def grown(image: bytes) -> bytes:
    return bytes(image).ljust(BIG, b"\0")


def doubtful(image: bytes, args: CtrArgs | None = None) -> Case:
    args = args or table(COUNT)
    return Case(image, ones(COUNT), args, zeros(args.region_count), table(COUNT), kernel=False)


def damaged(image: bytearray) -> bytearray:
    image[600] ^= 1
    return image


KNOWN = ones(COUNT, DIRTY)
MUCH, MORE = 6000, (SIZE - 4096) * 8  # in place; and so many that the front of a small device cannot hold them

CASES = {
    "create": Case(bytes(SIZE), ones(COUNT), table(COUNT), zeros(COUNT)),
    "create with sync": Case(bytes(SIZE), ones(COUNT), table(COUNT, Sync.SYNC), zeros(COUNT)),
    "create with nosync": Case(bytes(SIZE), zeros(COUNT), table(COUNT, Sync.NOSYNC), ones(COUNT)),
    "create on one page": Case(bytes(8192), ones(64), table(64), zeros(64)),
    "closed": Case(diskulog_log(COUNT, DIRTY), ~KNOWN, table(COUNT), KNOWN),
    "closed, nosync": Case(diskulog_log(COUNT, DIRTY), ~KNOWN, table(COUNT, Sync.NOSYNC), KNOWN, table(COUNT)),
    "closed, sync": Case(diskulog_log(COUNT, DIRTY), ~KNOWN, table(COUNT, Sync.SYNC), zeros(COUNT), table(COUNT)),
    "crashed": Case(diskulog_log(COUNT, DIRTY, state=State.OPEN), ~KNOWN, table(COUNT), KNOWN),
    "crashed, clean and out of sync": Case(
        diskulog_log(COUNT, DIRTY, STALE, state=State.OPEN),
        ~ones(COUNT, DIRTY | STALE),
        table(COUNT),
        ones(COUNT, DIRTY | STALE),
        kernel=False,
    ),
    "kernel": Case(kernel_log(COUNT, DIRTY), ~KNOWN, table(COUNT), KNOWN),
    "kernel, nosync": Case(kernel_log(COUNT, DIRTY), ~KNOWN, table(COUNT, Sync.NOSYNC), KNOWN),
    "kernel, grown": Case(
        kernel_log(COUNT, DIRTY), ~KNOWN + ones(1000), table(MUCH), KNOWN + zeros(1000), table(COUNT)
    ),
    "kernel, shrunk": Case(kernel_log(COUNT, DIRTY), ~KNOWN, table(1000), KNOWN[:1000], table(COUNT)),
    # the old table needs a larger device for diskulog, but the kernel could go back to it
    "kernel, shrunk, its bitmap reaching where the sync bitmap goes": Case(
        kernel_log(60_000, {*range(57_000, 60_000)}), ~ones(60_000, {*range(57_000, 60_000)}), table(1000), ones(1000)
    ),
    "LVM in sync": Case(
        Header(nr_regions=ALL_REGIONS).pack() + b"\xff" * (SIZE - 16), zeros(COUNT), table(COUNT), ones(COUNT)
    ),
    "LVM out of sync": Case(
        Header(nr_regions=ALL_REGIONS).pack() + bytes(SIZE - 16), ones(COUNT), table(COUNT), zeros(COUNT)
    ),
    "released": Case(
        # the kernel's log has since resynced what was out of sync here
        diskulog_log(COUNT, DIRTY, {*range(COUNT)} - DIRTY, state=State.RELEASED),
        ~KNOWN,
        table(COUNT),
        KNOWN,
    ),
    "released and grown": Case(
        diskulog_log(COUNT, DIRTY, STALE, state=State.RELEASED),
        ~KNOWN + ones(1000),
        table(MUCH),
        KNOWN + zeros(1000),
        table(COUNT),
    ),
    "released and resized by the kernel": Case(
        bytes(Header(nr_regions=4000).pack() + diskulog_log(COUNT, DIRTY, STALE, state=State.RELEASED)[16:]),
        ~KNOWN[:4000] + ones(1000),
        table(COUNT),
        KNOWN[:4000] + zeros(1000),
    ),
    "grown in place": Case(
        diskulog_log(COUNT, DIRTY), ~KNOWN + ones(1000), table(MUCH), KNOWN + zeros(1000), table(COUNT)
    ),
    "grown in place with nosync": Case(
        diskulog_log(COUNT, DIRTY), ~KNOWN + zeros(1000), table(MUCH, Sync.NOSYNC), KNOWN + ones(1000), table(COUNT)
    ),
    "grown after a crash": Case(
        diskulog_log(COUNT, DIRTY, state=State.OPEN),
        ~KNOWN + ones(1000),
        table(MUCH),
        KNOWN + zeros(1000),
        table(COUNT),
    ),
    "grown over the old sync bitmap": Case(
        grown(diskulog_log(COUNT, DIRTY)),
        ~KNOWN + ones(MORE - COUNT),
        table(MORE),
        KNOWN + zeros(MORE - COUNT),
        table(COUNT),
    ),
    "grown over the old sync bitmap, after a crash": Case(
        grown(diskulog_log(COUNT, DIRTY, state=State.OPEN)),
        ~KNOWN + ones(MORE - COUNT),
        table(MORE),
        KNOWN + zeros(MORE - COUNT),
        table(COUNT),
    ),
    "grown over the old sync bitmap, with nosync": Case(
        grown(diskulog_log(COUNT, DIRTY, state=State.OPEN)),
        ~KNOWN + zeros(MORE - COUNT),
        table(MORE, Sync.NOSYNC),
        KNOWN + ones(MORE - COUNT),
        table(COUNT),
    ),
    "shrunk": Case(diskulog_log(COUNT, DIRTY), ~KNOWN, table(1000), KNOWN[:1000], table(COUNT)),
    "shrunk after a crash": Case(
        diskulog_log(COUNT, DIRTY, state=State.OPEN), ~KNOWN, table(1000), KNOWN[:1000], table(COUNT)
    ),
    "shrunk together with its device": Case(
        diskulog_log(COUNT, DIRTY, size=BIG)[: SIZE - 512], ones(COUNT), table(1000), zeros(1000), kernel=False
    ),
    "closed, then written by somebody": doubtful(diskulog_log(COUNT, DIRTY, clean_crc32=1)),
    "closed, then written by somebody; nosync": doubtful(
        diskulog_log(COUNT, DIRTY, clean_crc32=1), table(COUNT, Sync.NOSYNC)
    ),
    "closed, then resized by the kernel": doubtful(Header(nr_regions=4990).pack() + diskulog_log(COUNT, DIRTY)[16:]),
    "crashed, then resized by the kernel": doubtful(
        Header(nr_regions=4990).pack() + diskulog_log(COUNT, DIRTY, state=State.OPEN)[16:]
    ),
    "damaged": doubtful(damaged(diskulog_log(COUNT, DIRTY))),
    "damaged, nosync": doubtful(damaged(diskulog_log(COUNT, DIRTY)), table(COUNT, Sync.NOSYNC)),
}


def activate(case: Case, page_bytes: int, stale_cache: bool) -> bytes:
    image = bytes(case.image)
    device = CrashDevice(image, live=b"\xff" * len(image) if stale_cache else None, page_bytes=page_bytes)
    store = store_on(device, case.table)
    store.check()
    watch = Watch(device, case.differ, case.table, *([case.old_table] if case.old_table else []), kernel=case.kernel)
    store.activate(LUID, fresh=True)
    count = case.table.region_count
    assert store.in_sync[:count] == store.clean[:count] == case.in_sync
    image = watch.done()
    if case.table.sync is not Sync.SYNC:
        assert activated(image, case.table).in_sync[:count] == case.in_sync
    assert extension_of(image).state is State.OPEN
    return image


@pytest.mark.parametrize("stale_cache", [False, True], ids=["", "stale cache"])
@pytest.mark.parametrize("page_bytes", [512, 4096, 65536])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_power_cut_during_an_activation_loses_no_dirty_region(case, page_bytes, stale_cache):
    activate(case, page_bytes, stale_cache)


@pytest.mark.parametrize("name", ["closed", "kernel", "released", "grown in place", "closed, then written by somebody"])
@pytest.mark.parametrize("good_syncs", [0, 1, 2])
def test_a_power_cut_after_a_failed_activation_and_its_repetition_loses_no_dirty_region(name, good_syncs):
    case = CASES[name]
    device = CrashDevice(case.image, page_bytes=512)
    device.good_syncs, device.failing_syncs = good_syncs, 1
    store = store_on(device, case.table)
    watch = Watch(device, case.differ, case.table, *([case.old_table] if case.old_table else []))
    with pytest.raises(DeviceError):
        store.activate(LUID, fresh=True)
    store.activate(LUID, fresh=True)
    watch.done()
    assert store.in_sync[: case.table.region_count] & case.differ[: case.table.region_count] == zeros(
        case.table.region_count
    )
    assert device.durable == device.live


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_worker_that_dies_during_an_activation_is_followed_by_one_that_believes_no_more(case):
    device = CrashDevice(case.image)
    lives: list[tuple[bytes, bytes, set[int]]] = []
    device.on_step = lambda _: lives.append((bytes(device.durable), bytes(device.live), set(device.dirty)))
    store_on(device, case.table).activate(LUID, fresh=True)
    assert len(lives) > 10
    count = case.table.region_count
    for durable, live, dirty in lives:
        left = CrashDevice(durable, live=live)
        left.dirty = dirty
        again = store_on(left, case.table, reconnect=True)
        if not again.reconnect(LUID):
            again.activate(LUID, fresh=False)
        wrong = again.in_sync[:count] & case.differ[:count]
        assert not wrong.any()
        assert left.durable == left.live


# -- a log that lives ------------------------------------------------------------------------------------------------


def at_work(page_bytes: int = 512) -> tuple[CrashDevice, DiskStore, bitarray]:
    """A live log: 10 is marked and durable, 11 recovered and not yet cleared, the dirty ones are out of sync."""
    device = CrashDevice(diskulog_log(COUNT, DIRTY | {11}), page_bytes=page_bytes)
    store = store_on(device, table(COUNT))
    store.activate(LUID, fresh=True)
    store.clean[10] = 0
    store.commit(10, 10)
    store.in_sync[11] = 1
    return device, store, zeros(COUNT, DIRTY | {10})


@pytest.mark.parametrize("page_bytes", [512, 4096])
def test_a_power_cut_while_a_log_is_closed_and_opened_again_loses_no_dirty_region(page_bytes):
    device, store, differ = at_work(page_bytes)
    watch = Watch(device, differ, table(COUNT), kernel=True)
    store.clean[4200] = 1  # a round of clears whose legs were flushed; closing makes it durable
    store.close_log()
    assert extension_of(device.durable).state is State.CLOSED
    verify(bytes(device.durable), differ, [table(COUNT), table(COUNT + 500), table(COUNT - 500)])
    store.reopen(frozenset())
    watch.done()


@pytest.mark.parametrize("page_bytes", [512, 4096])
def test_a_power_cut_while_late_marks_are_stored_loses_none(page_bytes):
    device, store, differ = at_work(page_bytes)
    store.close_log()
    watch = Watch(device, differ, table(COUNT))
    store.reopen(frozenset({20, 4200}))
    image = watch.done()
    verify(image, differ | zeros(COUNT, {20, 4200}), [table(COUNT)])


@pytest.mark.parametrize("page_bytes", [512, 4096])
@pytest.mark.parametrize("good_syncs", [0, 1])
@pytest.mark.parametrize("again", [False, True], ids=["once", "twice"])
def test_a_power_cut_while_a_log_is_healed_loses_no_dirty_region(page_bytes, good_syncs, again):
    device, store, differ = at_work(page_bytes)
    store.clean[20] = store.clean[4300] = 0
    device.good_syncs, device.failing_syncs = good_syncs, 1
    with pytest.raises(DeviceError):
        store.commit_all()
    watch = Watch(device, differ, table(COUNT))
    if again:
        device.good_syncs, device.failing_syncs = 1, 1
        with pytest.raises(DeviceError):
            store.heal(LUID, frozenset({4400}))
    store.heal(LUID, frozenset({4400}))
    image = watch.done()
    # what the mapping alone knew is dirty now, before the RESUME is answered
    verify(image, differ | zeros(COUNT, {20, 4300, 4400}), [table(COUNT)])


@pytest.mark.parametrize("page_bytes", [512, 4096])
def test_a_worker_that_dies_at_any_store_is_followed_by_one_that_knows_every_mark(page_bytes):
    device, store, differ = at_work(page_bytes)
    lives: list[tuple[bytes, bytes, set[int]]] = []
    device.on_step = lambda _: lives.append((bytes(device.durable), bytes(device.live), set(device.dirty)))
    store.clean[20] = 0
    store.commit(20, 20)
    acknowledged = len(lives)
    store.clean[4300] = store.clean[21] = 0
    store.commit_all()
    device.on_step = None
    assert len(lives) > acknowledged > 2
    for number, (durable, live, dirty) in enumerate(lives):
        left = CrashDevice(durable, live=live, page_bytes=page_bytes)
        left.dirty = dirty
        again = after_death(left, count=COUNT)
        marked = {20} if number >= acknowledged else set()
        watch = Watch(left, differ | zeros(COUNT, marked), table(COUNT))
        assert again.reconnect(LUID)
        assert left.durable == left.live == live, "both bitmaps as they stood, and on the medium"
        watch.done(at_least=1)


# -- the watch can see -----------------------------------------------------------------------------------------------


def open_before_forced_dirty(monkeypatch) -> None:
    plain = DiskStore._store_forced_dirty

    def wrong(self, mapped, found):
        if self._extension:
            mapped.fill_from(self._device)
            self._write_open(LUID)
        plain(self, mapped, found)

    monkeypatch.setattr(DiskStore, "_store_forced_dirty", wrong)


def no_forced_dirty(monkeypatch) -> None:
    monkeypatch.setattr(DiskStore, "_store_forced_dirty", lambda self, mapped, found: mapped.fill_from(self._device))


def forced_dirty_and_open_in_one_sync(monkeypatch) -> None:
    monkeypatch.setattr(MappedLog, "commit_clean", lambda self: None)
    monkeypatch.setattr(MappedLog, "commit_sync", lambda self: None)


def counts_before_new_bits(monkeypatch) -> None:
    plain = DiskStore._store_growth

    def wrong(self, mapped, found):
        self._extension = mapped.checksummed(verdict.new_extension(self._opening, found, 0))
        mapped.store_head(self._extension)
        plain(self, mapped, found)

    monkeypatch.setattr(DiskStore, "_store_growth", wrong)


@pytest.mark.parametrize(
    ("mistake", "name"),
    [
        (open_before_forced_dirty, "closed, then written by somebody"),
        (no_forced_dirty, "closed, then written by somebody"),
        (forced_dirty_and_open_in_one_sync, "closed, then written by somebody"),
        (counts_before_new_bits, "kernel, grown"),
    ],
)
def test_a_wrong_order_in_an_activation_is_caught(monkeypatch, mistake, name):
    mistake(monkeypatch)
    case = CASES[name]
    # what lies behind the old regions is not always zero
    image = bytearray(case.image)
    if name == "kernel, grown":
        put(image, 1024 + 632, b"\xff" * 200)
    with pytest.raises(AssertionError):
        activate(Case(image, case.differ, case.table, case.in_sync, case.old_table), 512, stale_cache=True)


def test_believing_the_page_cache_is_caught(monkeypatch):
    monkeypatch.setattr(CrashDevice, "read", lambda self, at, length: bytes(self.live[at : at + length]))
    device = CrashDevice(diskulog_log(COUNT, DIRTY), live=diskulog_log(COUNT))
    store_on(device, table(COUNT)).activate(LUID, fresh=True)
    with pytest.raises(AssertionError, match="5 regions whose legs differ are called in sync, first 3"):
        verify(bytes(device.durable), ~KNOWN, [table(COUNT)])


def test_a_commit_that_does_not_reach_the_medium_is_caught(monkeypatch):
    monkeypatch.setattr(MappedLog, "commit_regions", lambda self, first, last: None)
    device, store, differ = at_work()
    store.clean[20] = 0
    store.commit(20, 20)
    watch = Watch(device, differ | zeros(COUNT, {20}), table(COUNT))
    with pytest.raises(AssertionError, match="are called in sync, first 10"):
        watch.look()


def test_healing_without_storing_every_page_anew_is_caught(monkeypatch):
    monkeypatch.setattr(MappedLog, "rewrite", lambda self: None)
    monkeypatch.setattr(MappedLog, "store_clean", lambda self, bits: None)
    device, store, differ = at_work()
    store.clean[20] = 0
    device.failing_syncs = 1
    with pytest.raises(DeviceError):
        store.commit(20, 20)
    store.heal(LUID, frozenset())
    with pytest.raises(AssertionError, match="the kernel would believe 1 regions whose legs differ, first 20"):
        verify_for_kernel(bytes(device.durable), differ | zeros(COUNT, {20}))


def test_a_log_that_would_be_foreign_is_caught():
    image = bytearray(SIZE)
    put(image, 512, logs.extension(COUNT).pack())
    assert ondisk.dialect(bytes(image[:1024])) is Dialect.FOREIGN
    with pytest.raises(Exception, match="no mirror log"):
        verify(bytes(image), ones(COUNT), [table(COUNT)])
