# SPDX-License-Identifier: LGPL-2.1-or-later
"""Collects the facts of this host for ``doctor``: files of /proc, /sys and /run, tables, the daemon's own word.

Lives here: where each fact comes from. Nothing here waits for a mirror: no status is asked of dm. Does not judge.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from diskulog import neighbours, process
from diskulog.config import Config
from diskulog.doctor.facts import Facts, FailedLog, Module, Place, Process, Stack
from diskulog.errors import DeviceError, DiskulogError
from diskulog.mirrors import devices, dm, naming, tab
from diskulog.mirrors.dm import Mirror
from diskulog.neighbours import Neighbour

CONTROL_SOCKET: Final = "control.sock"
_MODULES: Final = ("dm-mod", "dm-mirror", "dm-log-userspace")
_CAP_IPC_LOCK: Final = 14
_CMIRRORD: Final = "cmirrord"

# what the daemon answers to "status", as a dictionary; raises a DiskulogError
Asking = Callable[[Path], Mapping[str, object]]


def collect(
    config: Config, configuration_problem: str | None, ask: Asking, root: Path = Path("/"), tab_path: Path | None = None
) -> Facts:
    """Look at everything; ``root`` is another one in tests."""
    listening = _neighbours()
    answering = [each for each in listening if each.may_answer and each.name != _CMIRRORD]
    run_directory = Path(config.daemon.run_directory)
    control = run_directory / CONTROL_SOCKET
    socket = _place(control)
    status, control_problem = _asked(ask, control) if socket and answering else ({}, None)
    mirrors, tables_problem = _mirrors()
    kernel = _text(root / "proc/sys/kernel/osrelease") or os.uname().release
    rmem_max = _text(root / "proc/sys/net/core/rmem_max")
    return Facts(
        root=os.geteuid() == 0,
        missing_privileges=tuple(process.missing_privileges()),
        kernel=kernel,
        modules={name: module(root, kernel, name) for name in _MODULES},
        connector=(root / "proc/net/connector").exists(),
        neighbours=listening,
        daemon=daemon(root, answering[0].pid) if answering else None,
        rmem_max_bytes=int(rmem_max) if rmem_max.isdigit() else None,
        receive_buffer_bytes=config.netlink.receive_buffer_bytes,
        worker_timeout_seconds=config.daemon.worker_timeout_seconds,
        run_directory=_place(run_directory),
        control_socket=socket,
        control_path=str(control),
        control_problem=control_problem,
        failed_logs=tuple(failed_logs(status)),
        device_mapper=(root / "dev/mapper/control").exists(),
        dmsetup=shutil.which("dmsetup") is not None,
        udev=(root / "run/udev/control").exists() or bool(os.environ.get("DM_DISABLE_UDEV")),
        mirrors=mirrors,
        tables_problem=tables_problem,
        stacks=tuple(stacks(mirrors)),
        same_uuid=tuple(same_uuid(mirrors)),
        suspended=tuple(suspended(mirrors)),
        configuration_problem=configuration_problem,
        mirrortab_problems=tuple(_mirrortab(tab_path or tab.DEFAULT_PATH, mirrors)),
        mirrortab_cautions=tuple(_cautions(tab_path or tab.DEFAULT_PATH)),
    )


def module(root: Path, kernel: str, name: str) -> Module:
    """Tell whether the kernel has a module, by its name with hyphens."""
    if (root / "sys/module" / name.replace("-", "_")).exists():
        return Module.LOADED
    folder = root / "lib/modules" / kernel
    wanted = re.compile(rf"/{name}\.ko", re.ASCII)
    if wanted.search(_text(folder / "modules.builtin").replace("_", "-")):
        return Module.LOADED
    listed = _text(folder / "modules.dep")
    if not listed:
        return Module.UNKNOWN
    there = any(wanted.search(line.partition(":")[0].replace("_", "-")) for line in listed.splitlines())
    return Module.AVAILABLE if there else Module.MISSING


def daemon(root: Path, pid: int) -> Process:
    """Return what /proc says of the daemon."""
    folder = root / "proc" / str(pid)
    status = dict(line.split(":", 1) for line in _text(folder / "status").splitlines() if ":" in line)
    locked = re.search(r"\d+", status.get("VmLck", ""))
    effective = status.get("CapEff", "").strip()
    limit = re.search(r"^Max locked memory\s+(\S+)", _text(folder / "limits"), re.MULTILINE)
    score = _text(folder / "oom_score_adj")
    watchdog = re.search(r"^WATCHDOG_USEC=(\d+)$", _text(folder / "environ").replace("\0", "\n"), re.MULTILINE)
    return Process(
        int(locked[0]) if locked else None,
        limit[1] if limit else None,
        bool(int(effective, 16) >> _CAP_IPC_LOCK & 1) if effective else True,
        int(score) if score else None,
        int(watchdog[1]) / 1e6 if watchdog else None,
    )


def failed_logs(status: Mapping[str, object]) -> Iterator[FailedLog]:
    """Pick the failed ones from the daemon's word; what has another shape is no log."""
    logs = status.get("logs")
    for log in logs if isinstance(logs, list) else []:
        if isinstance(log, dict) and (log.get("state") == "failed" or log.get("health") == "D"):
            device = log.get("log_device")
            yield FailedLog(str(log.get("uuid")), device if isinstance(device, str) else None)


def stacks(mirrors: Sequence[Mirror]) -> Iterator[Stack]:
    """Find logs that lie on a mirror whose log is in user space."""
    numbers = devices.mapped()
    served = {numbers[mirror.name]: mirror.name for mirror in mirrors if mirror.userspace and mirror.name in numbers}
    for mirror in mirrors:
        for line in mirror.lines:
            if line.userspace and line.log is not None:
                number = devices.resolved(line.log)
                below = [number, *(devices.number_in(path) for path in devices.stands_on(number))]
                for each in below:
                    if each in served:
                        yield Stack(mirror.name, naming.known_as(line.log), served[each])


def same_uuid(mirrors: Sequence[Mirror]) -> Iterator[str]:
    """Find mirrors whose logs have one uuid."""
    named: dict[str, list[str]] = {}
    for mirror in mirrors:
        for uuid in dict.fromkeys(line.uuid for line in mirror.lines if line.uuid is not None):
            named.setdefault(uuid, []).append(mirror.name)
    return (f"mirrors {', '.join(names)} have the uuid {uuid}" for uuid, names in named.items() if len(names) > 1)


def suspended(mirrors: Sequence[Mirror]) -> Iterator[str]:
    """Find suspended mirrors, those with the kernel's own log too: a migrate that was killed may leave such a one."""
    numbers = devices.mapped()
    for mirror in mirrors:
        if devices.is_suspended(numbers.get(mirror.name, "")):
            yield mirror.name


def _neighbours() -> tuple[Neighbour, ...]:
    try:
        return neighbours.neighbours()
    except OSError:  # no netlink to be seen
        return ()


def _asked(ask: Asking, control: Path) -> tuple[Mapping[str, object], str | None]:
    try:
        return ask(control), None
    except (DiskulogError, ValueError) as failure:
        return {}, str(failure)


def _mirrors() -> tuple[tuple[Mirror, ...], str | None]:
    try:
        return dm.mirrors(), None
    except DeviceError as failure:
        return (), str(failure)


def _mirrortab(path: Path, mirrors: Sequence[Mirror]) -> Iterator[str]:
    by_uuid = dm.uuids(mirrors)
    for entry in tab.parse(_text(path)):
        other = by_uuid.get(entry.line.uuid or "", entry.name) if entry.line else entry.name
        if other != entry.name:
            yield f"{path}: line {entry.number}, {entry.name}: its uuid is that of mirror {other}, which is there"
        if entry.line is None:
            yield f"{path}: line {entry.number}, {entry.name}: {entry.problem}"


def _cautions(path: Path) -> Iterator[str]:
    for entry in tab.parse(_text(path)):
        for caution in tab.cautions(entry.line) if entry.line else ():
            yield f"{path}: line {entry.number}, {entry.name}: {caution}"


def _place(path: Path) -> Place | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return Place(str(path), found.st_mode, found.st_uid)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="surrogateescape").strip()
    except OSError:
        return ""
