# SPDX-License-Identifier: LGPL-2.1-or-later
"""What standard output can show.

Lives here: asking the system. Does not know what is drawn.
"""

import os
import shutil
import sys

from diskulog.forensic import chart
from diskulog.forensic.chart import Terminal


def terminal() -> Terminal:
    """Say what standard output can show: its width, blocks where its encoding has them, colours on a terminal only."""
    shown = sys.stdout is not None and sys.stdout.isatty()
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return Terminal(shutil.get_terminal_size().columns, _has_blocks(), shown and not plain)


def _has_blocks() -> bool:
    try:
        chart.BLOCKS.encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
