# SPDX-License-Identifier: LGPL-2.1-or-later
import pytest

from diskulog.exits import UsageError
from diskulog.forensic import belief, fresh, writing
from diskulog.forensic.belief import Belief
from diskulog.forensic.findings import findings
from diskulog.forensic.report import report
from tests import images


def made(uuid="home", size=1024, count=1000, in_sync=False):
    return fresh.log(uuid, size, count, in_sync=in_sync, now_seconds=1_700_000_000)


@pytest.mark.parametrize(("in_sync", "dirty"), [(False, 1000), (True, 0)])
def test_a_fresh_log_is_sound_and_says_what_it_was_told(in_sync, dirty, tmp_path):
    path = tmp_path / "log"
    path.write_bytes(bytes(images.DEVICE_BYTES))
    with writing.opened(str(path), write=True) as log:
        writing.write_log(log, made(in_sync=in_sync))
    found = report(images.loaded_from(path))
    assert found.belief is Belief.CLOSED
    assert (found.dirty_count, found.out_of_sync_count) == (dirty, dirty)
    assert (found.image.extension.uuid, found.image.extension.created_seconds) == ("home", 1_700_000_000)
    assert found.image.extension.target_length_sectors == 1024 * 1000
    assert [finding.name for finding in findings(found)] == ["resync"]


@pytest.mark.parametrize("size", [0, 1, 1000, -8, 2**32])
def test_a_region_size_that_no_mirror_has(size):
    with pytest.raises(UsageError, match="--region-size"):
        made(size=size)


@pytest.mark.parametrize("count", [0, -1, 2**32])
def test_a_number_of_regions_that_no_mirror_has(count):
    with pytest.raises(UsageError):
        made(count=count)


def test_a_uuid_that_no_mirror_has():
    with pytest.raises(UsageError, match="--uuid"):
        made(uuid="a b")


def test_the_fewest_regions():
    assert belief.judge(made(count=1)) is Belief.CLOSED
