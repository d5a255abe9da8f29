# SPDX-License-Identifier: LGPL-2.1-or-later
import io
import json
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diskulog import __version__, cli, exits, ondisk
from diskulog.errors import BadLogError, DeviceError, LogFailedError, RefusedError
from diskulog.exits import Exit, UsageError, exit_for
from diskulog.forensic import bitmap, image
from diskulog.ondisk import State
from tests import images, schemas

COMMANDS = (
    *("serve", "inspect", "check", "dump", "restore", "diff", "repair", "format", "adopt", "mark", "verify"),
    *(
        "trace",
        "replay",
        "status",
        "watch",
        "wait",
        "events",
        "metrics",
        "config check",
        "config show",
        "table",
        "doctor",
    ),
    *(f"mirror {word}" for word in ("create", "list", "save", "assemble", "remove")),
    *("migrate", "replace-log"),
)
READERS = (("inspect",), ("inspect", "--json"), ("inspect", "--map"), ("adopt", "--dry-run"))
ROOT = Path(__file__).parent.parent


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log"


@pytest.fixture
def run(capsys):
    def call(*arguments):
        status = cli.run([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        schemas.printed(arguments, out)
        return status, out, err

    return call


def process(*arguments, **more):
    command = [sys.executable, "-m", "diskulog", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, cwd=ROOT, timeout=60, check=False, **more)
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr
    return done


def one_line(err):
    assert err.startswith("diskulog: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    return err


# help, version, the parser's complaints


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_it_does_with_exit_codes_and_an_example(run, command):
    status, out, err = run(*command.split(), "--help")
    assert (status, err) == (0, "")
    assert "Example" in out
    assert f"diskulog {command}" in out
    for word in ("0 fine", "1 a problem was found", "3 not a log", "4 busy", "5 I/O", "6 no daemon", "7 no permission"):
        assert word in out
    assert max(map(len, out.splitlines())) <= 80


def test_help_lists_the_commands_and_each_option_of_the_contract(run):
    assert all(f"\n  {command.split()[0]} " in run("--help")[1] for command in COMMANDS)
    assert "\n  show " in run("config", "--help")[1]
    assert all(
        option in run("inspect", "--help")[1]
        for option in (
            "--json", "--limit N", "--map", "--schema", "--units UNIT", "--raw", "--svg FILE", "--png FILE",
            "--region-size SECTORS", "--offset BYTES", "--rate BYTES", "100M",
        )
    )  # fmt: skip
    assert all(option in run("adopt", "--help")[1] for option in ("--uuid NEW", "--yes", "--dry-run"))
    assert "--config FILE" in run("serve", "--help")[1]
    assert all(option in run("trace", "--help")[1] for option in ("--out FILE", "--ring N", "--uuid U", "--count N"))
    assert all(option in run("replay", "--help")[1] for option in ("--step", "--json", "--limit N", "--out-image FILE"))


def test_the_exit_codes_in_the_help_are_the_table():
    assert [int(n) for n in re.findall(r"(?:^|\s)(\d) \w", cli.EXIT_CODES)] == list(Exit)


def test_version(run):
    assert run("--version") == (0, f"diskulog {__version__}\n", "")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("nonsense",),
        ("config",),
        ("config", "nonsense"),
        ("config", "check", "a", "b"),
        ("inspect", "--nonsense"),
        ("inspect",),
        ("inspect", "a", "b"),
        ("inspect", "a", "--limit", "x"),
        ("inspect", "a", "--limit", "-1"),
        ("inspect", "a", "--limit", "5", "--json"),
        ("inspect", "a", "--map", "--json"),
        ("inspect", "a", "--raw", "--json"),
        ("inspect", "a", "--units", "bytes", "--json"),
        ("inspect", "a", "--units", "furlongs"),
        ("inspect", "a", "--rate", "0"),
        ("inspect", "a", "--rate", "fast"),
        ("inspect", "a", "--offset", "-1"),
        ("inspect", "a", "--offset", "1.5G"),
        ("inspect", "a", "--region-size", "x"),
        ("inspect", "a", "--svg", "-"),
        ("inspect", "a", "--png", "/"),
        ("inspect", "a", "--png", "b", "--svg", "b"),
        ("adopt",),
        ("adopt", "-"),
        ("serve", "extra"),
    ],
    ids=" ".join,
)
def test_usage_errors_are_one_line_and_2(run, arguments):
    status, _, err = run(*arguments)
    assert status == Exit.USAGE
    one_line(err)


# the battery: what every reading command does with what is no log


BAD = {
    "tiny": (b"hello", Exit.NOT_A_LOG),
    "empty": (b"", Exit.NOT_A_LOG),
    "zeroed": (bytes(images.DEVICE_BYTES), Exit.NOT_A_LOG),
    "wrong magic": (b"\x72\x52\x69\x4e" + bytes(images.kernel()[4:]), Exit.NOT_A_LOG),
    "big endian": (images.big_endian(), Exit.NOT_A_LOG),
    "unknown version": (images.kernel(version=3), Exit.NOT_A_LOG),
    "cut off": (images.kernel(10**6)[:4096], Exit.NOT_A_LOG),
    "claims 2^60": (images.claims(2**60), Exit.NOT_A_LOG),
    "text": (b"To be, or not to be\n" * 200, Exit.NOT_A_LOG),
    "not text": (b"\xff\xfe" * 1000, Exit.NOT_A_LOG),
}


@pytest.mark.parametrize("command", READERS, ids=" ".join)
@pytest.mark.parametrize(("data", "expected"), BAD.values(), ids=BAD)
def test_what_is_no_log(run, path, command, data, expected):
    path.write_bytes(data)
    with images.untouched(path):
        status, out, err = run(*command, path)
    assert status == expected
    assert str(path) in one_line(err)
    check_failure_output(command, out, status)


def check_failure_output(command, out, status):
    if "--json" in command:
        found = json.loads(out)
        assert found["exit_status"] == status
        assert found["log"] is None
        assert len(found["messages"]) == 1
    else:
        assert out == ""


@pytest.mark.parametrize("command", READERS, ids=" ".join)
@pytest.mark.parametrize("kind", ["missing", "below a file", "directory", "FIFO", "character device", "loop of links"])
def test_what_cannot_hold_a_log(run, path, command, kind):
    match kind:
        case "below a file":
            path.write_bytes(b"")
            path = path / "log"
        case "directory":
            path.mkdir()
        case "FIFO":
            os.mkfifo(path)
        case "character device":
            path = Path("/dev/null")
        case "loop of links":
            path.symlink_to(path)
    status, out, err = run(*command, path)
    assert status == Exit.USAGE
    assert str(path) in one_line(err)
    check_failure_output(command, out, status)


@pytest.mark.parametrize("command", READERS, ids=" ".join)
def test_what_may_not_be_read(run, path, command, monkeypatch):
    path.write_bytes(images.kernel())
    path.chmod(0)
    if os.access(path, os.R_OK):  # root: let the kernel's answer come from here
        monkeypatch.setattr(os, "open", lambda *_: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    status, out, err = run(*command, path)
    assert status == Exit.NO_PERMISSION
    assert "Permission denied" in one_line(err)
    check_failure_output(command, out, status)


@pytest.mark.parametrize("command", READERS, ids=" ".join)
def test_a_device_that_fails(run, path, command, monkeypatch):
    path.write_bytes(images.kernel())

    def fail(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "preadv", fail)
    status, out, err = run(*command, path)
    assert status == Exit.IO_ERROR
    assert "Input/output error" in one_line(err)
    check_failure_output(command, out, status)


@pytest.mark.parametrize("command", READERS, ids=" ".join)
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=40, deadline=None
)
@given(noise=st.binary(max_size=2000), header=st.booleans())
def test_noise(tmp_path, capsys, command, noise, header):
    path = tmp_path / "noise"
    path.write_bytes((bytes(ondisk.Header(nr_regions=len(noise)).pack()) if header else b"") + noise)
    with images.untouched(path):
        status = cli.run([*command, "--uuid=u", str(path)] if command[0] == "adopt" else [*command, str(path)])
    out, err = capsys.readouterr()
    if status in (Exit.NOT_A_LOG, Exit.REFUSED):
        one_line(err)
        check_failure_output(command, out, status)
    else:
        assert header
        assert status in (Exit.FINE, Exit.PROBLEM)
        assert err == ""


@pytest.mark.parametrize("command", READERS, ids=" ".join)
def test_names_that_are_no_text(run, tmp_path, command):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/lo\xff\x1b[2J\ng")
    Path(path).write_bytes(images.kernel())
    status, out, err = run(*command, path)
    assert (status, err) == (0, "")
    assert "\x1b" not in out
    Path(path).write_bytes(b"")
    assert "lo\\udcff\\x1b[2J\\ng" in one_line(run(*command, path)[2])


# inspect


GOOD = {
    "kernel": (images.kernel(dirty=[1]), Exit.FINE),
    "closed": (images.diskulog(), Exit.FINE),
    "open": (images.diskulog(state=State.OPEN, dirty=[1]), Exit.FINE),
    "released": (images.diskulog(state=State.RELEASED), Exit.FINE),
    "lvm zeros": (images.lvm_fresh(0), Exit.FINE),
    "lvm ones": (images.lvm_fresh(0xFF), Exit.FINE),
    "changed": (images.changed(), Exit.PROBLEM),
    "resized": (images.resized(700), Exit.PROBLEM),
    "damaged": (images.damaged(), Exit.PROBLEM),
}


@pytest.mark.parametrize(("data", "expected"), GOOD.values(), ids=GOOD)
def test_inspect_text_and_json_agree(run, path, data, expected):
    path.write_bytes(data)
    with images.untouched(path):
        status, out, err = run("inspect", "--map", path)
        json_status, json_out, json_err = run("inspect", "--json", path)
    assert (status, err) == (json_status, json_err) == (expected, "")
    found = json.loads(json_out)
    assert found["exit_status"] == expected
    assert found["log"]["device"] == str(path)
    assert re.search(rf"^dirty: +{found['log']['dirty_count']} ", out, re.M)
    assert all(f"{message['severity']}: {message['text']}" in out for message in found["messages"])


def test_limit(run, path):
    path.write_bytes(images.kernel(1000, dirty=range(0, 100, 2)))
    assert "... and 30 more ranges (--limit 0 shows all)" in run("inspect", path)[1]
    assert "... and 49 more ranges" in run("inspect", "--limit", "1", path)[1]
    assert "more range" not in run("inspect", "--limit=0", path)[1]


def test_the_schema_needs_no_device(run):
    status, out, err = run("inspect", "--schema")
    assert (status, err) == (0, "")
    assert json.loads(out)["title"] == "InspectDocument"
    assert out == (ROOT / "diskulog" / "schema" / "inspect-1.json").read_text()


def test_a_large_log_is_inspected_soon(run, path):
    path.write_bytes(images.kernel(2**27, dirty=range(0, 2**27, 2**17), size=2**24 + 1024))
    status, out, _ = run("inspect", "--map", path)
    assert status == Exit.FINE
    assert "dirty regions (1024 ranges)" in out


# inspect: what it is told besides, and what it draws


def test_a_region_size_that_is_given(run, path):
    path.write_bytes(images.kernel(1000, dirty=[3]))
    status, out, err = run("inspect", "--region-size", "8", "--rate", "1K", "--units", "sectors", path)
    assert (status, err) == (0, "")
    assert "region size: 4.0 KiB (8 sectors, as given)" in out
    assert "resync:      1 region, 4.0 KiB, about 4 s at 1.0 KiB/s" in out
    assert "            24         8\n" in out
    status, out, err = run("inspect", "--json", "--region-size", "8", "--rate", "1K", path)
    log = json.loads(out)["log"]
    assert (log["region_size_sectors"], log["resync_bytes"], log["resync_seconds"]) == (8, 4096, 4)
    assert log["resync_bytes_per_second"] == 1024


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--region-size", "512"), "says 1024 sectors, not 512; leave it out"),
        (("--region-size", "7"), "not a power of two"),
        (("--offset", "1G"), "--offset 1073741824: "),
    ],
)
@pytest.mark.parametrize("form", [(), ("--json",)], ids=["text", "json"])
def test_what_a_log_contradicts(run, path, options, said, form):
    path.write_bytes(images.diskulog())
    status, out, err = run("inspect", *options, *form, path)
    assert status == Exit.USAGE
    assert said in one_line(err)
    check_failure_output(form, out, status)


@pytest.mark.parametrize("units", ["sectors", "bytes"])
def test_units_that_need_a_region_size(run, path, units):
    path.write_bytes(images.kernel())
    status, out, err = run("inspect", "--units", units, path)
    assert (status, out) == (Exit.USAGE, "")
    assert "give --region-size" in one_line(err)
    assert run("inspect", "--units", "regions", path)[0] == 0


@pytest.mark.parametrize("offset", ["512", "1s", "100", "3K"])
def test_a_log_inside_an_image(run, path, offset):
    at = {"512": 512, "1s": 512, "100": 100, "3K": 3072}[offset]
    path.write_bytes(b"\xaa" * at + images.diskulog(dirty=[7]))
    status, out, _ = run("inspect", "--offset", offset, path)
    assert status == 0
    assert f"device:      {path}, from byte {at} on\n" in out
    found = json.loads(run("inspect", "--json", "--offset", offset, path)[1])
    assert found["log"]["offset_bytes"] == at
    assert (found["log"]["device"], found["log"]["size_bytes"]) == (str(path), images.DEVICE_BYTES)
    assert found["dirty"] == [[7, 1]]
    assert run("inspect", path)[0] == Exit.NOT_A_LOG


def test_what_is_no_log_inside_an_image_is_named_with_its_place(run, path):
    path.write_bytes(images.diskulog())
    assert f"{path} at byte 4096 is not a log" in run("inspect", "--offset", "4K", path)[2]


@pytest.mark.parametrize(("data", "expected"), BAD.values(), ids=BAD)
def test_raw_shows_what_is_no_log(run, path, data, expected):
    path.write_bytes(data)
    with images.untouched(path):
        status, out, err = run("inspect", "--raw", path)
    assert status == expected
    one_line(err)
    assert ("the kernel's header:" in out) == bool(data)
    assert all(f"{byte:02x}" in out for byte in data[:16])


def test_raw_of_a_log_follows_its_summary(run, path):
    path.write_bytes(images.damaged())
    status, out, err = run("inspect", "--raw", path)
    assert (status, err) == (Exit.PROBLEM, "")
    assert out.index("checksums:") < out.index("the kernel's header:") < out.index("error: the extension is damaged")
    done = process("inspect", "--raw", "--offset", "1s", "-", input=b"x" * 512 + b"no log at all" * 100)
    assert done.returncode == Exit.NOT_A_LOG
    assert b"not a dirty log's" in done.stdout


def test_pictures(run, path, tmp_path):
    path.write_bytes(images.diskulog(dirty=[7]))
    svg, png = tmp_path / "log.svg", tmp_path / "log.png"
    svg.write_text("what was there before")
    with images.untouched(path):
        status, out, err = run("inspect", "--svg", svg, "--png", png, path)
        assert run("inspect", "--json", "--png", tmp_path / "again.png", path)[0] == 0
    assert (status, err) == (0, "")
    assert out == run("inspect", path)[1]
    assert svg.read_text().startswith("<svg ")
    assert png.read_bytes() == (tmp_path / "again.png").read_bytes()


@pytest.mark.parametrize("option", ["--svg", "--png"])
@pytest.mark.parametrize("form", [(), ("--json",)], ids=["text", "json"])
def test_pictures_that_cannot_be(run, path, tmp_path, option, form):
    path.write_bytes(images.diskulog())
    for target, said in (
        (path, "is the log itself"),
        (tmp_path, "is no regular file"),
        (tmp_path / "none" / "picture", "No such file"),
    ):
        with images.untouched(path):
            status, out, err = run("inspect", option, target, *form, path)
        assert status == Exit.USAGE
        assert said in one_line(err)
        check_failure_output(form, out, status)
    assert sorted(found.name for found in tmp_path.iterdir()) == ["log"]


def test_no_picture_of_what_is_no_log(run, path, tmp_path):
    path.write_bytes(b"no log")
    assert run("inspect", "--svg", tmp_path / "picture", path)[0] == Exit.NOT_A_LOG
    assert not (tmp_path / "picture").exists()


# adopt


def test_adopt_writes_with_yes(run, path):
    path.write_bytes(images.changed([5]))
    status, out, err = run("adopt", "--yes", path)
    assert (status, err) == (0, "")
    assert "adopted, 999 of 1000 regions stay clean" in out
    assert run("inspect", path)[0] == Exit.FINE
    status, out, _ = run("adopt", path)
    assert status == Exit.FINE
    assert "nothing to adopt" in out


def test_adopt_without_a_terminal_is_refused(run, path, monkeypatch):
    path.write_bytes(images.changed())
    for stdin in (io.StringIO("y\n"), None):
        monkeypatch.setattr(sys, "stdin", stdin)
        with images.untouched(path):
            status, out, err = run("adopt", path)
        assert (status, out) == (Exit.REFUSED, "")
        assert "say --yes" in one_line(err)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("answer", ["", "\n", "n\n", "what\n"])
def test_adopt_asks_and_no_is_the_default(run, path, monkeypatch, answer):
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    path.write_bytes(images.changed())
    with images.untouched(path):
        status, out, err = run("adopt", path)
    assert (status, out) == (Exit.REFUSED, "")
    assert "Write it? [y/N]" in err
    assert "nothing written" in err


@pytest.mark.parametrize("answer", ["y\n", "YES\n"])
def test_adopt_asks_and_writes(run, path, monkeypatch, answer):
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    path.write_bytes(images.diskulog(dirty=[1], out_of_sync=[1, 2], state=State.OPEN))
    status, out, err = run("adopt", "--uuid", "new", path)
    assert status == Exit.FINE
    assert "warning: after a mere crash" in err
    assert "adopted, 999" in out
    assert images.loaded_from(path).extension.uuid == "new"


def test_adopt_dry_run(run, path):
    path.write_bytes(images.changed())
    with images.untouched(path):
        status, out, err = run("adopt", "--dry-run", path)
    assert (status, err) == (0, "")
    assert out.endswith("(dry run, nothing written)\n")


def test_adopt_of_a_damaged_extension(run, path):
    path.write_bytes(images.damaged())
    with images.untouched(path):
        status, _, err = run("adopt", "--yes", path)
    assert status == Exit.REFUSED
    assert "--uuid" in one_line(err)
    assert run("adopt", "--yes", "--uuid", "new", path)[0] == Exit.FINE
    assert run("inspect", path)[0] == Exit.FINE


# serve


def test_serve_loads_the_configuration_and_runs_the_daemon(run, path, monkeypatch):
    seen = []
    stub = types.ModuleType("diskulog.supervisor")
    stub.serve = lambda config, reread: seen.extend([config, reread]) or 5
    monkeypatch.setitem(sys.modules, "diskulog.supervisor", stub)
    path.write_text("clears.max_held = 9")
    assert run("serve", "--config", path) == (5, "", "")
    assert seen[0].clears.max_held == 9
    path.write_text("clears.max_held = 10")
    assert seen[1]().clears.max_held == 10


def test_serve_with_a_bad_configuration(run, path):
    path.write_text("clears.max = 9")
    status, _, err = run("serve", "--config", path)
    assert status == Exit.USAGE
    assert "[clears] max: is not a known key" in one_line(err)


# whatever else happens


@pytest.mark.parametrize(
    ("failure", "status", "said"),
    [
        (KeyboardInterrupt(), Exit.REFUSED, "interrupted"),
        (MemoryError(), Exit.IO_ERROR, "not enough memory"),
        (ZeroDivisionError("what"), Exit.IO_ERROR, "internal error, please report it: ZeroDivisionError: what"),
        (OSError(28, "No space left on device"), Exit.IO_ERROR, "No space left"),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("options", [(), ("--json",)], ids=["text", "json"])
def test_nothing_ends_in_a_traceback(run, path, monkeypatch, failure, status, said, options):
    def fail(*_):
        raise failure

    monkeypatch.setattr(image, "load", fail)
    path.write_bytes(images.kernel())
    code, out, err = run("inspect", *options, path)
    assert code == status
    assert said in one_line(err)
    check_failure_output(options, out, status)


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (UsageError("x"), Exit.USAGE),
        (BadLogError("x"), Exit.NOT_A_LOG),
        (RefusedError("a", "b", "c"), Exit.REFUSED),
        (DeviceError("x", OSError(16, "busy")), Exit.REFUSED),
        (DeviceError("x", OSError(1, "no")), Exit.NO_PERMISSION),
        (DeviceError("x", OSError("no number")), Exit.IO_ERROR),
        (LogFailedError("x"), Exit.IO_ERROR),
        (OSError("no number"), Exit.IO_ERROR),
        (RuntimeError("x"), Exit.IO_ERROR),
    ],
)
def test_the_code_of_a_failure(failure, code):
    assert exit_for(failure) is code


def test_the_table_of_exit_codes():
    assert [code.value for code in Exit] == list(range(8))
    assert exits.Exit.NO_DAEMON == 6


def test_a_closed_standard_error_is_no_failure(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert cli.run(["inspect"]) == Exit.USAGE


def test_main_exits(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["diskulog", "--version"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 0


class Unwritable(io.StringIO):
    """Standard output with a descriptor, that fails as asked."""

    def __init__(self, failure, fd):
        super().__init__()
        self.failure, self.fd = failure, fd

    def reconfigure(self, **_):
        pass

    def fileno(self):
        return self.fd

    def flush(self):
        raise self.failure


@pytest.mark.parametrize(
    ("failure", "status"),
    [(BrokenPipeError(32, "Broken pipe"), Exit.PROBLEM), (OSError(28, "No space left on device"), Exit.IO_ERROR)],
    ids=["broken pipe", "full"],
)
def test_output_that_fails(path, monkeypatch, tmp_path, failure, status):
    path.write_bytes(images.changed())
    with open(tmp_path / "out", "wb") as out:
        monkeypatch.setattr(sys, "stdout", Unwritable(failure, out.fileno()))
        assert cli.run(["inspect", str(path)]) == status
        assert Path(f"/proc/self/fd/{out.fileno()}").readlink() == Path(os.devnull)


def test_output_that_is_closed(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    assert cli.run(["inspect", "--schema"]) == Exit.IO_ERROR


# in a process of its own: descriptors


def test_a_pipe_in(path):
    path.write_bytes(images.diskulog())
    done = process("inspect", "--json", "-", input=path.read_bytes())
    assert done.returncode == 0
    assert json.loads(done.stdout)["log"]["region_count"] == 1000


def test_a_reader_that_goes_away_keeps_the_exit_code(path):
    path.write_bytes(images.changed(range(0, 1000, 2)))
    command = f"{sys.executable} -m diskulog inspect --limit 0 {path} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stderr) == (Exit.PROBLEM, b"")


def test_a_reader_that_goes_away_ends_the_printing(path):
    path.write_bytes(images.lvm_fresh(0x55, 2**24 + 1024))  # more than 1 GB of ranges
    command = f"{sys.executable} -m diskulog inspect --json {path} | head -c 100; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, cwd=ROOT, timeout=60, check=False)
    assert (done.returncode, len(done.stdout), done.stderr) == (Exit.PROBLEM, 100, b"")


@pytest.mark.parametrize(
    ("failure", "status"), [(KeyboardInterrupt(), Exit.REFUSED), (DeviceError("x", OSError(5, "no")), Exit.IO_ERROR)]
)
def test_a_failure_in_the_middle_of_a_document_begins_no_second_one(run, path, monkeypatch, failure, status):
    def ranges(_):
        yield 5, 1
        raise failure

    path.write_bytes(images.kernel())
    monkeypatch.setattr(bitmap.Regions, "ranges", ranges)
    code, out, err = run("inspect", "--json", path)
    assert code == status
    one_line(err)
    assert out.startswith('{"format_version":1,')
    assert out.count("format_version") == 1
    with pytest.raises(json.JSONDecodeError):
        json.loads(out)


@pytest.mark.parametrize("redirection", [">/dev/full", ">&-"])
@pytest.mark.parametrize("arguments", ["inspect --schema", "inspect --help", "--version"])
def test_standard_output_that_takes_nothing(redirection, arguments):
    command = f"{sys.executable} -m diskulog {arguments} {redirection}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, cwd=ROOT, text=True, check=False)
    assert done.returncode == Exit.IO_ERROR
    one_line(done.stderr)


def test_standard_input_that_is_closed():
    command = f"{sys.executable} -m diskulog inspect - <&-"
    done = subprocess.run(["bash", "-c", command], capture_output=True, cwd=ROOT, text=True, check=False)
    assert done.returncode == Exit.USAGE
    assert "is closed" in one_line(done.stderr)


def test_a_terminal_of_seven_bits(path):
    path.write_bytes(images.diskulog(uuid="ümlaut"))
    done = process("inspect", path, env={**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"})
    assert done.returncode == Exit.FINE
    assert b"uuid:        \\xfcmlaut" in done.stdout


@pytest.mark.parametrize("word", ["serve", "status", "mirror"])
def test_a_command_that_starts_loads_no_other_and_nothing_forensic(word):
    """A daemon that starts is waited for by mirrors."""
    code = (
        f"import sys; from diskulog.cli import run; run(['{word}', '--help']);"
        "print(*sorted(name for name in sys.modules if name.startswith('diskulog.')), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    loaded = done.stderr.split()
    assert f"diskulog.commands.{word}" in loaded
    others = {"serve", "status", "mirror", "inspect", "check", "migrate", "doctor"} - {word}
    assert not {f"diskulog.commands.{other}" for other in others}.intersection(loaded)
    assert not [name for name in loaded if name.startswith("diskulog.forensic")]


@pytest.mark.parametrize(
    "module", ["pyroute2", "diskulog.forensic.model", "diskulog.forensic.raw", "diskulog.forensic.picture"]
)
def test_inspect_does_without(path, module):
    path.write_bytes(images.kernel())
    code = (
        f"import sys; from diskulog.cli import run; run(['inspect', sys.argv[1]]); sys.exit('{module}' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
