# SPDX-License-Identifier: LGPL-2.1-or-later
"""``inspect`` needs little memory, whatever the image holds and however much of it there is."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from diskulog import ondisk
from diskulog.exits import Exit
from diskulog.ondisk import State
from diskulog.units import MAX_REGION_COUNT, MIB
from tests import images

ROOT = Path(__file__).parent.parent.parent
MAX_MEMORY_BYTES = 150 * MIB
LARGE = 2**27  # regions: bitmaps of 16 MiB
HUGE = 2**30  # 128 MiB

# the high-water mark of this program alone: getrusage(2) counts the test runner's memory before exec(2) too
_PROGRAM = """
import sys
from diskulog.cli import run
status = run(sys.argv[1:])
with open("/proc/self/status") as lines:
    print(next(line.split()[1] for line in lines if line.startswith("VmHWM:")), file=sys.stderr)
sys.exit(status)
"""


@contextmanager
def inspecting(*arguments: object, stdin: Path | None = None) -> Iterator["subprocess.Popen[bytes]"]:
    """``diskulog inspect`` at work; it must have met its bound when it ends."""
    command = [sys.executable, "-c", _PROGRAM, "inspect", *map(str, arguments)]
    with (
        open(stdin or "/dev/null", "rb") as given,
        subprocess.Popen(["cat"], stdin=given, stdout=subprocess.PIPE) as pipe,
        subprocess.Popen(command, stdin=pipe.stdout, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as run,
    ):
        assert pipe.stdout is not None
        assert run.stdout is not None
        assert run.stderr is not None
        pipe.stdout.close()
        yield run
        run.stdout.close()
        (peak_kib,) = run.stderr.read().split()
    assert int(peak_kib) * 1024 < MAX_MEMORY_BYTES


def inspected(*arguments: object, stdin: Path | None = None) -> tuple[int, bytes]:
    with inspecting(*arguments, stdin=stdin) as run:
        printed = run.stdout.read()
    return run.returncode, printed


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log"


def sparse(path: Path, head: bytes, size_bytes: int) -> Path:
    """A file whose bitmaps are holes: everything is dirty."""
    with path.open("wb") as file:
        file.write(head)
        file.truncate(size_bytes)
    return path


def kernel_log(path: Path, count: int) -> Path:
    return sparse(path, images.claims(count, 1024), 1024 + ondisk.bitmap_bytes(count))


def diskulog_log(path: Path, count: int) -> Path:
    size = 2 * ondisk.bitmap_bytes(count) + MIB
    head = images.claims(count, 1024)
    head[512:1024] = images.extension(count, State.OPEN, size).pack()
    return sparse(path, head, size)


@pytest.mark.parametrize("options", [["--json"], ["--limit", "0"]], ids=" ".join)
def test_every_other_region_of_a_large_log_is_a_range_of_its_own(path, options):
    path.write_bytes(images.lvm_fresh(0x55, 1024 + LARGE // 8))
    with inspecting(*options, path) as run:
        printed = run.stdout.read(8 * MIB)  # and goes away: all of it would be more than 1 GB
    assert b"[199999,1],[200001,1]" in printed or b"\n        199999         1\n" in printed
    assert run.returncode == Exit.PROBLEM  # LVM's fill is behind an extension that is no extension


def test_what_is_printed_of_many_ranges_is_whole(path):
    path.write_bytes(images.lvm_fresh(0x55, 1024 + 2**15))
    status, printed = inspected("--json", path)
    found = json.loads(printed)
    assert (status, found["exit_status"]) == (Exit.PROBLEM, Exit.PROBLEM)
    assert found["dirty"] == [[region, 1] for region in range(1, 2**18, 2)]
    assert found["log"]["dirty_count"] == 2**17
    status, printed = inspected("--limit", "0", path)
    lines = printed.decode().splitlines()
    at = lines.index(f"dirty regions ({2**17} ranges)") + 2
    assert [line.split() for line in lines[at : at + 2**17]] == [[str(region), "1"] for region in range(1, 2**18, 2)]
    assert lines[at + 2**17] == ""


@pytest.mark.parametrize(
    "options", [["--json"], ["--limit", "0"], ["--map", "--raw", "--units", "bytes"]], ids=" ".join
)
@pytest.mark.parametrize("piped", [False, True], ids=["by name", "in a pipe"])
def test_a_large_log_with_many_ranges(path, options, piped):
    dirty = range(0, LARGE, LARGE // 100_000)
    path.write_bytes(images.diskulog(LARGE, dirty, dirty[::100], size=40 * MIB))
    status, printed = inspected(*options, "-" if piped else path, stdin=path if piped else None)
    assert status == Exit.FINE
    if options == ["--json"]:
        found = json.loads(printed)
        assert found["dirty"] == [[region, 1] for region in dirty]
        assert found["out_of_sync"] == [[region, 1] for region in dirty[::100]]
        assert found["log"]["checksums"] == {"extension": "ok", "clean_bitmap": "ok", "sync_bitmap": "ok"}
    else:
        assert f"dirty regions ({len(dirty)} ranges)".encode() in printed


@pytest.mark.parametrize("dirty", [range(0, LARGE, LARGE // 100_000), range(0)], ids=["many ranges", "none"])
def test_pictures_of_a_large_log(path, tmp_path, dirty):
    path.write_bytes(images.diskulog(LARGE, dirty, dirty[::100], size=40 * MIB))
    drawn = [tmp_path / "log.svg", tmp_path / "log.png"]
    assert inspected("--svg", drawn[0], "--png", drawn[1], path)[0] == Exit.FINE
    assert all(0 < each.stat().st_size < MIB for each in drawn)


def test_pictures_whose_cells_alternate(path, tmp_path):
    path.write_bytes(images.kernel(2**22, range(0, 2**22, 1024), size=2**19 + 1024))
    drawn = [tmp_path / "log.svg", tmp_path / "log.png"]
    assert inspected("--svg", drawn[0], "--png", drawn[1], path)[0] == Exit.FINE
    assert all(0 < each.stat().st_size < MIB for each in drawn)


def test_a_large_log_far_inside_an_image(path):
    head, size = images.claims(LARGE, 1024), LARGE // 8 + 1024
    with path.open("wb") as file:
        file.seek(2**32 + 3)
        file.write(head)
        file.truncate(2**32 + 3 + size)
    status, printed = inspected("--json", "--offset", 2**32 + 3, path)
    assert status == Exit.FINE
    assert json.loads(printed)["dirty"] == [[0, LARGE]]


@pytest.mark.parametrize("make", [kernel_log, diskulog_log])
@pytest.mark.parametrize("options", [["--json"], ["--map"]], ids=" ".join)
def test_a_log_that_memory_cannot_hold(path, make, options):
    make(path, HUGE)
    by_name, in_a_pipe = inspected(*options, path), inspected(*options, "-", stdin=path)
    for status, printed in (by_name, in_a_pipe):
        assert status == Exit.FINE
        if options == ["--json"]:
            found = json.loads(printed)
            assert found["log"]["region_count"] == found["log"]["dirty_count"] == HUGE
            assert found["dirty"] == [[0, HUGE]]
        else:
            assert "dirty regions (1 range)\n  first region      regions" in printed.decode()


def test_the_most_regions_that_a_mirror_can_have(path):
    status, printed = inspected("--json", kernel_log(path, MAX_REGION_COUNT))
    assert status == Exit.FINE
    assert json.loads(printed)["dirty"] == [[0, MAX_REGION_COUNT]]
