# SPDX-License-Identifier: LGPL-2.1-or-later
"""A failed write-back is final, also for the next worker: a file in the run directory that says so.

Lives here: one file for each log, or legs of a mirror, that failed in this boot. Does not know what heals it.
"""

import logging
from hashlib import blake2b
from pathlib import Path

logger = logging.getLogger("diskulog.latch")


class FailureLatch:
    """Remembers the failure of one luid's log until a RESUME heals it; /run forgets it with the boot."""

    def __init__(self, run_directory: Path, uuid: bytes, live_token: bytes, what: str) -> None:
        """Take whose it is, and what may fail (``log`` or ``legs``); nothing is written yet."""
        self._path = run_directory / "failed" / f"{blake2b(uuid + live_token, digest_size=16).hexdigest()}.{what}"

    def set(self) -> None:
        """Remember; a run directory that cannot be written loses the memory, not the failure of this worker."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._path.touch(mode=0o600)
        except OSError as error:
            logger.error("the next worker will not know that the %s failed: %s", self._path.suffix[1:], error)  # noqa: TRY400

    def is_set(self) -> bool:
        """Tell whether a worker of this boot saw the log fail."""
        return self._path.exists()

    def clear(self) -> None:
        """Forget, after a RESUME."""
        self._path.unlink(missing_ok=True)
