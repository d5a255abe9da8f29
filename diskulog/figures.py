# SPDX-License-Identifier: LGPL-2.1-or-later
"""What one log did and how it stands, as 64-bit words in memory that others read.

Lives here: which word means what, and the histogram of flushes. Does not know logs,
where the memory lies, or readers.
"""

from typing import Final

from diskulog.wire import RequestType

# the first words count the requests that were answered, by type; 0 is for types that are not known
REQUEST_TYPES: Final = 18
MARKED: Final = 18  # regions in MARK and FLUSH
CLEARED: Final = 19  # regions in CLEAR
FAILURES: Final = 20
LAST_FLUSH_US: Final = 21  # of the monotonic clock; of the last FLUSH that made something durable
FLUSHES: Final = 22  # those that had something to make durable
FLUSH_SUM_NS: Final = 23
FLUSH_WORST_NS: Final = 24
STATE: Final = 25
FAILED: Final = 26
HAS_BITS: Final = 27
CLEAN: Final = 28
IN_SYNC: Final = 29
HELD: Final = 30
RECOVERING: Final = 31  # the region, plus one; 0: none
RESYNC_STARTED_US: Final = 32  # since the epoch; 0: no resync
RESYNC_STARTED_COUNT: Final = 33  # how many regions were in sync then
REGION_SIZE: Final = 34
REGION_COUNT: Final = 35
TARGET_LENGTH: Final = 36
IS_CORE: Final = 37
_BUCKETS: Final = 40
_BUCKET_COUNT: Final = 104
WORDS: Final = _BUCKETS + _BUCKET_COUNT + 1  # the last one for what took longer than 68 s

# requests that list regions, and the word that counts those
REGIONS_COUNTED: Final[dict[int, int]] = {
    RequestType.FLUSH: MARKED,
    RequestType.MARK_REGION: MARKED,
    RequestType.CLEAR_REGION: CLEARED,
}
# words of a state; the same number stands in STATE
STATES: Final = ("inactive", "live", "suspended", "failed")
INACTIVE, LIVE, SUSPENDED, FAILED_STATE = range(4)

# A bucket is a quarter of an octave of 1024 ns, so a quantile is at most a quarter too high.
_QUARTER_BITS: Final = 8
_PARTS: Final = 4


def fresh() -> memoryview:
    """Return words that nobody else reads, all zero."""
    return memoryview(bytearray(WORDS * 8)).cast("Q")


def count_request(words: memoryview, kind: int, length_bytes: int) -> None:
    """Count a request of a type, and the regions in its payload if it lists some."""
    words[kind if kind < REQUEST_TYPES else 0] += 1
    counted = REGIONS_COUNTED.get(kind)
    if counted is not None:
        words[counted] += length_bytes // 8


def count_flush(words: memoryview, took_ns: int, now_us: int) -> None:
    """Count a FLUSH that made something durable, and how long it took from request to reply."""
    words[FLUSHES] += 1
    words[FLUSH_SUM_NS] += took_ns
    words[FLUSH_WORST_NS] = max(words[FLUSH_WORST_NS], took_ns)
    words[LAST_FLUSH_US] = now_us
    words[_BUCKETS + _bucket(took_ns)] += 1


def _bucket(took_ns: int) -> int:
    quarters = max(took_ns >> _QUARTER_BITS, _PARTS)
    octave = quarters.bit_length() - 3
    part = (quarters >> octave) & (_PARTS - 1)
    return min(octave * _PARTS + part, _BUCKET_COUNT)


def _bound_seconds(bucket: int) -> float:
    octave, part = divmod(bucket, _PARTS)
    return float(2**octave * (_PARTS + part + 1) * 2**_QUARTER_BITS / 1e9)


def quantile_seconds(words: memoryview, share: float) -> float | None:
    """Return how long all but the slowest ``1 - share`` of the flushes took at most; None when there was none."""
    counts = list(words[_BUCKETS:WORDS])
    wanted = share * sum(counts)
    if not wanted:
        return None
    passed = 0
    worst = words[FLUSH_WORST_NS] / 1e9
    for bucket, count in enumerate(counts[:-1]):
        passed += count
        if passed >= wanted:
            return min(_bound_seconds(bucket), worst)
    return worst


def octaves(words: memoryview) -> list[tuple[float, int]]:
    """List the flushes as a histogram: how many took at most so many seconds, for each octave."""
    counts, passed, found = list(words[_BUCKETS:WORDS]), 0, []
    for first in range(0, _BUCKET_COUNT, _PARTS):
        passed += sum(counts[first : first + _PARTS])
        found.append((_bound_seconds(first + _PARTS - 1), passed))
    return found
