# SPDX-License-Identifier: LGPL-2.1-or-later
"""The documentation is built without a warning, and its shell blocks do what they say."""

import re
import subprocess
import sys

import pytest

from tests import shellblocks
from tests.shellblocks import BY, HERE, NOT, Step
from tests.toolbox import TOP

README, *PAGES = shellblocks.pages()
BLOCKS = {page.name: list(shellblocks.blocks(page)) for page in (README, *PAGES)}
RUN_HERE = [name for name, blocks in BLOCKS.items() if any(block.how == HERE for block in blocks)]


@pytest.mark.timeout(400)  # while two VMs have both processors
def test_sphinx_builds_every_page_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "sphinx", "-nWq", "--keep-going", "-b", "html", "docs", tmp_path / "html"]
    done = subprocess.run(
        [*command, "-d", tmp_path / "trees"], cwd=TOP, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    for page in [*PAGES, *(TOP / "docs/man").glob("*.[1-8].rst")]:
        name = page.relative_to(TOP / "docs").with_suffix("").as_posix()
        assert (tmp_path / "html" / f"{name}.html").is_file(), page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_has_its_licence(page):
    assert page.read_text().startswith(".. SPDX-License-Identifier: LGPL-2.1-or-later\n")


@pytest.mark.parametrize("name", [name for name, blocks in BLOCKS.items() if blocks])
def test_every_shell_block_says_how_it_is_held_to_be_true(name):
    for block in BLOCKS[name]:
        assert block.how, f"{block}: no marker before the block"
        assert block.steps, f"{block}: no command"
        if block.how == NOT:
            assert len(block.argument.split()) >= 3, f"{block}: that is no reason"
        if block.how == BY:
            file, _, test = block.argument.partition("::")
            # a program of tools/ that runs a page's blocks reads the page
            needle = f"docs/{name}" if file.startswith("tools/") else f"def {test or 'test_'}"
            assert needle in (TOP / file).read_text(), f"{block}: {block.argument}"


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", RUN_HERE)
def test_a_page_shows_what_its_commands_print(name, tmp_path):
    steps = [(block, step) for block in BLOCKS[name] if block.how == HERE for step in block.steps]
    ran = shellblocks.run([step.command for _, step in steps], tmp_path)
    assert len(ran) == len(steps), f"stopped after {ran[-1:]}"
    for (block, step), (code, printed) in zip(steps, ran, strict=True):
        assert code != 127, printed  # not found
        if step.shown:
            assert shellblocks.like(step.shown, printed), f"{block}: $ {step.command}\n{printed}"
        else:
            assert (code, printed) == (0, ""), f"{block}: $ {step.command}"


def test_blocks_are_found_with_their_marker(tmp_path):
    page = tmp_path / "page.rst"
    page.write_text(
        ".. run: here\n\n.. code-block:: console\n\n   $ one\n   > more\n   out\n   $ two\n\ntext\n\n"
        "* .. not run: for a reason\n\n.. code-block:: console\n\n   $ three\n"
    )
    first, second = shellblocks.blocks(page)
    assert first.how == HERE
    assert first.steps == (Step("one\nmore", "out"), Step("two", ""))
    assert (second.how, second.steps) == (None, (Step("three", ""),))


def test_a_part_of_a_page_that_a_test_looks_for_is_run_by_it(tmp_path):
    page = tmp_path / "page.rst"
    block = "\n.. code-block:: console\n\n   $ x\n\n"
    nobody = "no" + "body"  # so that this file is no test of it
    page.write_text(f".. walk-through begins\n{block}.. walk-through ends\n{block}.. {nobody} begins\n{block}")
    found = [(each.how, each.argument) for each in shellblocks.blocks(page)]
    assert found == [(BY, "tests/kernel/guest/test_readme.py"), (None, ""), (None, "")]


@pytest.mark.parametrize(
    ("shown", "printed", "expected"),
    [
        ("a\nb", "a\nb\n", True),
        ("a\nb", "a\nc\n", False),
        ("a", "a\nb\n", False),
        ("a\n...", "a\nb\nc\n", True),
        ("a\n...\nc", "a\nb\nd\n", False),
        ("...\nc", "c\n", True),
        ("a ... z", "a b z\n", True),
        ("a (b)", "a (c)\n", False),
    ],
)
def test_what_is_shown_is_compared(shown, printed, expected):
    assert shellblocks.like(shown, printed) is expected


@pytest.mark.parametrize(
    ("shown", "printed", "expected"),
    [
        ("up 49 s, 1.7 ms", "up 4 s, 11.2 ms\n", True),
        ("a  49 b", "a 5 b\n", True),
        ("0 of 32", "0 of many\n", False),
        ("1:2 A", "253:7 D\n", False),
    ],
)
def test_numbers_may_be_anothers(shown, printed, expected):
    assert shellblocks.like(shown, printed, numbers=False) is expected


def test_a_shell_keeps_its_directory_and_tells_each_code(tmp_path):
    assert shellblocks.run(["mkdir d", "cd d", "pwd", "false", "echo $?", "printf x"], tmp_path) == [
        (0, ""),
        (0, ""),
        (0, f"{tmp_path}/d\n"),
        (1, ""),
        (0, "1\n"),
        (0, "x"),
    ]


def test_what_the_daemon_says_is_what_it_says():
    text = (TOP / "docs/troubleshooting.rst").read_text()
    lines = re.findall(r"^``(.+)``$", text[text.index("What the daemon says\n") :], re.MULTILINE)
    assert len(lines) > 8
    # an f-string's values and %d are blanks on one side; numbers, names and paths on the other
    source = "".join(path.read_text() for path in sorted((TOP / "diskulog").glob("*.py")))
    source = re.sub(r"\"\s*\n\s*f?\"", "", source)
    source = re.sub(r"\{[^}\n]*\}|%[a-z]", "\0", source)
    for line in lines:
        said = re.sub(r"^refused: [a-z ]+: ", "", line)
        said = re.sub(r"'[^']*'|/[\w/]+|\([^)]*\)|\d+|\.\.\.", "\0", said).replace("(\0)", "\0")
        parts = [part.strip() for part in said.split("\0")]
        assert all(part in source for part in parts), line


def test_the_module_map_names_what_there_is():
    text = (TOP / "docs/internals.rst").read_text()
    named = text[text.index(".. packages begins") : text.index(".. packages ends")]
    packages = {path.name for path in (TOP / "diskulog").iterdir() if path.is_dir() and any(path.iterdir())}
    assert packages - {"__pycache__"} <= set(re.findall(r"^``(\w+)``", named, re.MULTILINE))
    listed = text[text.index(".. modules begins") : text.index(".. modules ends")]
    for name in re.findall(r"``(\w+)``", listed):
        assert (TOP / f"diskulog/{name}.py").is_file(), name


def test_a_command_that_hangs_ends_the_shell(monkeypatch):
    monkeypatch.setattr(shellblocks, "_TYPED_SECONDS", 0.5)
    with shellblocks.shell() as bash:
        assert shellblocks.typed(bash, "echo fine") == (0, "fine\n")
        with pytest.raises(AssertionError, match="the shell ended at sleep"):
            shellblocks.typed(bash, "sleep 1000 | cat")
