# SPDX-License-Identifier: LGPL-2.1-or-later
"""Takes mirrors away that nobody uses, those that stand on others first.

Lives here: what keeps a mirror, the order. Does not print.
"""

from collections.abc import Iterator

from diskulog import sysfs
from diskulog.errors import DiskulogError, RefusedError
from diskulog.mirrors import devices, dm
from diskulog.mirrors.dm import Mirror

_LVM = "LVM-"


def check(mirror: Mirror) -> None:
    """Refuse a mirror that is not ours to remove, or is in use.

    Raises:
        RefusedError: with who uses it.
        DeviceError: when dm cannot be asked.
    """
    if not mirror.userspace:
        raise RefusedError(mirror.name, "has the kernel's own log", f"'dmsetup remove {mirror.name}' removes it")
    number = devices.mapped().get(mirror.name, "")
    if _of_lvm(number):
        raise RefusedError(mirror.name, "belongs to LVM, which would not know", "deactivate it with lvchange -an")
    # the count says that somebody uses it, but not who
    found = devices.users_of(number) or (["opened by a program"] if dm.open_count(mirror.name) else [])
    if found:
        raise RefusedError(mirror.name, f"is in use: {', '.join(found)}", "unmount or close it first")


def _of_lvm(number: str) -> bool:
    try:
        return (sysfs.SYS_BLOCK / number / "dm" / "uuid").read_text().startswith(_LVM)
    except OSError:
        return False


def remove_all(*, dry_run: bool) -> Iterator[tuple[str, str | None]]:
    """Remove every mirror with its log in user space, as far as nobody uses it; yield its name, and what keeps it.

    Raises:
        DeviceError: when dm cannot be asked.
    """
    left = [mirror for mirror in dm.mirrors() if mirror.userspace]
    while left:
        kept: list[tuple[Mirror, str]] = []
        for mirror in left:
            try:
                check(mirror)
                if not dry_run:
                    dm.remove(mirror.name)
            except DiskulogError as failure:
                kept.append((mirror, str(failure)))
            else:
                yield mirror.name, None
        if len(kept) == len(left) or dry_run:
            yield from ((mirror.name, why) for mirror, why in kept)
            return
        left = [mirror for mirror, _ in kept]
