# SPDX-License-Identifier: LGPL-2.1-or-later
"""Run in a VM: one process writes a line, another looks into the same file until it sees it; many times.

Lives here: the writer, the reader, the count of what was never seen. Does not know what kind of file system it is.
"""

import os
import random
import sys
import time

TIMES = 60
LINE = b"one line\n"
DELAY_SECONDS = 0.03  # the write comes at any moment of a look
PATIENCE_SECONDS = 2.0  # after the writer's end: what was not seen by then is not seen later either


def seen(name: str, delay_seconds: float) -> bool:
    """Have a child write, and look until the line is there."""
    writer = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    child = os.fork()
    if not child:
        time.sleep(delay_seconds)
        os.write(writer, LINE)
        os._exit(0)
    found, ended = False, 0.0
    while not found and not (ended and time.monotonic() > ended + PATIENCE_SECONDS):
        with open(name, "rb") as reader:
            found = reader.read() == LINE
        if not ended and os.waitpid(child, os.WNOHANG)[0]:
            ended = time.monotonic()
        time.sleep(0.002)
    if not ended:
        os.waitpid(child, 0)
    os.close(writer)
    return found


def main() -> None:
    chance = random.Random(1)
    missed = [time for time in range(TIMES) if not seen(sys.argv[1], chance.random() * DELAY_SECONDS)]
    print(f"missed: {missed}")


if __name__ == "__main__":
    main()
