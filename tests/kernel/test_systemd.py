# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon as a service of a real systemd, from boot to power-off: one VM, whose steps are tests here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernel import machines
from tests.kernel.guest.rig import diskulog
from tests.kernel.systemd_guest import HELD, MIRROR, STEPS

_CONF = machines.TOP / "conf"
_ENABLED = ("diskulog.service", "diskulog-assemble.service")
_UNITS = (*_ENABLED, "diskulog-deactivate.service")
_LEG_BYTES, _LOG_BYTES = 16 << 20, 1 << 20
# shorter than in conf/: the VM's time is dear
_SHORTER = {
    "etc/systemd/system/diskulog.service.d/shorter.conf": "[Service]\nWatchdogSec=12s\n",
    "etc/diskulog/diskulog.toml": "[daemon]\nworker_timeout_seconds = 4.0\n",
}
_NAMES = [step.__name__ for step in STEPS]

Ran = tuple[subprocess.CompletedProcess[str], dict[str, str], list[Path]]


def installed(root: Path) -> Path:
    """What a package would install, and enable, in a directory."""
    files = {f"etc/systemd/system/{name}": (_CONF / name).read_text() for name in _UNITS}
    files["etc/diskulog/mirrortab"] = f"{MIRROR.name} {MIRROR.table()}\nheld {HELD}\n"
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


def boot(kernel: str, directory: Path) -> Ran:
    """Run the VM; return how it ended, what was wrong with each step, and the disks."""
    disks = machines.blank_disks(directory, (_LEG_BYTES, _LEG_BYTES, _LOG_BYTES, _LOG_BYTES))
    overlay = ["--overlay", str(installed(directory / "root")), "--dmesg", str(directory / "dmesg")]
    command = machines.vm(kernel, 900, "--systemd", *overlay, disks=disks)
    done = machines.run([*command, "--", sys.executable, "-m", "tests.kernel.systemd_guest"])
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return done, {each["step"]: each["wrong"] for each in told}, disks


pytestmark = [pytest.mark.kernel, pytest.mark.beforehand(boot, 150)]


@pytest.mark.parametrize("step", _NAMES[:-1])
def test_a_step(ran: Ran, step: str) -> None:
    done, wrong, _ = ran
    assert wrong.get(step, done.stderr + done.stdout) == ""


def test_switched_off_in_use_the_log_is_closed_and_the_legs_are_equal(ran: Ran) -> None:
    done, _, (first, second, log, _) = ran
    assert done.returncode == 0, done.stderr + done.stdout
    code, said = diskulog("inspect", "--json", str(log))
    assert code == 0, said
    report = json.loads(said)
    assert report["log"]["state"] == "closed"
    assert report["log"]["dirty_count"] == 0
    half = MIRROR.length * 512
    assert first.read_bytes()[:half] == second.read_bytes()[:half]
    checked = subprocess.run(["e2fsck", "-fn", str(first)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
    assert "skipping journal recovery" not in checked.stdout + checked.stderr


def test_what_is_in_use_to_the_very_end_is_the_kernels_then(ran: Ran) -> None:
    # with a daemon's log the end of the shutdown would wait for ever
    done, _, (*_, log) = ran
    assert done.returncode == 0, done.stderr + done.stdout
    code, said = diskulog("inspect", str(log))
    assert (code, "released to the kernel's own log" in said) == (0, True), said
