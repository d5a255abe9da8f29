# SPDX-License-Identifier: LGPL-2.1-or-later
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskulog.units import div_up, human_bytes, round_down, round_up

sizes, multiples = st.integers(0, 2**64), st.integers(1, 2**32)


@given(sizes, multiples)
def test_rounding_goes_to_the_nearest_multiple_on_its_side(value, multiple):
    low, high = round_down(value, multiple), round_up(value, multiple)
    assert low <= value <= high
    assert low % multiple == high % multiple == 0
    assert high - low in (0, multiple)
    assert div_up(value, multiple) * multiple == high


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1.0 KiB"),
        (1536 * 1024, "1.5 MiB"),
        (2**30, "1.0 GiB"),
        (2**40, "1.0 TiB"),
        (2**50, "1.0 PiB"),
        (2**62, "4096.0 PiB"),
    ],
)
def test_bytes_for_people(count, text):
    assert human_bytes(count) == text
