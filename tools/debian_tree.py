#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Makes a directory with a small Debian of this machine's release, and nothing of this machine in it.
# It does not know what it is for: tools/rootboot makes a disk of one, tools/firsthour lets a VM have one as its root.
"""Make DIRECTORY, unless it is there: a small Debian of this machine's release with PACKAGES, from its own sources."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


class NoDebianError(Exception):
    """What is missing, or what the program that should make it said."""


def make(directory: Path, packages: Sequence[str], leave_out: Sequence[str] = ()) -> None:
    """Make it, whole or not at all; of ``leave_out`` what is below /usr/share (man, doc, locale)."""
    if directory.exists():
        return
    if not shutil.which("mmdebstrap"):
        raise NoDebianError("mmdebstrap is missing: apt-get install mmdebstrap")
    making = directory.with_name(f"{directory.name}.making")
    shutil.rmtree(making, ignore_errors=True)
    directory.parent.mkdir(parents=True, exist_ok=True)
    sources = directory.with_name(f"{directory.name}.sources")
    found = sorted(Path("/etc/apt/sources.list.d").glob("*.sources"))
    sources.write_text("\n".join(file.read_text() for file in found))
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    command = ["mmdebstrap", "--mode=root", "--variant=minbase", f"--include={','.join(packages)}"]
    command += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in leave_out]
    command += [release["VERSION_CODENAME"], str(making), *([str(sources)] if found else [])]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise NoDebianError(f"mmdebstrap ended with {done.returncode}:\n{done.stdout[-3000:]}")
    making.rename(directory)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/debian_tree.py", description=__doc__)
    parser.add_argument("directory", type=Path, metavar="DIRECTORY")
    parser.add_argument("packages", nargs="+", metavar="PACKAGE")
    options = parser.parse_args()
    try:
        make(options.directory.absolute(), options.packages)
    except NoDebianError as error:
        print(f"tools/debian_tree.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
