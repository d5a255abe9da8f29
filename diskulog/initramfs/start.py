# SPDX-License-Identifier: LGPL-2.1-or-later
"""``python -m diskulog.initramfs.start``: the daemon in the background, under a name that systemd's last kill spares.

Lives here: the fork, and waiting until requests are answered. Does not know how the files came to be here (``tree``).
"""

import os
import select
import socket
import sys
from typing import Final

from diskulog import process
from diskulog.config import Config, load
from diskulog.errors import DiskulogError
from diskulog.exits import Exit, exit_for
from diskulog.supervisor import serve

_READY_SECONDS: Final = 120  # a boot goes on without it, and says so
_STDIN: Final = 0


def main(arguments: list[str]) -> int:
    """Start the daemon; return 0 once it answers, or the code that it ended with.

    With ``--check`` only say whether everything could be imported and the configuration read.
    """
    try:
        config = load(None, os.environ)
    except DiskulogError as error:
        sys.stderr.write(f"<3>diskulog: {error}\n")
        return exit_for(error)
    if arguments == ["--check"]:
        return Exit.FINE
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as told:
        told.bind("")  # the kernel chooses a name that is in no file system
        os.environ["NOTIFY_SOCKET"] = "@" + told.getsockname()[1:].decode()
        child = os.fork()
        if not child:
            _be_daemon(config)
        return _wait(child, told)


def _be_daemon(config: Config) -> None:
    os.setsid()
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, _STDIN)
    os.close(null)
    os.chdir("/")
    process.survive_last_kill()
    os._exit(serve(config))


def _wait(child: int, told: socket.socket) -> int:
    ended = os.pidfd_open(child)
    poll = select.poll()
    for descriptor in (told.fileno(), ended):
        poll.register(descriptor, select.POLLIN)
    while seen := poll.poll(_READY_SECONDS * 1000):
        if told.fileno() in dict(seen) and b"READY=1" in told.recv(4096).split(b"\n"):
            return Exit.FINE
        if ended in dict(seen):
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) or Exit.PROBLEM
    sys.stderr.write(f"<3>diskulog: not ready within {_READY_SECONDS} s\n")
    return Exit.PROBLEM


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
