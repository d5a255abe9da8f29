# SPDX-License-Identifier: LGPL-2.1-or-later
"""A log or a dump of one: whichever a name stands for, it is read as a log.

Lives here: telling them apart by their first bytes. Does not know how either is read.
"""

from dataclasses import dataclass

from diskulog.forensic import image, source, undump
from diskulog.forensic.image import Image
from diskulog.forensic.source import Through

_START_BYTES = 16


@dataclass(slots=True)
class _Peeked(Through):
    """A source of which the start was read already: a pipe does not go back."""

    start: bytes

    def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        if self.is_block or offset_bytes >= len(self.start):
            return self.source.read(offset_bytes, length_bytes)
        end = offset_bytes + length_bytes
        rest = self.source.read(len(self.start), end - len(self.start)) if end > len(self.start) else b""
        return self.start[offset_bytes:end] + rest


def load(name: str) -> Image:
    """Read what ``name`` stands for: a device, an image, a dump, ``-``.

    Raises:
        UsageError: for what can hold neither.
        BadLogError: when it is neither.
        DeviceError: when it cannot be read.
    """
    with source.opened(name) as found:
        peeked = _Peeked(found, found.read(0, _START_BYTES))
        return undump.load(peeked) if undump.is_dump(peeked.start) else image.load(peeked)
