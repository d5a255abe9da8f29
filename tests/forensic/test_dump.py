# SPDX-License-Identifier: LGPL-2.1-or-later
"""Dumps and their reading together: what one writes the other understands, and nothing else."""

import json
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskulog import ondisk
from diskulog.errors import BadLogError
from diskulog.forensic import dump, undump
from diskulog.ondisk import State
from tests import images, schemas

TEXT = """\
diskulog dump 1
# 'diskulog restore FILE DEV' makes a log of it again; lines that begin with # are not read
dialect "diskulog"
state "closed"
region_count 1000
bit_count 1000
uuid "LVM-s0me-m1rror"
# region size: 512.0 KiB
region_size_sectors 1024
# target length: 500.0 MiB
target_length_sectors 1023976
generation 7
# created: 2023-11-14 22:13:20 UTC
created_seconds 1700000000
# resumed: 2023-11-14 22:15:00 UTC
resumed_seconds 1700000100
# closed: 2023-11-14 22:16:40 UTC
closed_seconds 1700000200
host_name "anvil"
compatible 0
dirty_count 3
out_of_sync_count 1
# dirty, first region and count: 2 ranges, 3 of 1000
dirty 5 2
dirty 999 1
# out_of_sync, first region and count: 1 range, 1 of 1000
out_of_sync 5 1
end
"""
LOG = images.diskulog(1000, dirty=[5, 6, 999], out_of_sync=[5])


def text_of(image):
    return "".join(dump.text(image))


def json_of(image):
    text = "".join(dump.as_json(image))
    schemas.document(text)
    return text


def read(text):
    return undump.load(images.MemorySource(text.encode() if isinstance(text, str) else text))


def test_a_dump_by_eye():
    assert text_of(images.loaded(LOG)) == TEXT


def test_a_kernel_log_by_eye():
    assert text_of(images.loaded(images.kernel(100, dirty=[1]))) == (
        f"{dump.FIRST_LINE}\n{TEXT.splitlines()[1]}\n"
        'dialect "kernel"\nregion_count 100\nbit_count 100\ndirty_count 1\n'
        "# dirty, first region and count: 1 range, 1 of 100\ndirty 1 1\nend\n"
    )


def test_the_json_holds_the_same():
    document = json.loads(json_of(images.loaded(LOG)))
    assert (document["command"], document["format_version"]) == ("dump", 1)
    assert (document["dirty"], document["out_of_sync"]) == ([[5, 2], [999, 1]], [[5, 1]])
    assert document["log"] == dump.facts(images.loaded(LOG)) | {"dirty_count": 3, "out_of_sync_count": 1}


LOGS = {
    "kernel": images.kernel(1000, dirty=[3]),
    "kernel, all dirty": images.claims(1000),
    "lvm, zeros": images.lvm_fresh(0, size=8192),
    "lvm, ones": images.lvm_fresh(0xFF, size=8192),
    "open": images.diskulog(1000, dirty=[5], out_of_sync=[5, 7], state=State.OPEN),
    "closed": LOG,
    "released": images.diskulog(1000, dirty=[5], out_of_sync=[5], state=State.RELEASED),
    "no region": images.diskulog(0),
    "names": images.diskulog(10, uuid='a"\udcff\\#\0b', host_name="\ufffd" * 21 + "\0"),
    "the last of everything": images.diskulog(10, generation=2**64 - 1, closed_seconds=2**64 - 1, compatible=2**32 - 1),
}


@pytest.mark.parametrize("data", LOGS.values(), ids=LOGS)
@pytest.mark.parametrize("form", [text_of, json_of], ids=["text", "json"])
def test_a_dump_of_what_was_read_from_a_dump_is_the_same(data, form):
    first = form(images.loaded(data))
    assert form(read(first)) == first
    assert text_of(read(first)) == text_of(images.loaded(data))


def test_the_log_that_is_read_is_a_whole_log():
    before, after = images.loaded(LOG), read(TEXT)
    assert ondisk.unpack_extension(after.head) == after.extension
    assert replace(after.extension, sync_offset_bytes=0, sync_capacity_bytes=0) == replace(
        before.extension, sync_offset_bytes=0, sync_capacity_bytes=0, boot_id=bytes(16), live_token=bytes(8)
    )


@given(st.lists(st.booleans(), max_size=200), st.data())
def test_any_bits_survive(clean, data):
    sync = data.draw(st.lists(st.booleans(), min_size=len(clean), max_size=len(clean)))
    zeros = ([at for at, bit in enumerate(bits) if not bit] for bits in (clean, sync))
    image = images.loaded(images.diskulog(len(clean), *zeros, state=State.OPEN))
    assert text_of(read(json_of(read(text_of(image))))) == text_of(image)


# what is no dump


def changed(old, new, text=TEXT):
    assert old in text
    return text.replace(old, new, 1)


BAD = {
    "empty": ("", "no dump"),
    "something else": ("dialect\n", "no dump"),
    "a log": (bytes(LOG), "no line of a dump"),
    "another version": (changed("dump 1", "dump 2"), "line 1: a dump of another version"),
    "cut off in the head": (TEXT[:300], "is missing"),
    "cut off in the ranges": (TEXT[: TEXT.index("out_of_sync 5")], "lines are missing"),
    "cut off at the end": (TEXT[: TEXT.index("end")], "cut off"),
    "more after the end": (TEXT + "dirty 9 1\n", "line 29: there is more"),
    "no such word": (changed("generation", "generations"), "line 12: generations is not known"),
    "a word less": (changed("generation 7\n", ""), "generation is missing"),
    "a count less": (changed("dirty_count 3\n", ""), "dirty_count is missing"),
    "a word of another dialect": (changed('dialect "diskulog"', 'dialect "kernel"'), "is not known"),
    "a range less": (changed("dirty 999 1\n", ""), "dirty_count is 3, and the ranges have 2: lines are missing"),
    "no range out of sync": (changed("out_of_sync 5 1\n", ""), "out_of_sync_count is 1, and the ranges have 0"),
    "a count that is no number": (changed("dirty_count 3", "dirty_count [3]"), "dirty_count is [3]"),
    "a count that is half a number": (changed("region_count 1000", "region_count 1000.0"), "bit_count must be"),
    "no list of ranges at all": (changed('"dirty": [', '"x": [', json_of(images.loaded(LOG))), "x is not known"),
    "said twice": (changed("generation 7", "generation 7\ngeneration 7"), "line 13: generation is said twice"),
    "no value": (changed("generation 7", "generation"), "the value of generation cannot be read"),
    "no number": (changed("generation 7", 'generation "7"'), "generation: must be a number"),
    "a yes": (changed("generation 7", "generation true"), "generation: must be a number"),
    "a negative number": (changed("generation 7", "generation -7"), "generation: must be a number"),
    "a large number": (changed("generation 7", f"generation {2**64}"), "generation: must be a number"),
    "an endless number": (changed("generation 7", "generation " + "9" * 4200), "no line of a dump"),
    "32 bits": (changed("compatible 0", f"compatible {2**32}"), "compatible: must be a number"),
    "a long uuid": (changed("LVM-s0me-m1rror", "u" * 129), "uuid: must be text"),
    "a zero in a uuid": (changed("LVM-s0me-m1rror", "u\\u0000"), "uuid: must be text"),
    "half a character": (changed("LVM-s0me-m1rror", "u\\ud800"), "uuid: must be text"),
    "no text": (changed('"anvil"', "7"), "host_name: must be text"),
    "the dialect": (changed('dialect "diskulog"', 'dialect "x"'), "the dialect is neither"),
    "the state": (changed('state "closed"', 'state "shut"'), "the state is none of open, closed, released"),
    "a state that is a list": (changed('state "closed"', "state []"), "the state is none of"),
    "the counts differ": (changed("bit_count 1000", "bit_count 999"), "bit_count must be"),
    "too many": (changed("region_count 1000\nbit_count 1000", f"region_count {2**32}\nbit_count {2**32}"), "at most"),
    "ranges out of order": (changed("dirty 5 2\ndirty 999 1", "dirty 999 1\ndirty 5 2"), "line 25: 2 regions from 5"),
    "ranges that overlap": (changed("dirty 999 1", "dirty 6 1"), "line 25: 1 regions from 6"),
    "an empty range": (changed("dirty 999 1", "dirty 999 0"), "line 25"),
    "beyond the last": (changed("dirty 999 1", "dirty 999 2"), "line 25"),
    "half a range": (changed("dirty 999 1", "dirty 999"), "followed by a first region and a count"),
    "no range": (changed("dirty 999 1", "dirty a b"), "followed by a first region and a count"),
    "the kinds out of order": (changed("dirty 5 2", "out_of_sync 5 2"), "dirty_count is 3, and the ranges have 0"),
    "a long line": ("diskulog dump 1\n" + "x" * 5000, "line 2: no line of a dump"),
    "no ASCII": (changed("anvil", "\u00fc"), "no line of a dump"),
    "control characters": (changed("dirty 5 2", "\x1b[2J"), "is not known"),
    "a cut JSON": (json_of(images.loaded(LOG))[:-9], "no JSON"),
    "another JSON": ('{"a": 1}', "no dump of version 1"),
    "a deep JSON": ("{" + '"a":[' * 100_000, "no JSON"),
    "no facts": ('{"command": "dump", "format_version": 1}', "'log' is missing"),
    "no list": (
        changed('"dirty": [', '"dirty": 5, "out_of_sync": [', json_of(images.loaded(LOG))),
        "dirty is no list of ranges",
    ),
    "no pairs": (changed("[999, 1]", "[999]", json_of(images.loaded(LOG))), "dirty is no list of [first"),
    "no integers": (changed("[999, 1]", "[999, true]", json_of(images.loaded(LOG))), "dirty is no list of [first"),
}


@pytest.mark.parametrize(("text", "said"), BAD.values(), ids=BAD)
def test_what_is_no_dump_is_refused_with_its_place(text, said):
    with pytest.raises(BadLogError) as caught:
        read(text)
    assert str(caught.value).startswith("memory")
    assert said in str(caught.value)
    assert str(caught.value).isprintable()


@given(st.data())
def test_no_change_of_a_dump_is_met_by_anything_but_a_log_or_a_complaint(data):
    text = data.draw(st.sampled_from([TEXT, json_of(images.loaded(LOG))]))
    begin = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(begin, min(begin + 20, len(text))))
    made = text[:begin] + data.draw(st.text(max_size=10)) + text[end:]
    with suppress(BadLogError):
        read(made.encode("utf-8", "replace"))


def test_a_json_that_is_too_long_is_not_read_whole(monkeypatch):
    monkeypatch.setattr(undump, "MAX_JSON_BYTES", 100)
    monkeypatch.setattr(undump, "CHUNK_BYTES", 50)
    with pytest.raises(BadLogError, match="make one without --json"):
        read(json_of(images.loaded(LOG)))


def test_a_dump_is_read_however_its_pieces_come():
    class Dripping(images.MemorySource):
        def read(self, offset_bytes, length_bytes):
            return super().read(offset_bytes, min(length_bytes, 7))

    assert text_of(undump.load(Dripping(TEXT.encode()))) == TEXT
    assert text_of(undump.load(Dripping(TEXT.encode().rstrip(b"\n")))) == TEXT
