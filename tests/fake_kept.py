# SPDX-License-Identifier: LGPL-2.1-or-later
"""Held clears that survive a worker, in memory: keeps ``diskulog.logstore.Kept``."""

from bitarray import bitarray
from bitarray.util import zeros


class Shelf:
    """What lies in the run directory of one boot: bits for each luid, and whether its legs are being flushed."""

    def __init__(self) -> None:
        self.bits: dict[object, bitarray] = {}
        self.in_flush: dict[object, bool] = {}


class FakeKept:
    def __init__(self, shelf: Shelf | None = None, whose: object = None, region_count: int = 64) -> None:
        self.shelf, self.whose, self.region_count = shelf or Shelf(), whose, region_count

    def begin(self) -> bitarray:
        self.shelf.in_flush[self.whose] = False
        self.shelf.bits[self.whose] = zeros(self.region_count, endian="little")
        return self.shelf.bits[self.whose]

    def resume(self) -> tuple[bitarray, int]:
        if self.whose not in self.shelf.bits:
            return self.begin(), 0
        bits, dropped = self.shelf.bits[self.whose], 0
        if self.shelf.in_flush[self.whose]:
            dropped = bits.count()
            bits.setall(0)
        self.shelf.in_flush[self.whose] = False
        return bits, dropped

    def flushing(self, begins: bool) -> None:
        self.shelf.in_flush[self.whose] = begins

    def remove(self) -> None:
        self.shelf.bits.pop(self.whose, None)
