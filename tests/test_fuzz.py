# SPDX-License-Identifier: LGPL-2.1-or-later
"""The fuzzer itself: a short run of every target, mistakes that it must find, and images that claim 2^60 regions."""

import json
import runpy
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskulog import config, ctr, exits, handover, lifecycle, ondisk, verdict, wire
from diskulog.exits import Exit, UsageError
from diskulog.forensic import adopt, bitmap, image, text
from diskulog.work import Work
from tests import fake_kernel as kernel
from tests import images, logs
from tests.fake_host import UUID, ctr_string
from tools.fuzzing import corpus, engines, targets
from tools.fuzzing.targets import TARGETS, Failure, Target
from tools.fuzzing.worker import working

ROOT = Path(__file__).parent.parent
COMMAND = ROOT / "tools" / "fuzz"


# executions of a short run: half a second each
RUNS = {
    "wire": 4000,
    "server": 300,
    "handover": 300,
    "ctr": 4000,
    "ondisk": 1500,
    "store": 1000,
    "image": 300,
    "inspect": 30,
    "config": 4000,
    "trace": 150,
}


def explore(name: str, seed: int = 0):
    return engines.explore(TARGETS[name], RUNS[name], None, seed)


@pytest.mark.parametrize("name", RUNS)
def test_a_short_run_finds_nothing(name):
    tally = explore(name)
    assert tally.executions == RUNS[name]
    assert len(tally.kinds) > 3


def test_every_target_has_a_short_run():
    assert set(RUNS) == set(TARGETS)


# what would be worthless if it could not fail


def _spin(*_: object) -> str:
    while True:
        pass


def _trusting(source, offset_bytes, region_count, which):
    return bitmap.keep(source, offset_bytes, ondisk.bitmap_bytes(region_count))


# what is wrong: the target that finds it, where it is planted, how it is seen
PLANTED = {
    "a type that is not known has no fallback": ("wire", wire, "_known", wire.RequestType, "ValueError"),
    "an error reply is empty": ("server", wire, "ERROR_PAYLOAD_BYTES", {}, "0 bytes beside error"),
    "a list of regions is not measured": (
        "server",
        wire,
        "regions",
        lambda data: struct.unpack(f"={len(data) // 8}Q", data),
        "bug: ",
    ),
    "what is no request is taken over": ("handover", handover, "_request_in", wire.unframe, "AttributeError"),
    "digits of any script are a number": ("ctr", ctr, "_number", lambda word, argument: int(word), "ValueError"),
    "any number of regions is possible": ("ctr", ctr, "MAX_REGION_COUNT", 2**64, "AssertionError"),
    "a sync bitmap lies anywhere": ("ondisk", ondisk, "fits", lambda *_: True, "sync bitmap"),
    "a sync bitmap is read wherever it lies": ("store", ondisk, "fits", lambda *_: True, "bytes read of"),
    "an image's count is believed": ("image", image, "_bitmap", _trusting, "Hang"),
    "an image is read for ever": ("image", image, "_refuse", _spin, "Hang"),
    "a host's name moves the cursor": ("image", text, "printable", str, "moves the cursor"),
    "an image that is no log ends in the wrong code": ("inspect", exits, "_BY_CLASS", (), "exit code 5"),
    "a value of the wrong type has no reason": ("config", config, "_reason", lambda _: {}[0], "KeyError"),
}


@pytest.mark.parametrize(
    ("name", "where", "attribute", "mistake", "seen"),
    PLANTED.values(),
    ids=PLANTED,
)
def test_a_planted_mistake_is_found(name, where, attribute, mistake, seen, monkeypatch):
    if seen == "Hang":  # any other is found in whatever time the machine gives
        monkeypatch.setattr(targets, "DEADLINE_SECONDS", 0.5)
    monkeypatch.setattr(where, attribute, mistake)
    with pytest.raises(Failure) as caught:
        explore(name)
    assert caught.value.target == name
    cause = caught.value.__cause__
    assert seen in f"{type(cause).__name__}: {cause}"


def _interrupted_in(module: str) -> None:
    """The deadline comes while a function of that module runs, which was called from here."""
    here: dict[str, Callable[[Callable[[], None]], None]] = {"__name__": module}  # type: ignore[dict-item]
    exec("def interrupted(late): late()", here)
    here["interrupted"](lambda: targets._late(0, sys._getframe(1)))


@pytest.fixture
def timer():
    """Whether the deadline's timer runs; it is stopped at the end."""
    handler = signal.signal(signal.SIGPROF, signal.SIG_IGN)
    yield lambda: signal.getitimer(signal.ITIMER_PROF)[0] > 0
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.signal(signal.SIGPROF, handler)


@pytest.mark.parametrize("module", ["diskulog.wire", "tomllib._parser", "coverages"])
def test_a_deadline_ends_whatever_runs(module, timer):
    with pytest.raises(targets.Hang):
        _interrupted_in(module)
    assert not timer()


def test_a_deadline_waits_while_coverage_may_hold_its_lock(timer, monkeypatch):
    monkeypatch.setattr(targets, "AGAIN_SECONDS", 60)
    _interrupted_in("coverage.collector")
    assert timer()


def test_a_failure_is_saved_and_can_be_run_again(tmp_path, monkeypatch, capsys):
    run = _command(monkeypatch, tmp_path)
    with monkeypatch.context() as planted:
        planted.setattr(ctr, "_number", lambda word, argument: int(word))
        assert run("--target", "ctr", "--runs", "4000") == 1
        (saved,) = tmp_path.iterdir()
        assert f"tools/fuzz --target ctr --replay {saved}" in capsys.readouterr().out
        assert run("--target", "ctr", "--replay", str(saved)) == 1
        assert [path.name for path in tmp_path.iterdir()] == [saved.name]
    assert run("--target", "ctr", "--replay", str(saved)) == 0


def _command(monkeypatch, directory) -> Callable[..., int]:
    main = runpy.run_path(str(COMMAND))["main"]

    def run(*arguments: str) -> int:
        common = ("tools/fuzz", "--engine", "plain", "--failures", str(directory))
        monkeypatch.setattr(sys, "argv", [*common, *arguments])
        return main()

    return run


def test_the_command_runs_every_target_in_a_process_of_its_own(tmp_path, monkeypatch):
    asked: list[list[str]] = []

    def run(command: list[str], check: bool) -> subprocess.CompletedProcess[bytes]:
        asked.append(command[2:])
        return subprocess.CompletedProcess(command, int("ctr" in command))

    monkeypatch.setattr(subprocess, "run", run)
    assert _command(monkeypatch, tmp_path)("--seconds", "2", "--seed", "7") == 1
    options = ["--engine", "plain", "--seed", "7", "--failures", str(tmp_path), "--seconds", "2.0"]
    assert asked == [["--target", name, *options] for name in TARGETS]


@pytest.mark.timeout(400)
def test_the_command_starts_from_anywhere(tmp_path):
    command = [sys.executable, str(COMMAND), "--target", "wire", "--engine", "plain", "--runs", "50"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("tools/fuzz: wire: 50 executions, ")


def test_the_same_seed_makes_the_same_inputs(monkeypatch):
    def seen(seed: int) -> list[bytes]:
        made: list[bytes] = []
        target = Target(lambda data: made.append(data), "wire", TARGETS["wire"].change)
        engines.explore(target, 50, None, seed)
        return made

    assert seen(1) == seen(1) != seen(2)


# the corpus


@given(st.lists(st.tuples(st.binary(max_size=20), st.integers(0, 40))).map(lambda ps: b"".join(d * n for d, n in ps)))
def test_an_input_is_the_same_after_it_was_text(data):
    assert corpus.decoded(corpus.encoded(data)) == data


def test_the_corpus_is_small_and_every_input_is_in_its_short_form():
    files = sorted(corpus.CORPUS.iterdir())
    assert {path.stem for path in files} == {target.corpus for target in TARGETS.values()}
    assert sum(path.stat().st_size for path in files) < 60 * 1024
    for path in files:
        lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
        assert lines == [corpus.encoded(data) for data in corpus.inputs(path)]
        assert len(set(lines)) == len(lines)


# 2^60 regions


def _claim(count: int, header: int | None = None, **changes: object) -> bytes:
    """A diskulog log of 1 MiB whose header and extension claim a number of regions."""
    made = images.diskulog(1000, region_count=count, state=ondisk.State.OPEN, **changes)
    made[:16] = ondisk.Header(nr_regions=count if header is None else header).pack()
    return bytes(made)


CLAIMS = {
    "kernel's, 2^60": bytes(images.claims(2**60)),
    "kernel's, 2^64-2": bytes(images.claims(2**64 - 2)),
    "kernel's, 2^32-1": bytes(images.claims(2**32 - 1)),
    "diskulog's, 2^60": _claim(2**60),
    "diskulog's, 2^60, with places": _claim(2**60, sync_offset_bytes=2**58, sync_capacity_bytes=2**58),
    "diskulog's, 2^60 under LVM's 2^64-1": _claim(2**60, ondisk.ALL_REGIONS),
    "diskulog's, sync bitmap at 2^63": _claim(1000, sync_offset_bytes=2**63),
    "diskulog's, sync bitmap at the end": _claim(1000, sync_offset_bytes=images.DEVICE_BYTES),
}
_SHELL = 'ulimit -v 524288; exec "$@"'  # KiB: an interpreter that reads such an image needs 300 MiB of addresses


def _inspect(*arguments: str, stdin: bytes = b"") -> tuple[int, dict]:
    command = ["sh", "-c", _SHELL, "sh", sys.executable, "-m", "diskulog", "inspect", "--json", *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, cwd=ROOT, timeout=60, check=False)
    assert b"Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.mark.parametrize("data", CLAIMS.values(), ids=CLAIMS)
def test_an_image_that_claims_too_much_is_refused_in_little_memory(data, tmp_path):
    path = tmp_path / "log"
    path.write_bytes(data)
    with images.untouched(path):
        found = [_inspect(str(path)), _inspect("-", stdin=data)]
    for status, document in found:
        assert status == document["exit_status"] == Exit.NOT_A_LOG
        assert document["log"] is None


@pytest.mark.parametrize("count", [2**33, 2**40, 2**60])
def test_a_device_that_could_hold_more_regions_than_a_mirror_has_is_not_read(count, tmp_path):
    path = tmp_path / "log"
    path.write_bytes(_claim(count))
    with path.open("r+b") as sparse:
        sparse.truncate(2**40)
    status, document = _inspect(str(path))
    assert status == document["exit_status"] == Exit.NOT_A_LOG


# what the fuzzer found, in its smallest form

LAST = 2**64 - 1


def test_a_log_is_closed_on_the_thread_that_works_on_it_when_its_luid_comes_again_for_another_uuid(slow):
    slow.expects_bugs = True  # they would fail the fixture's end; asserted here
    released: list[bytes] = []

    def watch(what: str, uuid: bytes, work: Work) -> None:
        if what == "submitted" and getattr(work.run, "func", None) is lifecycle._release:
            released.append(uuid)

    slow.executor.on_work = watch
    log = slow.kernel.log(UUID, ctr_string())
    slow.kernel.ask(kernel.CTR, UUID, log.luid, ctr_string())
    slow.executor.run_all()
    log.ask(kernel.RESUME)  # under way: check, then activate
    slow.kernel.ask(kernel.CTR, b"other", log.luid, ctr_string())
    slow.executor.run_all()
    assert released == [UUID]
    assert not [line for line in (*slow.lines, *slow.bugs) if "of a store that is closed" in line]


def test_a_worker_serves_everything_that_came_however_much_it_is():
    with working() as worker:
        worker.link.queue.extend([(b"", 4712)] * 100)
        worker.serve()
        assert not worker.link.queue


def test_a_log_of_the_last_generation_is_activated():
    logs.live(logs.diskulog_log(100, generation=LAST))


@pytest.mark.parametrize(("image_of", "uuid"), [(images.changed, None), (images.diskulog, "LVM-new")])
def test_a_log_of_the_last_generation_is_adopted(image_of, uuid):
    adopt.plan(images.loaded(image_of(generation=LAST)), uuid, 512)


def test_a_resized_log_of_impossibly_large_regions_is_adopted():
    data = images.resized(2000)
    data[512:1024] = images.extension(1000, region_size_sectors=2**63).pack()
    adopt.plan(images.loaded(data), None, 512)


def test_more_regions_than_a_mirror_can_have_are_not_read_from_any_device():
    assert verdict.sync_range(_claim(2**40, sync_offset_bytes=2**40, sync_capacity_bytes=2**40), 2**62) is None


@pytest.mark.parametrize(
    "content",
    [b"x = " + b"9" * 5000, b"[netlink]\nreceive_buffer_bytes = 0x" + b"f" * 5000, b"x = " + b"[" * 5000],
    ids=["digits", "hexadecimal", "nested"],
)
def test_a_configuration_that_python_cannot_hold_is_a_usage_error(content):
    with pytest.raises(UsageError):
        config.parse(content, "fuzz.toml")
