# SPDX-License-Identifier: LGPL-2.1-or-later
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskulog import figures
from diskulog.wire import RequestType


def test_no_two_figures_share_a_word():
    names = [name for name, value in vars(figures).items() if name.isupper() and isinstance(value, int)]
    words = {name: getattr(figures, name) for name in names}
    for name in ("REQUEST_TYPES", "WORDS", "INACTIVE", "LIVE", "SUSPENDED", "FAILED_STATE"):
        words.pop(name)
    words = {name: word for name, word in words.items() if not name.startswith("_")}
    assert len(set(words.values())) == len(words)
    assert min(words.values()) >= figures.REQUEST_TYPES > max(RequestType)
    assert max(words.values()) < figures._BUCKETS


def test_requests_are_counted_by_type_and_regions_where_they_are_listed():
    words = figures.fresh()
    figures.count_request(words, RequestType.IN_SYNC, 8)
    figures.count_request(words, RequestType.FLUSH, 0)
    figures.count_request(words, RequestType.FLUSH, 24)
    figures.count_request(words, RequestType.MARK_REGION, 16)
    figures.count_request(words, RequestType.CLEAR_REGION, 8)
    figures.count_request(words, 200, 8)
    assert (words[RequestType.IN_SYNC], words[RequestType.FLUSH], words[0]) == (1, 2, 1)
    assert (words[figures.MARKED], words[figures.CLEARED]) == (5, 1)


def test_without_a_flush_there_is_no_latency():
    assert figures.quantile_seconds(figures.fresh(), 0.5) is None
    assert {count for _, count in figures.octaves(figures.fresh())} == {0}


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=50), st.sampled_from([0.5, 0.99, 1.0]))
def test_a_quantile_is_right_to_a_quarter_of_an_octave(times, share):
    words = figures.fresh()
    for number, took in enumerate(times):
        figures.count_flush(words, took, number)
    ordered = sorted(times)
    exact = ordered[min(int(share * len(times) + 0.999999) - 1, len(times) - 1)] / 1e9
    found = figures.quantile_seconds(words, share)
    longest = 2**26 * 1.024e-6
    assert found <= max(times) / 1e9
    if exact < longest:
        assert exact <= found * 1.0000001 <= max(exact * 1.26, 1.3e-6)
    assert (words[figures.FLUSHES], words[figures.FLUSH_SUM_NS]) == (len(times), sum(times))
    assert (words[figures.FLUSH_WORST_NS], words[figures.LAST_FLUSH_US]) == (max(times), len(times) - 1)


def test_the_histogram_counts_what_took_at_most_so_long():
    words = figures.fresh()
    for took in (1, 1_000_000, 1_000_000, 2_000_000_000, 10**12):
        figures.count_flush(words, took, 0)
    histogram = figures.octaves(words)
    bounds = [bound for bound, _ in histogram]
    assert bounds == sorted(set(bounds))
    counts = dict(histogram)
    assert counts[bounds[0]] == 1
    assert [count for bound, count in histogram if 0.001 <= bound < 1.0] == pytest.approx([3] * 10)
    assert histogram[-1][1] == 4  # one took longer than the last bound
    assert figures.quantile_seconds(words, 1.0) == 1000.0
