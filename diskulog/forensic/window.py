# SPDX-License-Identifier: LGPL-2.1-or-later
"""A log that begins somewhere inside a bigger image, device or stream.

Lives here: shifting what is read, and remembering how it began. Does not know what the bytes mean.
"""

from dataclasses import dataclass, field

from diskulog.exits import UsageError
from diskulog.forensic.source import Source


@dataclass(slots=True)
class Window:
    """A source from one of its bytes on; with an offset of 0, all of it.

    ``head`` is what was last read from its first byte on: what is no log can be shown without reading a pipe twice.
    """

    whole: Source
    offset_bytes: int = 0
    head: bytes = field(default=b"", init=False)

    def __post_init__(self) -> None:
        size = self.whole.size_bytes
        if size is not None and self.offset_bytes > size:
            raise UsageError(f"--offset {self.offset_bytes}: {self.whole.name} ends before, at byte {size}")

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.whole.name} at byte {self.offset_bytes}" if self.offset_bytes else self.whole.name

    @property
    def size_bytes(self) -> int | None:
        """What is left from the offset on."""
        return None if self.whole.size_bytes is None else self.whole.size_bytes - self.offset_bytes

    @property
    def holders(self) -> tuple[str, ...]:
        """Devices that are built on the whole: one of them may be on the log."""
        return self.whole.holders

    @property
    def is_block(self) -> bool:
        """Whether a page cache may stand between the reader and the medium."""
        return self.whole.is_block

    def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        """Read, shorter only at the end.

        Raises:
            DeviceError: when the source fails.
        """
        found = self.whole.read(self.offset_bytes + offset_bytes, length_bytes)
        if offset_bytes == 0:
            self.head = found
        return found

    def bypass_cache(self) -> None:
        """Read the medium from here on.

        Raises:
            DeviceError: when it cannot be.
        """
        self.whole.bypass_cache()
