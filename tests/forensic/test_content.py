# SPDX-License-Identifier: LGPL-2.1-or-later
import pytest

from diskulog.forensic import content
from diskulog.forensic.content import Content
from diskulog.units import MIB
from tests import images


def look(data, *more):
    return content.look(images.MemorySource(bytes(data)), more)


@pytest.mark.parametrize(("offset", "signature", "what"), content._SIGNATURES, ids=lambda value: str(value)[:20])
def test_what_administrators_keep_on_devices_has_a_name(offset, signature, what):
    data = bytearray(MIB)
    data[offset : offset + len(signature)] = signature
    assert look(data) == Content(what, foreign=True)


def test_logs_have_names_too():
    assert look(images.diskulog(uuid="a\nb")) == Content("the log of mirror a\\nb", "a\nb")
    assert look(images.kernel()) == look(images.lvm_fresh(0xFF)) == Content("a mirror log that the kernel or LVM wrote")
    assert look(images.damaged()) == Content("a damaged mirror log")


def test_nothing_but_zeros_is_nothing():
    assert look(bytes(2 * MIB), (MIB, MIB)) is None
    assert look(b"") is None


def test_whatever_else_is_something():
    assert look(bytes(4096) + b"x") == Content(
        "something that is not known here (it begins with 00 00 00 00 00 00 00 00)"
    )


def test_the_places_that_will_be_written_are_looked_at():
    data = bytes(3 * MIB) + b"x" + bytes(MIB)
    assert look(data, (0, 3 * MIB)) is None
    assert look(data, (0, MIB), (2 * MIB, MIB + 1)) == Content("something behind its first MiB")
