# SPDX-License-Identifier: LGPL-2.1-or-later
"""Damage to diskulog's sector: every field with its checksum wrong and mended, torn, zeroed, of another log.

Lives here: a table for each. Does not know bitmaps, which stay as they were.
"""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from diskulog import ondisk
from diskulog.exits import Exit
from diskulog.forensic.belief import Belief
from tools.damaging import sound
from tools.damaging.recipe import Damaged, sparse, whole

_LAST: Final = 2**64 - 1


class Field(NamedTuple):
    """A value of one field; what a closed log with it and a checksum that fits is taken for."""

    name: str
    label: str
    value: int | bytes
    story: str
    code: Exit = Exit.FINE
    belief: Belief | None = Belief.CLOSED


_DAMAGED: Final = (Exit.PROBLEM, Belief.DAMAGED)
_LATER: Final = (Exit.NOT_A_LOG, None)
_RESIZED: Final = (Exit.PROBLEM, Belief.RESIZED)
_MISPLACED: Final = (Exit.PROBLEM, Belief.MISPLACED)
_CHANGED: Final = (Exit.PROBLEM, Belief.CHANGED)
_CUT_OFF: Final = (Exit.NOT_A_LOG, None)

_FIELDS: Final = (
    Field("magic", "other", b"diskulig", "another program took this sector and checksums it the same way", *_DAMAGED),
    Field("version", "0", 0, "an extension from before there was a version", *_LATER),
    Field("version", "2", 2, "a later diskulog wrote a later format", *_LATER),
    Field("version", "max", 2**32 - 1, "a much later diskulog wrote it", *_LATER),
    Field("compatible", "unknown", 1 << 31, "a later diskulog wrote it, which an older one may ignore"),
    Field("incompatible", "lowest", 1, "a later diskulog used a feature that this one does not know", *_LATER),
    Field("incompatible", "highest", 1 << 31, "a later diskulog used a feature of its last bit", *_LATER),
    Field("state", "0", 0, "a program filled the sector and forgot the state", *_DAMAGED),
    Field("state", "4", 4, "a state that this format does not have", *_DAMAGED),
    Field("state", "max", 2**32 - 1, "a state of erased flash", *_DAMAGED),
    Field("state", "open", 1, "a program opened it and changed nothing", Exit.FINE, Belief.OPEN),
    Field("state", "released", 3, "it was handed to the kernel's log, which never ran", Exit.FINE, Belief.RELEASED),
    Field("uuid", "empty", b"", "a script adopted it under an empty name"),
    Field("uuid", "latin-1", "Spiegel-für-daheim".encode("latin-1"), "the mirror was named on an old terminal"),
    Field("uuid", "controls", b"\x1b[2J\x1b]0;evil\x07\r\n\t", "somebody named a mirror to fool a terminal"),
    Field("uuid", "c1", "\u009b2J\u009d0;evil\u009c\u0085".encode(), "the same in the controls above 127"),
    Field("uuid", "astral", "\U000e0001\U0001f512\u200b\ufeff".encode(), "characters that cannot be seen"),
    Field("uuid", "json", b'","live":true,"x":"\\u001b', "a name that pretends to be our JSON"),
    Field("uuid", "bidi", "home\u202egnp.exe\u2066".encode(), "a name that reads backwards"),
    Field("uuid", "no-nul", b"u" * 128, "a name that fills its field"),
    Field("uuid", "cut-character", b"u" * 127 + b"\xc3", "a name that was cut off inside a character"),
    Field("uuid", "nul-inside", b"one\0two", "a shorter name was written over a longer one"),
    Field("uuid", "ones", b"\xff" * 128, "a name of erased flash"),
    Field("region_size_sectors", "0", 0, "it was adopted, and not activated since"),
    Field("region_size_sectors", "1", 1, "smaller than any region that dm takes"),
    Field("region_size_sectors", "odd", 1000, "somebody took sectors for kilobytes"),
    Field("region_size_sectors", "huge", 1 << 63, "a bit flipped before the checksum was made"),
    Field("region_size_sectors", "max", _LAST, "all bits set before the checksum was made"),
    Field("target_length_sectors", "0", 0, "it was adopted, and not activated since"),
    Field("target_length_sectors", "1", 1, "a table of one sector was loaded by mistake"),
    Field("target_length_sectors", "max", _LAST, "all bits set before the checksum was made"),
    Field("region_count", "0", 0, "it was adopted by a version that did not know the count", *_RESIZED),
    Field("region_count", "999", 999, "the kernel's log grew by one region since", *_RESIZED),
    Field("region_count", "1001", 1001, "the kernel's log shrank by one region since", *_RESIZED),
    Field("region_count", "2^32-1", 2**32 - 1, "the log of a mirror of 2 PiB was copied over this one", *_RESIZED),
    Field("region_count", "2^32", 2**32, "a bit flipped before the checksum was made", *_RESIZED),
    Field("region_count", "2^60", 2**60, "a bit flipped before the checksum was made", *_RESIZED),
    Field("region_count", "2^64-2", _LAST - 1, "all bits but one set before the checksum was made", *_RESIZED),
    Field("region_count", "max", _LAST, "all bits set before the checksum was made", *_RESIZED),
    Field("sync_offset_bytes", "0", 0, "the place of the sync bitmap was never filled in", *_MISPLACED),
    Field("sync_offset_bytes", "512", 512, "the sync bitmap would be the extension itself", *_MISPLACED),
    Field("sync_offset_bytes", "1024", 1024, "the sync bitmap would be the clean one", *_MISPLACED),
    Field("sync_offset_bytes", "aligned-512", sound.SYNC + 512, "aligned to sectors and not to pages", *_MISPLACED),
    Field("sync_offset_bytes", "odd", sound.SYNC + 1, "aligned to nothing", *_MISPLACED),
    Field("sync_offset_bytes", "other", 4096, "a program moved the sync bitmap and was killed before", *_CHANGED),
    Field("sync_offset_bytes", "last-page", sound.SIZE_BYTES - 4096, "moved to the last page, not copied", *_CHANGED),
    Field("sync_offset_bytes", "end", sound.SIZE_BYTES, "the device became half as large", *_CUT_OFF),
    Field("sync_offset_bytes", "2^62", 1 << 62, "a bit flipped before the checksum was made", *_CUT_OFF),
    Field("sync_offset_bytes", "2^63", 1 << 63, "a place that no file offset can name", *_CUT_OFF),
    Field("sync_offset_bytes", "last", 2**64 - 4096, "a place whose end is beyond 64 bits", *_CUT_OFF),
    Field("sync_offset_bytes", "max", _LAST, "all bits set before the checksum was made", *_MISPLACED),
    Field("sync_capacity_bytes", "0", 0, "the room for the sync bitmap was never filled in", *_MISPLACED),
    Field("sync_capacity_bytes", "127", 127, "the room is one byte short of whole words", *_MISPLACED),
    Field("sync_capacity_bytes", "max", _LAST, "the room overflows, the bitmap does not"),
    Field("generation", "0", 0, "a sector that was never changed"),
    Field("generation", "max", _LAST, "the last generation"),
    Field("created_seconds", "max", _LAST, "the host's clock had no battery"),
    Field("resumed_seconds", "year-9999", 253402300800, "the host's clock ran ahead by 8000 years"),
    Field("closed_seconds", "2^63", 1 << 63, "the host's clock was before 1970"),
    Field("closed_seconds", "0", 0, "closed, and the time of it is not known"),
    Field("boot_id", "zero", bytes(16), "the host does not tell its boot id"),
    Field("boot_id", "ones", b"\xff" * 16, "a boot id of erased flash"),
    Field("live_token", "ones", b"\xff" * 8, "a table that nobody has"),
    Field("host_name", "empty", b"", "a host without a name"),
    Field("host_name", "latin-1", "bürö".encode("latin-1"), "a host that was named on an old terminal"),
    Field("host_name", "controls", b"\x1b[1;1Hanvil\x08\x08\x7f\x9b", "somebody named a host to fool a terminal"),
    Field("host_name", "no-nul", b"h" * 64, "a host's name that fills its field"),
    Field("host_name", "lines", b"anvil\nstate: closed\n", "a host's name that pretends to be our output"),
    Field("clean_crc32", "0", 0, "closed without a checksum of the clean bitmap", *_CHANGED),
    Field("sync_crc32", "0", 0, "closed without a checksum of the sync bitmap", *_CHANGED),
)


def _mended_fields() -> Iterator[Damaged]:
    for field in _FIELDS:
        data = sound.mended(sound.put_field(sound.closed(), field.name, field.value))
        how = f"{field.name} {_shown(field.value)} in a closed log, the extension's checksum fits"
        name = f"extension-{field.name}-{field.label}".replace("_", "-")
        yield Damaged(name, whole(data), how, field.story, field.code, field.belief)


def _shown(value: int | bytes) -> str:
    return str(value) if isinstance(value, int) else repr(value[:24])


def _torn_fields() -> Iterator[Damaged]:
    story = "a bit rotted, and the checksum knows"
    places = {name: sound.field_offset(name) for name, _ in ondisk.EXTENSION_FIELDS}
    places |= {"unused": sound.EXTENSION_END, "checksum": sound.CHECKSUM}
    for field, offset in places.items():
        data = sound.flipped(sound.closed(), offset)
        name = f"extension-{field}-rotted".replace("_", "-")
        yield Damaged(name, whole(data), f"bit 0 of byte {offset} flipped in a closed log", story, *_DAMAGED)


def _unused() -> Iterator[Damaged]:
    data = sound.mended(sound.put(sound.closed(), sound.EXTENSION_END, b"\x1b[2J" * 8))
    story = "a later diskulog has a field there that an older one may ignore"
    how = f"32 bytes behind the last field, at byte {sound.EXTENSION_END}; the checksum fits"
    yield Damaged("extension-unused-filled", whole(data), how, story, Exit.FINE, Belief.CLOSED)


def _sector(data: bytes | bytearray) -> bytes:
    return bytes(data[sound.EXTENSION : sound.CLEAN])


_OTHER: Final = {"uuid": "LVM-an0ther-m1rror", "generation": 99}

# label, the sector, what happened, what it is then
_SECTORS: Final = (
    ("zeroed", bytes(512), "the sector was unreadable and the disk gave another, of zeros", Exit.FINE, Belief.KERNEL),
    ("ones", b"\xff" * 512, "the sector was erased, as flash is", Exit.FINE, Belief.KERNEL),
    ("ones-torn", b"\xff" * 256 + bytes(256), "erasing the sector was interrupted", *_DAMAGED),
    ("torn", _sector(sound.opened(generation=8))[:128] + _sector(sound.closed())[128:], "a torn write", *_DAMAGED),
    ("torn-late", _sector(sound.closed())[:508] + bytes(4), "all but the checksum was written", *_DAMAGED),
    ("text", b"To be, or not to be\n" * 25 + bytes(12), "somebody echoed into the wrong place", *_DAMAGED),
    ("uuid-only", _sector(sound.closed())[:24].ljust(512, b"\0"), "half of a new sector, on zeros", *_DAMAGED),
    ("swapped", _sector(sound.closed())[::-1], "the sector backwards", *_DAMAGED),
    ("stale", _sector(sound.closed(generation=6, clean_crc32=1)), "an old generation came back", *_CHANGED),
    ("other-log", _sector(sound.closed(**_OTHER, clean_crc32=2)), "the sector of another mirror's log", *_CHANGED),
    ("other-open", _sector(sound.opened(**_OTHER)), "another mirror's sector, in use", Exit.FINE, Belief.OPEN),
    ("other-size", _sector(sound.closed(2000)), "the sector of a larger mirror's log", *_RESIZED),
)


def _sectors() -> Iterator[Damaged]:
    for label, sector, story, code, belief in _SECTORS:
        data = sound.put(sound.closed(), sound.EXTENSION, sector)
        how = f"bytes 512 to 1023 of a closed log replaced: {label}"
        yield Damaged(f"sector-{label}", whole(data), how, story, code, belief)


def _swapped() -> Iterator[Damaged]:
    data = sound.closed()
    for name, code in ondisk.EXTENSION_FIELDS:
        if code in ("I", "Q"):
            sound.reverse(data, sound.field_offset(name), struct.calcsize("<" + code))
    sound.reverse(data, sound.CHECKSUM, 4)
    how, story = "every number of the extension byte-swapped", "a big-endian machine wrote it in its own order"
    yield Damaged("sector-big-endian", whole(data), how, story, *_DAMAGED)


def _overlapping() -> Iterator[Damaged]:
    count = 28672  # 3584 bytes, from byte 1024 on
    data = sound.mended(sound.put_field(sound.closed(count), "sync_offset_bytes", 4096))
    story = "the clean bitmap grew into the sync bitmap"
    how = f"the clean bitmap of {count} regions ends at byte {sound.CLEAN + count // 8}, the sync bitmap begins at 4096"
    yield Damaged("sync-overlapped", whole(data), how, story, *_MISPLACED)


def _under_lvm() -> Iterator[Damaged]:
    for count, found in ((2000, _RESIZED), (2**32 - 1, _CUT_OFF), (2**60, _CUT_OFF), (_LAST, _CUT_OFF)):
        data = sound.put(sound.opened(), 0, sound.header(ondisk.ALL_REGIONS))
        data = sound.mended(sound.put_field(data, "region_count", count))
        how = f"nr_regions 2^64-1, region_count {count}, the checksum fits"
        yield Damaged(f"lvm-over-open-{count}", whole(data), how, "LVM wrote its header over a log in use", *found)


def _far_away() -> Iterator[Damaged]:
    offset, size = 1 << 39, 1 << 40
    data = sound.mended(sound.put_field(sound.closed(), "sync_offset_bytes", offset))
    bits = bytes(data[sound.SYNC : sound.SYNC + 128])
    data = sound.put(data, sound.SYNC, bytes(128))
    story = "a log on a whole disk: its sync bitmap lies in the middle"
    how = "a closed log on a sparse TiB, the sync bitmap at half of it"
    recipe = sparse(data, size, (offset, bits))
    yield Damaged("sparse-sync-far", recipe, how, story, Exit.FINE, Belief.CLOSED)
    story, how = "the sync bitmap of a log on a whole disk was lost", "the same without the sync bitmap"
    yield Damaged("sparse-sync-lost", sparse(data, size), how, story, *_CHANGED)


def extensions() -> Iterator[Damaged]:
    """Yield the images with a damaged extension."""
    for family in (_mended_fields, _torn_fields, _unused, _sectors, _swapped, _overlapping, _under_lvm, _far_away):
        yield from family()
