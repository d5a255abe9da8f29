# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sizes and the arithmetic between them.

Lives here: sectors, bytes, rounding, how many regions a log may have. Does not know logs, devices or requests.
"""

SECTOR_BYTES = 512
KIB = 1024
MIB = 1024 * KIB
MAX_REGION_COUNT = 2**32 - 1  # dm-log.c, create_log_context
MIN_REGION_SIZE_SECTORS = 2  # dm-log.c, _check_region_size
MAX_REGION_SIZE_SECTORS = 2**31  # the largest power of two in the kernel's uint32_t


def div_up(value: int, divisor: int) -> int:
    """Divide and round up, as the kernel's ``dm_sector_div_up`` does."""
    return -(-value // divisor)


def round_up(value: int, multiple: int) -> int:
    """Return the smallest multiple of ``multiple`` that is not below ``value``."""
    return div_up(value, multiple) * multiple


def round_down(value: int, multiple: int) -> int:
    """Return the largest multiple of ``multiple`` that is not above ``value``."""
    return value // multiple * multiple


def region_size_possible(sectors: int) -> bool:
    """Tell whether a mirror can have regions of this size: dm-log.c takes powers of two only."""
    return MIN_REGION_SIZE_SECTORS <= sectors <= MAX_REGION_SIZE_SECTORS and sectors & (sectors - 1) == 0


def human_bytes(count: int) -> str:
    """Render a byte count for people: ``1.5 GiB``; exact below 1 KiB."""
    size = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if size < KIB:
            return f"{count} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= KIB
    return f"{size:.1f} PiB"
