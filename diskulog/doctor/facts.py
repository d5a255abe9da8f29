# SPDX-License-Identifier: LGPL-2.1-or-later
"""What ``doctor`` judges, as values, so that every rule can be tried with a host that nobody has.

Lives here: the shapes. Does not know where a fact comes from (``host``), or whether it is bad (``rules``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from diskulog.mirrors.dm import Mirror
from diskulog.neighbours import Neighbour


class Module(Enum):
    """Whether the kernel has a module."""

    LOADED = "loaded"  # or built in
    AVAILABLE = "available"
    MISSING = "missing"
    UNKNOWN = "unknown"  # there is no list of modules


@dataclass(frozen=True, slots=True)
class Process:
    """What /proc says of the daemon; None where it does not."""

    locked_kib: int | None = None
    memlock_limit: str | None = None
    has_ipc_lock: bool = True
    oom_score_adj: int | None = None
    watchdog_seconds: float | None = None  # of systemd; None where it does not watch


@dataclass(frozen=True, slots=True)
class Place:
    """A file or folder that should be there: its mode with the type's bits, and its owner."""

    path: str
    mode: int
    uid: int


@dataclass(frozen=True, slots=True)
class Stack:
    """A mirror whose log lies on a mirror, perhaps its own."""

    mirror: str
    log: str
    below: str


@dataclass(frozen=True, slots=True)
class FailedLog:
    """A log that the daemon calls failed."""

    uuid: str
    log_device: str | None


@dataclass(frozen=True, slots=True)
class Facts:
    """A host. The defaults are those of one that is well and has no mirror."""

    root: bool = True
    missing_privileges: tuple[str, ...] = ()
    kernel: str = "6.12.0"
    modules: Mapping[str, Module] = field(default_factory=dict)
    connector: bool = True
    neighbours: tuple[Neighbour, ...] = ()
    daemon: Process | None = None
    rmem_max_bytes: int | None = None
    receive_buffer_bytes: int = 0
    worker_timeout_seconds: float = 0.0
    run_directory: Place | None = None
    control_socket: Place | None = None
    control_path: str = ""
    control_problem: str | None = None
    failed_logs: tuple[FailedLog, ...] = ()
    device_mapper: bool = True
    dmsetup: bool = True
    udev: bool = True
    mirrors: tuple[Mirror, ...] = ()
    tables_problem: str | None = None
    stacks: tuple[Stack, ...] = ()
    same_uuid: tuple[str, ...] = ()
    suspended: tuple[str, ...] = ()
    configuration_problem: str | None = None
    mirrortab_problems: tuple[str, ...] = ()
    mirrortab_cautions: tuple[str, ...] = ()
