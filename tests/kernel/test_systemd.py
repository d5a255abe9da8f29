# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon as a service of a real systemd, from boot to power-off: one VM, whose steps are tests here."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernel import machines
from tests.kernel.guest.rig import diskulog
from tests.kernel.systemd_guest import AGAIN, HELD, IN_MEMORY, METRICS_SERVICE, MIRROR, STEPS

_CONF = machines.TOP / "conf"
_ENABLED = ("diskulog.service", "diskulog-assemble.service")
_UNITS = (*_ENABLED, "diskulog-deactivate.service", METRICS_SERVICE)
_LEG_BYTES, _LOG_BYTES = 24 << 20, 1 << 20
# shorter than in conf/: the VM's time is dear
_SHORTER = {
    "etc/systemd/system/diskulog.service.d/shorter.conf": "[Service]\nWatchdogSec=24s\n",
    "etc/diskulog/diskulog.toml": "[daemon]\nworker_timeout_seconds = 8.0\n",
}
# the sandbox hides home directories and /tmp, where this checkout and its Python may be: these two are put there again
_SEEN = f"[Service]\nProtectHome=tmpfs\nBindReadOnlyPaths={machines.TOP} {sys.base_prefix}\n"

Run = subprocess.CompletedProcess[str]
Ran = tuple[list[Run], dict[str, str], list[Path]]


def installed(root: Path, tab: str) -> Path:
    """What a package would install, and enable, in a directory; ``tab`` is the mirrortab."""
    files = {f"etc/systemd/system/{name}": (_CONF / name).read_text() for name in _UNITS}
    files["etc/diskulog/mirrortab"] = tab
    for kind in ("modules-load.d", "sysusers.d", "tmpfiles.d"):
        files[f"usr/lib/{kind}/diskulog.conf"] = (_CONF / kind / "diskulog.conf").read_text()
    files[f"etc/systemd/system/{METRICS_SERVICE}.d/seen.conf"] = _SEEN
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


def boots(kernel: str, directory: Path) -> Ran:
    """Run the VM twice; return how it ended, what was wrong with each step, and copies of the disks in between."""
    disks = machines.blank_disks(directory, (_LEG_BYTES, _LEG_BYTES, _LOG_BYTES, _LOG_BYTES))
    # new logs of legs that are equal; a log that is there is taken for what it says, 'nosync' or not
    first = "".join(f"{mirror.name} {mirror.table()}\n" for mirror in (MIRROR, HELD, IN_MEMORY))
    done, between = [run(kernel, directory / "first", disks, first)], []
    for disk in disks:
        between.append(directory / f"{disk.name}-between")
        shutil.copy(disk, between[-1])
    done.append(
        run(
            kernel,
            directory / "again",
            disks,
            re.sub(r"userspace \d (.*) nosync", lambda found: f"userspace {len(found[1].split())} {found[1]}", first),
            "again",
            str(dropped(done[0])),
        )
    )
    told = [each for every in done for each in told_by(every) if "step" in each]
    return done, {each["step"]: each["wrong"] for each in told}, between


def told_by(done: Run) -> list[dict[str, str]]:
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def dropped(first: Run) -> int:
    return sum(int(each.get("dropped", 0)) for each in told_by(first))


def run(kernel: str, directory: Path, disks: list[Path], tab: str, *arguments: str) -> Run:
    overlay = ["--overlay", str(installed(directory, tab))]
    command = machines.vm(kernel, 900, "--systemd", *overlay, disks=disks)
    return machines.run([*command, "--", sys.executable, "-m", "tests.kernel.systemd_guest", *arguments])


pytestmark = [pytest.mark.kernel, pytest.mark.beforehand(boots, 180)]


@pytest.mark.parametrize("step", [step.__name__ for step in (*STEPS[:-1], *AGAIN)])
def test_a_step(ran: Ran, step: str) -> None:
    done, wrong, _ = ran
    assert wrong.get(step, "".join(each.stderr + each.stdout for each in done)) == ""


def test_switched_off_in_use_the_log_is_closed_and_the_legs_are_equal(ran: Ran) -> None:
    (done, _), _, (first, second, log, _) = ran
    assert done.returncode == 0, done.stderr + done.stdout
    code, said = diskulog("inspect", "--json", str(log))
    assert code == 0, said
    report = json.loads(said)
    assert report["log"]["state"] == "closed"
    assert report["log"]["dirty_count"] <= dropped(done)
    half = MIRROR.length * 512
    assert first.read_bytes()[:half] == second.read_bytes()[:half]
    checked = subprocess.run(["e2fsck", "-fn", str(first)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
    assert "skipping journal recovery" not in checked.stdout + checked.stderr


def test_what_is_in_use_to_the_very_end_is_the_kernels_then(ran: Ran) -> None:
    # with a daemon's log the end of the shutdown would wait for ever
    (done, _), _, (*_, log) = ran
    assert done.returncode == 0, done.stderr + done.stdout
    code, said = diskulog("inspect", str(log))
    assert (code, "released to the kernel's own log" in said) == (0, True), said
