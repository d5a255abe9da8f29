# SPDX-License-Identifier: LGPL-2.1-or-later
"""Block devices that are image files, and a dmsetup that keeps its mirrors in a file: for hosts without dm.

Lives here: what stands in the place of sysfs, an exclusive open and dm. Does not know what is tested with them.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from diskulog import sysfs
from diskulog.errors import RefusedError
from diskulog.forensic.source import FileSource
from diskulog.mirrors import devices
from diskulog.mirrors.devices import Device

DMSETUP = """#!/bin/sh
cd {state}
echo "$*" >>log
[ ! -e said ] || {{ cat said >&2; exit 1; }}
case "$*" in
"table --target mirror") cat tables ;;
"info -c --noheadings -o name") cut -d: -f1 tables others ;;
"info -c --noheadings -o open "*) cat "open-$6" 2>/dev/null || echo 0 ;;
"create "*)
	[ ! -e "fail-$2" ] || {{ cat "fail-$2" >&2; exit 1; }}
	echo "$2: $4" >>tables ;;
"remove --retry "*) sed -i "/^$3: /d" tables ;;
*) exit 9 ;;
esac
"""


class Host:
    """A host with devices, mirrors and, if a test says so, a daemon."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self._monkeypatch = root, monkeypatch
        self.busy: dict[str, str] = {}
        self.facts: dict[str, Device] = {}
        self.images: dict[str, Path] = {}
        self.state = root / "state"
        for name in ("state", "bin", "images", "numbers", "block", "mapper", "sys"):
            (root / name).mkdir()
        (self.state / "tables").touch()
        (self.state / "others").touch()
        (self.state / "log").touch()
        program = root / "bin" / "dmsetup"
        program.write_text(DMSETUP.format(state=self.state))
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{root / 'bin'}:/usr/bin:/bin")
        monkeypatch.setattr(devices, "opened", self._opened)
        monkeypatch.setattr(devices, "resolved", self._resolved)
        monkeypatch.setattr(sysfs, "SYS_BLOCK", root / "numbers")
        monkeypatch.setattr(devices, "BLOCKS", root / "block")
        monkeypatch.setattr(devices, "MOUNTS", root / "mounts")
        monkeypatch.setattr(devices, "SWAPS", root / "swaps")
        (root / "mounts").touch()
        (root / "swaps").write_text("Filename Type Size Used Priority\n")
        self.daemon(True)

    def daemon(self, answers: bool) -> None:
        self._monkeypatch.setattr("diskulog.neighbours.somebody_answers", lambda: answers)

    def device(self, name: str, sectors: int, *, block_bytes: int = 512, below: tuple[str, ...] = ()) -> Path:
        """Add /dev/NAME, all zeros, and return its image."""
        number = f"8:{len(self.facts)}"
        image = self.images[f"/dev/{name}"] = self.root / "images" / f"{len(self.facts)}"
        with image.open("wb") as file:
            file.truncate(sectors * 512)
        numbers = frozenset(self.facts[f"/dev/{each}"].number for each in below)
        self.facts[f"/dev/{name}"] = Device(
            f"/dev/{name}", number, sectors, block_bytes, numbers, frozenset(below or [name])
        )
        folder = self.root / "sys" / f"disk{len(self.facts) - 1}"
        (folder / "holders").mkdir(parents=True)
        (folder / "dev").write_text(f"{number}\n")
        (self.root / "numbers" / number).symlink_to(folder)
        return image

    def mapped(self, name: str, number: int, *, uuid: str = "", suspended: bool = False) -> None:
        """Add a mapped device to sysfs, as dm-NUMBER."""
        folder = self.root / "block" / f"dm-{number}"
        (folder / "dm").mkdir(parents=True)
        (folder / "holders").mkdir()
        (folder / "dm" / "name").write_text(f"{name}\n")
        (folder / "dm" / "uuid").write_text(f"{uuid}\n")
        (folder / "dm" / "suspended").write_text(f"{suspended:d}\n")
        (folder / "dev").write_text(f"253:{number}\n")
        (self.root / "numbers" / f"253:{number}").symlink_to(folder)

    def mirror(self, name: str, table: str, number: int = 0, **more: object) -> None:
        """Have a mirror with this table."""
        with (self.state / "tables").open("a") as file:
            file.write(f"{name}: {table}\n")
        self.mapped(name, number, **more)

    def hold(self, number: str, holder: str) -> None:
        """Have a device that is built on another one."""
        (self.root / "numbers" / number / "holders" / holder).mkdir()

    @property
    def commands(self) -> list[str]:
        """What dmsetup was told that changes something."""
        lines = (self.state / "log").read_text().splitlines()
        return [line for line in lines if line.split()[0] in ("create", "remove")]

    @contextmanager
    def _opened(self, name: str) -> Iterator[tuple[Device, FileSource]]:
        if name in self.busy:
            raise RefusedError(name, f"is in use: {self.busy[name]}", "free it first, or name another")
        found = self.facts[name]
        fd = os.open(self.images[name], os.O_RDONLY)
        try:
            yield found, FileSource(name, fd, found.size_sectors * 512, True, found.block_bytes)
        finally:
            os.close(fd)

    def _resolved(self, name: str) -> str:
        return self.facts[name].number if name in self.facts else name
