# SPDX-License-Identifier: LGPL-2.1-or-later
"""``migrate`` and ``replace-log`` as they are typed: what is said and asked, what each failure ends in."""

import fcntl
import io
import sys
from contextlib import contextmanager, nullcontext

import pytest

from diskulog import dm, process
from diskulog.commands import moves
from diskulog.errors import DeviceError, RefusedError
from diskulog.exits import Exit, NoDaemonError, UsageError
from diskulog.mirrors import tab
from diskulog.moving import logs, look
from diskulog.moving import run as running
from diskulog.moving.situation import Served
from tests import fake_control
from tests.moving.host import COUNT, DISKULOG_LOG, KERNEL_LOG, NEW, OLD, UUID, Host, line


class AwayHost(Host):
    """A host whose daemon may be away."""

    def served(self):
        if not self.daemon:
            raise NoDaemonError("no daemon: there is no such socket")
        return super().served()


@pytest.fixture
def host(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "needing_no_io", nullcontext)
    monkeypatch.setattr(running, "_PAUSE_SECONDS", 0.0)

    def make(log, **options):
        made = AwayHost(tmp_path, log, frozenset(range(COUNT)), **options)

        @contextmanager
        def doors_of(socket, mirror):
            yield made.doors()

        monkeypatch.setattr(moves, "doors_of", doors_of)
        return made

    return make


def contents(host):
    return [host.path(number).read_bytes() for number in (OLD, NEW)]


def test_there_and_back(host, run):
    mirror = host(KERNEL_LOG)
    code, out, err = run("migrate", "m", "--to", "diskulog", "--uuid", "mine", "--yes")
    assert (code, err) == (Exit.FINE, "")
    assert "m: done: its log goes from the kernel's own log on 253:2 to diskulog on 253:2 under the uuid mine" in out
    # its devices are numbers, which no file should have
    assert "; 'diskulog mirror save m' prints its line for the mirrortab; from now on its table is\n" in out
    assert out.endswith(f"m: {mirror.live}\n")
    assert "userspace 5 mine integrated_flush disk 253:2 8 " in mirror.live
    code, out, err = run("migrate", "/dev/mapper/m", "--to", "diskulog", "--yes")
    assert (code, out) == (Exit.FINE, "m: nothing to do: its log is diskulog on 253:2 already\n")
    code, out, err = run("migrate", "m", "--to", "kernel", "--yes")
    assert (code, err) == (Exit.FINE, "")
    assert mirror.live == line(KERNEL_LOG)


def test_a_log_that_has_no_uuid_gets_the_one_of_the_mirrortab(host, run, tmp_path, monkeypatch):
    file = tmp_path / "mirrortab"
    file.write_text(f"other {line(DISKULOG_LOG)}\nm {line(DISKULOG_LOG).replace(UUID, 'listed')}\n")
    monkeypatch.setattr(tab, "DEFAULT_PATH", file)
    mirror = host(KERNEL_LOG)
    code, _, err = run("migrate", "/dev/mapper/m", "--to", "diskulog", "--yes")
    assert (code, err) == (Exit.FINE, "")
    assert "userspace 5 listed integrated_flush disk 253:2 8 " in mirror.live


def test_a_log_that_is_named_nowhere_gets_a_new_uuid(host, run, tmp_path, monkeypatch):
    monkeypatch.setattr(tab, "DEFAULT_PATH", tmp_path / "none")
    mirror = host(KERNEL_LOG)
    assert run("migrate", "m", "--to", "diskulog", "--yes")[0] == Exit.FINE
    assert "userspace 5 diskulog-" in mirror.live


def test_replace_log(host, run):
    mirror = host(DISKULOG_LOG)
    code, out, err = run("replace-log", "m", mirror.path(NEW), "--yes")
    assert (code, err) == (Exit.FINE, "")
    assert mirror.now.log.number == NEW
    code, out, _ = run("replace-log", "m", mirror.path(NEW), "--yes")
    assert (code, out) == (Exit.FINE, f"m: nothing to do: its log is diskulog on {mirror.path(NEW)} already\n")


def test_replace_a_failed_log(host, run):
    mirror = host(DISKULOG_LOG, failed=True)
    code, _, err = run("replace-log", "m", mirror.path(NEW), "--yes")
    assert code == Exit.FINE
    assert "warning: m: nothing of the failed log is believed: all 100 regions will be resynced" in err
    assert (mirror.failed, mirror.truth) == (False, set())


@pytest.mark.parametrize(
    "words", [("migrate", "m", "--to", "kernel"), ("replace-log", "m")], ids=lambda words: words[0]
)
def test_a_dry_run_changes_nothing_and_says_every_step(host, run, words):
    mirror = host(DISKULOG_LOG)
    before = contents(mirror)
    more = (mirror.path(NEW),) if words[0] == "replace-log" else ()
    code, out, err = run(*words, *more, "--dry-run")
    assert (code, err) == (Exit.FINE, "")
    first, *steps, table = out.splitlines()
    assert "(dry run, nothing changed)" in first
    assert steps[0].startswith("  1. ")
    assert any("suspend the mirror" in step for step in steps)
    assert table.startswith("  new table: 0 799 mirror ")
    assert contents(mirror) == before
    assert set(mirror.does) == {"status"}


def test_nobody_to_ask_is_a_no(host, run, monkeypatch):
    mirror = host(KERNEL_LOG)
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    code, out, err = run("migrate", "m", "--to", "diskulog")
    assert (code, out) == (Exit.REFUSED, "")
    assert "say --yes" in err
    assert mirror.live == line(KERNEL_LOG)


def test_without_a_daemon_nothing_is_asked_that_could_hang(host, run):
    for log, to in ((KERNEL_LOG, "diskulog"), (DISKULOG_LOG, "kernel")):
        mirror = host(log)
        mirror.daemon = False
        code, _, err = run("migrate", "m", "--to", to, "--yes")
        assert code == Exit.NO_DAEMON
        assert "no daemon" in err
        assert mirror.does == []  # not even a status


def test_the_kernels_own_log_needs_no_daemon(host, run):
    mirror = host(KERNEL_LOG)
    mirror.daemon = False
    assert run("replace-log", "m", mirror.path(NEW), "--yes")[0] == Exit.FINE


def test_a_device_in_use_is_refused_before_anything(host, run, monkeypatch):
    mirror = host(DISKULOG_LOG)
    with mirror.path(NEW).open() as user:
        fcntl.flock(user, fcntl.LOCK_EX)
        code, _, err = run("replace-log", "m", mirror.path(NEW), "--yes")
    assert code == Exit.REFUSED
    assert "is in use" in err
    assert set(mirror.does) == {"status"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("m", "--to", "kernel", "--uuid", "u"), "leave out --uuid"),
        (("m", "--to", "diskulog", "--uuid", "a b"), "--uuid: must be"),
        (("m", "--to", "lvm"), "lvm"),
        (("m",), "--to"),
    ],
)
def test_what_cannot_be_meant(host, run, words, said):
    host(KERNEL_LOG)
    code, _, err = run("migrate", *words, "--yes")
    assert code == Exit.USAGE
    assert said in err


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (UsageError("m: there is no such mapped device"), Exit.USAGE),
        (DeviceError("m: dm cannot look at it", OSError(1, "Operation not permitted")), Exit.NO_PERMISSION),
    ],
)
def test_what_dm_says_is_the_exit_code(host, run, monkeypatch, failure, code):
    mirror = host(KERNEL_LOG)

    def fail(name):
        raise failure

    monkeypatch.setattr(mirror, "info", fail)
    assert run("migrate", "m", "--to", "diskulog", "--yes")[0] == code


def test_a_name_with_control_characters_is_escaped(host, run):
    mirror = host(KERNEL_LOG)
    mirror.uuid = "LVM-x"
    code, _, err = run("migrate", "m\x1b[2J", "--to", "diskulog", "--yes")
    assert code == Exit.REFUSED
    assert "\x1b" not in err


def test_the_real_doors_are_dm_and_the_socket(tmp_path, monkeypatch):
    (tmp_path / "control").touch()
    monkeypatch.setattr(dm, "CONTROL", str(tmp_path / "control"))
    path = tmp_path / "control.sock"
    monkeypatch.setattr(dm.KernelMapper, "info", lambda _, name: dm.Info(name, "", "253:5", False, True, False, False))
    monkeypatch.setattr(logs, "node", lambda number: str(tmp_path / "control"))
    with moves.doors_of(path, "m") as doors, pytest.raises(NoDaemonError):
        doors.served()
    with fake_control.serving(path) as daemon, moves.doors_of(path, "/dev/mapper/m") as doors:
        daemon.answers = [fake_control.answer(fake_control.log())]
        assert doors.served() == (Served("UUID-1", "253:2", "live", "A"),)
        assert isinstance(doors.mapper, dm.KernelMapper)
        with pytest.raises(RefusedError, match="another diskulog command is moving it"), moves.doors_of(path, "m"):
            pass


@pytest.mark.parametrize("worker", [{"worker_pid": None}, {"age_seconds": 60.0}])
def test_a_worker_that_is_away_is_no_daemon(tmp_path, worker):
    path = tmp_path / "control.sock"
    with fake_control.serving(path) as daemon:
        daemon.answers = [fake_control.answer(**worker)]
        with pytest.raises(NoDaemonError, match="does not answer just now"):
            look.served(path)


def test_the_module_is_loaded_before_anything_waits(tmp_path, monkeypatch):
    ran = []
    monkeypatch.setattr(look.subprocess, "run", lambda command, **_: ran.append(command))
    monkeypatch.setattr(look, "_MODULE", tmp_path)
    look.load_module()
    assert ran == []
    monkeypatch.setattr(look, "_MODULE", tmp_path / "none")
    look.load_module()
    assert ran == [("modprobe", "--quiet", "dm-log-userspace")]
