# SPDX-License-Identifier: LGPL-2.1-or-later
"""``diskulog`` with a mistake planted in it, so that tools/powercut can prove that it sees one.

Lives here: the mistakes, by name. Does not know who looks. Run in the
repository: python -m tools.powercut_mistakes MISTAKE serve --config FILE
"""

import sys
import threading

from diskulog.clears import HeldClears
from diskulog.cli import main
from diskulog.store import DiskStore


def acknowledge_early() -> None:
    """Answer a FLUSH before its msync, which then runs behind the answer's back."""
    commit = DiskStore.commit

    def behind(store: DiskStore, first_region: int, last_region: int) -> None:
        threading.Thread(target=commit, args=(store, first_region, last_region), daemon=True).start()

    DiskStore.commit = behind


def keep_clears() -> None:
    """Let a mark leave the held clear of its region where it is, so that a round calls clean what is being written."""
    HeldClears.mark = lambda held, region: None


MISTAKES = {"early": acknowledge_early, "clears": keep_clears}

if __name__ == "__main__":
    MISTAKES[sys.argv.pop(1)]()
    main()
