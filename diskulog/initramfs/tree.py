# SPDX-License-Identifier: LGPL-2.1-or-later
"""``python -m diskulog.initramfs.tree DIRECTORY``: what the daemon reads, as a small root file system for an initramfs.

Lives here: which modules, compiled; which files hold machine code. Does not know what copies those and their libraries.
"""

import json
import os
import py_compile
import subprocess
import sys
from pathlib import Path
from typing import Final

# the daemon, what -m needs, and what is imported when it is first used
_MODULES: Final = ("diskulog.initramfs.start", "runpy", "os", "encodings.ascii", "encodings.latin_1")
_FLAGS: Final = ("-S", "-P", "-B")  # no site directories, nothing of the current directory, nothing is written
_LIST: Final = f"""
import importlib, json, sys
for name in {_MODULES!r}:
    importlib.import_module(name)
origins = (getattr(module, "__file__", None) for module in sys.modules.values())
print(json.dumps(sorted({{origin for origin in origins if origin}})))
"""


def search_path() -> str:
    """Where this interpreter finds what is not its own; PYTHONPATH for one that runs with ``_FLAGS``."""
    library = Path(os.__file__).parent
    own = {str(library), str(library / "lib-dynload")}
    places = [place for place in sys.path if place.startswith("/") and place not in own and not place.endswith(".zip")]
    return os.pathsep.join(dict.fromkeys(places))


def needed() -> list[Path]:
    """Every file that is imported until the daemon is started."""
    environ = {"PATH": os.defpath, "PYTHONPATH": search_path()}
    done = subprocess.run([sys.executable, *_FLAGS, "-c", _LIST], capture_output=True, check=True, env=environ)
    return [Path(name) for name in json.loads(done.stdout)]


def build(tree: Path) -> list[Path]:
    """Put every module into the tree, compiled, where it lies here; return what holds machine code, which is missing.

    The modules are there without their source: half the size, and no time stamp to compare.
    """
    machine_code = [Path(sys.executable).resolve()]
    for file in needed():
        if file.suffix != ".py":
            machine_code.append(file)
            continue
        compiled = tree / file.relative_to("/").with_suffix(".pyc")
        compiled.parent.mkdir(parents=True, exist_ok=True)
        py_compile.compile(
            str(file), str(compiled), doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
        )
    return machine_code


def main(arguments: list[str]) -> int:
    """Build the tree, print the machine code's files, and last the command that starts the daemon there."""
    (tree,) = arguments
    for file in build(Path(tree)):
        print(file)
    python = str(Path(sys.executable).resolve())
    print(f"PYTHONPATH={search_path()} {python} {' '.join(_FLAGS)} -m diskulog.initramfs.start")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
