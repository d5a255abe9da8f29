# SPDX-License-Identifier: LGPL-2.1-or-later
import pytest

from diskulog.mirrors.sizing import MOST_REGIONS, choose
from diskulog.ondisk import needed_bytes

GIB_SECTORS = 2 * 1024 * 1024


@pytest.mark.parametrize(
    ("length", "log_bytes", "sectors", "why"),
    [
        (GIB_SECTORS, None, 1024, "the usual one"),
        (512 * GIB_SECTORS, None, 1024, "the usual one"),
        (512 * GIB_SECTORS + 1, None, 2048, "no more than 1048576 regions"),
        (16384 * GIB_SECTORS, 2**30, 32768, "no more than 1048576 regions"),
        (100, None, 64, "largest power of two"),
        (1, None, 2, "largest power of two"),
        (GIB_SECTORS, 12288, 1024, "the usual one"),
        (64 * GIB_SECTORS, 12288, 4096, "has room on its device"),
    ],
)
def test_a_size_and_its_reason(length, log_bytes, sectors, why):
    found = choose(length, log_bytes, 512)
    assert found.sectors == sectors
    assert why in found.reason
    assert f"region size {sectors} sectors" in found.reason
    assert -(-length // sectors) <= MOST_REGIONS


def test_the_log_fits_where_any_size_does():
    for log_bytes in (8704, 12288, 65536):
        size = choose(64 * GIB_SECTORS, log_bytes, 512).sectors
        assert needed_bytes(-(-64 * GIB_SECTORS // size), 512) <= log_bytes


def test_a_device_that_can_hold_no_log_is_somebody_elses_matter():
    assert choose(1 << 20, 512, 512).sectors == 1 << 20
