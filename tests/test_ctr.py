# SPDX-License-Identifier: LGPL-2.1-or-later
"""The constructor string: what is taken, and each reason to refuse it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskulog import ctr
from diskulog.ctr import MAX_REGION_COUNT, CtrArgs, Sync
from diskulog.errors import RefusedError

GOOD = {
    b"8192 disk /dev/log 1024": CtrArgs(8192, "disk", "disk", "/dev/log", 1024),
    b"8192 disk 253:2 1024": CtrArgs(8192, "disk", "disk", "253:2", 1024),
    b"8192 disk 253:2 1024\0": CtrArgs(8192, "disk", "disk", "253:2", 1024),
    b"8192 disk /dev/log 1024 sync": CtrArgs(8192, "disk", "disk", "/dev/log", 1024, Sync.SYNC),
    b"8192 disk /dev/log 1024 nosync": CtrArgs(8192, "disk", "disk", "/dev/log", 1024, Sync.NOSYNC),
    b"8192 disk /dev/log 1024 block_on_error": CtrArgs(8192, "disk", "disk", "/dev/log", 1024, Sync.DEFAULT, True),
    b"8192 disk /dev/log 1024 block_on_error sync": CtrArgs(8192, "disk", "disk", "/dev/log", 1024, Sync.SYNC, True),
    b"8192 core 1024": CtrArgs(8192, "core", "core", None, 1024),
    b"8192 core 1024 nosync block_on_error": CtrArgs(8192, "core", "core", None, 1024, Sync.NOSYNC, True),
    b"  8192\tcore  1024 ": CtrArgs(8192, "core", "core", None, 1024),
    b"2 core 2": CtrArgs(2, "core", "core", None, 2),
    b"4294967296 core 2147483648": CtrArgs(2**32, "core", "core", None, 2**31),
    b"8192 disk /dev/l\xc3\xb6g 1024": CtrArgs(8192, "disk", "disk", "/dev/l\u00f6g", 1024),
    b"8192 disk /dev/l\xffg 1024": CtrArgs(8192, "disk", "disk", "/dev/l\udcffg", 1024),
    # dm splits at ASCII blanks only: U+3000 and U+2003 are part of the name
    b"8192 disk /dev/l\xe3\x80\x80g 1024": CtrArgs(8192, "disk", "disk", "/dev/l\u3000g", 1024),
    b"8192 disk /dev/l\xe2\x80\x83g 1024": CtrArgs(8192, "disk", "disk", "/dev/l\u2003g", 1024),
}

# string -> (argument that is named, a word of the reason)
BAD = {
    b"": ("constructor string", "0 of at least 3 words"),
    b"\0": ("constructor string", "0 of at least 3 words"),
    b"8192": ("constructor string", "1 of at least 3 words"),
    b"8192 disk": ("log device", "missing"),
    b"8192 disk /dev/log": ("region size", "missing"),
    b"8192 core": ("region size", "missing"),
    b"8192 di\0sk /dev/log 1024": ("constructor string", "NUL"),
    b"8192 core 1024\0\0": ("constructor string", "NUL"),
    b"0 disk /dev/log 1024": ("target length", "0 sectors"),
    b"-1 disk /dev/log 1024": ("target length", "decimal"),
    b"0x2000 disk /dev/log 1024": ("target length", "decimal"),
    b"8_192 disk /dev/log 1024": ("target length", "decimal"),
    "\u0668\u0661\u0669\u0662 disk /dev/log 1024".encode(): ("target length", "decimal"),
    "8192 disk /dev/log \uff11\uff10\uff12\uff14".encode(): ("region size", "decimal"),
    "8192 disk /dev/log 1\u00b2".encode(): ("region size", "decimal"),
    b"111111111111111111111 core 1024": ("target length", "decimal"),
    b"8192 disks /dev/log 1024": ("log type", "not known"),
    b"8192 DISK /dev/log 1024": ("log type", "not known"),
    b"8192 userspace /dev/log 1024": ("log type", "not known"),
    b"8192 clustered-disk /dev/log 1024": ("log type", "cluster"),
    b"8192 clustered-core 1024": ("log type", "cluster"),
    b"8192 core 0": ("region size", "power of two"),
    b"8192 core 1": ("region size", "power of two"),
    b"8192 core 3": ("region size", "power of two"),
    b"8192 core 1023": ("region size", "power of two"),
    b"18446744073709551615 core 4294967296": ("region size", "power of two"),
    b"8192 core 16384": ("region size", "more than the target's 8192"),
    b"8589934592 core 2": ("region size", "4294967296 regions"),
    b"8192 core 1024 both": ("log arguments", "'both'"),
    b"8192 core 1024 sync nosync": ("log arguments", "'nosync'"),
    b"8192 core 1024 sync sync": ("log arguments", "'sync'"),
    b"8192 core 1024 block_on_error block_on_error": ("log arguments", "'block_on_error'"),
    b"8192 disk 1024 sync": ("region size", "'sync'"),
}


@pytest.mark.parametrize("text", GOOD)
def test_a_good_string_is_taken(text):
    assert ctr.parse(text) == GOOD[text]


@pytest.mark.parametrize("text", BAD)
def test_a_bad_string_is_refused_by_the_argument_with_reason_and_remedy(text):
    argument, reason = BAD[text]
    with pytest.raises(RefusedError) as caught:
        ctr.parse(text)
    assert caught.value.argument == argument
    assert reason in caught.value.reason
    assert caught.value.remedy
    assert str(caught.value) == f"{argument}: {caught.value.reason}; {caught.value.remedy}"


@pytest.mark.parametrize(("word", "log_type"), [("clustered-disk /dev/log", "disk"), ("clustered-core", "core")])
def test_the_cluster_s_types_are_taken_on_a_host_that_is_alone(word, log_type):
    args = ctr.parse(f"8192 {word} 1024".encode(), clustered_single_host=True)
    assert (args.log_type, args.type_word) == (log_type, word.split()[0])


def test_331_bytes_can_come_back_and_332_cannot():
    def string(length: int) -> bytes:
        front, back = b"8192 disk /dev/", b" 1024"
        return front + b"x" * (length - len(front) - len(back)) + back

    assert ctr.parse(string(331)).region_size_sectors == 1024
    assert ctr.parse(string(331) + b"\0").region_size_sectors == 1024
    for text in (string(332), string(332) + b"\0"):
        with pytest.raises(RefusedError, match="332 bytes, at most 331"):
            ctr.parse(text)


def test_the_largest_number_of_regions_is_the_kernel_s():
    assert ctr.parse(f"{MAX_REGION_COUNT * 2} core 2".encode()).region_count == 2**32 - 1
    with pytest.raises(RefusedError, match="use larger regions"):
        ctr.parse(f"{MAX_REGION_COUNT * 2 + 1} core 2".encode())


@pytest.mark.parametrize(("length", "count"), [(1024, 1), (1025, 2), (2047, 2), (2048, 2), (2049, 3)])
def test_the_last_region_may_be_short(length, count):
    assert ctr.parse(f"{length} core 1024".encode()).region_count == count


@pytest.mark.parametrize("power", range(1, 32))
def test_every_power_of_two_is_a_region_size(power):
    assert ctr.parse(f"{2**power} core {2**power}".encode()).region_count == 1


def test_a_reconnect_is_told_by_its_nul():
    assert ctr.is_reconnect(b"8192 core 1024\0")
    assert not ctr.is_reconnect(b"8192 core 1024")
    assert not ctr.is_reconnect(b"")


@given(st.binary(max_size=340))
def test_any_bytes_are_taken_or_refused(text):
    try:
        args = ctr.parse(text)
    except RefusedError:
        return
    assert 1 <= args.region_count <= MAX_REGION_COUNT


WORDS = st.lists(
    st.sampled_from(["8192", "0", "1024", "disk", "core", "/dev/log", "sync", "nosync", "block_on_error", "7", "x"]),
    max_size=7,
)


@given(WORDS)
def test_what_is_taken_says_the_same_again(words):
    text = " ".join(words)
    try:
        args = ctr.parse(text.encode())
    except RefusedError:
        return
    again = [str(args.target_length_sectors), args.type_word, args.device or "", str(args.region_size_sectors)]
    again += [args.sync.value, "block_on_error" if args.block_on_error else ""]
    assert sorted(word for word in again if word) == sorted(words)
    assert args.region_size_sectors & (args.region_size_sectors - 1) == 0
