# SPDX-License-Identifier: LGPL-2.1-or-later
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskulog import ondisk, sysfs, verdict
from diskulog.ctr import CtrArgs
from diskulog.exits import Exit, UsageError
from diskulog.forensic import belief, model
from diskulog.forensic.belief import Belief
from diskulog.forensic.report import report
from diskulog.ondisk import State
from tests import images

KIB = 1024
REGION = images.REGION_SIZE_SECTORS * 512


def reported(data, holders=()):
    return report(images.loaded(bytes(data), holders))


def texts(subject):
    return [message.text for message in subject.messages]


def severities(subject):
    return {message.severity for message in subject.messages}


def test_a_kernel_log():
    found = reported(images.kernel(1000, dirty=[0, 1, 999]))
    assert found.belief is Belief.KERNEL
    assert (found.dialect, found.state) == ("kernel", "unknown")
    assert (found.clean_count, found.dirty_count) == (997, 3)
    assert found.in_sync is found.in_sync_count is found.out_of_sync_count is None
    assert found.resync_count == 3
    assert set(found.checksums.values()) == {"none"}
    assert found.span_bytes(0, 1) is None
    assert texts(found) == ["at the next activation 3 regions will be resynced"]
    assert found.exit_status is Exit.FINE


def test_a_closed_log():
    found = reported(images.diskulog(1000, dirty=[4, 5], out_of_sync=[5]))
    assert found.belief is Belief.CLOSED
    assert (found.dialect, found.state) == ("diskulog", "closed")
    assert (found.dirty_count, found.in_sync_count, found.out_of_sync_count) == (2, 999, 1)
    assert set(found.checksums.values()) == {"ok"}
    assert texts(found) == ["at the next activation 2 regions (1.0 MiB) will be resynced"]
    assert found.exit_status is Exit.FINE


def test_an_open_log_counts_as_clean_only_what_is_in_sync_too():
    found = reported(images.diskulog(1000, dirty=[4], out_of_sync=[7], state=State.OPEN))
    assert found.belief is Belief.OPEN
    assert found.state == "open"
    assert list(found.clean.ranges()) == [(4, 1), (7, 1)]
    assert list(found.in_sync.ranges()) == [(7, 1)]
    assert found.resync_count == 2
    assert found.checksums == {"extension": "ok", "clean_bitmap": "none", "sync_bitmap": "none"}
    assert severities(found) == {"warning", "info"}
    assert found.exit_status is Exit.FINE


def test_a_live_log_of_this_boot(monkeypatch):
    monkeypatch.setattr(sysfs, "boot_id", lambda: images.BOOT)
    found = reported(images.diskulog(dirty=[4], state=State.OPEN), holders=("dm-0 (home)",))
    assert found.resync_count is None
    assert texts(found) == [
        "live, held by dm-0 (home): it changes while it is read; "
        "this is memory's state, the device may still say less is clean"
    ]


def test_a_live_kernel_log():
    found = reported(images.kernel(), holders=("dm-0",))
    assert "past the page cache" in texts(found)[0]
    assert found.exit_status is Exit.FINE


def test_a_released_log():
    found = reported(images.resized(600, 1000, state=State.RELEASED))
    assert found.belief is Belief.RELEASED
    assert found.state == "closed"
    assert "released to the kernel's own log" in texts(found)[0]
    assert found.image.region_count == 600
    assert found.in_sync is None
    assert found.exit_status is Exit.FINE


@pytest.mark.parametrize(
    ("data", "word", "said"),
    [
        (images.changed(), Belief.CHANGED, "changed after diskulog closed"),
        (images.resized(1500), Belief.RESIZED, "counts 1500 regions, the extension 1000"),
        (images.resized(1500, state=State.OPEN), Belief.RESIZED, "counts 1500 regions"),
        (images.diskulog(sync_offset_bytes=1024), Belief.MISPLACED, "at byte 1024"),
        (images.damaged(), Belief.DAMAGED, "extension is damaged"),
    ],
    ids=["changed", "resized", "resized, open", "misplaced", "damaged"],
)
def test_what_cannot_be_believed_is_an_error_that_names_adopt(data, word, said):
    found = reported(data)
    assert found.belief is word
    assert found.exit_status is Exit.PROBLEM
    assert said in texts(found)[0]
    assert "diskulog adopt" in texts(found)[0]
    assert found.resync_count == found.image.bit_count
    assert "everything is dirty" in texts(found)[0]


def test_checksums_name_the_bitmap_that_changed():
    assert reported(images.changed()).checksums == {"extension": "ok", "clean_bitmap": "bad", "sync_bitmap": "ok"}
    data = images.diskulog()
    data[images.DEVICE_BYTES // 2] ^= 1
    assert reported(data).checksums == {"extension": "ok", "clean_bitmap": "ok", "sync_bitmap": "bad"}
    assert reported(images.damaged()).checksums["extension"] == "bad"


def test_checksum_helpers_without_an_extension():
    image = images.loaded(images.kernel())
    assert not belief.clean_checksum_ok(image)
    assert not belief.sync_checksum_ok(image)


@pytest.mark.parametrize(
    ("count", "bit", "stray"),
    [(1000, 1000, True), (1000, 1023, True), (1000, 1024, False), (1030, 1055, True), (1030, 1056, False)],
)
def test_bits_beyond_the_last_region_of_a_kernel_log(count, bit, stray):
    # dm-log.c zeroes its last 32-bit word, and LVM's ones stay behind it
    data = images.kernel(count)
    data[1024 + bit // 8] |= 1 << bit % 8
    found = reported(data)
    assert (found.exit_status is Exit.PROBLEM) == stray
    assert ("the clean bitmap has bits set beyond the last region" in texts(found)) == stray


def test_bits_beyond_the_last_region_of_a_diskulog_log():
    data = images.diskulog(1030, state=State.OPEN)
    data[images.DEVICE_BYTES // 2 + 1080 // 8] |= 1
    assert "the sync bitmap has bits set beyond the last region" in texts(reported(data))


@pytest.mark.parametrize(("fill", "dirty"), [(0, (images.DEVICE_BYTES - 1024) * 8), (0xFF, 0)])
def test_lvm_fresh(fill, dirty):
    found = reported(images.lvm_fresh(fill))
    assert found.dirty_count == dirty
    assert found.resync_count is None
    assert "fresh from LVM" in texts(found)[0]
    assert found.exit_status is Exit.FINE


def test_a_log_of_no_regions():
    found = reported(images.kernel(0))
    assert (found.clean_count, found.dirty_count) == (0, 0)
    assert found.bytes_of(found.clean, 0) is None


def test_the_last_region_is_short():
    found = reported(images.diskulog(1000, dirty=[999]))
    assert found.span_bytes(999, 1) == (999 * REGION, REGION - 24 * 512)
    assert found.span_bytes(998, 2) == (998 * REGION, 2 * REGION - 24 * 512)
    assert found.bytes_of(found.clean, 0) == REGION - 24 * 512
    assert found.bytes_of(found.clean, 1) == 999 * REGION


def test_sizes_that_adopt_did_not_know():
    found = reported(images.diskulog(state=State.RELEASED, region_size_sectors=0, target_length_sectors=0))
    assert found.span_bytes(0, 1) is None
    found = reported(images.diskulog(state=State.RELEASED, target_length_sectors=0))
    assert found.span_bytes(999, 1) == (999 * REGION, REGION)


def test_a_region_size_that_is_given_stands_in_for_one_that_is_not_stored():
    image = images.loaded(bytes(images.kernel(1000, dirty=[3, 4])))
    found = report(image, 8)
    assert found.region_size_sectors == 8
    assert found.span_bytes(3, 2) == (3 * 4096, 2 * 4096)
    assert (found.mirror_bytes, found.resync_bytes) == (1000 * 4096, 2 * 4096)
    assert report(image).region_size_sectors is None
    assert report(images.loaded(bytes(images.diskulog())), 1024).region_size_sectors == 1024
    assert report(images.loaded(bytes(images.damaged())), 1024).resync_bytes == 1000 * REGION


@pytest.mark.parametrize("size", [0, 1, 3, 1000, -8, 2**32])
def test_a_region_size_that_no_mirror_has(size):
    with pytest.raises(UsageError, match="is not a power of two from 2 to 2"):
        report(images.loaded(bytes(images.kernel())), size)


def test_a_region_size_that_the_log_contradicts():
    with pytest.raises(UsageError, match="memory says 1024 sectors, not 512; leave it out"):
        report(images.loaded(bytes(images.diskulog())), 512)


@pytest.mark.parametrize(("rate", "seconds"), [(1, 2 * REGION), (REGION, 2), (2 * REGION, 1), (2 * REGION - 1, 2)])
def test_how_long_a_resync_takes(rate, seconds):
    assert reported(images.diskulog(dirty=[1, 2])).resync_seconds(rate) == seconds


def test_how_long_a_resync_takes_is_not_known():
    assert reported(images.kernel(dirty=[1])).resync_seconds(1) is None
    assert reported(images.diskulog(), holders=("dm-0",)).resync_seconds(1) is None
    assert reported(images.diskulog()).resync_seconds(1) == 0
    everything = reported(images.changed())
    assert everything.resync_bytes == everything.mirror_bytes


@given(st.data())
def test_the_next_activation_is_foretold(data):
    """What ``inspect`` says will be resynced is what activation resyncs."""
    count = data.draw(st.integers(1, 300))
    regions = st.sets(st.integers(0, count - 1))
    kind = data.draw(st.sampled_from(["kernel", "diskulog", "changed", "resized", "damaged"]))
    made = {
        "kernel": lambda: images.kernel(count, data.draw(regions), size=65536),
        "changed": lambda: images.changed(data.draw(regions), count=count, size=65536),
        "resized": lambda: images.resized(count, data.draw(st.integers(1, 300)), size=65536),
        "damaged": lambda: images.damaged(count=count, size=65536),
        "diskulog": lambda: images.diskulog(
            count, data.draw(regions), data.draw(regions), data.draw(st.sampled_from(State)), size=65536
        ),
    }[kind]()
    found = reported(made)
    image = found.image
    args = CtrArgs(count * images.REGION_SIZE_SECTORS, "disk", "disk", "/dev/log", images.REGION_SIZE_SECTORS)
    clean, sync = (bitmap and bitmap.read(0, bitmap.size_bytes) for bitmap in (image.clean, image.sync))
    judged = verdict.judge(image.head, clean, sync, args, 65536, 512)
    assert found.resync_count == count - judged.bits.count()


# JSON


def documented(data, holders=()):
    return json.loads(model.render(model.document(reported(data, holders))))


def test_json_of_a_closed_log():
    found = documented(images.diskulog(1000, dirty=[4, 5], out_of_sync=[5]))
    assert found == {
        "format_version": 1,
        "command": "inspect",
        "exit_status": 0,
        "log": {
            "device": "memory",
            "offset_bytes": 0,
            "size_bytes": 1048576,
            "dialect": "diskulog",
            "uuid": images.UUID,
            "region_size_sectors": 1024,
            "target_length_sectors": 1024 * 1000 - 24,
            "region_count": 1000,
            "clean_count": 998,
            "dirty_count": 2,
            "in_sync_count": 999,
            "out_of_sync_count": 1,
            "resync_count": 2,
            "resync_bytes": 1048576,
            "resync_seconds": 1,
            "resync_bytes_per_second": 104857600,
            "state": "closed",
            "live": False,
            "holders": [],
            "checksums": {"extension": "ok", "clean_bitmap": "ok", "sync_bitmap": "ok"},
            "sync_offset_bytes": 524288,
            "generation": 7,
            "created_seconds": 1700000000,
            "resumed_seconds": 1700000100,
            "closed_seconds": 1700000200,
            "host_name": "anvil",
            "boot_id": "00010203-0405-0607-0809-0a0b0c0d0e0f",
        },
        "dirty": [[4, 2]],
        "out_of_sync": [[5, 1]],
        "messages": [{"severity": "info", "text": "at the next activation 2 regions (1.0 MiB) will be resynced"}],
    }


@given(st.sets(st.integers(0, 299)), st.sets(st.integers(0, 299)), st.integers(1, 5))
def test_json_in_pieces_is_what_the_model_makes_of_it(dirty, out_of_sync, ranges_a_piece):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "_RANGES_A_PIECE", ranges_a_piece)
        subject = reported(images.diskulog(300, dirty, out_of_sync, size=16384))
        printed = model.render(model.document(subject))
    found = model.InspectDocument.model_validate_json(printed)
    assert found.model_dump_json() == printed
    assert found.dirty == list(subject.clean.ranges())
    assert found.out_of_sync == list(subject.in_sync.ranges())


def test_json_of_a_kernel_log():
    found = documented(images.kernel(10, dirty=[9]))
    log = found["log"]
    nulls = {name for name, value in log.items() if value is None}
    assert nulls == {
        "uuid", "region_size_sectors", "target_length_sectors", "in_sync_count", "out_of_sync_count", "resync_bytes",
        "resync_seconds", "sync_offset_bytes", "generation", "created_seconds", "resumed_seconds", "closed_seconds",
        "host_name", "boot_id",
    }  # fmt: skip
    assert found["out_of_sync"] == []
    assert log["dialect"] == "kernel"


def test_json_of_a_damaged_log():
    found = documented(images.damaged())
    assert found["exit_status"] == 1
    assert found["log"]["dialect"] == "diskulog"
    assert found["log"]["checksums"]["extension"] == "bad"
    assert found["log"]["in_sync_count"] is None


def test_json_of_a_failure_and_of_names_that_are_no_text():
    found = json.loads(model.render(model.failure(Exit.NOT_A_LOG, "bad \udcff name")))
    assert (found["exit_status"], found["log"], found["dirty"], found["out_of_sync"]) == (3, None, [], [])
    assert found["messages"] == [{"severity": "error", "text": "bad \\udcff name"}]
    assert documented(images.diskulog(uuid="a\udcffb"))["log"]["uuid"] == "a\\udcffb"


def test_json_of_names_cannot_move_the_cursor():
    name = "\u009b2J\u202eevil\x7f\U000e0001\u200b\\x1b"
    printed = model.render(model.document(reported(images.diskulog(uuid=name, host_name=name))))
    assert printed.isprintable()
    assert json.loads(printed)["log"]["uuid"] == json.loads(printed)["log"]["host_name"] == name
    assert model.InspectDocument.model_validate_json(printed).log.uuid == name


def test_the_published_schema_is_the_model():
    published = Path(model.__file__).parent.parent / "schema" / "inspect-1.json"
    assert json.loads(published.read_text()) == json.loads(model.schema())


def test_large_numbers_survive():
    data = images.diskulog(closed_seconds=2**64 - 1, generation=2**64 - 1)
    assert documented(data)["log"]["generation"] == 2**64 - 1
    assert ondisk.unpack_extension(bytes(data[:1024])).closed_seconds == 2**64 - 1
