# SPDX-License-Identifier: LGPL-2.1-or-later
"""The README's chapter on a crash shows what tools/demo --forensic runs and checks; the checks can fail."""

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.toolbox import TOP

sys.path.insert(0, str(TOP / "tools"))

import demo_forensic
import demo_guest
from demo_forensic import FIRST, SECOND, THIRD, Step, UnlikeError


def shown():
    """Read the chapter: each command that it shows, with the output below."""
    text = (TOP / "README.rst").read_text()
    text = text[text.index(".. crash begins") : text.index(".. crash ends")]
    blocks = re.findall(r"\.\. code-block:: console\n\n((?:   .*\n|\n)+)", text)
    pieces = re.split(r"^\$ ", "".join(textwrap.dedent(block) for block in blocks), flags=re.MULTILINE)[1:]
    return [(command, output.rstrip("\n")) for command, _, output in (piece.partition("\n") for piece in pieces)]


def test_the_chapter_shows_commands_of_the_demo_in_their_order():
    commands = iter(demo_forensic.COMMANDS)
    for command, _ in shown():
        assert command in commands, command  # "in" goes on where it was
    assert len(shown()) >= 10


def test_the_chapter_shows_what_the_demo_checks():
    steps = iter((*FIRST, *SECOND, *THIRD))
    for command, output in shown():
        if command in {step.command for step in (*FIRST, *SECOND, *THIRD)}:
            step = next(step for step in steps if step.command == command)
            demo_forensic.check(command, output, step.says)


def test_the_chapter_shows_the_second_life_as_it_is_checked():
    life = "\n".join(output for command, output in shown() if command.startswith("dmsetup"))
    demo_forensic.check("after", life, demo_forensic.AFTER)


def test_the_chapter_says_how_to_run_it():
    assert "tools/demo --forensic" in (TOP / "README.rst").read_text()
    done = subprocess.run([TOP / "tools/demo", "--help"], capture_output=True, text=True, timeout=30, check=True)
    assert "--forensic" in done.stdout


@pytest.mark.parametrize(
    ("step", "complaint"),
    [
        (Step("echo no", 0, (r"^yes$",)), "nothing like"),
        (Step("false", 0, ()), "ended with 1, not 0"),
        (Step("true", 1, ()), "ended with 0, not 1"),
        (Step("echo one; echo two", 0, (r"^two$", r"^three$")), "three"),
    ],
)
def test_a_step_that_is_unlike_ends_it(step, complaint, tmp_path):
    with pytest.raises(UnlikeError, match=complaint):
        demo_forensic.take((step,), tmp_path)


def test_a_step_that_is_as_it_should_goes_on(tmp_path, capsys):
    demo_forensic.take((Step("echo out; echo err >&2; exit 3", 3, (r"^out$", r"^err$")),), tmp_path)
    assert capsys.readouterr().out == "$ echo out; echo err >&2; exit 3\nout\nerr\n(exit code 3)\n"


def test_regions_that_are_apart_are_found(tmp_path):
    for name in ("leg-a", "leg-b"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(demo_forensic.LEG_BYTES)
    assert demo_forensic.regions_apart(tmp_path) == set()
    with (tmp_path / "leg-b").open("r+b") as file:
        file.seek(7 * demo_guest.REGION_BYTES + 5)
        file.write(b"x")
    assert demo_forensic.regions_apart(tmp_path) == {7}


def test_the_regions_that_are_written_are_apart_from_each_other():
    busy = [region for pair in demo_guest.BUSY for region in pair]
    every = [*busy, *demo_guest.IDLE, demo_forensic.TAMPERED]
    assert len(set(every)) == len(every)
    assert max(every) < demo_guest.REGIONS


def test_the_forensic_demo_takes_its_machine_with_it(tmp_path):
    # started by whoever waits no longer: the machine has a session of its own
    program = """import demo_forensic, subprocess, sys, time
def story(place, folder):
    with demo_forensic.started(["sh", "-c", "echo $$; exec sleep 100"], folder) as life:
        print(life.process.stdout.readline(), flush=True)
        time.sleep(100)
demo_forensic.story = story
sys.argv = ["demo_forensic.py", "vm"]
sys.exit(demo_forensic.main())"""
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, cwd=TOP / "tools", stdout=subprocess.PIPE, text=True) as process:
        machine = int(process.stdout.readline())
        process.terminate()
        assert process.wait(20) == 128 + 15
    assert not Path(f"/proc/{machine}").exists()
