# SPDX-License-Identifier: LGPL-2.1-or-later
"""tools/vm --share: what one process of the guest writes there, others see at once, and so does the host."""

import subprocess
import sys
from pathlib import Path

import pytest

_TOP = Path(__file__).resolve().parents[2]
_COMMANDS = """
"$1" -S tests/kernel/growing.py "$2/grows"
cp /bin/echo "$2/echo"
"$2/echo" programs run from there
"$1" -c 'import mmap, sys; f = open(sys.argv[1]); print(mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)[:])' "$2/grows"
"""


@pytest.mark.kernel
@pytest.mark.timeout(600)
def test_a_file_that_grows_is_seen_to_grow(kernel: str, tmp_path: Path) -> None:
    # with the kernel 6.12 and 9p's cache=mmap every fifth such file stayed empty for all readers, for ever
    script = ["sh", "-euc", _COMMANDS, "sh", sys.executable, str(tmp_path)]
    command = ["tools/vm", "--kernel", kernel, "--share", str(tmp_path), "--", *script]
    done = subprocess.run(command, cwd=_TOP, capture_output=True, text=True, check=False)
    assert done.stdout == "missed: []\nprograms run from there\nb'one line\\n'\n", done.stdout + done.stderr
    assert (tmp_path / "grows").read_bytes() == b"one line\n"
