# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who else is in the netlink group on which the kernel asks: daemons, and those that only listen.

Lives here: /proc/net/netlink, whose socket it is, whether it may answer. Opens no socket, and knows no datagram.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from diskulog.errors import RefusedError

logger = logging.getLogger("diskulog.transport")

CN_IDX_DM: Final = 7
_NETLINK_CONNECTOR: Final = 11  # linux/netlink.h
_PROC_NETLINK: Final = Path("/proc/net/netlink")


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A process in the group; ``may_answer`` where the kernel would take its replies."""

    pid: int
    name: str
    may_answer: bool


def neighbours() -> tuple[Neighbour, ...]:
    """List the processes in the group."""
    return tuple(Neighbour(pid, _process_name(pid), _may_answer(pid)) for pid in _listeners())


def somebody_answers() -> bool:
    """Tell whether a process that could answer is in the group."""
    return any(_may_answer(pid) for pid in _listeners())


def refuse_beside_another(own_inode: int | None = None) -> None:
    """Look who is in the group before joining it: refuse beside another daemon, warn of a listener.

    ``own_inode`` is that of a socket which is in the group already: ours, held for us by systemd, too.

    Raises:
        RefusedError: another process that could answer, because it runs as root, is in the group.
    """
    for pid in _listeners(own_inode):
        name = _process_name(pid)
        if _may_answer(pid):
            raise RefusedError(
                "netlink group 7",
                f"process {pid} ({name}) is listening and may answer requests",
                "stop it; two daemons would answer each other's logs",
            )
        logger.warning(
            "process %d (%s) listens on netlink group 7; while it does, a request without a daemon waits for ever",
            pid,
            name,
        )


def _listeners(but_inode: int | None = None) -> list[int]:
    # sk Eth Pid Groups ...: "Pid" is the port, which is the process's number for its first socket
    found = []
    for line in _PROC_NETLINK.read_text().splitlines()[1:]:
        words = line.split()
        if int(words[1]) == _NETLINK_CONNECTOR and int(words[3], 16) & 1 << (CN_IDX_DM - 1):
            port = int(words[2])
            if port and int(words[9]) != but_inode:
                found.append(_owner(int(words[9])) or port)
    return found


def _owner(inode: int) -> int | None:
    wanted, keeper = f"socket:[{inode}]", None
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(fd.readlink()) == wanted for fd in (process / "fd").iterdir()):
                if process.name != "1":
                    return int(process.name)
                keeper = 1  # systemd may keep the daemon's socket too, and is not who answers
        except OSError:
            continue  # it has ended, or is not ours to look at
    return keeper


def _process_name(pid: int) -> str:
    try:
        return (Path("/proc") / str(pid) / "comm").read_text().strip()
    except OSError:
        return "unknown"


def _may_answer(pid: int) -> bool:
    # cn_ulog_callback takes replies only from CAP_SYS_ADMIN (bit 21)
    try:
        status = (Path("/proc") / str(pid) / "status").read_text()
    except OSError:
        return False
    effective = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective, 16) & 1 << 21)
