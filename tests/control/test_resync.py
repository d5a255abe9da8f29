# SPDX-License-Identifier: LGPL-2.1-or-later
import json

import pytest

from diskulog.control import model
from diskulog.control.resync import Progress, Rates, since_start, span_bytes
from diskulog.units import MIB
from tests import fake_control

REGION_BYTES = 512 * 1024
START = 1_000_000.0


def log(in_sync, began=0, started=START, **changes):
    resync = {"started_seconds": started, "started_in_sync_count": began}
    document = fake_control.answer(fake_control.log(in_sync_count=in_sync, resync=resync, **changes))
    return model.answer(json.dumps(document).encode()).logs[0]


def test_a_resync_is_judged_from_its_start():
    assert since_start(log(300, began=100), START + 10) == Progress(
        300 * REGION_BYTES, 1000 * REGION_BYTES, 20 * REGION_BYTES, 35
    )


def test_the_last_region_may_be_cut_off():
    cut = log(300, target_length_sectors=1024 * 999 + 1)
    assert span_bytes(cut, 1000) == (1024 * 999 + 1) * 512
    assert span_bytes(cut, 999) == 999 * REGION_BYTES


def test_where_there_is_no_resync_there_is_nothing_to_say():
    assert since_start(log(300).model_copy(update={"resync": None}), START) is None
    assert Rates().progress(log(300).model_copy(update={"in_sync_count": None}), 0.0, START) is None


@pytest.mark.parametrize(
    ("in_sync", "now", "rate"),
    [(100, START + 1, None), (100, START + 9, 0.0), (300, START, None), (300, START - 5, None), (50, START + 9, 0.0)],
)
def test_a_rate_that_is_not_known_is_not_invented(in_sync, now, rate):
    found = since_start(log(in_sync, began=100), now)
    assert (found.rate_bytes, found.seconds_left) == (rate, None)


def test_a_rate_is_that_of_the_last_half_minute():
    rates = Rates()
    # 10 regions a second for a minute, then one
    counts = [min(at, 60) * 10 + max(at - 60, 0) for at in range(91)]
    found = [rates.progress(log(count), float(at), START + at) for at, count in enumerate(counts)]
    assert found[1].rate_bytes == found[60].rate_bytes == 10 * REGION_BYTES
    assert found[90].rate_bytes == REGION_BYTES
    assert found[90].seconds_left == 1000 - 630


def test_until_there_are_two_figures_the_whole_resync_says_it():
    rates = Rates()
    assert rates.progress(log(500), 5.0, START + 50).rate_bytes == 10 * REGION_BYTES
    assert rates.progress(log(500), 6.0, START + 51).rate_bytes == pytest.approx(500 * REGION_BYTES / 51)
    assert rates.progress(log(500), 11.0, START + 56) == Progress(500 * REGION_BYTES, 500 * MIB, 0.0, None)


def test_a_resync_that_begins_anew_is_another():
    rates = Rates()
    rates.progress(log(900), 0.0, START)
    assert rates.progress(log(10, began=10), 1.0, START + 1).rate_bytes is None
    assert rates.progress(log(20, began=10), 2.0, START + 2).rate_bytes == 10 * REGION_BYTES
    assert rates.progress(log(20).model_copy(update={"resync": None}), 3.0, START) is None


def test_each_log_has_its_own():
    rates = Rates()
    for at, counts in enumerate(((100, 100), (110, 120))):
        found = [
            rates.progress(log(count, uuid=uuid), float(at), START + at)
            for uuid, count in zip("AB", counts, strict=True)
        ]
    assert [each.rate_bytes for each in found] == [10 * REGION_BYTES, 20 * REGION_BYTES]
