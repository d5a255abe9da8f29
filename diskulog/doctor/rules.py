# SPDX-License-Identifier: LGPL-2.1-or-later
"""The rules of ``doctor``, and the table of what each finding means and what to do.

Lives here: judging facts. Does not know where they come from, or how findings are shown.
"""

import re
import stat
from collections.abc import Callable, Iterator
from typing import Final

from diskulog.doctor.facts import Facts, Module
from diskulog.forensic.findings import Finding
from diskulog.forensic.report import ERROR, INFO, WARNING, Message
from diskulog.neighbours import Neighbour
from diskulog.units import human_bytes

_OLDEST_KERNEL: Final = (6, 1)
_CMIRRORD: Final = "cmirrord"
_NEVER_KILLED: Final = -1000
_ORDER: Final = (ERROR, WARNING, INFO)

# name: what it means, what to do
EXPLAINED: Final[dict[str, tuple[str, str]]] = {
    "module-missing": (
        "This kernel cannot have mirrors with their log in user space.",
        "Install a kernel with the module (Debian's linux-image-amd64, not the cloud flavour), or build it in.",
    ),
    "module-not-loaded": (
        "The kernel loads it when the first such mirror is made.",
        "Nothing; a file in /etc/modules-load.d has it loaded at boot.",
    ),
    "kernel-old": ("diskulog is tested with 6.1 and later kernels.", "Use a later kernel."),
    "not-root": ("Not everything could be looked at.", "Run 'diskulog doctor' as root."),
    "privilege-missing": (
        "A daemon that is started like this cannot work.",
        "Run it as root, on the host and not in a container; in a unit, see CapabilityBoundingSet.",
    ),
    "no-connector": (
        "The kernel's requests do not arrive here: only the initial network namespace has the connector.",
        "Run the daemon on the host, without PrivateNetwork; the kernel needs CONFIG_CONNECTOR.",
    ),
    "no-daemon": (
        "Mirrors with their log in user space cannot be made; those that are there hold their writes.",
        "systemctl start diskulog; journalctl -u diskulog says why it ended.",
    ),
    "two-daemons": (
        "Two processes answer the same requests, and each other's logs: marks get lost.",
        "Stop all but one at once.",
    ),
    "cmirrord": (
        "cmirrord answers the requests for every mirror's log, those of diskulog too, with errors.",
        "Stop cmirrord and keep it from starting (systemctl disable --now cmirrord).",
    ),
    "listener": (
        "It only listens. While it does, a request without a daemon waits for ever, in place of failing at once.",
        "End it when it is no longer needed ('diskulog trace' is such a process).",
    ),
    "listener-alone": (
        "Nobody answers, and the kernel does not know: whatever touches such a mirror waits, and cannot be killed.",
        "Start the daemon now, or end the process; touch no mirror until then.",
    ),
    "receive-buffer": (
        "The daemon sets its own, past this limit (SO_RCVBUFFORCE, CAP_NET_ADMIN).",
        "Nothing: net.core.rmem_max need not be changed.",
    ),
    "memory-not-locked": (
        "The daemon may wait for its own memory to be read from a device that waits for the daemon.",
        "Give it CAP_IPC_LOCK, or LimitMEMLOCK=infinity in its unit, and restart it.",
    ),
    "may-be-killed": (
        "The kernel may choose the daemon when memory is short, and every mirror would wait for it.",
        "OOMScoreAdjust=-1000 in its unit.",
    ),
    "run-directory": (
        "Others than root may replace what a restarted daemon takes for its own state.",
        "chown root and chmod go-w the directory.",
    ),
    "no-control-socket": (
        "'diskulog status' and the metrics cannot ask the daemon.",
        "Look at its log (journalctl -u diskulog), and at [daemon] run_directory in its configuration.",
    ),
    "control-socket-open": (
        "Everybody on this host may ask the daemon, and hold its few connections.",
        "chmod 0660 the socket; restart the daemon, which makes it so.",
    ),
    "control-silent": ("What the daemon knows of its logs could not be looked at.", "See 'diskulog status'."),
    "watchdog-short": (
        "systemd kills the whole daemon before it has replaced a worker that hangs; mirrors wait longer.",
        "Make daemon.worker_timeout_seconds smaller, or WatchdogSec of diskulog.service larger: three times is good.",
    ),
    "no-device-mapper": ("This kernel has no device mapper, or nothing has made its node.", "modprobe dm-mod."),
    "no-dmsetup": ("Mirrors are made with dmsetup.", "Install it (Debian: dmsetup)."),
    "no-udev": (
        "Nobody makes the nodes below /dev/mapper; dmsetup may wait for udev in vain.",
        "Start udev; in a small system without it, set DM_DISABLE_UDEV=1.",
    ),
    "tables-hidden": ("Mirrors could not be looked at.", "Run 'diskulog doctor' as root, with dmsetup installed."),
    "no-handle-errors": (
        "When the log fails the kernel goes on writing without it, and a crash then leaves legs that differ.",
        "Load its table with '1 handle_errors' at the end (dmsetup load, suspend, resume).",
    ),
    "log-on-mirror": (
        "Each mark is written through a mirror that may wait for the daemon: both would wait for ever.",
        "Move the log to a device of its own ('diskulog replace-log').",
    ),
    "same-uuid": (
        "The daemon takes them for one: each takes the other's log away, and neither log can be believed.",
        "Remove the one that is a copy; 'diskulog adopt --uuid NEW' gives its log a uuid of its own.",
    ),
    "suspended": (
        "Whoever reads or writes it waits.",
        "Say a migrate or replace-log that was broken off again. Else dmsetup resume, if nobody is changing its table.",
    ),
    "log-failed": (
        "The log device failed a write: writes to the mirror are held, with handle_errors.",
        "Replace the device ('diskulog replace-log'), or mend it and load the table again.",
    ),
    "configuration": (
        "The daemon does not start with this configuration.",
        "'diskulog config check' says everything that is wrong with it.",
    ),
    "mirrortab": ("The line's mirror is not made at boot.", "Mend the line; 'diskulog mirror save' prints good ones."),
    "mirrortab-doubtful": (
        "The mirror is made at boot, but perhaps of other devices, or so that it suffers from the next crash.",
        "Mend the line: 'diskulog mirror save' prints names that stay, and leaves out what speaks of the first time.",
    ),
}


def judge(facts: Facts) -> tuple[Finding, ...]:
    """Return everything that is to be said of a host, the gravest first."""
    found = [message for rule in _RULES for message in rule(facts)]
    found.sort(key=lambda message: _ORDER.index(message.severity))
    return tuple(Finding(each.name, each.severity, each.text, *EXPLAINED[each.name]) for each in found)


def _kernel(facts: Facts) -> Iterator[Message]:
    for name, module in facts.modules.items():
        if module is Module.MISSING:
            yield Message(ERROR, f"the kernel has no module {name}", "module-missing")
        elif module is Module.AVAILABLE:
            yield Message(INFO, f"the module {name} is not loaded", "module-not-loaded")
    numbers = re.match(r"(\d+)\.(\d+)", facts.kernel)
    if numbers and (int(numbers[1]), int(numbers[2])) < _OLDEST_KERNEL:
        yield Message(WARNING, f"the kernel is {facts.kernel}", "kernel-old")
    if not facts.connector:
        yield Message(ERROR, "there is no netlink connector here", "no-connector")


def _privileges(facts: Facts) -> Iterator[Message]:
    if not facts.root:
        yield Message(WARNING, "this is not root", "not-root")
        return
    for line in facts.missing_privileges:
        yield Message(ERROR, line, "privilege-missing")


def _neighbours(facts: Facts) -> Iterator[Message]:
    daemons = [each for each in facts.neighbours if each.may_answer and each.name != _CMIRRORD]
    for each in facts.neighbours:
        if each.name == _CMIRRORD:
            yield Message(ERROR, f"process {each.pid} is cmirrord", "cmirrord")
        elif not each.may_answer:
            yield from _listener(each, daemon=bool(daemons))
    if len(daemons) > 1:
        pids = ", ".join(f"{each.pid} ({each.name})" for each in daemons)
        yield Message(ERROR, f"processes {pids} answer requests", "two-daemons")
    if not daemons:
        waiting = ", ".join(mirror.name for mirror in facts.mirrors if mirror.userspace)
        text = f"no daemon answers, and mirrors wait for one: {waiting}" if waiting else "no daemon answers"
        yield Message(ERROR, text, "no-daemon")


def _listener(found: Neighbour, *, daemon: bool) -> Iterator[Message]:
    text = f"process {found.pid} ({found.name}) listens to the kernel's requests"
    yield Message(WARNING, text, "listener") if daemon else Message(ERROR, text, "listener-alone")


def _daemon(facts: Facts) -> Iterator[Message]:
    limit = facts.rmem_max_bytes
    if limit is not None and limit < facts.receive_buffer_bytes:
        wanted = human_bytes(facts.receive_buffer_bytes)
        text = f"net.core.rmem_max is {human_bytes(limit)}, and the daemon has a buffer of {wanted}"
        yield Message(INFO, text, "receive-buffer")
    daemon = facts.daemon
    if daemon is None:
        return
    if daemon.locked_kib == 0:
        limited = "" if daemon.has_ipc_lock else f", its limit is {daemon.memlock_limit} and it has no CAP_IPC_LOCK"
        yield Message(WARNING, f"the daemon's memory is not locked{limited}", "memory-not-locked")
    if daemon.oom_score_adj is not None and daemon.oom_score_adj != _NEVER_KILLED:
        yield Message(WARNING, f"the daemon's oom_score_adj is {daemon.oom_score_adj}", "may-be-killed")
    worker, watchdog = facts.worker_timeout_seconds, daemon.watchdog_seconds
    # it was fed up to a third of its time before the worker began to hang (attendant)
    if watchdog is not None and watchdog * 2 / 3 <= worker:
        text = f"worker_timeout_seconds is {worker:g}, and systemd's watchdog waits for {watchdog:g} s only"
        yield Message(WARNING, text, "watchdog-short")


def _control(facts: Facts) -> Iterator[Message]:
    place, socket = facts.run_directory, facts.control_socket
    if place and (place.uid or place.mode & (stat.S_IWGRP | stat.S_IWOTH)):
        text = f"{place.path} has mode {stat.filemode(place.mode)} and owner {place.uid}"
        yield Message(ERROR, text, "run-directory")
    if facts.daemon is not None and socket is None:
        yield Message(WARNING, f"the daemon has no socket {facts.control_path}", "no-control-socket")
    if socket and socket.mode & stat.S_IRWXO:
        text = f"{socket.path} has mode {stat.filemode(socket.mode)}"
        yield Message(WARNING, text, "control-socket-open")
    if facts.control_problem:
        yield Message(WARNING, facts.control_problem, "control-silent")


def _device_mapper(facts: Facts) -> Iterator[Message]:
    if not facts.device_mapper:
        yield Message(ERROR, "there is no /dev/mapper/control", "no-device-mapper")
    if not facts.dmsetup:
        yield Message(ERROR, "dmsetup is not installed", "no-dmsetup")
    if not facts.udev:
        yield Message(WARNING, "udev does not run", "no-udev")
    if facts.device_mapper and facts.dmsetup and facts.tables_problem:
        yield Message(WARNING, facts.tables_problem, "tables-hidden")


def _mirrors(facts: Facts) -> Iterator[Message]:
    for mirror in facts.mirrors:
        if mirror.userspace and not all(line.handles_errors for line in mirror.lines):
            yield Message(WARNING, f"mirror {mirror.name} has no handle_errors in its table", "no-handle-errors")
    for stack in facts.stacks:
        whose = "its own mirror" if stack.below == stack.mirror else f"mirror {stack.below}"
        yield Message(ERROR, f"the log of mirror {stack.mirror} ({stack.log}) is on {whose}", "log-on-mirror")
    for text in facts.same_uuid:
        yield Message(ERROR, text, "same-uuid")
    for name in facts.suspended:
        yield Message(WARNING, f"mirror {name} is suspended", "suspended")
    for log in facts.failed_logs:
        where = f" on {log.log_device}" if log.log_device else ""
        yield Message(ERROR, f"the log of {log.uuid}{where} failed", "log-failed")


def _files(facts: Facts) -> Iterator[Message]:
    if facts.configuration_problem:
        yield Message(ERROR, facts.configuration_problem, "configuration")
    for problem in facts.mirrortab_problems:
        yield Message(WARNING, problem, "mirrortab")
    for caution in facts.mirrortab_cautions:
        yield Message(WARNING, caution, "mirrortab-doubtful")


_RULES: Final[tuple[Callable[[Facts], Iterator[Message]], ...]] = (
    _kernel,
    _privileges,
    _neighbours,
    _daemon,
    _control,
    _device_mapper,
    _mirrors,
    _files,
)
