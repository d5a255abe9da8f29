# SPDX-License-Identifier: LGPL-2.1-or-later
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskulog import ondisk
from diskulog.forensic import raw
from tests import images
from tests.forensic.golden import golden


def dumped(head):
    return "".join(f"{line}\n" for line in raw.lines(bytes(head)))


HEADS = {
    "kernel": images.kernel(),
    "lvm": images.lvm_fresh(0xFF),
    "damaged": images.damaged(),
    "text": b"To be, or not to be, that is the question:\n" * 30,
    "cut-off": images.diskulog()[:700],
}


@pytest.mark.parametrize("name", HEADS)
def test_a_dump_that_was_read(name):
    golden(f"raw-{name}.txt", dumped(HEADS[name][:1024]))


def test_every_field_of_the_format_is_named():
    lines = dumped(images.diskulog()[:1024]).splitlines()
    named = [tuple(line.split()[:3]) for line in lines if len(line.split()) > 3 and line[:6].strip().isdigit()]
    for name, _ in ondisk.EXTENSION_FIELDS:
        assert any(name == word for _, _, word in named)


@given(st.binary(min_size=1, max_size=1100))
def test_whatever_the_bytes_are_they_are_shown_and_nothing_moves_the_cursor(head):
    out = dumped(head[:1024])
    assert out.replace("\n", "").isprintable()
    assert f"{head[0]:02x}" in out.splitlines()[1]
    assert ("the bytes end here" in out) == (len(head) < 1024)


@given(st.binary(min_size=1024, max_size=1024))
def test_no_byte_is_lost(head):
    found = bytearray()
    for line in raw.lines(head):
        if line.strip() == "*":
            continue
        if line[:6].strip().isdigit():
            at, row = int(line[:6]), bytes.fromhex("".join(line[36:59].split()))
            while len(found) < at:  # what a star stands for
                found += found[-8:]
            found[at:] = row
    assert found == head


def test_a_state_that_is_not_known():
    head = images.diskulog()
    head[532] = 9
    assert "9 not known" in dumped(head[:1024])
    assert "bad" in dumped(head[:1024]).splitlines()[-1]


def test_features_that_are_set():
    assert "0x4" in dumped(images.diskulog(incompatible=4)[:1024])
