# SPDX-License-Identifier: LGPL-2.1-or-later
from dataclasses import replace

import pytest

from diskulog import ondisk, verdict
from diskulog.ctr import CtrArgs
from diskulog.errors import RefusedError
from diskulog.exits import UsageError
from diskulog.forensic import adopt
from diskulog.ondisk import State
from tests import images


def planned(data, uuid=None, block_bytes=512):
    return adopt.plan(images.loaded(bytes(data)), uuid, block_bytes)


def extension_of(plan):
    assert plan.sector is not None
    assert len(plan.sector) == 512
    found = ondisk.unpack_extension(bytes(512) + plan.sector)
    assert found is not None
    return found


def activated(data, plan, count, uuid=images.UUID):
    """The bits that an activation after the adoption starts from."""
    data = bytearray(data)
    data[512:1024] = plan.sector
    args = CtrArgs(count * images.REGION_SIZE_SECTORS, "disk", "disk", "/dev/log", images.REGION_SIZE_SECTORS)
    verdict.refuse(bytes(data[:1024]), uuid.encode(), args, len(data), 512)
    return verdict.judge(bytes(data[:1024]), bytes(data[1024:]), None, args, len(data), 512).bits


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (images.kernel(), "kernel log"),
        (images.lvm_fresh(0xFF), "kernel log"),
        (images.diskulog(), "nobody wrote since"),
        (images.diskulog(state=State.RELEASED), "released already"),
    ],
    ids=["kernel", "lvm", "closed", "released"],
)
def test_nothing_to_adopt(data, why):
    plan = planned(data)
    assert plan.sector is None
    assert plan.warning is None
    assert plan.summary.startswith("nothing to adopt: ")
    assert why in plan.summary


def test_the_same_uuid_changes_nothing():
    assert planned(images.diskulog(), images.UUID).sector is None
    assert planned(images.kernel(), "new").sector is None


@pytest.mark.parametrize("state", [State.CLOSED, State.RELEASED])
def test_a_new_uuid_keeps_all_else(state):
    data = images.diskulog(dirty=[3], state=state)
    before = ondisk.unpack_extension(bytes(data[:1024]))
    after = extension_of(planned(data, "new"))
    assert before is not None
    assert after == replace(before, uuid="new", generation=8, live_token=bytes(8))


def test_a_log_that_changed_is_adopted():
    data = images.changed([5, 6])
    plan = planned(data)
    after = extension_of(plan)
    assert after == replace(
        images.extension(), state=State.RELEASED, generation=8, boot_id=bytes(16), live_token=bytes(8)
    )
    assert plan.warning is None
    assert "998 of 1000 regions stay clean" in plan.summary
    assert activated(data, plan, 1000).count() == 998


def test_with_a_new_uuid():
    data = images.changed([5])
    plan = planned(data, "new")
    assert extension_of(plan).uuid == "new"
    assert activated(data, plan, 1000, "new").count() == 999


@pytest.mark.parametrize("count", [600, 1500])
@pytest.mark.parametrize("state", [State.CLOSED, State.OPEN])
def test_a_log_that_was_resized(count, state):
    data = images.resized(count, state=state)
    plan = planned(data)
    after = extension_of(plan)
    assert after.region_count == count
    assert after.target_length_sectors == count * images.REGION_SIZE_SECTORS
    assert after.sync_offset_bytes == images.DEVICE_BYTES // 2
    assert plan.warning is None
    assert activated(data, plan, count).count() == count


def test_a_clean_bitmap_that_grew_over_the_sync_bitmap_moves_it():
    # made on a device of 16 KiB, with the sync bitmap at 8 KiB; then device and mirror grew
    data = images.resized(100_000, old=1000, size=65536)
    data[512:1024] = images.extension(1000, size=16384).pack()
    assert ondisk.unpack_extension(bytes(data[:1024])).sync_offset_bytes == 8192
    after = extension_of(planned(data))
    assert (after.sync_offset_bytes, after.sync_capacity_bytes) == (32768, 32768)
    assert activated(data, planned(data), 100_000).count() == 100_000


def test_no_room_for_both_bitmaps():
    data = images.resized(100_000, old=1000, size=16384)
    with pytest.raises(RefusedError, match="100000 regions need"):
        planned(data)


def test_an_open_log_is_adopted_with_a_warning():
    data = images.diskulog(dirty=[1], out_of_sync=[1, 2, 3], state=State.OPEN)
    plan = planned(data)
    assert extension_of(plan).state is State.RELEASED
    assert plan.warning is not None
    assert "2 regions in sync that may not be" in plan.warning
    assert "999 of 1000 regions stay clean" in plan.summary


def test_a_sync_bitmap_that_cannot_be_there_is_placed_anew():
    plan = planned(images.diskulog(sync_offset_bytes=1024))
    assert extension_of(plan).sync_offset_bytes == images.DEVICE_BYTES // 2


def test_a_damaged_extension_needs_a_uuid():
    with pytest.raises(RefusedError, match="--uuid"):
        planned(images.damaged())


def test_a_damaged_extension_is_replaced():
    data = images.damaged(dirty=[7])
    plan = planned(data, "new")
    after = extension_of(plan)
    assert (after.uuid, after.region_count, after.generation) == ("new", 1000, 1)
    assert after.region_size_sectors == after.target_length_sectors == 0
    assert activated(data, plan, 1000, "new").count() == 999


def test_a_damaged_extension_under_a_header_from_lvm():
    data = images.damaged()
    data[:16] = ondisk.Header(nr_regions=ondisk.ALL_REGIONS).pack()
    assert extension_of(planned(data, "new")).region_count == 0


def test_a_header_from_lvm_over_an_extension():
    data = images.diskulog()
    data[:16] = ondisk.Header(nr_regions=ondisk.ALL_REGIONS).pack()
    assert extension_of(planned(data)).region_count == 1000


@pytest.mark.parametrize("uuid", ["", "a b", "a\tb", "x" * 129, "ü" * 65, "a\x07"])
def test_a_uuid_that_no_table_can_hold(uuid):
    with pytest.raises(UsageError, match="--uuid"):
        planned(images.kernel(), uuid)
