# SPDX-License-Identifier: LGPL-2.1-or-later
"""The quick part of tools/pythons: each Python of this machine that diskulog is for compiles all of it."""

import re
import subprocess
import sys
import tomllib

from tests.toolbox import TOP


def pythons(*arguments):
    return subprocess.run([TOP / "tools/pythons", *arguments], capture_output=True, text=True, timeout=100, check=False)


def test_each_python_of_this_machine_compiles_the_package():
    done = pythons("--compile")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Python 3.{sys.version_info[1]}." in done.stdout


def test_a_python_that_is_asked_for_and_not_there_is_a_failure():
    done = pythons("--compile", "3.2")
    assert done.returncode == 1
    assert "failed: 3.2" in done.stderr


def test_the_versions_are_those_that_the_package_names():
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    named = {each.rpartition(" ")[2] for each in project["classifiers"] if "Python :: 3." in each}
    (tried,) = re.findall(r"VERSIONS=\((.*)\)", (TOP / "tools/pythons").read_text())
    assert named <= set(tried.split())
