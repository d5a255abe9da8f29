# SPDX-License-Identifier: LGPL-2.1-or-later
"""The completion files are those of the real commands and options, and a real shell completes with them."""

import os
import shutil
import subprocess

import pytest

from tests import toolbox
from tools import commandline

FOLDER = toolbox.TOP / "conf/completion"
COMMANDS = commandline.commands()
GROUPS = commandline.groups()
completion = toolbox.load("completion")


@pytest.fixture
def folder(tmp_path):
    """A folder with two files and a folder in it, one with a name that needs quotes."""
    for name in ("home.dump", "ho me.img"):
        (tmp_path / name).touch()
    (tmp_path / "houses").mkdir()
    return tmp_path


@pytest.fixture(autouse=True)
def mirrors(tmp_path_factory, monkeypatch):
    """A dmsetup that lists what the test writes into this file; nobody, and no answer, at first."""
    place = tmp_path_factory.mktemp("bin")
    listed, program = place / "listed", place / "dmsetup"
    program.write_text(f'#!/bin/sh\n[ "$*" = "table --target mirror" ] && cat {listed} || {{ echo no >&2; exit 1; }}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")
    return listed


def run(*command, cwd=None):
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=cwd)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


BASH = """
set -u
source "$1"; shift
[[ $(complete -p diskulog) == 'complete -F _diskulog diskulog' ]] || exit 1
COMP_WORDS=(diskulog "$@") COMP_CWORD=$#
_diskulog
printf '%s\\n' ${COMPREPLY[@]+"${COMPREPLY[@]}"}
"""


def bash(*words, cwd=None):
    found = run("bash", "--norc", "-c", BASH, "bash", str(FOLDER / "diskulog.bash"), *words, cwd=cwd)
    return found if found != [""] else []


@pytest.mark.parametrize("name", completion.SHELLS)
def test_the_files_are_those_that_the_tool_makes(name):
    assert (FOLDER / name).read_text() == completion.text(name), "run tools/completion"


def test_there_is_no_other_file():
    assert {path.name for path in FOLDER.iterdir()} == set(completion.SHELLS)


def test_the_tool_writes_them(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["completion", str(tmp_path / "new")])
    assert completion.main() == 0
    assert {path.name for path in (tmp_path / "new").iterdir()} == set(completion.SHELLS)


def test_every_value_that_names_a_file_is_known_as_one():
    words = {option.value for command in COMMANDS for option in command.options if not option.choices}
    known = {"SECTORS", "SECONDS", "ADDRESS", "BYTES", "N", "U", "NEW", "S", "RANGES", "A-B", None}
    assert words - completion.FILES - completion.MIRRORS <= known  # a new word: does it name a file?


# bash


def test_bash_completes_the_commands():
    names = [name for name, _ in completion.words()]
    assert set(names) == {command.word for command in COMMANDS}
    assert bash("") == [*names, "--version", "--help"]
    assert bash("re") == [name for name in names if name.startswith("re")]
    assert bash("nonsense", "") == bash("nonsense", "-") == []


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)
def test_bash_completes_the_commands_of_a_group(group):
    names = [command.name.split()[1] for command in group.commands]
    assert len(names) > 1
    assert bash(group.name, "") == [*names, "--help"]
    assert bash(group.name, names[0][:2])[0] == names[0]
    assert bash(group.name, "nonsense", "") == []


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_bash_completes_the_options(command, folder):
    names = [option.name for option in command.options]
    words = command.name.split()
    assert bash(*words, "-") == [*names, "--help"]
    assert bash(*words, "x", "--") == [*names, "--help"]  # behind an argument too
    assert bash(*words, [*names, "--help"][0][:4])[0] == [*names, "--help"][0]
    files = ["ho me.img", "home.dump", "houses"]
    assert sorted(bash(*words, "ho", cwd=folder)) == (files if command.arguments else [])


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_bash_completes_the_values(command, folder):
    for option in command.options:
        expected = list(option.choices) if option.choices else []
        if option.value in completion.FILES | completion.MIRRORS:
            expected = ["ho me.img", "home.dump", "houses"]
        if option.value is not None:
            assert sorted(bash(*command.name.split(), option.name, "", cwd=folder)) == sorted(expected), option


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("inspect", "--units", "s"), ["sectors"]),
        (("inspect", "--units", "="), ["regions", "sectors", "bytes"]),
        (("inspect", "--units", "=", "b"), ["bytes"]),
        (("inspect", "--units=b"), ["--units=bytes"]),  # where = does not break words
        (("inspect", "--svg=home"), ["--svg=home.dump"]),
        (("diff", "--since", "home.dump", "hou"), ["houses"]),
        (("verify", "home.dump", "houses", "hom"), ["home.dump"]),
        (("inspect", "./hom"), ["./home.dump"]),
        (("config", "show", "--json", "hom"), ["home.dump"]),
    ],
)
def test_bash_at_other_places(words, expected, folder):
    assert bash(*words, cwd=folder) == expected


TWO = "home: 0 8 mirror core 1 8 2 7:0 0 7:1 0\nhost-data: 0 8 mirror core 1 8 2 7:2 0 7:3 0\n"


@pytest.mark.parametrize(
    "words",
    [
        ("migrate",),
        ("status", "home"),
        ("replace-log",),
        ("mirror", "remove"),
        ("mirror", "assemble", "home"),
        ("verify", "--mirror"),
    ],
)
def test_bash_completes_the_mirrors_that_there_are(words, folder, mirrors):
    mirrors.write_text(TWO)
    assert bash(*words, "", cwd=folder) == ["home", "host-data"]
    assert bash(*words, "hos", cwd=folder) == ["host-data"]
    assert bash(*words, "./hom", cwd=folder) == ["./home.dump"]  # a device
    mirrors.write_text("No devices found\n")
    assert bash(*words, "hom", cwd=folder) == ["home.dump"]


def test_bash_completes_no_mirror_where_a_new_one_gets_its_name(folder, mirrors):
    mirrors.write_text(TWO)
    assert bash("mirror", "create", "hos", cwd=folder) == bash("inspect", "hos", cwd=folder) == []


# the others, where they are installed


@pytest.mark.skipif(not shutil.which("zsh"), reason="no zsh")
def test_zsh_can_read_its_file_and_lists_the_mirrors(mirrors):
    assert run("zsh", "-n", str(FOLDER / "_diskulog")) == []
    mirrors.write_text(TWO)
    script = f'functions[all]="$(<{FOLDER / "_diskulog"})"; _diskulog() {{ }}; compadd() {{ print -l $mirrors }}'
    given = f"{script}; all 2>/dev/null; _diskulog_mirrors"
    assert run("zsh", "-f", "-c", given) == ["home", "host-data"]


def fish(line, folder):
    script = f"source {FOLDER / 'diskulog.fish'}; complete --do-complete '{line}'"
    return [line.partition("\t")[0] for line in run("fish", "--no-config", "-c", script, cwd=folder)]


@pytest.mark.skipif(not shutil.which("fish"), reason="no fish")
def test_fish_completes(folder, mirrors):
    assert set(fish("diskulog ", folder)) >= {command.word for command in COMMANDS}
    for group in GROUPS:
        assert set(fish(f"diskulog {group.name} ", folder)) == {each.name.split()[1] for each in group.commands}
    assert fish("diskulog config show --", folder) == ["--help", "--json", "--schema"]
    assert fish("diskulog config show hom", folder) == ["home.dump"]
    assert fish("diskulog insp", folder) == ["inspect"]
    assert set(fish("diskulog check --", folder)) == {"--json", "--quiet", "--schema", "--help"}
    assert set(fish("diskulog inspect --units ", folder)) == {"regions", "sectors", "bytes"}
    assert fish("diskulog inspect --limit ", folder) == []
    assert set(fish("diskulog inspect --svg hom", folder)) == {"home.dump"}
    assert set(fish("diskulog diff hom", folder)) == {"home.dump"}
    assert fish("diskulog serve hom", folder) == []
    mirrors.write_text(TWO)
    assert set(fish("diskulog migrate ho", folder)) >= {"home", "host-data"}
    assert "host-data" not in fish("diskulog mirror create hos", folder)
    assert "host-data" in fish("diskulog verify --mirror hos", folder)
