# SPDX-License-Identifier: LGPL-2.1-or-later
"""A program for a guest with systemd: it types what docs/first-hour.rst tells a newcomer to type, block after block.

Lives here: the newcomer's shell, and saying what was wrong with each block. Does not know the VM around it
(``test_first_hour``), but that /dev/vdb to /dev/vdd are blank, and that its arguments are a directory with our wheel
and one with the wheels that it needs. The standard library is all that it has.
"""

import json
import sys
import time
from pathlib import Path

from tests import shellblocks
from tests.kernel.patience import KERNEL_SECONDS
from tests.shellblocks import BY, Block, Step

# nothing of the repository's environment: the newcomer's diskulog is the one that he installs
_ENVIRON = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
}
_RESTART = "systemctl restart diskulog"
_COUNT = "sleep 3; wc -l </run/written"
_COMPLAINTS = "dmesg | grep dm-log-userspace"


def blocks() -> list[Block]:
    """Return what is typed: the installation, then the hour."""
    found = []
    for page in ("install.rst", "first-hour.rst"):
        found += [block for block in shellblocks.blocks(shellblocks.DOCS / page) if block.how == BY]
    return found


class Hour:
    """What one step says of another."""

    def __init__(self) -> None:
        self._restart_seconds = 0.0
        self._counts: list[int] = []

    def as_shown(self, step: Step, printed: str, seconds: float) -> bool:
        """Tell whether a step printed what the page shows, and what must be true beside it."""
        if step.command == _RESTART:
            self._restart_seconds = seconds
        elif step.command == _COUNT:
            self._counts.append(int(printed))
            if self._counts != sorted({*self._counts}):  # the writer stood still
                return False
        elif step.command == _COMPLAINTS and self._restart_seconds > KERNEL_SECONDS:
            # a machine that needs longer to start Python than the kernel waits for an answer
            lines = printed.splitlines(keepends=True)
            printed = "".join(line for line in lines if "Request timed out" not in line)
        # what pip and systemctl print on the way is not shown; sizes and times are those of another machine
        return not step.shown or shellblocks.like(step.shown, printed, numbers=False)


def main() -> None:
    commands = [step.command for block in blocks() for step in block.steps]
    assert [commands.count(each) for each in (_RESTART, _COUNT, _COMPLAINTS)] == [1, 2, 1], commands
    # for want of a network
    Path("/etc/pip.conf").write_text(f"[install]\nno-index = true\nfind-links = {sys.argv[2]}\n")
    hour = Hour()
    with shellblocks.shell(Path(sys.argv[1]), _ENVIRON) as bash:
        for block in blocks():
            begun, wrong = time.monotonic(), ""
            for step in block.steps:
                typed = time.monotonic()
                code, printed = shellblocks.typed(bash, step.command)
                if not hour.as_shown(step, printed, time.monotonic() - typed) or code:
                    wrong += f"$ {step.command}\n{printed}[{code}]\n"
            tell = {"block": str(block), "seconds": round(time.monotonic() - begun, 1), "wrong": wrong}
            print(json.dumps(tell), flush=True)


if __name__ == "__main__":
    main()
