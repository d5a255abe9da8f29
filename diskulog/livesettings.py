# SPDX-License-Identifier: LGPL-2.1-or-later
"""Settings that may change while a worker works: its supervisor writes them into memory that both see.

Lives here: which those are, and their layout. Does not know the configuration file, or who uses a setting.
"""

import struct
from typing import Final, NamedTuple

_LAYOUT: Final = struct.Struct("=dQdQQQ")
_GENERATION: Final = struct.Struct("=Q")
SETTINGS_BYTES: Final = _GENERATION.size + _LAYOUT.size


class Settings(NamedTuple):
    """Values of the keys of the same name; ``log_level`` is a number of ``logging``."""

    hold_seconds: float
    max_held: int
    leg_flush_timeout_seconds: float
    spins: int
    clustered_single_host: int
    log_level: int


class LiveSettings:
    """The memory; the generation tells a reader that there is something new."""

    def __init__(self, memory: memoryview) -> None:
        """Take ``SETTINGS_BYTES`` of memory that is shared and zero."""
        self._memory = memory

    @property
    def generation(self) -> int:
        """How often the settings were written."""
        return int(_GENERATION.unpack_from(self._memory)[0])

    def write(self, settings: Settings) -> None:
        """Store new ones; the generation last."""
        _LAYOUT.pack_into(self._memory, _GENERATION.size, *settings)
        _GENERATION.pack_into(self._memory, 0, self.generation + 1)

    def read(self) -> Settings:
        """Return what was written last."""
        return Settings(*_LAYOUT.unpack_from(self._memory, _GENERATION.size))
