# SPDX-License-Identifier: LGPL-2.1-or-later
"""tools/damage: what it lists and writes, and that it is the same each time."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from diskulog import ondisk
from diskulog.exits import Exit
from diskulog.units import MIB
from tools.damaging.catalogue import catalogue
from tools.damaging.files import TIME_SECONDS

ROOT = Path(__file__).parent.parent
COMMAND = ROOT / "tools" / "damage"


@pytest.fixture
def run(monkeypatch, capsys):
    main = runpy.run_path(str(COMMAND))["main"]

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["tools/damage", *map(str, arguments)])
        try:
            status = main()
        except SystemExit as end:
            status = end.code
        return status, *capsys.readouterr()

    return call


def test_the_images_are_written_the_same_in_any_process(tmp_path):
    # another hash seed: no order of a set or a dictionary of objects may reach an image
    command = [sys.executable, str(COMMAND), "--out", str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"PYTHONHASHSEED": "7"}, cwd=tmp_path, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(catalogue())
    for name, image in catalogue().items():
        found = (tmp_path / name).stat()
        assert (found.st_size, found.st_mtime) == (image.recipe.size_bytes, TIME_SECONDS)
        assert found.st_blocks * 512 <= 4 * MIB + 65536, "it takes more than it holds"
        if found.st_size <= 4 * MIB:
            assert (tmp_path / name).read_bytes() == image.recipe.content()


def test_the_list_says_what_happened(run):
    status, out, err = run("--list")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert [line.split()[0] for line in lines] == list(catalogue())
    for line, image in zip(lines, catalogue().values(), strict=True):
        assert line.split()[1:3] == [str(int(image.code)), image.belief.value if image.belief else "-"]
        assert line.endswith(f"  {image.how}; {image.story}")
    assert out.replace("\n", "").isprintable()


def test_one_image_by_name(run, tmp_path):
    assert run("--out", tmp_path / "new" / "place", "lvm-ones") == (0, "", "")
    assert [path.name for path in (tmp_path / "new" / "place").iterdir()] == ["lvm-ones"]
    assert run("--list", "lvm-ones")[1].startswith("lvm-ones  0  kernel ")


@pytest.mark.parametrize("arguments", [(), ("lvm-ones",), ("--list", "--out", "x"), ("--list", "nonsense")])
def test_bad_usage(run, arguments):
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert "tools/damage: " in err


def test_a_place_that_cannot_be_written_to(run, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    status, _, err = run("--out", tmp_path / "file", "lvm-ones")
    assert status == 1
    assert err == f"tools/damage: cannot write to {tmp_path / 'file'}: File exists\n"


# the catalogue


def test_every_image_is_another_one():
    made: dict[object, str] = {}
    for name, image in catalogue().items():
        twin = made.setdefault((image.recipe.size_bytes, image.recipe.pieces), name)
        assert twin == name, f"{name} is {twin}"


def test_every_image_says_what_it_is():
    for name, image in catalogue().items():
        assert re.fullmatch(r"[a-z0-9^-]+", name)
        assert image.how
        assert image.story
        assert not image.story.endswith(".")
        assert (image.belief is None) == (image.code is Exit.NOT_A_LOG)


def test_every_field_of_the_format_is_damaged_in_both_ways():
    for name, _ in ondisk.EXTENSION_FIELDS:
        stem = f"extension-{name}-".replace("_", "-")
        found = {other.removeprefix(stem) for other in catalogue() if other.startswith(stem)}
        assert "rotted" in found, f"{name} with a checksum that does not fit"
        assert len(found) > 1, f"{name} with a checksum that fits"
