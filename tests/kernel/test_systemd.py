# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon as a service of a real systemd, from boot to power-off: one VM, whose steps are tests here."""

import functools
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernel.guest.rig import diskulog
from tests.kernel.systemd_guest import MIRROR, STEPS

_TOP = Path(__file__).resolve().parents[2]
_CONF = _TOP / "conf"
_ENABLED = ("diskulog.service", "diskulog-assemble.service")
_UNITS = (*_ENABLED, "diskulog-deactivate.service")
_LEG_BYTES, _LOG_BYTES = 16 << 20, 1 << 20
# shorter than in conf/: the VM's time is dear
_SHORTER = {
    "etc/systemd/system/diskulog.service.d/shorter.conf": "[Service]\nWatchdogSec=12s\n",
    "etc/diskulog/diskulog.toml": "[daemon]\nworker_timeout_seconds = 4.0\n",
}
_NAMES = [step.__name__ for step in STEPS]


def installed(root: Path) -> Path:
    """What a package would install, and enable, in a directory."""
    files = {f"etc/systemd/system/{name}": (_CONF / name).read_text() for name in _UNITS}
    files["etc/diskulog/mirrortab"] = f"{MIRROR.name} {MIRROR.table()}\n"
    for kind in ("modules-load.d", "sysusers.d", "tmpfiles.d"):
        files[f"usr/lib/{kind}/diskulog.conf"] = (_CONF / kind / "diskulog.conf").read_text()
    for name, text in {**files, **_SHORTER}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    links = {f"etc/systemd/system/sysinit.target.wants/{name}": f"../{name}" for name in _ENABLED}
    links["usr/bin/diskulog"] = str(Path(sys.executable).with_name("diskulog"))
    for name, target in links.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)
    return root


@functools.cache
def ran(kernel: str, directory: Path) -> tuple[subprocess.CompletedProcess[str], dict[str, str], list[Path]]:
    """Run the VM; return how it ended, what was wrong with each step, and the disks."""
    disks = [directory / name for name in ("leg0", "leg1", "log")]
    for disk, size in zip(disks, (_LEG_BYTES, _LEG_BYTES, _LOG_BYTES), strict=True):
        with disk.open("wb") as file:
            file.truncate(size)
    command = [str(_TOP / "tools/vm"), "--kernel", kernel, "--cpus", "1", "--timeout", "900", "--systemd"]
    command += ["--overlay", str(installed(directory / "root")), "--dmesg", str(directory / "dmesg")]
    for disk in disks:
        command += ["--disk", str(disk)]
    command += ["--", sys.executable, "-m", "tests.kernel.systemd_guest"]
    done = subprocess.run(command, cwd=_TOP, capture_output=True, text=True, check=False)
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return done, {each["step"]: each["wrong"] for each in told}, disks


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("systemd")
    (made / "root").mkdir()
    return made


@pytest.mark.kernel
@pytest.mark.timeout(1000)
@pytest.mark.parametrize("step", _NAMES[:-1])
def test_a_step(kernel: str, directory: Path, step: str) -> None:
    done, wrong, _ = ran(kernel, directory)
    assert wrong.get(step, done.stderr + done.stdout) == ""


@pytest.mark.kernel
@pytest.mark.timeout(1000)
def test_switched_off_in_use_the_log_is_closed_and_the_legs_are_equal(kernel: str, directory: Path) -> None:
    done, _, (first, second, log) = ran(kernel, directory)
    assert done.returncode == 0, done.stderr + done.stdout
    code, said = diskulog("inspect", "--json", str(log))
    assert code == 0, said
    report = json.loads(said)
    assert report["log"]["state"] == "closed"
    assert report["log"]["dirty_count"] == 0
    assert first.read_bytes() == second.read_bytes()
    checked = subprocess.run(["e2fsck", "-fn", str(first)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
    assert "skipping journal recovery" not in checked.stdout + checked.stderr
