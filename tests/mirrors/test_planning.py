# SPDX-License-Identifier: LGPL-2.1-or-later
from dataclasses import replace

import pytest

from diskulog.ctr import Sync
from diskulog.errors import RefusedError
from diskulog.exits import UsageError
from diskulog.mirrors import planning
from diskulog.mirrors.wish import Wish
from diskulog.mirrortable import LegName
from tests import images

A, B, LOG = "/dev/a", "/dev/b", "/dev/l"
WISH = Wish((LegName(A), LegName(B)), LOG, uuid="u")
REGIONS = 1000  # of the logs that tests.images makes


@pytest.fixture
def three(host):
    host.device("a", 1024 * REGIONS)
    host.device("b", 1024 * REGIONS)
    host.log = host.device("l", 2048)
    return host


def test_a_plain_mirror(three):
    plan = planning.plan(WISH, {})
    assert plan.line.text() == (
        "0 1024000 mirror userspace 5 u integrated_flush disk /dev/l 1024 2 /dev/a 0 /dev/b 0 1 handle_errors"
    )
    assert [note.partition(",")[0] for note in plan.notes] == [
        "length 1024000 sectors (500.0 MiB)",
        "region size 1024 sectors (512.0 KiB)",
    ]
    assert plan.fate == "what is on /dev/a (nothing seen) stays, and is copied over /dev/b (nothing seen)"


def test_every_option(three):
    wished = Wish((LegName(A, 8), LegName(B)), LOG, "v", 64, 640, Sync.SYNC, plain=True)
    assert planning.plan(wished, {}).line.text() == (
        "0 640 mirror userspace 5 v disk /dev/l 64 sync 2 /dev/a 8 /dev/b 0 1 handle_errors"
    )


def test_a_log_in_memory(three):
    plan = planning.plan(replace(WISH, log=None), {})
    assert "userspace 4 u integrated_flush core 1024 2" in plan.line.text()
    assert any("lost with the host" in note for note in plan.notes)


def test_a_uuid_is_made_up_and_told(three):
    plan = planning.plan(replace(WISH, uuid=None), {})
    assert plan.line.uuid.startswith("diskulog-")
    assert any(plan.line.uuid in note for note in plan.notes)


def test_the_smallest_leg_decides(three):
    three.device("c", 5003)
    plan = planning.plan(replace(WISH, legs=(LegName(A), LegName("/dev/c", 1000))), {})
    assert plan.line.length_sectors == 4003
    assert "1019997 sectors of the largest leg stay unused" in plan.notes


def test_the_length_is_cut_at_the_legs_blocks(three):
    three.device("c", 5003, block_bytes=4096)
    wished = replace(WISH, legs=(LegName(A), LegName("/dev/c")))
    assert planning.plan(wished, {}).line.length_sectors == 5000
    with pytest.raises(UsageError, match="--length 4001: must be a multiple"):
        planning.plan(replace(wished, length_sectors=4001), {})
    with pytest.raises(UsageError, match="leg /dev/a:4: must begin at a multiple of 8"):
        planning.plan(replace(wished, legs=(LegName(A, 4), LegName("/dev/c"))), {})


@pytest.mark.parametrize(
    ("changes", "kind", "said"),
    [
        ({"legs": (LegName(A), LegName(A))}, UsageError, "leg /dev/a: is the same device as /dev/a"),
        ({"log": B}, UsageError, "log /dev/b: is the same device as /dev/b"),
        ({"length_sectors": 1024001}, RefusedError, "leg /dev/a: has room for 1024000 sectors, and the mirror needs"),
        ({"legs": (LegName(A), LegName(B, 10**9))}, RefusedError, "leg /dev/b: has no room"),
        ({"region_size_sectors": 2**21}, RefusedError, "region size: 2097152 sectors is more than the target's"),
        ({"region_size_sectors": 2}, RefusedError, "512000 regions need"),
        ({"legs": (LegName(A),)}, UsageError, "2 to 9 legs"),
    ],
)
def test_what_cannot_be(three, changes, kind, said):
    with three.log.open("r+b") as file:
        file.truncate(64 * 512)
    three.facts[LOG] = replace(three.facts[LOG], size_sectors=64)
    with pytest.raises(kind, match=said):
        planning.plan(replace(WISH, **changes), {})


def test_a_name_that_makes_the_constructor_too_long(three):
    for length in (308, 309):
        three.device("x" * length, 2048)
    fits, long = "/dev/" + "x" * 308, "/dev/" + "x" * 309
    assert len(planning.plan(replace(WISH, log=fits, uuid="u" * 128), {}).line.constructor()) == 331
    with pytest.raises(RefusedError, match=r"constructor string: \d+ bytes, at most 331"):
        planning.plan(replace(WISH, log=long), {})


def test_devices_in_use(three):
    three.busy[B] = "mounted on /home"
    with pytest.raises(RefusedError, match="/dev/b: is in use: mounted on /home"):
        planning.plan(WISH, {})


def test_devices_that_overlap(three):
    three.device("a1", 100, below=("a",))
    with pytest.raises(RefusedError, match="/dev/a1: is a part of /dev/a"):
        planning.plan(replace(WISH, log="/dev/a1"), {})


def test_devices_on_a_mirror_that_a_daemon_serves(three):
    three.device("m", 5000)
    three.device("lv", 5000, below=("m",))
    served = {three.facts["/dev/m"].number: "home"}
    for name in ("/dev/m", "/dev/lv"):
        with pytest.raises(RefusedError, match=f"{name}: is on mirror home"):
            planning.plan(replace(WISH, log=name), served)
        with pytest.raises(RefusedError, match=f"{name}: is on mirror home"):
            planning.plan(replace(WISH, legs=(LegName(A), LegName(name))), served)


def test_legs_on_one_disk_are_warned_of(three):
    three.device("a1", 5000, below=("a",))
    three.device("a2", 5000, below=("a",))
    plan = planning.plan(replace(WISH, legs=(LegName("/dev/a1"), LegName("/dev/a2"))), {})
    assert "warning: /dev/a1 and /dev/a2 are on one disk, a, and will fail together" in plan.notes


# what lies on the log's device


def test_foreign_content_is_refused_by_name(three):
    with three.log.open("r+b") as file:
        file.write(b"XFSB")
    for keep in (False, True):
        with pytest.raises(RefusedError, match=r"holds an XFS file system|holds something that is no mirror log"):
            planning.plan(replace(WISH, keep_log=keep), {})


def test_something_far_behind_is_found_too(three):
    with three.log.open("r+b") as file:
        file.seek(1024 * 512)  # the middle, where the sync bitmap is to lie
        file.write(b"x")
    with pytest.raises(RefusedError, match="holds something"):
        planning.plan(WISH, {})


def test_a_log_is_kept_only_when_told(three):
    three.log.write_bytes(images.diskulog(uuid="u").ljust(2048 * 512, b"\0"))
    with pytest.raises(RefusedError, match="holds the log of mirror u; say --keep-log"):
        planning.plan(WISH, {})
    plan = planning.plan(replace(WISH, uuid=None, keep_log=True), {})
    assert (plan.line.uuid, plan.line.region_size_sectors) == ("u", 1024)
    assert any("which is kept" in note for note in plan.notes)
    assert "what the log calls dirty is copied" in plan.fate
    with pytest.raises(RefusedError, match="the log on the device belongs to 'u', not to 'v'"):
        planning.plan(replace(WISH, uuid="v", keep_log=True), {})
    with pytest.raises(RefusedError, match="the log was kept with 1024 sectors, not 512"):
        planning.plan(replace(WISH, region_size_sectors=512, keep_log=True), {})


def test_a_kernel_log_does_not_know_its_region_size(three):
    three.log.write_bytes(images.kernel(REGIONS).ljust(2048 * 512, b"\0"))
    with pytest.raises(RefusedError, match="kernel or LVM wrote; say --keep-log"):
        planning.plan(WISH, {})
    with pytest.raises(UsageError, match="give --region-size"):
        planning.plan(replace(WISH, keep_log=True), {})
    kept = replace(WISH, keep_log=True, region_size_sectors=1024)
    assert not any("warning" in note for note in planning.plan(kept, {}).notes)
    odd = planning.plan(replace(kept, region_size_sectors=2048), {})
    assert any("counts 1000 regions, and this mirror has 500" in note for note in odd.notes)


def test_a_damaged_log(three):
    three.log.write_bytes(images.damaged().ljust(2048 * 512, b"\0"))
    with pytest.raises(RefusedError, match="damaged mirror log; 'diskulog repair'"):
        planning.plan(WISH, {})


def test_no_log_to_keep(three):
    plan = planning.plan(replace(WISH, keep_log=True), {})
    assert "/dev/l is blank: there is no log to keep" in plan.notes
    assert plan.fate == "what is on /dev/a (nothing seen) stays, and is copied over /dev/b (nothing seen)"


# what lies on the legs


def test_the_fate_of_what_is_on_the_legs(three):
    three.images[A].write_bytes(b"XFSB" + bytes(1024 * 512))
    three.images[B].write_bytes(b"LUKS\xba\xbe" + bytes(1024 * 512))
    a, b = "/dev/a (an XFS file system)", "/dev/b (a LUKS volume)"
    assert planning.plan(WISH, {}).fate == f"what is on {a} stays, and is copied over {b}"
    equal = planning.plan(replace(WISH, sync=Sync.NOSYNC), {})
    assert equal.fate == f"{a}, {b} are taken for equal, and nothing is copied"
    assert any("will differ for ever" in note for note in equal.notes)


def test_what_is_on_a_leg_before_the_mirror_begins_is_none_of_its(three):
    three.images[A].write_bytes(b"XFSB" + bytes(1024 * 512))
    three.images[B].write_bytes(bytes(8 * 512) + b"LUKS\xba\xbe" + bytes(1024 * 512))
    found = planning.plan(replace(WISH, legs=(LegName(A, 8), LegName(B, 8)), length_sectors=4096), {})
    assert found.fate == "what is on /dev/a (nothing seen) stays, and is copied over /dev/b (a LUKS volume)"
