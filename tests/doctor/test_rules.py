# SPDX-License-Identifier: LGPL-2.1-or-later
import stat
from dataclasses import replace

import pytest

from diskulog.doctor import report, rules
from diskulog.doctor.facts import Facts, FailedLog, Module, Place, Process, Stack
from diskulog.exits import Exit
from diskulog.forensic import findings
from diskulog.mirrors.dm import Mirror
from diskulog.mirrortable import parse
from diskulog.neighbours import Neighbour
from tests import schemas

LINE = "0 8 mirror userspace 4 u disk 7:2 8 2 7:0 0 7:1 0 1 handle_errors"
DAEMON = Neighbour(30, "diskulog", True)
SOCKET = Place("/run/diskulog/control.sock", stat.S_IFSOCK | 0o660, 0)
FOLDER = Place("/run/diskulog", stat.S_IFDIR | 0o755, 0)
WELL = Facts(
    modules={"dm-mirror": Module.LOADED, "dm-mod": Module.UNKNOWN},
    neighbours=(DAEMON,),
    daemon=Process(locked_kib=4000, memlock_limit="unlimited", oom_score_adj=-1000, watchdog_seconds=30.0),
    worker_timeout_seconds=10.0,
    rmem_max_bytes=2**24,
    receive_buffer_bytes=2**23,
    run_directory=FOLDER,
    control_socket=SOCKET,
    mirrors=(Mirror("home", (parse(LINE),)),),
)


def test_a_host_that_is_well():
    assert rules.judge(WELL) == ()


@pytest.mark.parametrize(
    ("changes", "severity", "name", "said"),
    [
        ({"modules": {"dm-mirror": Module.MISSING}}, "error", "module-missing", "dm-mirror"),
        ({"modules": {"dm-mirror": Module.AVAILABLE}}, "info", "module-not-loaded", "dm-mirror"),
        ({"kernel": "5.10.0-9-amd64"}, "warning", "kernel-old", "5.10"),
        ({"root": False}, "warning", "not-root", "root"),
        ({"missing_privileges": ("CAP_SYS_ADMIN is missing",)}, "error", "privilege-missing", "CAP_SYS_ADMIN"),
        ({"connector": False}, "error", "no-connector", "connector"),
        ({"neighbours": ()}, "error", "no-daemon", "mirrors wait for one: home"),
        ({"neighbours": (), "mirrors": ()}, "error", "no-daemon", "no daemon answers"),
        ({"neighbours": (DAEMON, Neighbour(31, "x", True))}, "error", "two-daemons", "30 (diskulog), 31 (x)"),
        ({"neighbours": (DAEMON, Neighbour(31, "cmirrord", True))}, "error", "cmirrord", "process 31"),
        ({"neighbours": (DAEMON, Neighbour(31, "spy", False))}, "warning", "listener", "process 31 (spy)"),
        ({"rmem_max_bytes": 212992}, "info", "receive-buffer", "208.0 KiB"),
        ({"daemon": Process(0, "65536", False, -1000)}, "warning", "memory-not-locked", "limit is 65536"),
        ({"daemon": Process(0, "unlimited", True, -1000)}, "warning", "memory-not-locked", "not locked"),
        ({"daemon": Process(1, "unlimited", True, 0)}, "warning", "may-be-killed", "is 0"),
        ({"worker_timeout_seconds": 20.0}, "warning", "watchdog-short", "is 20, and systemd's watchdog waits for 30 s"),
        ({"run_directory": replace(FOLDER, mode=stat.S_IFDIR | 0o775)}, "error", "run-directory", "drwxrwxr-x"),
        ({"run_directory": replace(FOLDER, uid=1000)}, "error", "run-directory", "owner 1000"),
        ({"control_socket": None, "control_path": "/run/x"}, "warning", "no-control-socket", "/run/x"),
        ({"control_socket": replace(SOCKET, mode=stat.S_IFSOCK | 0o666)}, "warning", "control-socket-open", "srw-rw-"),
        ({"control_problem": "no answer"}, "warning", "control-silent", "no answer"),
        ({"device_mapper": False, "tables_problem": "x"}, "error", "no-device-mapper", "/dev/mapper/control"),
        ({"dmsetup": False, "tables_problem": "x"}, "error", "no-dmsetup", "dmsetup"),
        ({"udev": False}, "warning", "no-udev", "udev"),
        ({"tables_problem": "cannot ask dm"}, "warning", "tables-hidden", "cannot ask dm"),
        (
            {"mirrors": (Mirror("home", (parse(LINE.removesuffix(" 1 handle_errors")),)),)},
            "warning",
            "no-handle-errors",
            "home",
        ),
        ({"stacks": (Stack("home", "/dev/x", "home"),)}, "error", "log-on-mirror", "is on its own mirror"),
        ({"stacks": (Stack("home", "/dev/x", "other"),)}, "error", "log-on-mirror", "is on mirror other"),
        ({"same_uuid": ("mirrors a, b have the uuid u",)}, "error", "same-uuid", "a, b"),
        ({"suspended": ("home",)}, "warning", "suspended", "home"),
        ({"failed_logs": (FailedLog("u", "7:2"),)}, "error", "log-failed", "the log of u on 7:2 failed"),
        ({"failed_logs": (FailedLog("u", None),)}, "error", "log-failed", "the log of u failed"),
        ({"configuration_problem": "[x]"}, "error", "configuration", "[x]"),
        ({"mirrortab_problems": ("line 3",)}, "warning", "mirrortab", "line 3"),
        ({"mirrortab_cautions": ("line 4",)}, "warning", "mirrortab-doubtful", "line 4"),
    ],
)
def test_one_thing_is_wrong(changes, severity, name, said):
    (found,) = rules.judge(replace(WELL, **changes))
    assert (found.severity, found.name) == (severity, name)
    assert said in found.text
    assert found.meaning.endswith(".")
    assert found.remedy.endswith(".")


def test_a_listener_without_a_daemon_is_the_worst():
    found = rules.judge(replace(WELL, neighbours=(Neighbour(31, "spy", False),)))
    assert [(each.severity, each.name) for each in found] == [("error", "listener-alone"), ("error", "no-daemon")]


def test_cmirrord_is_no_daemon_of_ours():
    found = rules.judge(replace(WELL, neighbours=(Neighbour(31, "cmirrord", True),), daemon=None))
    assert [each.name for each in found] == ["cmirrord", "no-daemon"]


def test_mirrors_of_the_kernel_are_not_judged():
    kernels = Mirror("old", (parse("0 8 mirror core 1 8 2 7:0 0 7:1 0"),))
    assert rules.judge(replace(WELL, mirrors=(kernels,))) == ()


def test_every_explanation_belongs_to_a_rule():
    cases = test_one_thing_is_wrong.pytestmark[0].args[1]
    assert {name for _, _, name, _ in cases} | {"listener-alone"} == set(rules.EXPLAINED)


def test_the_gravest_comes_first_and_decides_the_code():
    found = rules.judge(replace(WELL, rmem_max_bytes=1, udev=False, connector=False))
    assert [each.severity for each in found] == ["error", "warning", "info"]
    assert findings.exit_status(found) is Exit.PROBLEM
    assert findings.exit_status(found[1:]) is Exit.FINE


def test_what_is_printed_is_escaped():
    found = rules.judge(replace(WELL, suspended=("\x1b[2J",)))
    assert "\x1b" not in "".join(report.text(Exit.FINE, found))
    assert "\x1b" not in report.as_json(Exit.FINE, found)
    schemas.document(report.as_json(Exit.FINE, found))
