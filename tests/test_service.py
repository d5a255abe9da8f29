# SPDX-License-Identifier: LGPL-2.1-or-later
"""What conf/ has for systemd, judged by systemd's own tools; tests/kernel/test_systemd.py runs it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

_CONF = Path(__file__).resolve().parents[1] / "conf"
_UNITS = sorted(path.name for path in _CONF.glob("*.service"))
_DAEMON, _DEACTIVATION = "diskulog.service", "diskulog-deactivate.service"
_EXPOSURE = 25  # tenths. More than that needs a reason


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units in a directory, with a program that is there."""
    for name in _UNITS:
        text = (_CONF / name).read_text().replace("/usr/bin/diskulog", sys.executable)
        (tmp_path / name).write_text(text)
    return tmp_path


def ask(*words: str, directory: Path) -> tuple[int, str]:
    done = subprocess.run(words, cwd=directory, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def settings(name: str) -> dict[str, list[str]]:
    """Every setting of a unit, in all its lines."""
    found: dict[str, list[str]] = {}
    for line in (_CONF / name).read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).extend(value.split())
    return found


def verify(directory: Path, name: str) -> tuple[int, str]:
    # the pages are not installed here, and other units of this machine are not ours to judge
    words = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", f"./{name}"]
    code, said = ask(*words, directory=directory)
    return code, "".join(line for line in said.splitlines() if "diskulog" in line)


@pytest.mark.parametrize("name", _UNITS)
def test_systemd_finds_nothing_wrong(units: Path, name: str):
    assert verify(units, name) == (0, "")


def test_a_wrong_setting_would_be_seen(units: Path):
    unit = units / _DAEMON
    unit.write_text(unit.read_text().replace("KillMode=", "KilMode="))
    assert "Unknown key 'KilMode'" in verify(units, unit.name)[1]


@pytest.mark.parametrize(("limit", "code"), [(_EXPOSURE, 0), (_EXPOSURE - 1, 1)], ids=["is it", "is not less"])
def test_the_exposure_does_not_get_worse(units: Path, limit: int, code: int):
    words = ["systemd-analyze", "security", "--offline=yes", f"--threshold={limit}", f"./{_DAEMON}"]
    got, said = ask(*words, directory=units)
    assert got == code, said


def test_the_readme_tells_the_exposure():
    text = " ".join((_CONF.parent / "README.rst").read_text().split())
    assert re.findall(r"``systemd-analyze security``: ([\d.]+), OK", text) == [f"{_EXPOSURE / 10}"]


def test_whatever_is_done_first_is_undone_last():
    daemon, deactivation = settings(_DAEMON), settings(_DEACTIVATION)
    # an order is handed on only by what is there
    assert {"local-fs-pre.target", _DEACTIVATION} <= set(daemon["Wants"])
    for unit in (daemon, deactivation):
        assert {"local-fs-pre.target", "blk-availability.service", "shutdown.target"} <= set(unit["Before"])
        assert unit["DefaultDependencies"] == ["no"]
        assert unit["Conflicts"] == ["shutdown.target"]
    assert _DAEMON in deactivation["After"]
    # a daemon that is restarted must leave the mirrors alone
    assert not {"BindsTo", "Requires", "PartOf"} & deactivation.keys()


def test_nothing_in_the_unit_touches_what_may_be_on_a_mirror():
    daemon = settings(_DAEMON)
    assert not {"PrivateTmp", "ProtectHome", "WorkingDirectory", "StateDirectory", "LogsDirectory"} & daemon.keys()
    assert daemon["LimitCORE"] == ["1"]


def test_the_group_is_made(tmp_path: Path):
    for name in ("passwd", "group"):
        (tmp_path / "etc").mkdir(exist_ok=True)
        (tmp_path / "etc" / name).touch()
    conf = _CONF / "sysusers.d/diskulog.conf"
    assert ask("systemd-sysusers", f"--root={tmp_path}", str(conf), directory=tmp_path)[0] == 0
    assert (tmp_path / "etc/group").read_text().startswith("diskulog:")
    assert (tmp_path / "etc/passwd").read_text() == ""


def test_the_run_directory_is_made_as_the_unit_makes_it(tmp_path: Path):
    conf = _CONF / "tmpfiles.d/diskulog.conf"
    assert ask("systemd-tmpfiles", "--create", f"--root={tmp_path}", str(conf), directory=tmp_path)[0] == 0
    mode = int(settings(_DAEMON)["RuntimeDirectoryMode"][0], 8)
    assert (tmp_path / "run/diskulog").stat().st_mode & 0o7777 == mode


def test_the_modules_are_those_of_the_tables():
    lines = (_CONF / "modules-load.d/diskulog.conf").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == ["dm-mirror", "dm-log-userspace"]
