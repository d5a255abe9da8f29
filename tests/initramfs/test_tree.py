# SPDX-License-Identifier: LGPL-2.1-or-later
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from diskulog.initramfs import tree as trees

UNWANTED = re.compile("/(typer|rich|click|pygments|site.py|diskulog/(commands|forensic|cli.py))")
SHOW = "import json, sys, diskulog.initramfs.start; print(json.dumps([m.__file__ for m in sys.modules.values() \
if getattr(m, '__file__', None)]))"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    tree = tmp_path_factory.mktemp("tree")
    return tree, trees.build(tree)


def test_nothing_of_the_command_line_is_needed():
    needed = [str(file) for file in trees.needed()]
    assert any(name.endswith("diskulog/supervisor.py") for name in needed)
    assert [name for name in needed if UNWANTED.search(name)] == []


def test_machine_code_is_named_and_the_rest_is_there_compiled(built):
    tree, machine_code = built
    assert machine_code[0] == Path(sys.executable).resolve()
    assert {file.suffix for file in machine_code[1:]} == {".so"}
    assert {file.suffix for file in tree.rglob("*") if file.is_file()} == {".pyc"}
    home = Path(os.__file__).parent
    assert (tree / home.relative_to("/") / "os.pyc").exists(), "by which Python finds its home"


def test_the_daemon_can_be_imported_from_the_tree_alone(built):
    tree, machine_code = built
    for file in machine_code[1:]:
        (tree / file.relative_to("/")).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, tree / file.relative_to("/"))
    places = [f"{tree}{place}" for place in trees.search_path().split(os.pathsep)]
    environ = {"PYTHONPATH": os.pathsep.join(places), "PATH": os.defpath}
    command = [sys.executable, *trees._FLAGS, "-c", SHOW]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    ours = [
        name for name in json.loads(done.stdout) if "diskulog" in name.removeprefix(str(tree)) or "pyroute2" in name
    ]
    assert len(ours) > 50
    assert [name for name in ours if not name.startswith(str(tree))] == []


def test_the_last_line_is_the_command_that_starts_it(tmp_path, capsys):
    assert trees.main([str(tmp_path)]) == 0
    *files, command = capsys.readouterr().out.splitlines()
    assert all(Path(file).is_file() for file in files)
    places, *words = command.split()
    assert places == f"PYTHONPATH={trees.search_path()}"
    assert words == [files[0], "-S", "-P", "-B", "-m", "diskulog.initramfs.start"]
    again = subprocess.run(
        [*words, "--check"], env={"PYTHONPATH": trees.search_path()}, capture_output=True, text=True, check=False
    )
    assert (again.returncode, again.stderr) == (0, "")
