# SPDX-License-Identifier: LGPL-2.1-or-later
"""Programs of tools/ that have no suffix, as modules.

Lives here: how they are loaded. Does not know what any of them does.
"""

from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

TOP = Path(__file__).resolve().parents[1]


def load(name: str) -> ModuleType:
    """Load ``tools/name`` without running it, and without leaving a cache beside it."""
    spec = spec_from_loader(name, _Loader(name, str(TOP / "tools" / name)))
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class _Loader(SourceFileLoader):
    def set_data(self, path: str, data: bytes, *, _mode: int = 0o666) -> None:
        pass
