# SPDX-License-Identifier: LGPL-2.1-or-later
"""The shell blocks of docs/ that need a kernel, every command as written, in the order of the page."""

import re
import shlex
import subprocess

import pytest

from tests import shellblocks
from tests.kernel.guest.rig import Daemon, diskulog, forget, zero

BLOCKS = {
    page.name: [each for each in shellblocks.blocks(page) if each.how == "kernel"] for page in shellblocks.pages()
}


def typed(bash: subprocess.Popen[str], command: str) -> tuple[int, str]:
    """Run a command; one of ours alone in this process, for starting Python takes seconds here."""
    words = shlex.split(command)
    if words[0] == "diskulog" and not set(words) & {"|", ";", "&", "&&", "||"}:
        return diskulog(*words[1:])
    return shellblocks.typed(bash, command)


@pytest.mark.parametrize("page", [name for name, blocks in BLOCKS.items() if blocks])
def test_a_page_does_what_it_says(page: str, daemon: Daemon) -> None:
    for device in ("/dev/ram2", "/dev/ram3"):
        zero(device)
    try:
        with shellblocks.shell() as bash:
            for block in BLOCKS[page]:
                for step in block.steps:
                    code, printed = typed(bash, step.command)
                    said = f"{block}: $ {step.command}\n{printed}{daemon.said(0)[-2000:]}"
                    assert code == 0, f"{code}: {said}"
                    # sizes, times and numbers of devices are those of another machine
                    assert shellblocks.like(step.shown, printed, numbers=False), said
    finally:
        # what was made last stands on what was made before
        for name in reversed(re.findall(r"(?:dmsetup|mirror) create (\w+)", str(BLOCKS[page]))):
            forget(name)
