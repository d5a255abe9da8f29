# SPDX-License-Identifier: LGPL-2.1-or-later
import socket

import pytest

from diskulog import neighbours
from diskulog.config import Config, Daemon
from diskulog.doctor import host as module
from diskulog.doctor import rules
from diskulog.doctor.facts import FailedLog, Module, Process, Stack
from diskulog.errors import RefusedError
from diskulog.neighbours import Neighbour
from tests.fake_devices import Host

LINE = "0 8 mirror userspace 4 u disk /dev/l 8 2 8:0 0 8:1 0 1 handle_errors"
PID = 30
DAEMON = Neighbour(PID, "diskulog", True)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A host on which all is well, with a daemon and its socket."""
    made = Host(tmp_path, monkeypatch)
    made.device("l", 8)
    files = {
        "proc/sys/kernel/osrelease": "6.12.9-amd64\n",
        "proc/sys/net/core/rmem_max": "16777216\n",
        "proc/net/connector": "",
        f"proc/{PID}/status": "Name:\tdiskulog\nVmLck:\t    4711 kB\nCapEff:\t000001ffffffffff\n",
        f"proc/{PID}/limits": "Limit   Soft Limit  Hard Limit  Units\nMax locked memory  8388608  8388608  bytes\n",
        f"proc/{PID}/oom_score_adj": "-1000\n",
        f"proc/{PID}/environ": "A=WATCHDOG_USEC=1\0WATCHDOG_USEC=30500000\0WATCHDOG_PID=30\0",
        "lib/modules/6.12.9-amd64/modules.dep": "kernel/drivers/md/dm-mirror.ko.xz: kernel/drivers/md/dm-log.ko.xz\n",
        "lib/modules/6.12.9-amd64/modules.builtin": "kernel/drivers/md/dm-mod.ko\n",
        "dev/mapper/control": "",
        "run/udev/control": "",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    (tmp_path / "sys/module/dm_log_userspace").mkdir(parents=True)
    (tmp_path / "run/diskulog").mkdir(mode=0o755)
    with socket.socket(socket.AF_UNIX) as control:
        control.bind(str(tmp_path / "run/diskulog/control.sock"))
    (tmp_path / "run/diskulog/control.sock").chmod(0o660)
    monkeypatch.setattr(neighbours, "neighbours", lambda: (DAEMON,))
    monkeypatch.setattr(module.process, "missing_privileges", list)
    monkeypatch.setattr(module.os, "geteuid", lambda: 0)
    monkeypatch.delenv("DM_DISABLE_UDEV", raising=False)
    return made


def collect(machine, status=None, problem=None):
    config = Config(daemon=Daemon(run_directory=str(machine.root / "run/diskulog")))

    def ask(path):
        assert path.name == "control.sock"
        if isinstance(status, Exception):
            raise status
        return status or {}

    return module.collect(config, problem, ask, machine.root, machine.root / "mirrortab")


def test_a_host_that_is_well(machine):
    facts = collect(machine)
    assert facts.modules == {
        "dm-mod": Module.LOADED,
        "dm-mirror": Module.AVAILABLE,
        "dm-log-userspace": Module.LOADED,
    }
    assert facts.worker_timeout_seconds == 10.0
    assert facts.daemon == Process(4711, "8388608", True, -1000, 30.5)
    assert facts.kernel == "6.12.9-amd64"
    folder = facts.run_directory
    assert folder.path.endswith("run/diskulog")
    assert [each.name for each in rules.judge(facts)] == ["module-not-loaded"] + ["run-directory"] * bool(folder.uid)


def test_a_host_where_nothing_is(machine, monkeypatch, tmp_path):
    monkeypatch.setattr(neighbours, "neighbours", lambda: ())
    empty = tmp_path / "empty"
    empty.mkdir()
    facts = module.collect(
        Config(daemon=Daemon(run_directory=str(empty / "none"))), "bad", lambda _: 1 / 0, empty, empty / "none"
    )
    assert set(facts.modules.values()) == {Module.UNKNOWN}
    assert (facts.connector, facts.device_mapper, facts.udev, facts.daemon) == (False, False, False, None)
    assert (facts.run_directory, facts.control_socket, facts.rmem_max_bytes) == (None, None, None)
    assert facts.configuration_problem == "bad"


def test_a_module_that_is_missing(machine):
    (machine.root / "lib/modules/6.12.9-amd64/modules.dep").write_text("kernel/fs/ext4.ko:\n")
    assert module.module(machine.root, "6.12.9-amd64", "dm-mirror") is Module.MISSING


def test_no_netlink_to_be_seen(machine, monkeypatch):
    def fail():
        raise FileNotFoundError

    monkeypatch.setattr(neighbours, "neighbours", fail)
    assert collect(machine).neighbours == ()


def test_a_process_that_is_gone(machine):
    assert module.daemon(machine.root, 31) == Process(None, None, True, None)


def test_what_the_daemon_says_of_its_logs(machine):
    status = {
        "logs": [
            {"uuid": "a", "log_device": "8:0", "state": "failed", "health": "D"},
            {"uuid": "b", "log_device": None, "state": "live", "health": "D"},
            {"uuid": "c", "log_device": "8:1", "state": "live", "health": "A"},
            "nonsense",
        ]
    }
    assert collect(machine, status).failed_logs == (FailedLog("a", "8:0"), FailedLog("b", None))
    assert collect(machine, {"logs": 5}).failed_logs == ()


def test_a_daemon_that_says_nothing(machine):
    facts = collect(machine, RefusedError("control socket", "is full", "try again"))
    assert "is full" in facts.control_problem


def test_without_a_daemon_nobody_is_asked(machine, monkeypatch):
    monkeypatch.setattr(neighbours, "neighbours", lambda: (Neighbour(5, "spy", False),))
    assert collect(machine, ZeroDivisionError()).control_problem is None


def test_mirrors_their_stacks_and_their_tab(machine, monkeypatch):
    machine.mirror("bottom", LINE, 0)
    machine.mirror("top", LINE.replace("/dev/l", "253:2"), 1, suspended=True)
    machine.mirror("old", "0 8 mirror disk 2 8:7 8 2 8:0 0 8:1 0", 3, suspended=True)
    machine.mapped("part", 2)
    below = machine.root / "block" / "dm-2" / "slaves"
    below.mkdir()
    (below / "dm-0").symlink_to(machine.root / "block" / "dm-0")
    (machine.root / "mirrortab").write_text("x y\nhome 0 8 mirror userspace 3 v core 8 2 8:0 0 8:1 0\n")
    facts = collect(machine)
    assert [mirror.name for mirror in facts.mirrors] == ["bottom", "old", "top"]
    assert facts.stacks == (Stack("top", "/dev/mapper/part", "bottom"),)
    assert facts.suspended == ("old", "top")  # a migrate that is killed may leave either
    assert [problem.partition(": ")[2] for problem in facts.mirrortab_problems] == [
        "line 1, x: is not the table line of a mirror: '<start> <length> mirror ...'",
    ]
    assert [caution.partition(": ")[2] for caution in facts.mirrortab_cautions] == [
        "line 2, home: without handle_errors",
        "line 2, home: 8:0 may be another device after a boot",
        "line 2, home: 8:1 may be another device after a boot",
    ]


def test_mirrors_and_lines_of_one_uuid(machine):
    machine.mirror("home", LINE, 0)
    machine.mirror("other", LINE.replace(" u ", " v "), 1)
    (machine.root / "mirrortab").write_text(f"home {LINE}\n")
    facts = collect(machine)
    assert (facts.same_uuid, facts.mirrortab_problems) == ((), ())
    machine.mirror("copy", LINE, 2)
    (machine.root / "mirrortab").write_text(f"home {LINE}\ncopied {LINE}\nnew {LINE.replace(' u ', ' v ')}\n")
    facts = collect(machine)
    assert facts.same_uuid == ("mirrors copy, home have the uuid u",)
    assert [problem.partition(": ")[2] for problem in facts.mirrortab_problems] == [
        "line 2, copied: its uuid is that of home in line 1, and each log has its own",
        "line 3, new: its uuid is that of mirror other, which is there",
    ]


def test_tables_that_cannot_be_seen(machine):
    (machine.state / "said").write_text("Permission denied")
    facts = collect(machine)
    assert (facts.mirrors, "Permission denied" in facts.tables_problem) == ((), True)


def test_no_status_is_ever_asked_of_dm(machine):
    machine.mirror("home", LINE)
    collect(machine)
    assert {line.split()[0] for line in (machine.state / "log").read_text().splitlines()} == {"table"}
