# SPDX-License-Identifier: LGPL-2.1-or-later
"""Kernel tests run in a VM: on the host each of them waits here for the outcome that the guest reports.

Lives here: one VM for each kernel, and behind them those that tests want for themselves (``beforehand``), all begun
before any test is run. Does not know what the tests do.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from tests.kernel import machines

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
    "test_first_hour": "6.12",
    "test_isolation": "6.1",
    "test_kills": "6.1",
    "test_package": "6.1",
    "test_powercut": "6.12",
    "test_pressure": "6.1",
    "test_metrics": "6.12",
    "test_privileges": "6.1",
    "test_readme": "6.1",
    "test_refusals": "6.1",
    "test_resources": "6.1",
    "test_restart": "6.12",
    "test_systemd": "6.12",
    "test_forensic": "6.1",
    "test_lvm": "6.1",
    "test_status": "6.12",
    "test_mirror_commands": "6.12",
    "test_trace": "6.1",
    "test_verify": "6.12",
    "test_worker": "6.1",
    "test_migrate": "6.12",
    "test_migrate_memory": "6.1",
}
_EVERY = "DISKULOG_EVERY_KERNEL"
_REPORT = "DISKULOG_GUEST_REPORT"  # set in the guest: where it tells outcomes
_KERNEL = "DISKULOG_GUEST_KERNEL"
_IN_GUEST = _REPORT in os.environ
# half of the time that all others take: tools/debian --boot asks for it
collect_ignore = [] if os.environ.get("DISKULOG_PACKAGE") else ["test_package.py"]
if not _IN_GUEST and not os.environ.get(_EVERY):
    # two minutes for the story that test_demo tells with a power cut, here without one
    collect_ignore += ["guest/test_demo.py"]
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
            # A loaded machine emulates slowly; on the host the VM's own time limit is the one that counts. The first
            # marker wins: in the guest that is one of the test's own.
            item.add_marker(pytest.mark.timeout(400 if _IN_GUEST else 0), append=_IN_GUEST)
        elif item.get_closest_marker("beforehand"):
            item.add_marker(pytest.mark.timeout(0))
    if not _IN_GUEST:
        # the VMs work while everything else is run here
        items.sort(key=lambda item: 1 if _for_guest(item) else 2 if item.get_closest_marker("kernel") else 0)


def pytest_collection_finish(session: pytest.Session) -> None:
    if not _IN_GUEST and not session.config.option.collectonly:
        _start_guests(session)
        _start_others(session)


class Guest:
    """A VM that runs tests and tells their outcomes in a file."""

    def __init__(self, kernel: str, names: list[str], directory: Path) -> None:
        self._report = directory / "report.jsonl"
        self._report.touch()
        self._console = directory / "output"
        command = machines.vm(kernel, _VM_SECONDS, "--share", str(directory), "--dmesg", str(directory / "dmesg"))
        command += ["--env", f"{_REPORT}={self._report}", "--env", f"{_KERNEL}={kernel}"]
        command += ["--", sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", *names]
        self._ended = machines.queue(machines.run, command, self._console)
        self._outcomes: dict[str, dict[str, object]] = {}
        self._read = 0

    def outcome(self, name: str) -> dict[str, object]:
        """Wait for a test's outcome, or for the VM's end."""
        while name not in self._outcomes:
            ended = self._ended.done()
            self._collect()
            if ended and name not in self._outcomes:
                tail = self._console.read_text(errors="replace")[-6000:]
                return {"outcome": "failed", "seconds": 0.0, "text": f"the VM ended before this test\n{tail}"}
            time.sleep(0.2)
        return self._outcomes[name]

    def _collect(self) -> None:
        with self._report.open() as lines:
            lines.seek(self._read)
            for line in lines.read().splitlines(keepends=True):
                if line.endswith("\n"):
                    told = json.loads(line)
                    self._outcomes[told["name"]] = told
                    self._read += len(line.encode())


_guests: dict[str, Guest] = {}
_others: dict[tuple[Callable[[str, Path], object], str], Future[object]] = {}


def _kernel_of(item: pytest.Item) -> str:
    return str(item.callspec.params["kernel"])  # type: ignore[attr-defined]


def _start_guests(session: pytest.Session) -> None:
    names: dict[str, list[str]] = {}
    for item in session.items:
        if _for_guest(item):
            names.setdefault(_kernel_of(item), []).append(item.nodeid)
    for kernel, wanted in names.items():
        _guests[kernel] = Guest(kernel, wanted, _directory(session, kernel))


def _start_others(session: pytest.Session) -> None:
    wanted: dict[tuple[Callable[[str, Path], object], str], float] = {}
    for item in session.items:
        if marker := item.get_closest_marker("beforehand"):
            wanted[marker.args[0], _kernel_of(item)] = marker.args[1]
    # the longest first, so that at the end all processors have something to do
    for work, kernel in sorted(wanted, key=wanted.__getitem__, reverse=True):
        directory = _directory(session, f"{work.__module__.rpartition('.')[2]}-{kernel}")
        _others[work, kernel] = machines.queue(work, kernel, directory)


def _directory(session: pytest.Session, name: str) -> Path:
    made: Path = session.config._tmp_path_factory.mktemp(name, numbered=True)  # type: ignore[attr-defined]
    return made


@pytest.fixture
def ran(request: pytest.FixtureRequest, kernel: str) -> object:
    """What the function of the marker ``beforehand`` returned, called with the kernel and an empty directory."""
    return _others[request.node.get_closest_marker("beforehand").args[0], kernel].result()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> bool | None:
    if _IN_GUEST or not _for_guest(item):
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    told = _guests[_kernel_of(item)].outcome(item.nodeid)
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
    machines.stop()
