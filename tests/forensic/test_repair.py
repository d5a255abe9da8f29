# SPDX-License-Identifier: LGPL-2.1-or-later
import errno

import pytest

from diskulog import ondisk, verdict
from diskulog.ctr import CtrArgs
from diskulog.errors import BadLogError, DeviceError
from diskulog.exits import UsageError
from diskulog.forensic import belief, repair
from diskulog.forensic.belief import Belief
from diskulog.ondisk import State
from tests import images

COUNT = 1000


def planned(data, uuid=None):
    return repair.plan(repair.load(images.MemorySource(bytes(data))), uuid)


def clean_of(image):
    return list(belief.clean_regions(image).bits(0, image.bit_count).search(1))


def without_header(state=State.CLOSED, **more):
    data = images.diskulog(COUNT, dirty=[5], out_of_sync=[5, 7], state=state, **more)
    data[:16] = bytes(16)
    return data


def sync_changed():
    data = images.diskulog(COUNT, dirty=[5])
    offset = ondisk.unpack_extension(bytes(data)).sync_offset_bytes
    data[offset] ^= 0xFF
    return data


def stray(state):
    data = images.diskulog(COUNT, dirty=[5], out_of_sync=[5], state=state)
    data[1024 + COUNT // 8] |= 0x80
    return data


SOUND = {
    "kernel": images.kernel(COUNT, dirty=[1]),
    "lvm": images.lvm_fresh(0xFF),
    "closed": images.diskulog(COUNT),
    "open": images.diskulog(COUNT, dirty=[1], out_of_sync=[2], state=State.OPEN),
    "released": images.diskulog(COUNT, state=State.RELEASED),
}
ALL = list(range(COUNT))
# what is damaged, its reason, which regions stay clean
DAMAGED = {
    "extension": (images.damaged(count=COUNT), "the extension is damaged", []),
    "clean bitmap": (images.changed(), "a bitmap changed", []),
    "sync bitmap": (sync_changed(), "a bitmap changed", list(range(8, COUNT))),
    "resized": (images.resized(900), "different numbers of regions", []),
    "misplaced": (images.diskulog(COUNT, sync_offset_bytes=4096 + 512), "where it cannot be", []),
    "header, closed": (without_header(), "the header is damaged", [r for r in ALL if r not in (5, 7)]),
    "header, open": (without_header(State.OPEN), "the header is damaged", []),
    "header, released": (without_header(State.RELEASED), "the header is damaged", []),
    "stray, open": (stray(State.OPEN), "beyond the last region", [r for r in ALL if r != 5]),
    "stray, closed": (stray(State.CLOSED), "beyond the last region", [r for r in ALL if r != 5]),
}


@pytest.mark.parametrize("data", SOUND.values(), ids=SOUND)
def test_a_sound_log_is_left_alone(data):
    assert planned(data) == repair.Plan(None, ())


@pytest.mark.parametrize(("data", "reason", "clean"), DAMAGED.values(), ids=DAMAGED)
def test_what_is_proved_stays_and_the_rest_is_dirty(data, reason, clean):
    plan = planned(data, None)
    assert reason in "; ".join(plan.reasons)
    assert clean_of(plan.image) == clean
    assert belief.judge(plan.image) in belief.TAKES_BOTH | belief.TAKES_CLEAN
    assert belief.stray_bits(plan.image) == []


@pytest.mark.parametrize("name", [name for name in DAMAGED if name not in ("extension", "header, released")])
def test_a_repaired_log_is_what_an_activation_takes(name):
    data, _, clean = DAMAGED[name]
    image = planned(data).image
    assert image.extension.state is State.CLOSED
    assert image.extension.uuid == images.UUID
    assert image.extension.boot_id == bytes(16)
    args = CtrArgs(image.bit_count * images.REGION_SIZE_SECTORS, "disk", "disk", "/dev/x", images.REGION_SIZE_SECTORS)
    bitmaps = image.clean.read(0, 1000), image.sync.read(0, 1000)
    found = verdict.judge(image.head, *bitmaps, args, images.DEVICE_BYTES, 512)
    assert list(found.bits.search(1)) == clean


def test_a_damaged_extension_becomes_a_kernel_log_or_that_of_the_mirror_that_is_named():
    assert planned(images.damaged()).image.extension is None
    named = planned(images.damaged(), "home").image
    assert (named.extension.uuid, named.extension.region_size_sectors) == ("home", 0)
    assert belief.judge(named) is Belief.CLOSED
    with pytest.raises(UsageError, match="--uuid"):
        planned(images.damaged(), "a b")


def test_without_a_number_of_regions_no_extension_can_be_made():
    data = images.damaged()
    data[:16] = ondisk.Header(nr_regions=ondisk.ALL_REGIONS).pack()
    with pytest.raises(UsageError, match="how many regions"):
        planned(data, "home")
    assert clean_of(planned(data[:65536]).image) == []


def test_another_uuid_is_given_to_a_log_that_is_repaired():
    assert planned(images.changed(), "other").image.extension.uuid == "other"


def test_the_bits_behind_a_released_log_s_stray_ones_stay_its_own():
    image = planned(stray(State.RELEASED)).image
    assert image.extension.state is State.RELEASED
    assert image.sync is None
    assert clean_of(image) == [r for r in ALL if r != 5]


def test_a_log_that_is_cut_off_is_its_mirror_s_and_all_dirty():
    data = images.diskulog(100_000)
    for end in (1024, 1030, ondisk.unpack_extension(bytes(data)).sync_offset_bytes + 10):
        plan = planned(data[:end])
        assert plan.reasons[0] == "its bitmaps are cut off, or were being written"
        assert (plan.image.extension.uuid, plan.image.bit_count, clean_of(plan.image)) == (images.UUID, 100_000, [])


HOPELESS = {
    "blank": bytes(2048),
    "foreign": b"\x55" * 4096,
    "cut off in its extension": bytes(images.diskulog()[:1000]),
    "a kernel log that is cut off": bytes(images.kernel(100_000)[:2000]),
    "another version": bytes(images.diskulog(version=9)),
    "a header of another version": bytes(ondisk.Header(version=9).pack() + images.diskulog()[16:]),
    "no header, and more regions than a mirror has": bytes(512) + bytes(images.diskulog(region_count=2**40)[512:]),
}


@pytest.mark.parametrize("data", HOPELESS.values(), ids=HOPELESS)
def test_where_nothing_says_that_there_was_a_log_there_is_nothing_to_repair(data):
    with pytest.raises(BadLogError):
        planned(data)


class Bad(images.MemorySource):
    """A device of which some bytes cannot be read."""

    def __init__(self, data, *bad):
        super().__init__(bytes(data))
        self.bad = bad

    def read(self, offset_bytes, length_bytes):
        if any(first < offset_bytes + length_bytes and end > offset_bytes for first, end in self.bad):
            raise DeviceError("cannot read", OSError(errno.EIO, "Input/output error"))
        return super().read(offset_bytes, length_bytes)


def test_what_cannot_be_read_is_dirty():
    data = images.diskulog(2**20, dirty=[5], state=State.OPEN)
    found = repair.load(Bad(data, (8192, 8704)))
    plan = repair.plan(found, None)
    assert found.unreadable_bytes == 4096
    assert plan.reasons == ("4096 bytes cannot be read",)
    lost = range((8192 - 1024) * 8, (12288 - 1024) * 8)
    regions = belief.clean_regions(plan.image)
    assert list(regions.ranges()) == [(5, 1), (lost.start, len(lost))]


def test_a_log_that_was_being_written_proves_nothing():
    data = images.diskulog(COUNT)
    data[:512] = ondisk.STOPPED.ljust(512, b"\0")
    plan = planned(data)
    assert plan.reasons == (
        "the header is damaged, the extension is not",
        "its bitmaps are cut off, or were being written",
    )
    assert (plan.image.extension.uuid, clean_of(plan.image)) == (images.UUID, [])


def test_a_head_that_cannot_be_read_is_no_log_that_is_blank():
    with pytest.raises(DeviceError, match="cannot read"):
        repair.load(Bad(images.diskulog(), (0, 512)))


def test_a_closed_log_that_cannot_be_read_whole_proves_nothing():
    data = images.diskulog(2**20)
    assert clean_of(repair.plan(repair.load(Bad(data, (8192, 8193))), None).image) == []
