# SPDX-License-Identifier: LGPL-2.1-or-later
"""Kernel tests run in a VM: on the host each of them waits here for the outcome that the guest reports.

Lives here: one VM for each kernel, started with the first test that needs it. Does not know what the tests do.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

KERNELS = ("6.12", "6.1")
# What takes long and asks our code rather than the kernel's runs on one of them; both VMs are busy equally long then.
# DISKULOG_EVERY_KERNEL=1 runs everything on each.
_ON_ONE = {
    "test_clustered": "6.1",
    "test_crash_points": "6.12",
    "test_demo": "6.12",
    "test_docs": "6.1",
    "test_losses": "6.12",
    "test_faults": "6.1",
    "test_isolation": "6.1",
    "test_kills": "6.1",
    "test_pressure": "6.1",
    "test_privileges": "6.1",
    "test_readme": "6.12",
    "test_refusals": "6.1",
    "test_systemd": "6.12",
    "test_forensic": "6.12",
    "test_lvm": "6.1",
    "test_status": "6.12",
    "test_mirror_commands": "6.12",
    "test_trace": "6.1",
    "test_verify": "6.12",
    "test_migrate": "6.12",
}
_EVERY = "DISKULOG_EVERY_KERNEL"
_TOP = Path(__file__).resolve().parents[2]
_REPORT = "DISKULOG_GUEST_REPORT"  # set in the guest: where it tells outcomes
_KERNEL = "DISKULOG_GUEST_KERNEL"
_IN_GUEST = _REPORT in os.environ
_VM_SECONDS = 2400  # a machine that is busy with something else emulates slowly


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    # the same names on the host and in the guest, so that an outcome finds its test
    metafunc.fixturenames.append("kernel")
    metafunc.parametrize("kernel", [os.environ[_KERNEL]] if _IN_GUEST else _kernels_of(metafunc.module.__name__))


def _kernels_of(module: str) -> tuple[str, ...]:
    only = _ON_ONE.get(module.rpartition(".")[2])
    return (only,) if only and not os.environ.get(_EVERY) else KERNELS


def _for_guest(item: pytest.Item) -> bool:
    # other tests with the marker start VMs of their own
    return "tests/kernel/guest" in item.nodeid


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _for_guest(item):
            item.add_marker(pytest.mark.kernel)
            # a loaded machine emulates slowly; on the host the VM's own time limit is the one that counts
            item.add_marker(pytest.mark.timeout(400 if _IN_GUEST else 0))
    if not _IN_GUEST:
        # the VMs work while everything else is run here; those that other tests start come when these have ended
        items.sort(key=lambda item: 1 if _for_guest(item) else 2 if item.get_closest_marker("kernel") else 0)


def pytest_collection_finish(session: pytest.Session) -> None:
    if not _IN_GUEST and not session.config.option.collectonly:
        _start_guests(session)


class Guest:
    """A VM that runs tests and tells their outcomes in a file."""

    def __init__(self, kernel: str, names: list[str], directory: Path) -> None:
        self.report = directory / "report.jsonl"
        self.report.touch()
        self.console = directory / "output"
        command = [str(_TOP / "tools/vm"), "--kernel", kernel, "--cpus", "1", "--timeout", str(_VM_SECONDS)]
        command += ["--share", str(directory), "--env", f"{_REPORT}={self.report}", "--env", f"{_KERNEL}={kernel}"]
        command += ["--dmesg", str(directory / "dmesg"), "--", sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
        with self.console.open("wb") as out:
            self._process = subprocess.Popen([*command, "-q", *names], cwd=_TOP, stdout=out, stderr=out)
        self._outcomes: dict[str, dict[str, object]] = {}
        self._read = 0

    def outcome(self, name: str) -> dict[str, object]:
        """Wait for a test's outcome, or for the VM's end."""
        while name not in self._outcomes:
            ended = self._process.poll() is not None
            self._collect()
            if ended and name not in self._outcomes:
                tail = self.console.read_text(errors="replace")[-6000:]
                return {"outcome": "failed", "seconds": 0.0, "text": f"the VM ended before this test\n{tail}"}
            time.sleep(0.2)
        return self._outcomes[name]

    def _collect(self) -> None:
        with self.report.open() as lines:
            lines.seek(self._read)
            for line in lines.read().splitlines(keepends=True):
                if line.endswith("\n"):
                    told = json.loads(line)
                    self._outcomes[told["name"]] = told
                    self._read += len(line.encode())

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()


_guests: dict[str, Guest] = {}


def _guest_of(item: pytest.Item) -> Guest:
    kernel = item.callspec.params["kernel"]  # type: ignore[attr-defined]
    return _guests[kernel]


def _start_guests(session: pytest.Session) -> None:
    # all VMs at once: one processor each
    names: dict[str, list[str]] = {}
    for item in session.items:
        if _for_guest(item):
            names.setdefault(item.callspec.params["kernel"], []).append(item.nodeid)  # type: ignore[attr-defined]
    if not names:
        return
    base = session.config._tmp_path_factory.mktemp("vm", numbered=True)  # type: ignore[attr-defined]
    for kernel, wanted in names.items():
        directory = base / kernel
        directory.mkdir()
        _guests[kernel] = Guest(kernel, wanted, directory)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> bool | None:
    if _IN_GUEST or not _for_guest(item):
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    told = _guest_of(item).outcome(item.nodeid)
    report = pytest.TestReport(
        item.nodeid,
        item.location,
        {},
        told["outcome"],  # type: ignore[arg-type]
        told["text"] or None,  # type: ignore[arg-type]
        "call",
        duration=told["seconds"],  # type: ignore[arg-type]
    )
    item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> Iterator[None]:
    # in the guest: one line for a test that passed, failed, or broke in its set-up or tear-down
    if _IN_GUEST and (report.when == "call" or report.failed or report.skipped):
        text = f"{report.longreprtext}\n{report.capstderr}" if report.failed or report.skipped else ""
        line = {"name": report.nodeid, "outcome": report.outcome, "seconds": report.duration, "text": text}
        with Path(os.environ[_REPORT]).open("a") as out:
            out.write(json.dumps(line) + "\n")
    return (yield)


def pytest_sessionfinish() -> None:
    for guest in _guests.values():
        guest.stop()
