# SPDX-License-Identifier: LGPL-2.1-or-later
"""The file that an interrupted ``verify`` goes on from: what it was about, and the tally.

Lives here: its content as text and back, whether it fits a run, writing it whole or not at all. Compares nothing.
"""

import json
import os
import stat
from collections.abc import Callable, Sized
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Final, TypeVar

from diskulog.errors import DeviceError, RefusedError
from diskulog.forensic.comparison import MAX_KEPT, Difference, Tally, Unread
from diskulog.units import MIB

_T = TypeVar("_T")

_VERSION: Final = 1
_MAX_BYTES: Final = 16 * MIB  # twice what the longest tally takes
_LISTS: Final = frozenset({"differing", "unread"})


@dataclass(frozen=True, slots=True)
class Identity:
    """What a run is about; only a run of the same may go on from its state."""

    uuid: str | None
    region_count: int
    region_bytes: int
    length_bytes: int
    regions: tuple[int, int]  # the first, and the one after the last
    legs: tuple[tuple[str, int, int], ...]  # device, offset in sectors, size in bytes


_WORDS: Final = {
    "uuid": "the log's uuid",
    "region_count": "regions",
    "region_bytes": "bytes of a region",
    "length_bytes": "bytes of the mirror",
    "regions": "--regions",
    "legs": "the legs",
}


def encode(identity: Identity, tally: Tally) -> str:
    """Return the content of the file."""
    return json.dumps({"diskulog_verify_state": _VERSION, "run": asdict(identity), "tally": asdict(tally)})


def decode(text: str, identity: Identity) -> Tally:
    """Read the content of the file, for a run.

    Raises:
        ValueError: when it is no state, or one of another run; the message says what differs.
    """
    try:
        found = json.loads(text)
        if found["diskulog_verify_state"] != _VERSION:
            raise ValueError("version")
        run, tally = dict(found["run"]), _tally(found["tally"], len(identity.legs))
    except (ValueError, LookupError, TypeError, RecursionError) as cause:
        raise ValueError("it is no state of 'diskulog verify'") from cause
    for name, now in json.loads(json.dumps(asdict(identity))).items():
        if run.get(name) != now:
            raise ValueError(f"it is of another run: {_WORDS[name]}: {run.get(name)} then, {now} now")
    if not identity.regions[0] <= tally.next_region <= identity.regions[1]:
        raise ValueError(f"it is damaged: it goes on at region {tally.next_region}")
    if not (_whole(tally.differing, tally.range_count) and _whole(tally.unread, tally.unread_count)):
        raise ValueError("it is damaged: it does not list what it counts")
    return tally


def _whole(kept: Sized, count: int) -> bool:
    return len(kept) == min(count, MAX_KEPT)


def _tally(found: dict[str, Any], leg_count: int) -> Tally:
    counts = {field.name: _number(found[field.name]) for field in fields(Tally) if field.name not in _LISTS}
    return Tally(
        **counts,
        differing=[_difference(each, leg_count) for each in found["differing"]],
        unread=[
            Unread(_number(each["region"]), _below(each["leg"], leg_count), str(each["reason"]))
            for each in found["unread"]
        ],
    )


def _difference(found: dict[str, Any], leg_count: int) -> Difference:
    legs = tuple(_below(leg, leg_count) for leg in found["legs"])
    return Difference(
        _number(found["first_region"]), _number(found["region_count"]), _number(found["offset_bytes"]), legs
    )


def _number(value: object) -> int:
    if type(value) is not int or not -2 <= value < 2**64:
        raise ValueError("no number")
    return value


def _below(value: object, end: int) -> int:
    if not 0 <= _number(value) < end:
        raise ValueError("no leg")
    return _number(value)


class StateFile:
    """Where a run keeps its state."""

    def __init__(self, path: Path) -> None:
        """Take a path whose file may be there or not."""
        self._path = path

    def load(self, identity: Identity) -> Tally | None:
        """Read the state; None when there is none yet.

        Raises:
            RefusedError: when the file is something else, or the state of another run.
            DeviceError: when it cannot be read.
        """
        text = self._guarded(self._read)
        if not text:  # not there, or as mktemp leaves it
            return None
        try:
            return decode(text, identity)
        except ValueError as cause:
            raise RefusedError(
                f"--state {self._path}", str(cause), "name another file, or remove it to begin anew"
            ) from cause

    def _read(self) -> str:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return ""
        if not stat.S_ISREG(found.st_mode):
            raise RefusedError(f"--state {self._path}", "is no regular file", "name a file that may be replaced")
        with self._path.open("rb") as file:
            return file.read(_MAX_BYTES).decode("utf-8", "replace")

    def save(self, identity: Identity, tally: Tally) -> None:
        """Replace the state, whole or not at all.

        Raises:
            DeviceError: when it cannot be written.
        """
        self._guarded(lambda: self._replace(encode(identity, tally).encode()))

    def _replace(self, content: bytes) -> None:
        with NamedTemporaryFile(dir=self._path.parent, prefix=f".{self._path.name}-", delete=False) as file:
            try:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                Path(file.name).replace(self._path)
            except BaseException:
                with suppress(OSError):
                    Path(file.name).unlink()
                raise

    def remove(self) -> None:
        """Remove the state of a run that is done.

        Raises:
            DeviceError: when that cannot be.
        """
        self._guarded(lambda: self._path.unlink(missing_ok=True))

    def _guarded(self, work: Callable[[], _T]) -> _T:
        try:
            return work()
        except OSError as cause:
            raise DeviceError(f"--state {self._path}", cause) from cause
