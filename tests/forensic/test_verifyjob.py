# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whole runs on image files: what is checked before the first read, the state, the outcome in words."""

import json
import os

import pytest

from diskulog import sysfs
from diskulog.errors import DeviceError, RefusedError
from diskulog.exits import Exit, UsageError
from diskulog.forensic import comparison, dmtable, legs, verify, verifyjob, verifyreport
from diskulog.forensic.pace import Pace
from diskulog.forensic.subject import Told
from diskulog.forensic.verifyjob import Asked, How
from diskulog.mirrortable import LegName
from tests import images, schemas

COUNT, REGION = 40, 4096
LENGTH = COUNT * REGION - 1024


class Job:
    """A log and two legs in files, the second leg begins at sector 2; and how they are verified."""

    def __init__(self, folder, dirty=(), out_of_sync=(), log=None):
        self.log, self.a, self.b = folder / "log", folder / "a", folder / "b"
        self.state = folder / "state"
        data = images.diskulog(
            COUNT,
            {*dirty, *out_of_sync},
            out_of_sync,
            region_size_sectors=REGION // 512,
            target_length_sectors=LENGTH // 512,
        )
        self.log.write_bytes(data if log is None else log)
        content = os.urandom(LENGTH)
        self.a.write_bytes(content)
        self.b.write_bytes(bytes(1024) + content)
        self.told = Told()
        self.pace = Pace(None)
        self.total = None
        self.shown = []

    def change(self, region, at=0):
        data = bytearray(self.b.read_bytes())
        data[1024 + region * REGION + at] ^= 1
        self.b.write_bytes(data)

    def begin(self, total, tally):
        self.total = total
        self.start = tally.next_region
        return self.show

    def show(self, size):
        self.shown.append(size)

    def run(self, regions=None, state=False):
        asked = Asked(str(self.log), (LegName(str(self.a)), LegName(str(self.b), 2)), self.told)
        return verifyjob.perform(asked, How(self.begin, self.pace, regions, self.state if state else None))


@pytest.fixture
def job(tmp_path):
    return Job(tmp_path, dirty=[3, 4], out_of_sync=[4])


def text(found, limit=20):
    return "".join(verifyreport.pieces(found, limit))


def test_equal(job):
    with images.untouched(job.log), images.untouched(job.a), images.untouched(job.b):
        found = job.run()
    assert (found.exit_status, found.messages) == (Exit.FINE, ())
    assert job.total == sum(job.shown) == LENGTH - 2 * REGION
    assert text(found) == (
        f"log:        {job.log}, uuid LVM-s0me-m1rror\n"
        f"leg 1:      {job.a} from sector 0\n"
        f"leg 2:      {job.b} from sector 2\n"
        "regions:    all 40, of 4.0 KiB (8 sectors)\n"
        "compared:   38 (151.0 KiB)\n"
        "skipped:    1 dirty, 1 out of sync, 0 written meanwhile\n"
        "differing:  none\n"
    )


def test_differing(job):
    for region, at in ((7, 17), (8, 0), (39, 3071), (3, 0)):
        job.change(region, at)
    found = job.run()
    assert found.exit_status == Exit.PROBLEM
    assert text(found).endswith(
        "differing:  3\n"
        "\n"
        "differing regions (2 ranges, where each differs first)\n"
        "  first region   regions   byte of the mirror   of leg 1   of leg 2   unlike leg 1\n"
        "             7         2                28689      28689      29713          leg 2\n"
        "            39         1               162815     162815     163839          leg 2\n"
    )
    assert "... and 1 more (--limit 0 shows all)" in text(found, 1)
    assert "more" not in text(found, 0)
    document = schemas.document(verifyreport.document(found))
    assert document["exit_status"] == 1
    assert document["differing"][0] == {
        "first_region": 7,
        "region_count": 2,
        "offset_bytes": 28689,
        "leg_offsets_bytes": [28689, 29713],
        "unlike_first_leg": [1],
    }
    counts = ("compared_count", "dirty_count", "out_of_sync_count", "changed_count", "unread_count")
    assert sum(document[name] for name in counts) == document["log"]["region_count"] == COUNT


def test_more_than_is_kept(job, monkeypatch):
    monkeypatch.setattr(comparison, "MAX_KEPT", 2)
    for region in (7, 9, 11, 13):
        job.change(region)
    found = job.run()
    assert "  ... and 2 more (2 are kept)\n" in text(found, 0)
    assert "  ... and 3 more (2 are kept)\n" in text(found, 1)


def test_some_regions(job):
    job.change(7)
    found = job.run((8, 20))
    assert (found.exit_status, found.tally.compared_count) == (Exit.FINE, 13)
    assert "regions:    8 to 20 of 40," in text(found)
    assert job.run((7, 7)).exit_status == Exit.PROBLEM
    with pytest.raises(UsageError, match=r"--regions 8-40: .*log has the regions 0 to 39"):
        job.run((8, 40))


def test_a_read_error(job, monkeypatch):
    plain = os.preadv
    job.change(9)

    def reads(fd, buffers, at):
        if os.fstat(fd).st_ino == job.b.stat().st_ino and at <= 6 * REGION + 1024 < at + len(buffers[0]):
            raise OSError(5, "Input/output error")
        return plain(fd, buffers, at)

    monkeypatch.setattr(os, "preadv", reads)
    found = job.run()
    assert found.exit_status == Exit.IO_ERROR
    assert "not read:   2\n" in text(found)  # a file's last block belongs to the next region too
    assert f"region 6, leg 2: cannot read {job.b} at byte" in text(found)
    assert found.tally.differing_count == 1
    assert schemas.document(verifyreport.document(found))["unread"][0]["leg"] == 1


def test_a_leg_too_short(job):
    with job.b.open("r+b") as file:
        file.truncate(LENGTH + 1023)
    with pytest.raises(RefusedError, match="is too short: it has 162815 bytes there, the mirror needs 162816"):
        job.run()


def test_a_kernel_log_ends_with_its_shortest_leg(tmp_path):
    job = Job(tmp_path, log=images.kernel(COUNT, [3]))
    with pytest.raises(UsageError, match="--region-size"):
        job.run()
    job.told = Told(REGION // 512)
    found = job.run()
    assert (found.tally.compared_bytes, found.exit_status) == (LENGTH - REGION, Exit.FINE)
    assert "info: the mirror's length is not known" in text(found)
    job.told = Told(REGION // 512, LENGTH // 512)
    assert job.run().messages == ()


def test_sizes_are_checked_before_anything_is_opened(job):
    job.told = Told(1000)
    job.log.unlink()
    with pytest.raises(UsageError, match="power of two"):
        job.run()


def test_a_log_that_is_not_believed_is_compared_with_a_warning(tmp_path):
    data = images.changed([5], count=COUNT, region_size_sectors=REGION // 512, target_length_sectors=LENGTH // 512)
    job = Job(tmp_path, log=data)
    found = job.run()
    assert (found.exit_status, found.tally.dirty_count) == (Exit.FINE, 1)
    assert "warning: the log is not believed at the next activation, its bits are compared as they stand: a" in text(
        found
    )


def test_a_log_without_regions(tmp_path):
    job = Job(tmp_path, log=images.kernel(0))
    job.told = Told(8)
    assert job.run().tally.compared_count == 0


def test_a_live_log_is_said_to_be(job, monkeypatch):
    monkeypatch.setattr(verify, "PAUSE_SECONDS", 0.0)
    job.change(9)
    plain = verifyjob.image.load

    def load(source):
        found = plain(source)
        monkeypatch.setattr(sysfs, "holders", lambda _: ("dm-0 (m)",))
        return verifyjob.image.Image(
            **{name: getattr(found, name) for name in found.__slots__ if name != "holders"}, holders=("dm-0 (m)",)
        )

    monkeypatch.setattr(verifyjob.image, "load", load)
    found = job.run()
    assert found.exit_status == Exit.PROBLEM
    assert "info: live, held by dm-0 (m): what differed was looked at again" in text(found)
    assert ", live\n" in text(found)


def test_legs_in_use_without_their_log(job, monkeypatch):
    plain = legs._open_direct

    def opens(*arguments):
        found = plain(*arguments)
        return type(found)(found.name, found.fd, found.size_bytes, holders=("dm-9 (x)",))

    monkeypatch.setattr(legs, "_open_direct", opens)
    assert f"warning: leg {job.a} is in use by dm-9 (x), and the log is not" in text(job.run())


# state


def stop_after(job, count):
    """Let the pace say stop after some reads."""

    def show(size):
        job.shown.append(size)
        job.pace.stopped = len(job.shown) >= count

    job.show = show


def test_an_interrupted_run_goes_on(job, monkeypatch):
    monkeypatch.setattr(verify, "BATCH_SPANS", 1)
    monkeypatch.setattr(verify, "PIECE_BYTES", REGION)
    for region in (1, 2, 30):
        job.change(region)
    stop_after(job, 4)
    found = job.run(state=True)
    assert (found.exit_status, found.finished, found.tally.next_region) == (Exit.REFUSED, False, 3)
    assert "not done:   regions 3 to 39\n" in text(found)
    assert job.state.exists()
    with pytest.raises(RefusedError, match="it is of another run: --regions"):
        job.run((0, 3), state=True)
    job.pace = Pace(None)
    job.show = job.shown.append
    job.shown.clear()
    found = job.run(state=True)
    assert job.start == 3
    assert (found.exit_status, found.tally.compared_count) == (Exit.PROBLEM, 38)
    assert [each.first_region for each in found.tally.differing] == [1, 30]
    assert job.total == LENGTH - 5 * REGION
    assert not job.state.exists()


def test_without_a_state_it_begins_anew(job):
    stop_after(job, 1)
    assert not job.run().finished
    assert not job.state.exists()


def test_a_state_that_cannot_be_written_is_known_at_once(job):
    job.state = job.state / "below"
    with pytest.raises(DeviceError, match="--state"):
        job.run(state=True)
    assert job.shown == []


def test_a_failure_on_the_way_keeps_the_state(job, monkeypatch):
    monkeypatch.setattr(verify, "BATCH_SPANS", 1)
    monkeypatch.setattr(verify, "PIECE_BYTES", REGION)

    def show(size):
        job.shown.append(size)
        if len(job.shown) == 3:
            raise DeviceError("the log", OSError(5, "no"))

    job.show = show
    with pytest.raises(DeviceError):
        job.run(state=True)
    assert json.loads(job.state.read_text())["tally"]["next_region"] == 2


# by the mirror's name


def test_of_a_mirror(tmp_path, monkeypatch):
    for number, name in (("7:0", "loop0"), ("7:2", "loop2")):
        (tmp_path / "devices" / name).mkdir(parents=True)
        (tmp_path / number).symlink_to(tmp_path / "devices" / name)
    monkeypatch.setattr(sysfs, "SYS_BLOCK", tmp_path)
    table = "0 8192 mirror userspace 5 u-1 integrated_flush disk 7:2 128 2 7:0 0 /dev/x 64 1 handle_errors\n"
    monkeypatch.setattr(dmtable, "table", lambda name: {"demo": table}[name])
    found = verifyjob.of_mirror("demo")
    assert found == Asked("/dev/loop2", (LegName("/dev/loop0"), LegName("/dev/x", 64)), Told(128, 8192, "u-1"))


def test_names_that_are_no_text_are_spelt_out(tmp_path):
    folder = tmp_path / os.fsdecode(b"\xff\x1b[2J")
    folder.mkdir()
    job = Job(folder)
    stop_after(job, 1)
    found = job.run(state=True)
    assert "\x1b" not in text(found)
    assert "\\udcff\\x1b[2J" in text(found)
    assert "\\udcff" in schemas.document(verifyreport.document(found))["log"]["device"]
    job.pace, job.show = Pace(None), job.shown.append
    assert job.run(state=True).finished


def test_a_failure_in_json():
    found = schemas.document(verifyreport.failure(Exit.NOT_A_LOG, "bad \udcff name"))
    assert (found["exit_status"], found["log"]) == (3, None)
    assert found["messages"] == [{"severity": "error", "text": "bad \\udcff name"}]
