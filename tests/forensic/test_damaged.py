# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every command over every damaged image of tools/damage: the right code, a sentence, and what is read untouched.

Lives here: what holds of any command and any image. What an image is, and its code, stands in tools/damaging.
"""

import hashlib
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import pytest

from diskulog import cli, ondisk
from diskulog.errors import BadLogError
from diskulog.exits import Exit
from diskulog.forensic import belief, model  # noqa: F401 - model is loaded before memory is limited
from diskulog.forensic.belief import Belief
from diskulog.forensic.difference import Difference
from diskulog.units import MIB
from tests import images, schemas
from tests.fake_kernel import FLUSH, IN_SYNC
from tests.traces import heard
from tests.traces import write as write_trace
from tools.damaging.catalogue import catalogue
from tools.damaging.files import write
from tools.damaging.recipe import Damaged, Recipe

# eight thousand tests that take twice as long when lines are counted, of lines that others reach, too
pytestmark = pytest.mark.no_cover

ROOT = Path(__file__).parent.parent.parent
LIGHT = {name: image for name, image in catalogue().items() if not image.heavy}
# the largest log that there can be is test_bounds.py's: it takes seconds
HEAVY = {name: image for name, image in catalogue().items() if image.heavy and name != "sparse-count-4294967295"}
SELF = "the image again"
PICTURE = "a file beside it"
DUMP = "a dump"
IMPOSSIBLE = frozenset(f"extension-region-size-sectors-{size}" for size in ("1", "odd", "huge", "max"))
MEMORY_BYTES = 64 * MIB  # address space that a command may take on top of what is there
PROCESS_SECONDS = 10.0  # of processor time; a hundredth is usual


def as_told(image: Damaged) -> Exit:
    return image.code


def judged(image: Damaged) -> Exit:
    """``check`` objects to more than ``inspect``: to sizes that no mirror has."""
    return Exit.PROBLEM if image.code is Exit.FINE and image.name in IMPOSSIBLE else image.code


def believed(image: Damaged) -> Exit:
    """What is dumped of a log that is not believed is what ``repair`` makes of it."""
    if image.code is Exit.NOT_A_LOG:
        return Exit.NOT_A_LOG
    return Exit.FINE if image.belief in belief.TAKES_CLEAN | belief.TAKES_BOTH else Exit.PROBLEM


def no_dump(image: Damaged) -> Exit:
    return Exit.NOT_A_LOG


def adoption(image: Damaged) -> Exit:
    """A damaged extension has lost the mirror's uuid, and only the user knows it."""
    if image.code is Exit.NOT_A_LOG:
        return Exit.NOT_A_LOG
    return Exit.REFUSED if image.belief is Belief.DAMAGED else Exit.FINE


class Reader(NamedTuple):
    """A command that only reads: its words, of which the image is the last, and what it ends with.

    ``tells`` says that it prints what it found of what is no log, too.
    """

    words: tuple[str, ...]
    code: Callable[[Damaged], Exit]
    stdin: bool = False
    tells: bool = False


# a new command is a new row
READERS = (
    Reader(("inspect",), as_told),
    Reader(("inspect", "--json"), as_told),
    Reader(("inspect", "--map"), as_told),
    Reader(("inspect", "--json", "-"), as_told, stdin=True),
    Reader(("inspect", "--raw"), as_told, tells=True),
    Reader(("inspect", "--svg", PICTURE), as_told),
    Reader(("inspect", "--png", PICTURE), as_told),
    Reader(("check",), judged, tells=True),
    Reader(("check", "--json"), judged, tells=True),
    Reader(("dump",), believed),
    Reader(("dump", "--json"), believed),
    Reader(("diff", SELF), believed),
    Reader(("diff", "--json", SELF), believed),
    Reader(("restore", "--dry-run", SELF), no_dump),
    Reader(("adopt", "--dry-run"), adoption),
)


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Iterator[Callable[[Damaged], Path]]:
    """Write an image once, and throw all of them away in the end."""
    directory = tmp_path_factory.mktemp("damaged")

    def path_of(image: Damaged) -> Path:
        path = directory / image.name
        if not path.exists():
            write(path, image.recipe)
        return path

    yield path_of
    shutil.rmtree(directory)


@contextmanager
def untouched(path: Path, recipe: Recipe) -> Iterator[None]:
    """Prove that a file keeps its bytes, and the times at which they changed."""

    def state() -> tuple[object, ...]:
        found = path.stat()
        with path.open("rb") as file:
            held = hashlib.sha256()
            for offset, piece in recipe.pieces:
                file.seek(offset)
                held.update(file.read(len(piece)))
        return held.digest(), found.st_size, found.st_blocks, found.st_mtime_ns, found.st_ctime_ns

    before = state()
    assert before[0] == hashlib.sha256(b"".join(piece for _, piece in recipe.pieces)).digest()
    yield
    assert state() == before


@contextmanager
def bounded(memory_bytes: int = MEMORY_BYTES) -> Iterator[None]:
    """Limit what a command takes; what it cannot have ends it with a code that no image expects."""
    kept = resource.getrlimit(resource.RLIMIT_AS)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + memory_bytes, kept[1]))
    start = time.process_time()
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, kept)
    assert time.process_time() - start < PROCESS_SECONDS


@contextmanager
def standard_input(path: Path) -> Iterator[None]:
    kept, fd = os.dup(0), os.open(path, os.O_RDONLY)
    try:
        os.dup2(fd, 0)
        yield
    finally:
        os.dup2(kept, 0)
        os.close(kept)
        os.close(fd)


def called(reader: Reader, path: Path) -> int:
    if not reader.stdin:
        named = {SELF: str(path), PICTURE: str(path.with_name("picture"))}
        return cli.run([*(named.get(word, word) for word in reader.words), str(path)])
    with standard_input(path):
        return cli.run(reader.words)


def check(reader: Reader, image: Damaged, status: int, out: str, err: str) -> None:
    """What is said is fit for a terminal, and is what the code says."""
    assert status == reader.code(image), err
    survived(out, err)
    if status in (Exit.FINE, Exit.PROBLEM):
        assert out
        assert all(line.startswith("diskulog: warning: ") for line in err.splitlines())
    elif reader.tells:
        assert out or not image.recipe.size_bytes
        assert err.count("\n") <= 1
    else:
        assert err.startswith("diskulog: ")
        assert err.count("\n") == 1
    if "--json" in reader.words:
        assert schemas.document(out)["exit_status"] == status
    elif status not in (Exit.FINE, Exit.PROBLEM) and not reader.tells:
        assert out == ""


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: " ".join(reader.words))
@pytest.mark.parametrize("image", LIGHT.values(), ids=LIGHT)
def test_a_reading_command(written, capsys, image, reader):
    path = written(image)
    with untouched(path, image.recipe), bounded():
        status = called(reader, path)
    check(reader, image, status, *capsys.readouterr())
    if PICTURE in reader.words:
        drawn = path.with_name("picture")
        assert drawn.exists() == (status in (Exit.FINE, Exit.PROBLEM))
        drawn.unlink(missing_ok=True)


@pytest.mark.parametrize("image", HEAVY.values(), ids=HEAVY)
def test_a_log_that_is_as_large_as_it_says(written, capsys, image):
    path, reader = written(image), READERS[0]
    with untouched(path, image.recipe), bounded(memory_bytes=2 * MEMORY_BYTES):
        status = called(reader, path)
    check(reader, image, status, *capsys.readouterr())


@pytest.mark.parametrize("image", LIGHT.values(), ids=LIGHT)
def test_who_wrote_last(written, image):
    try:
        found = belief.judge(images.loaded_from(written(image)))
    except BadLogError:
        found = None
    assert found is image.belief


# what writes: the same codes, and nothing but the place that it names


class Writer(NamedTuple):
    """A command that writes: its words, what it ends with, the bytes that it may change, and what it leaves."""

    words: tuple[str, ...]
    code: Callable[[Damaged], Exit]
    start: int
    end: int
    leaves: frozenset[Belief]


WRITERS = (
    Writer(
        ("adopt", "--yes", "--uuid", "LVM-new"),
        lambda image: Exit.NOT_A_LOG if image.code is Exit.NOT_A_LOG else Exit.FINE,
        ondisk.EXTENSION_OFFSET_BYTES,
        ondisk.HEAD_BYTES,
        frozenset({Belief.KERNEL, Belief.CLOSED, Belief.RELEASED}),
    ),
)
SMALL = {name: image for name, image in LIGHT.items() if image.recipe.size_bytes <= 4 * MIB}


@pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: " ".join(writer.words))
@pytest.mark.parametrize("image", SMALL.values(), ids=SMALL)
def test_a_writing_command(tmp_path, capsys, image, writer):
    path, content = tmp_path / "log", image.recipe.content()
    path.write_bytes(content)
    with bounded():
        status = cli.run([*writer.words, str(path)])
    check(Reader(writer.words, writer.code), image, status, *capsys.readouterr())
    found = path.read_bytes()
    if status != Exit.FINE:
        assert found == content
        return
    assert (found[: writer.start], found[writer.end :]) == (content[: writer.start], content[writer.end :])
    assert belief.judge(images.loaded(found)) in writer.leaves


MAKERS = {
    "format": ("format", "--uuid", "other", "--region-size", "1024", "--regions", "1000"),
    "restore": ("restore", DUMP),
}


MADE_BYTES = 4608  # what 1000 regions need


@pytest.fixture(scope="module")
def dump(tmp_path_factory):
    """What a sound log of another mirror says."""
    directory = tmp_path_factory.mktemp("dump")
    log, dumped = directory / "log", directory / "dump"
    log.write_bytes(images.diskulog(uuid="other", dirty=[3]))
    with dumped.open("w") as file, redirect_stdout(file):
        assert cli.run(["dump", str(log)]) == Exit.FINE
    return str(dumped)


@pytest.mark.parametrize("words", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize("image", SMALL.values(), ids=SMALL)
def test_a_new_log_is_made_over_nothing_that_lies_there_unless_told(tmp_path, capsys, dump, image, words):
    path, content = tmp_path / "log", image.recipe.content()
    path.write_bytes(content)
    command = [*(dump if word == DUMP else word for word in words), "--yes", str(path)]
    with bounded():
        status = cli.run(command)
    out, err = capsys.readouterr()
    survived(out, err)
    fits = len(content) >= MADE_BYTES
    assert status == (Exit.REFUSED if any(content[:MIB]) or not fits else Exit.FINE), err
    # behind the first MiB nothing is looked at but what would be written
    assert path.read_bytes()[0 if status else MIB :] == content[0 if status else MIB :]
    assert cli.run([*command, "--overwrite"]) == (Exit.FINE if fits else Exit.REFUSED)
    if fits:
        assert belief.judge(images.loaded_from(path)) is Belief.CLOSED
    else:
        assert path.read_bytes() == content


@pytest.mark.parametrize("image", SMALL.values(), ids=SMALL)
def test_a_repair(tmp_path, image):
    """What is repaired is believed, has no region clean that was not or was not proved, and is repaired for good."""
    path, content = tmp_path / "log", image.recipe.content()
    path.write_bytes(content)
    with bounded():
        status = cli.run(["repair", "--write", "--yes", str(path)])
    found = path.read_bytes()
    if status != Exit.FINE:
        assert status in (Exit.NOT_A_LOG, Exit.REFUSED)
        assert found == content
        return
    after = images.loaded(found)
    assert belief.judge(after) in belief.TAKES_CLEAN | belief.TAKES_BOTH
    assert belief.stray_bits(after) == []
    if image.code is Exit.FINE:
        assert found == content
    elif image.code is Exit.PROBLEM:
        assert not Difference(images.loaded(content), after).changes["became_clean"].zeros
    assert cli.run(["repair", str(path)]) == Exit.FINE


@pytest.mark.parametrize("image", SMALL.values(), ids=SMALL)
def test_marking_everything(tmp_path, image):
    path, content = tmp_path / "log", image.recipe.content()
    path.write_bytes(content)
    with bounded():
        status = cli.run(["mark", "--all", "--yes", str(path)])
    assert status == (Exit.REFUSED if believed(image) is Exit.PROBLEM else believed(image))
    found = path.read_bytes()
    if status != Exit.FINE:
        assert found == content
        return
    after = images.loaded(found)
    assert belief.judge(after) is image.belief
    assert belief.clean_regions(after).ones == 0
    assert after.sync is None or after.sync.read(0, MIB) == images.loaded(content).sync.read(0, MIB)


# what needs more than the image: legs, a trace

COMPARED = {
    Exit.NOT_A_LOG: {Exit.NOT_A_LOG},
    Exit.FINE: {Exit.FINE, Exit.USAGE, Exit.REFUSED},  # a kernel log's region size is to be given, LVM's has no count
    Exit.PROBLEM: {Exit.FINE, Exit.USAGE, Exit.REFUSED},
}


@pytest.fixture(scope="module")
def legs(tmp_path_factory):
    made = [tmp_path_factory.mktemp("legs") / name for name in "ab"]
    for leg in made:
        with leg.open("wb") as file:
            file.truncate(2**30)
    return [str(leg) for leg in made]


@pytest.mark.parametrize("image", LIGHT.values(), ids=LIGHT)
def test_legs_are_compared_by_it_or_it_says_why_not(written, capsys, legs, image):
    path = written(image)
    with untouched(path, image.recipe), bounded(memory_bytes=4 * MEMORY_BYTES):
        status = cli.run(["verify", "--regions", "0", str(path), *legs])
    assert status in COMPARED[image.code]
    survived(*capsys.readouterr())


@pytest.mark.parametrize("uuid", [images.UUID, "other"])
@pytest.mark.parametrize("image", LIGHT.values(), ids=LIGHT)
def test_a_trace_is_replayed_over_it_or_it_says_why_not(tmp_path, written, capsys, image, uuid):
    path, trace = written(image), write_trace(tmp_path / "trace", [heard(IN_SYNC, bytes(8)), heard(FLUSH, bytes(8))])
    with untouched(path, image.recipe), bounded(memory_bytes=4 * MEMORY_BYTES):
        status = cli.run(["replay", "--uuid", uuid, str(trace), str(path)])
    assert status in (Exit.FINE, Exit.USAGE, Exit.NOT_A_LOG, Exit.REFUSED)
    survived(*capsys.readouterr())


def survived(out: str, err: str) -> None:
    assert "Traceback" not in out + err
    assert "internal error" not in out + err
    assert (out + err).replace("\n", "").isprintable()


# in processes of their own: the same from outside, and through a pipe

SAMPLE = (
    "count-4294967295-closed",
    "count-1152921504606846976-kernel",
    "sparse-count-1099511627776",
    "extension-uuid-c1",
    "extension-sync-offset-bytes-last",
    "sector-torn",
    "stray-1003-1008-clean",
    "cut-511-kernel",
    "alien-noise",
    "lvm-ones",
)
_SHELL = 'ulimit -v 524288; exec "$@"'  # KiB, the interpreter and its libraries among them


def in_a_process(words: tuple[str, ...], given: bytes = b"") -> tuple[int, str, str]:
    command = ["sh", "-c", _SHELL, "sh", sys.executable, "-m", "diskulog", *words]
    done = subprocess.run(command, input=given, capture_output=True, cwd=ROOT, timeout=60, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.parametrize("name", SAMPLE)
def test_a_process(written, name):
    image, reader = LIGHT[name], READERS[1]
    path = written(image)
    with untouched(path, image.recipe):
        found = in_a_process((*reader.words, str(path)))
    check(reader, image, *found)


@pytest.mark.parametrize("name", ["count-4294967295-closed", "extension-sync-offset-bytes-last", "cut-511-kernel"])
def test_a_process_that_reads_a_pipe(name):
    image, reader = LIGHT[name], READERS[3]
    check(reader, image, *in_a_process(reader.words, image.recipe.content()))
