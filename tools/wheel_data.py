# SPDX-License-Identifier: LGPL-2.1-or-later
"""Puts into the wheel what is no Python: units, completion, man pages, each where a system looks for it.

Lives here: which file of conf/ goes where below a prefix. Does not know what the files say. hatchling runs it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# the first pattern that fits counts; where a place ends in /, the file keeps its name
PLACES: Final = (
    ("completion/diskulog.bash", "share/bash-completion/completions/diskulog"),
    ("completion/_diskulog", "share/zsh/site-functions/"),
    ("completion/diskulog.fish", "share/fish/vendor_completions.d/"),
    ("modules-load.d/*.conf", "lib/modules-load.d/"),
    ("tmpfiles.d/*.conf", "lib/tmpfiles.d/"),
    ("sysusers.d/*.conf", "lib/sysusers.d/"),
    ("*.service", "lib/systemd/system/"),
    ("*.socket", "lib/systemd/system/"),
    ("*.timer", "lib/systemd/system/"),
    ("*.target", "lib/systemd/system/"),
)
# a folder that a system looks into with its own folders in it; the hooks in there are programs, and stay so
WHOLE: Final = {"initramfs-tools": PurePosixPath("share")}
# everything else keeps its path: share/diskulog/diskulog.toml, share/diskulog/prometheus/...
OTHERS: Final = PurePosixPath("share/diskulog")


def place(name: PurePosixPath) -> str:
    """Say where a file goes; ``name`` is its path below conf/."""
    for pattern, target in PLACES:
        # a unit's drop-in directory is not a place of units
        if name.match(pattern) and len(name.parts) == pattern.count("/") + 1:
            return f"{target}{name.name}" if target.endswith("/") else target
    return str(WHOLE.get(name.parts[0], OTHERS) / name)


def configuration(top: Path) -> Iterator[tuple[str, str]]:
    """Yield every file of conf/ and where it goes."""
    for path in sorted((top / "conf").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield str(path), place(PurePosixPath(path.relative_to(top / "conf").as_posix()))


def man_pages(top: Path, directory: Path) -> Iterator[tuple[str, str]]:
    """Make the man pages in ``directory``; yield each and where it goes."""
    man = _tool(top / "tools/man")
    for source in man.pages():
        name = source.stem
        page = directory / name
        page.write_text(man.roff(source))
        yield str(page), f"share/man/man{name[-1]}/{name}"


def _tool(path: Path) -> ModuleType:
    spec = spec_from_loader(path.name, SourceFileLoader(path.name, str(path)))
    assert spec is not None
    module = module_from_spec(spec)
    assert spec.loader is not None
    spec.loader.exec_module(module)
    return module


class WheelData(BuildHookInterface):  # type: ignore[type-arg,unused-ignore]  # hatchling wants a class
    """What hatchling calls before and after it writes a wheel."""

    _made: tempfile.TemporaryDirectory[str] | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the files; ``version`` is standard, or editable, which is for work on a checkout and needs none."""
        if version != "standard":
            return
        top = Path(self.root)
        self._made = tempfile.TemporaryDirectory(prefix="diskulog-man-")
        build_data["shared_data"].update(configuration(top))
        build_data["shared_data"].update(man_pages(top, Path(self._made.name)))

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Take away what was made."""
        if self._made is not None:
            self._made.cleanup()
