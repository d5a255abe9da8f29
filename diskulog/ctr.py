# SPDX-License-Identifier: LGPL-2.1-or-later
"""The constructor string: ``<target length> <log type> <args>``, parsed and judged.

Lives here: its grammar and its limits. Does not know devices (a name stays a name), logs or the wire.
"""

from dataclasses import dataclass
from enum import Enum

from diskulog.errors import RefusedError
from diskulog.units import MAX_REGION_COUNT, MIN_REGION_SIZE_SECTORS, div_up, region_size_possible

# A reconnect sends one byte more (the NUL), and a request holds 332 (dm-log-userspace-transfer.c,
# DM_ULOG_PREALLOCED_SIZE): a longer string could be constructed but never come back after a restart.
MAX_CTR_BYTES = 331


class Sync(Enum):
    """What the table says of regions that the log knows nothing about."""

    DEFAULT = ""
    SYNC = "sync"
    NOSYNC = "nosync"


@dataclass(frozen=True, slots=True)
class CtrArgs:
    """A constructor string that passed every check.

    ``log_type`` is ``disk`` or ``core`` (the kernel's words); ``type_word`` is what the table said.
    ``device`` is a path or ``major:minor``, None for core. Sizes are in sectors.
    """

    target_length_sectors: int
    type_word: str
    log_type: str
    device: str | None
    region_size_sectors: int
    sync: Sync = Sync.DEFAULT
    block_on_error: bool = False

    @property
    def region_count(self) -> int:
        """Regions of the target, the last one may be short (dm-log-userspace-base.c, userspace_ctr)."""
        return div_up(self.target_length_sectors, self.region_size_sectors)


# table word -> (the kernel's word, whether it needs the "this host is alone" switch)
_TYPES = {
    "disk": ("disk", False),
    "core": ("core", False),
    "clustered-disk": ("disk", True),
    "clustered-core": ("core", True),
}


def is_reconnect(data: bytes) -> bool:
    """Tell the reconnect CTR, which carries its NUL and takes no reply payload, from a first one."""
    return data.endswith(b"\0")


def parse(data: bytes, *, clustered_single_host: bool = False) -> CtrArgs:
    """Parse a constructor string, with or without the trailing NUL.

    Raises:
        RefusedError: with the argument, the reason and the remedy.
    """
    text = data.removesuffix(b"\0")
    if len(text) > MAX_CTR_BYTES:
        raise RefusedError(
            "constructor string",
            f"{len(text)} bytes, at most {MAX_CTR_BYTES} can be sent again after a restart",
            "name the log device by a shorter path or as major:minor",
        )
    if b"\0" in text:
        raise RefusedError("constructor string", "holds a NUL byte", "check the table line")
    # bytes are split at ASCII blanks, as dm does; text would be at any of Unicode's
    words = [word.decode("utf-8", "surrogateescape") for word in text.split()]
    if len(words) < 2:
        raise RefusedError(
            "constructor string",
            f"{len(words)} of at least 3 words",
            "write '<target length> disk <log device> <region size>' or '... core <region size>'",
        )
    length = _number(words[0], "target length")
    if length == 0:
        raise RefusedError("target length", "is 0 sectors", "give the mirror a length")
    log_type = _log_type(words[1], clustered_single_host)
    rest = words[2:]
    device: str | None = None
    if log_type == "disk":
        if not rest:
            raise RefusedError("log device", "is missing", "name it after the word 'disk'")
        device = rest.pop(0)
    if not rest:
        raise RefusedError("region size", "is missing", "give it in sectors, for example 1024")
    region_size = _region_size(rest.pop(0), length)
    sync, block_on_error = _options(rest)
    return CtrArgs(length, words[1], log_type, device, region_size, sync, block_on_error)


def _number(word: str, argument: str) -> int:
    # isascii: str.isdigit() also takes other scripts' digits, which the kernel would not have printed
    if not (word.isascii() and word.isdigit()) or len(word) > 20:
        raise RefusedError(argument, f"{word!r} is not a decimal number", "give it in sectors of 512 bytes")
    return int(word)


def _log_type(word: str, clustered_single_host: bool) -> str:
    known = _TYPES.get(word)
    if known is None:
        raise RefusedError("log type", f"{word!r} is not known", "use 'disk' or 'core'")
    log_type, clustered = known
    if clustered and not clustered_single_host:
        raise RefusedError(
            "log type",
            f"{word!r} is for clusters, where another host may write too",
            f"use {log_type!r}, or set [compat] clustered_single_host = true if this host is alone",
        )
    return log_type


def _region_size(word: str, length: int) -> int:
    size = _number(word, "region size")
    # dm-region-hash.c shifts by __ffs(region_size): any other size addresses the wrong regions, silently
    if not region_size_possible(size):
        raise RefusedError(
            "region size",
            f"{size} sectors is not a power of two from {MIN_REGION_SIZE_SECTORS} to 2^31",
            "use a power of two, for example 1024 (512 KiB)",
        )
    if size > length:
        raise RefusedError(
            "region size", f"{size} sectors is more than the target's {length}", "use a smaller power of two"
        )
    count = div_up(length, size)
    if count > MAX_REGION_COUNT:
        raise RefusedError(
            "region size",
            f"{size} sectors makes {count} regions, at most {MAX_REGION_COUNT} are possible",
            "use larger regions",
        )
    return size


def _options(words: list[str]) -> tuple[Sync, bool]:
    sync = Sync.DEFAULT
    block_on_error = False
    for word in words:
        if word in (Sync.SYNC.value, Sync.NOSYNC.value) and sync is Sync.DEFAULT:
            sync = Sync(word)
        elif word == "block_on_error" and not block_on_error:
            block_on_error = True
        else:
            raise RefusedError(
                "log arguments",
                f"{word!r} is not known, or said twice",
                "after the region size come [sync|nosync] and [block_on_error], and the count of arguments before",
            )
    return sync, block_on_error
