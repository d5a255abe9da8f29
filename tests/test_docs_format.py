# SPDX-License-Identifier: LGPL-2.1-or-later
"""What docs/format.rst says in numbers is what ``ondisk`` does, and its image is a log."""

import re
from errno import EINVAL, EIO, ESRCH

from bitarray import bitarray

from diskulog import ondisk
from diskulog.forensic import image
from diskulog.forensic.source import opened
from diskulog.ondisk import Extension, Header, State
from diskulog.wire import FALLBACK_ERROR, RequestType
from tests.toolbox import TOP

TEXT = (TOP / "docs/format.rst").read_text()
_NAMES = {EINVAL: "EINVAL", ESRCH: "ESRCH", EIO: "EIO"}
BOOT = bytes(range(16))
COUNT, SIZE_BYTES = 100, 64 * 1024
CLEAN_DIRTY, SYNC_OUT = (3, 4, 77), (3, 4)


def between(mark):
    return TEXT[TEXT.index(f".. {mark} begins") : TEXT.index(f".. {mark} ends")]


def shown():
    """Make the image of the hex dump, as xxd -r would."""
    made = bytearray(SIZE_BYTES)
    lines = re.findall(r"^ +([0-9a-f]{8}): ((?:[0-9a-f]{4} ?){8})", between("image"), re.MULTILINE)
    assert len(lines) > 10
    for offset, words in lines:
        at = int(offset, 16)
        made[at : at + 16] = bytes.fromhex(words.replace(" ", ""))
    return bytes(made)


def bits(zeros):
    made = bitarray(COUNT, endian="little")
    made.setall(1)
    for zero in zeros:
        made[zero] = 0
    return ondisk.bits_to_bytes(made)


def test_the_image_is_what_the_page_says_of_it():
    clean, sync = bits(CLEAN_DIRTY), bits(SYNC_OUT)
    geometry = ondisk.choose_geometry(COUNT, SIZE_BYTES, 512)
    extension = Extension(
        "my-mirror",
        1024,
        102376,
        COUNT,
        geometry.sync_offset_bytes,
        geometry.sync_capacity_bytes,
        State.CLOSED,
        generation=7,
        created_seconds=1_700_000_000,
        resumed_seconds=1_700_000_100,
        closed_seconds=1_700_000_200,
        boot_id=BOOT,
        live_token=ondisk.live_token(BOOT, 0xFFFF888012345678),
        host_name="anvil",
        clean_crc32=ondisk.bitmap_crc32(clean, COUNT),
        sync_crc32=ondisk.bitmap_crc32(sync, COUNT),
    )
    expected = bytearray(SIZE_BYTES)
    expected[: ondisk.HEAD_BYTES] = ondisk.head(Header(nr_regions=COUNT), extension)
    expected[ondisk.CLEAN_OFFSET_BYTES : ondisk.CLEAN_OFFSET_BYTES + len(clean)] = clean
    expected[geometry.sync_offset_bytes : geometry.sync_offset_bytes + len(sync)] = sync
    assert shown() == bytes(expected)


def test_the_image_is_a_log_that_a_reader_believes(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(shown())
    with opened(str(path)) as source:
        read = image.load(source)
    assert read.extension is not None
    assert read.extension.state is State.CLOSED
    assert ondisk.extension_checksum_ok(shown()[512:1024])


def test_the_geometries_are_those_of_the_code():
    rows = [
        list(map(int, row)) for row in re.findall(r"^" + r"(\d+) +" * 5 + r"(\d+)$", between("geometry"), re.MULTILINE)
    ]
    assert len(rows) >= 5
    for regions, device, block, needed, offset, capacity in rows:
        geometry = ondisk.choose_geometry(regions, device, block)
        assert ondisk.needed_bytes(regions, block) == needed
        assert (geometry.sync_offset_bytes, geometry.sync_capacity_bytes) == (offset, capacity)


def test_the_places_are_those_of_the_code():
    assert f"from {ondisk.CLEAN_OFFSET_BYTES}" in TEXT
    assert f"{ondisk.EXTENSION_OFFSET_BYTES} to {ondisk.CLEAN_OFFSET_BYTES - 1}" in TEXT
    assert str(ondisk.SYNC_ALIGN_BYTES) in TEXT


def test_the_requests_are_those_of_the_protocol():
    text = (TOP / "docs/protocol.rst").read_text()
    text = text[text.index(".. requests begins") : text.index(".. requests ends")]
    rows = re.findall(r"^(\d+) +(\w+) .* (\S.*?)$", text, re.MULTILINE)
    assert [(int(number), name) for number, name, _ in rows] == [(each.value, each.name) for each in RequestType]
    for number, name, _ in rows:
        said = re.search(rf"^{number} .*\b(EINVAL|ESRCH|EIO)\b", text, re.MULTILINE)
        assert (said and said[1]) == _NAMES.get(FALLBACK_ERROR.get(RequestType(int(number)))), name
