# SPDX-License-Identifier: LGPL-2.1-or-later
"""A program for a guest with systemd: it types what docs/first-hour.rst tells a newcomer to type, block after block.

Lives here: the newcomer's shell, and saying what was wrong with each block. Does not know the VM around it
(``test_first_hour``), but that /dev/vdb to /dev/vdd are blank, and that its argument is a directory with our wheel.
"""

import json
import sys
import time
from pathlib import Path

from tests import shellblocks
from tests.shellblocks import BY, Block

# nothing of the repository's environment: the newcomer's diskulog is the one that he installs
_ENVIRON = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
}


def blocks() -> list[Block]:
    """Return what is typed: the installation, then the hour."""
    found = []
    for page in ("install.rst", "first-hour.rst"):
        found += [block for block in shellblocks.blocks(shellblocks.DOCS / page) if block.how == BY]
    return found


def main() -> None:
    with shellblocks.shell(Path(sys.argv[1]), _ENVIRON) as bash:
        for block in blocks():
            begun, wrong = time.monotonic(), ""
            for step in block.steps:
                code, printed = shellblocks.typed(bash, step.command)
                # what pip and systemctl print on the way is not shown; sizes and times are those of another machine
                as_shown = not step.shown or shellblocks.like(step.shown, printed, numbers=False)
                if code or not as_shown:
                    wrong += f"$ {step.command}\n{printed}[{code}]\n"
            tell = {"block": str(block), "seconds": round(time.monotonic() - begun, 1), "wrong": wrong}
            print(json.dumps(tell), flush=True)


if __name__ == "__main__":
    main()
