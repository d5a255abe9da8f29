# SPDX-License-Identifier: LGPL-2.1-or-later
"""How inputs are changed: at random, in the fields that a reader looks at, and put right again behind.

Lives here: a change and a mend for each kind of input. Does not know which inputs are worth changing.
"""

import random
import re
import struct
import zlib
from collections.abc import Callable

from diskulog import ondisk
from tests import fake_kernel as kernel
from tools.fuzzing.programs import LUIDS, RAW, SLOTS, STRINGS, UUIDS

Chance = random.Random
Change = Callable[[Chance, bytearray], None]

MAX_BYTES = 16 * 1024  # of an input
_NUMBERS = (0, 1, 2, 8, 64, 255, 511, 512, 1024, 4096, 2**16, 2**31, 2**32, 2**53, 2**57, 2**60, 2**62, 2**63, 2**64)


def _number(chance: Chance, size: int) -> bytes:
    value = chance.choice(_NUMBERS) + chance.choice((-1, 0, 0, 1))
    return (value % 256**size).to_bytes(size, "little")


def _flip(chance: Chance, data: bytearray) -> None:
    if data:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _overwrite(chance: Chance, data: bytearray) -> None:
    size = chance.choice((1, 2, 4, 8))
    at = chance.randrange(len(data) + 1)
    data[at : at + size] = _number(chance, size)


def _insert(chance: Chance, data: bytearray) -> None:
    at = chance.randrange(len(data) + 1)
    data[at:at] = chance.randbytes(chance.randrange(1, 9))


def _delete(chance: Chance, data: bytearray) -> None:
    at = chance.randrange(len(data) + 1)
    del data[at : at + chance.choice((1, 2, 8, 64, 512, MAX_BYTES))]


def _copy(chance: Chance, data: bytearray) -> None:
    source, target = (chance.randrange(len(data) + 1) for _ in range(2))
    piece = data[source : source + chance.choice((1, 4, 16, 64, 512))]
    data[target : target + chance.choice((0, len(piece)))] = piece


def _repeat(chance: Chance, data: bytearray) -> None:
    at = chance.randrange(len(data) + 1)
    data[at:at] = data[at : at + chance.randrange(1, 4)] * chance.choice((20, 400, 6000))


ANY: tuple[Change, ...] = (*(_flip, _overwrite, _insert, _delete, _copy) * 4, _repeat)

_FRAME_FIELDS = ((0, 4), (4, 2), (16, 4), (20, 4), (24, 4), (32, 2), (36, 8), (176, 4), (184, 4), (188, 4), (192, 4))


def change_frame(chance: Chance, data: bytearray) -> None:
    """Set a field of the headers."""
    at, size = chance.choice(_FRAME_FIELDS)
    data[at : at + size] = bytes([chance.randrange(20)]).ljust(size, b"\0") if at == 188 else _number(chance, size)


def mend_frame(chance: Chance, data: bytearray) -> None:
    """Let the lengths agree with the datagram's."""
    if len(data) >= kernel.FRAME and chance.random() < 0.7:
        struct.pack_into("=I", data, 0, len(data))
        struct.pack_into("=H", data, 32, (len(data) - kernel.HEADERS) % 2**16)
        struct.pack_into("=I", data, 192, len(data) - kernel.FRAME)


def _frame(chance: Chance, fields: int) -> bytes:
    payload = chance.choice((b"", bytes(8), bytes(16), *(string + b"\0" for string in STRINGS)))
    made = bytearray(kernel.datagram(chance.randrange(1, 18), chance.choice(UUIDS), chance.choice(LUIDS), payload))
    for _ in range(fields):
        change_frame(chance, made)
    return bytes(made)


def change_program(chance: Chance, data: bytearray) -> None:
    """Go on with one more action."""
    frame = _frame(chance, chance.randrange(2))
    raw = RAW + len(frame).to_bytes(2, "little") + frame
    request = bytes(chance.randrange(limit) for limit in (6, 20, 256, 32, 42, 256))
    data += chance.choice((raw, request, request, request, chance.randbytes(3)))


def change_memory(chance: Chance, data: bytearray) -> None:
    """Write to one more slot."""
    frame = _frame(chance, chance.randrange(3))
    slot = chance.randrange(len(SLOTS))
    length = chance.choice((len(frame), len(frame), 2**32 - 1, 2**16, 0, 1))
    content = length.to_bytes(4, "little") * (slot > 0) + frame
    data += bytes([slot]) + len(content).to_bytes(2, "little") + content


def _words(vocabulary: bytes) -> Change:
    known = vocabulary.split(b" ")

    def change(chance: Chance, data: bytearray) -> None:
        pieces = re.split(rb"([ \n]+)", bytes(data))
        at = chance.randrange(len(pieces))
        word, blank = chance.choice((*known, b"%d" % chance.choice(_NUMBERS))), chance.choice((b" ", b" ", b"\n"))
        pieces[at : at + chance.choice((0, 1))] = chance.choice(((word,), (word,), (word, blank), ()))
        data[:] = b"".join(pieces)

    return change


change_table = _words(b"8 799 1024 disk core clustered-disk sync nosync block_on_error /dev/log 253:2 \xc2\xb2 + \0 -1")
change_toml = _words(
    b'[clears] [netlink] [daemon] [compat] hold_seconds max_held = 1e400 nan inf 0o7 0xfffffff true "" [ ] [[ { } , . '
    b"''' run_directory log_level \"/run\" receive_buffer_bytes clustered_single_host 1979-05-27 \\u0000 \\ud800 # \xff"
)


_TRACE_WORDS = (
    b"CTR DTR PRESUSPEND POSTSUSPEND RESUME IN_SYNC FLUSH MARK_REGION CLEAR_REGION SET_REGION_SYNC GET_RESYNC_WORK "
    b'"lost" "raw" "end" "at" "type" "seq" "version" null -1 1e9 1e300 NaN 0 5 200 {} [ " : , '
    b"0500000000000000 05000000000000000100000000000000 31303234206469736b20372e32203136"
).split(b" ")


def change_trace(chance: Chance, data: bytearray) -> None:
    """Put a word in the place of another, or repeat or drop a line."""
    pieces = re.split(rb"([{}\[\]\":,\n]+)", bytes(data))
    at = chance.randrange(len(pieces))
    if chance.random() < 0.7:
        pieces[at] = chance.choice(_TRACE_WORDS)
        data[:] = b"".join(pieces)
        return
    lines = bytes(data).splitlines(keepends=True) or [b""]
    at = chance.randrange(len(lines))
    lines[at : at + 1] = [lines[chance.randrange(len(lines))]] * chance.choice((0, 1, 2, 30))
    data[:] = b"".join(lines)


def _log_fields() -> tuple[tuple[int, int], ...]:
    found, at = [(0, 4), (4, 4), (8, 8), (8, 8), (8, 8)], ondisk.EXTENSION_OFFSET_BYTES
    for _, code in ondisk.EXTENSION_FIELDS:
        size = struct.calcsize("<" + code)
        found += [(at, size)] * (size in (4, 8))
        at += size
    return tuple(found)


_LOG_FIELDS = _log_fields()


def change_log(chance: Chance, data: bytearray) -> None:
    """Set a field of the header or the extension, or change the table before them."""
    base = data.find(b"\n") + 1
    if chance.random() < 0.2:
        line = data[:base].rstrip(b"\n")
        change_table(chance, line)
        data[:base] = line.replace(b"\n", b" ") + b"\n"
        return
    at, size = chance.choice(_LOG_FIELDS)
    sources = [other for other, width in _LOG_FIELDS if width == size]
    other = base + chance.choice(sources)
    value = _number(chance, size) if chance.random() < 0.6 else data[other : other + size]
    data[base + at : base + at + size] = value
    if at == 8 and chance.random() < 0.5:  # nr_regions and region_count agree, so that somebody may believe them
        data[base + 680 : base + 688] = value


def mend_log(chance: Chance, data: bytearray) -> None:
    """Let the checksums agree with the log's."""
    base = data.find(b"\n") + 1
    log = bytes(data[base:])
    if len(log) < ondisk.HEAD_BYTES or not any(log[512:1024]):
        return
    count, offset = struct.unpack_from("<QQ", log, 680)
    if chance.random() < 0.5 and count < 8 * len(log):
        sums = (ondisk.bitmap_crc32(log[at : at + len(log)], count) for at in (1024, min(offset, len(log))))
        struct.pack_into("<II", data, base + 824, *sums)
    if chance.random() < 0.85:
        struct.pack_into("<I", data, base + 1020, zlib.crc32(data[base + 512 : base + 1020]))


def leave(chance: Chance, data: bytearray) -> None:
    """Mend nothing."""
