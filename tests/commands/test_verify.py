# SPDX-License-Identifier: LGPL-2.1-or-later
"""The command: options, exit codes, both forms of output, signals, a terminal, devices."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diskulog import cli
from diskulog.exits import Exit
from diskulog.forensic import dmtable, image
from diskulog.units import MIB
from tests import images, schemas
from tests.loops import attached, sectors_written

ROOT = Path(__file__).parents[2]
COUNT, SECTORS = 64, 512
LENGTH = COUNT * SECTORS * 512


@pytest.fixture
def run(capsys):
    def call(*arguments):
        status = cli.run(["verify", *map(str, arguments)])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        schemas.printed(("verify", *arguments), out)
        return status, out, err

    return call


@pytest.fixture
def mirror(tmp_path):
    """A log, and two legs that are equal."""
    paths = [tmp_path / name for name in ("log", "a", "b")]
    log = images.diskulog(COUNT, [3], region_size_sectors=SECTORS, target_length_sectors=COUNT * SECTORS, size=MIB)
    content = os.urandom(MIB) * (LENGTH // MIB)
    for path, data in zip(paths, (log, content, content), strict=True):
        path.write_bytes(data)
    return paths


def change(path, offset):
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 1]))


def one_line(err):
    assert err.startswith("diskulog: ")
    assert err.count("\n") == 1
    return err


def test_equal_is_0(run, mirror):
    status, out, err = run(*mirror)
    assert (status, err) == (Exit.FINE, "")
    assert re.search(r"^compared: +63 \(15.8 MiB\)$", out, re.M)


def test_different_is_1_in_both_forms(run, mirror):
    change(mirror[2], 9 * SECTORS * 512 + 77)
    for path in mirror:
        with images.untouched(path):
            status, out, err = run(*mirror)
    assert (status, err) == (Exit.PROBLEM, "")
    assert f"9         1              {9 * SECTORS * 512 + 77}" in out
    status, out, err = run("--json", *mirror)
    assert (status, err) == (Exit.PROBLEM, "")
    found = json.loads(out)
    assert (found["format_version"], found["command"], found["exit_status"]) == (1, "verify", 1)
    assert found["differing"][0]["offset_bytes"] == 9 * SECTORS * 512 + 77


def test_the_options(run, mirror, tmp_path):
    change(mirror[2], 9 * SECTORS * 512)
    change(mirror[2], 11 * SECTORS * 512)
    assert run("--regions", "12-20", *mirror)[0] == Exit.FINE
    assert "... and 1 more" in run("--limit", "1", *mirror)[1]
    assert run("--state", tmp_path / "state", "--rate", "1G", *mirror)[0] == Exit.PROBLEM
    assert run("--region-size", SECTORS, "--length", COUNT * SECTORS, *mirror)[0] == Exit.PROBLEM
    mirror[2].write_bytes(bytes(2048) + mirror[1].read_bytes())
    assert run(*mirror[:2], f"{mirror[2]}:4")[0] == Exit.FINE
    assert run(*mirror)[0] == Exit.PROBLEM


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "name a log and at least two legs"),
        (("log",), "name a log and at least two legs"),
        (("log", "a"), "name a log and at least two legs"),
        (("log", "a", "a"), "a is named twice"),
        (("log", "a", "log"), "log is the log"),
        (("log", "a", "nothing"), "cannot open nothing"),
        (("log", "a", "-"), "a leg cannot be standard input"),
        (("nothing", "a", "b"), "cannot open nothing"),
        (("--limit", "-1", "log", "a", "b"), "--limit -1"),
        (("--limit", "x", "log", "a", "b"), "--limit"),
        (("--rate", "0", "log", "a", "b"), "--rate 0"),
        (("--rate", "fast", "log", "a", "b"), "--rate 'fast'"),
        (("--regions", "5-2", "log", "a", "b"), "--regions '5-2'"),
        (("--regions", "0-64", "log", "a", "b"), "has the regions 0 to 63"),
        (("--region-size", "1000", "log", "a", "b"), "--region-size 1000"),
        (("--length", "0", "log", "a", "b"), "--length 0"),
        (("--mirror", "m", "log"), "give none of them"),
        (("--mirror", "m", "--region-size", "8"), "give none of them"),
        (("--mirror", "m", "--length", "8"), "give none of them"),
        (("--state", "missing/state", "log", "a", "b"), "--state missing/state"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_usage_errors_are_one_line_and_2(run, mirror, monkeypatch, words, said):
    monkeypatch.chdir(mirror[0].parent)
    status, out, err = run(*words)
    assert (status, out) == (Exit.USAGE, "")
    assert said in one_line(err)


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("--region-size", "64", "log", "a", "b"), Exit.REFUSED, "its region size in sectors is 512"),
        (("--length", "64", "log", "a", "b"), Exit.REFUSED, "its length in sectors"),
        (("log", "a", "b:1"), Exit.REFUSED, "is too short"),
        (("--state", "a", "log", "a", "b"), Exit.REFUSED, "it is no state of 'diskulog verify'"),
        (("--state", "/dev/null", "log", "a", "b"), Exit.REFUSED, "is no regular file"),
        (("a", "log", "b"), Exit.NOT_A_LOG, "a is not a log"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_is_refused(run, mirror, monkeypatch, words, status, said):
    monkeypatch.chdir(mirror[0].parent)
    mirror[1].write_bytes(b"a leg" + mirror[1].read_bytes()[5:])
    with images.untouched(mirror[1]):
        code, out, err = run(*words)
    assert (code, out) == (status, "")
    assert said in one_line(err)
    code, out, err = run("--json", *words)
    found = json.loads(out)
    assert (code, found["exit_status"], found["log"]) == (status, status, None)
    assert said in one_line(err)
    assert said in found["messages"][0]["text"]


def test_a_log_from_a_pipe(mirror):
    command = [sys.executable, "-m", "diskulog", "verify", "-", *map(str, mirror[1:])]
    done = subprocess.run(command, input=mirror[0].read_bytes(), capture_output=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_legs_that_may_not_be_read(run, mirror, monkeypatch):
    plain = os.open

    def opens(name, *more):
        if name == str(mirror[1]):
            raise PermissionError(13, "Permission denied")
        return plain(name, *more)

    monkeypatch.setattr(os, "open", opens)
    status, _, err = run(*mirror)
    assert status == Exit.NO_PERMISSION
    assert f"cannot open {mirror[1]}: Permission denied" in one_line(err)


def test_a_leg_that_fails_is_5(run, mirror, monkeypatch):
    plain = os.preadv

    def reads(fd, buffers, at):
        if os.fstat(fd).st_ino == mirror[2].stat().st_ino and at >= LENGTH // 2:
            raise OSError(5, "Input/output error")
        return plain(fd, buffers, at)

    monkeypatch.setattr(os, "preadv", reads)
    status, out, err = run(*mirror)
    assert (status, err) == (Exit.IO_ERROR, "")
    assert "regions that could not be read (32)" in out
    assert f"region 32, leg 2: cannot read {mirror[2]} at byte {LENGTH // 2}: Input/output error" in out
    assert "... and 12 more (--limit 0 shows all)" in out


def test_by_the_mirrors_name(run, mirror, monkeypatch):
    log, a, b = mirror
    table = f"0 {COUNT * SECTORS} mirror userspace 4 {images.UUID} disk {log} {SECTORS} 2 {a} 0 {b} 0\n"
    monkeypatch.setattr(dmtable, "table", lambda _: table)
    assert run("--mirror", "demo")[0] == Exit.FINE
    table = table.replace(images.UUID, "another")
    status, _, err = run("--mirror", "demo")
    assert status == Exit.REFUSED
    assert "its uuid is LVM-s0me-m1rror in the log, and was given as another" in one_line(err)
    table = "0 8 linear 7:0 0\n"
    assert run("--mirror", "demo")[0] == Exit.REFUSED


@pytest.mark.parametrize("options", [(), ("--json",)], ids=["text", "json"])
def test_nothing_ends_in_a_traceback(run, mirror, monkeypatch, options):
    def fail(*_):
        raise ZeroDivisionError("what")

    monkeypatch.setattr(image, "load", fail)
    status, out, err = run(*options, *mirror)
    assert status == Exit.IO_ERROR
    assert "internal error, please report it: ZeroDivisionError: what" in one_line(err)
    assert not options or json.loads(out)["exit_status"] == Exit.IO_ERROR


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=60, deadline=None
)
@given(
    sizes=st.fixed_dictionaries(
        {
            name: st.sampled_from([0, 1, 2, 3, 7, 512, 2**31, 2**63, 2**64 - 1])
            for name in ("region_size_sectors", "target_length_sectors")
        }
    ),
    count=st.integers(0, 20),
    words=st.lists(st.sampled_from(["--region-size=2", "--region-size=512", "--length=9", "--regions=0", "--json"])),
)
def test_a_log_that_claims_anything(tmp_path, capsys, sizes, count, words):
    for name, data in (("log", images.diskulog(count, **sizes)), ("a", bytes(20_000)), ("b", bytes(20_000))):
        (tmp_path / name).write_bytes(data)
    status = cli.run(["verify", *words, *(str(tmp_path / name) for name in ("log", "a", "b"))])
    _, err = capsys.readouterr()
    assert status in (Exit.FINE, Exit.USAGE, Exit.REFUSED)
    assert status == Exit.FINE or "internal error" not in one_line(err)


# in a process of its own


def started(*words, **more):
    command = [sys.executable, "-m", "diskulog", "verify", *map(str, words)]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, preexec_fn=heed_signals, **more)


def heed_signals():
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the tests may run in a script's background


def wait_for(path):
    end = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_so_and_goes_on(mirror, tmp_path, number):
    state = tmp_path / "state"
    change(mirror[2], 9 * SECTORS * 512)
    process = started("--state", state, "--rate", "1M", "--json", *mirror, stderr=subprocess.PIPE)
    wait_for(state)
    time.sleep(0.3)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == Exit.REFUSED
    found = json.loads(out)
    assert (found["finished"], found["exit_status"]) == (False, 4)
    assert re.fullmatch(rf"diskulog: interrupted at region \d+; {state} keeps how far it came\n", err)
    process = started("--state", state, *mirror, stderr=subprocess.PIPE)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (Exit.PROBLEM, "")
    assert "compared:   63 " in out
    assert not state.exists()


def wait_until_caught(pid: int, number: int) -> None:
    """Wait until a process has a handler for a signal; before that it would just end."""
    status = Path(f"/proc/{pid}/status")
    while True:
        caught = next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("SigCgt:"))
        if int(caught, 16) >> (number - 1) & 1:
            return
        time.sleep(0.02)


def test_an_interrupted_run_without_a_state(mirror):
    process = started("--rate", "1M", *mirror, stderr=subprocess.PIPE)
    wait_until_caught(process.pid, signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert process.returncode == Exit.REFUSED
    assert "not done:   regions" in out
    assert "its work is lost, --state FILE would have kept it" in one_line(err)


@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_a_terminal_sees_how_far_it_is(mirror, term):
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": term, "NO_COLOR": "1"}
    process = started("--rate", "16M", *mirror, stderr=theirs, env=environment)
    os.close(theirs)
    out, _ = process.communicate(timeout=30)
    try:
        seen = os.read(ours, 100_000)
    except OSError:  # the other end is closed, and nothing came
        seen = b""
    os.close(ours)
    assert process.returncode == Exit.FINE
    assert "compared:   63 " in out
    assert (b" % " in seen) is (term == "xterm")
    assert b"\x1b[3" not in seen  # no colours


def test_memory_is_bounded(tmp_path):
    """A log of 2^24 regions, of which every second one is clean and differs."""
    count = 2**24
    log = images.kernel(count, size=4 * MIB)
    log[1024 : 1024 + count // 8] = b"\x55" * (count // 8)
    (tmp_path / "log").write_bytes(log)
    with (tmp_path / "a").open("wb") as a, (tmp_path / "b").open("wb") as b:
        a.truncate(count * 1024)
        b.truncate(count * 1024)
        b.write(b"\1" * 16 * MIB)
    code = (
        "import re, sys; from diskulog.cli import run; status = run(sys.argv[1:]);"
        "print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]); sys.exit(status)"
    )
    words = ["verify", "--region-size", "2", "--regions", "0-40000", "log", "a", "b"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert (done.returncode, done.stderr) == (Exit.PROBLEM, "")
    assert "differing:  8192\n" in done.stdout
    assert int(done.stdout.split()[-1]) < 64 * 1024  # KiB


# devices


@pytest.mark.loop
def test_devices_are_only_read(run, mirror):
    log, a, b = mirror
    with attached(log) as log_node, attached(a) as a_node, attached(b, "--read-only") as b_node:
        before = [sectors_written(node) for node in (log_node, a_node, b_node)]
        assert run(log_node, a_node, b_node)[0] == Exit.FINE
        assert [sectors_written(node) for node in (log_node, a_node, b_node)] == before


@pytest.mark.loop
def test_a_page_cache_that_is_older_than_the_medium_hides_nothing(run, mirror):
    log, a, b = mirror
    # the last close would drop the device's page cache
    with attached(log) as log_node, attached(a) as a_node, attached(b) as b_node, open(b_node, "rb") as held:
        before = held.read()
        change(b, 9 * SECTORS * 512)
        assert Path(b_node).read_bytes() == before
        assert run(log_node, a_node, b_node)[0] == Exit.PROBLEM


@pytest.mark.loop
def test_a_device_that_is_its_own_twin(run, mirror):
    with attached(mirror[1]) as node:
        status, _, err = run(mirror[0], node, node)
    assert status == Exit.USAGE
    assert "is named twice" in one_line(err)
