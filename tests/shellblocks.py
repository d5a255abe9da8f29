# SPDX-License-Identifier: LGPL-2.1-or-later
"""The shell blocks of the documentation: what a page tells its reader to type, and what it says that he then sees.

Lives here: finding blocks and how each is to be run, running some, comparing. Does not know what any page is about.

A comment right before a block says how it is held to be true:

``.. run: here``       every command is run, block after block, and must print what the page shows
``.. run: kernel``     the commands are run in a VM, by tests/kernel/guest/test_docs.py, and must succeed
``.. run by: TEST``    that test runs it
``.. not run: REASON`` nobody does

Or it lies between ``.. NAME begins`` and ``.. NAME ends``, and a test looks for these, as in the README.

In what is shown, ``...`` stands for anything, on a line of its own for any number of lines.
"""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.toolbox import TOP

DOCS = TOP / "docs"
HERE, KERNEL, BY, NOT = "here", "kernel", "by", "not"
MARKER = re.compile(r"^\.\. (?:run: (here|kernel)|run (by): (\S+)|(not) run: (\S.+))$")
_SECTION = re.compile(r"^\.\. ([\w-]+) (begins|ends)$")
_DIRECTIVE = re.compile(r"^( *)\.\. code-block:: console$")
_END = "\x01end"
_TYPED_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Step:
    """A command, which may have more than one line, and what it prints according to the page."""

    command: str
    shown: str


@dataclass(frozen=True, slots=True)
class Block:
    """``how`` is None where the page does not say it; ``argument`` is the test's name, or the reason."""

    page: str
    line: int
    how: str | None
    argument: str
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """Return the pages whose blocks must say how they are run."""
    return [TOP / "README.rst", *sorted(DOCS.glob("*.rst"))]


def blocks(page: Path) -> Iterator[Block]:
    """Yield a page's blocks in their order."""
    lines = page.read_text().splitlines()
    for number, line in enumerate(lines):
        directive = _DIRECTIVE.match(line)
        if directive:
            before = [text.strip() for text in lines[:number] if text.strip()]
            marker = MARKER.match(before[-1]) if before else None
            how, by, test, no, reason = marker.groups() if marker else (None, *_section(before), None, None)
            body = _body(lines[number + 1 :], len(directive[1]) + 3)
            yield Block(page.name, number + 1, how or by or no, test or reason or "", tuple(_steps(body)))


def _section(before: list[str]) -> tuple[str | None, str | None]:
    # -> BY, and the test that runs the part of the page that these lines lead to
    marks = [found for text in before if (found := _SECTION.match(text))]
    if not marks or marks[-1][2] == "ends":
        return None, None
    mark = f".. {marks[-1][1]} begins"
    for file in sorted((TOP / "tests").rglob("test_*.py")):
        if mark in file.read_text():
            return BY, file.relative_to(TOP).as_posix()
    return None, None


def _body(lines: list[str], indent: int) -> list[str]:
    taken: list[str] = []
    for line in lines:
        if line.strip() and not line.startswith(" " * indent):
            break
        taken.append(line[indent:])
    while taken and not taken[-1]:
        taken.pop()
    return taken[1:]  # the empty line behind the directive


def _steps(body: list[str]) -> Iterator[Step]:
    command: list[str] = []
    shown: list[str] = []
    for line in body:
        if line.startswith("$ "):
            if command:
                yield Step("\n".join(command), "\n".join(shown))
            command, shown = [line[2:]], []
        elif line.startswith("> ") and command and not shown:
            command.append(line[2:])
        else:
            shown.append(line)
    if command:
        yield Step("\n".join(command), "\n".join(shown))


def run(commands: list[str], directory: Path) -> list[tuple[int, str]]:
    """Run commands in one shell as a reader would; return each one's code and all that it printed."""
    (directory / "tools").symlink_to(TOP / "tools")
    script = "".join(f"{command}\n__rc=$?; printf '\\n{_END} %s\\n' $__rc; (exit $__rc)\n" for command in commands)
    environ = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",  # of whichever environment runs the tests
        "HOME": str(directory),
        "LC_ALL": "C.UTF-8",
    }
    done = subprocess.run(
        ["bash", "-c", f"exec 2>&1\n{script}"],
        cwd=directory,
        env=environ,
        capture_output=True,
        text=True,
        timeout=300,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    parts = re.split(rf"\n?{_END} (\d+)\n", done.stdout)
    return [(int(code), text) for text, code in zip(parts[::2], parts[1::2], strict=False)]


@contextmanager
def shell(directory: Path = TOP, environ: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """One shell for many commands: a job that one leaves behind is waited for by another."""
    with subprocess.Popen(
        ["bash"],
        cwd=directory,
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        bufsize=1,
        start_new_session=True,  # so that it can be ended with whatever it runs
    ) as process:
        yield process
        assert process.stdin
        process.stdin.close()


def typed(bash: subprocess.Popen[str], command: str) -> tuple[int, str]:
    """Have a shell run a command; return its code and all that it printed. One that hangs ends the shell."""
    assert bash.stdin
    assert bash.stdout
    limit = threading.Timer(_TYPED_SECONDS, os.killpg, (bash.pid, signal.SIGKILL))
    limit.start()
    bash.stdin.write(f"{command}\necho '{_END}' $?\n")
    lines = []
    try:
        for line in bash.stdout:
            before, end, code = line.partition(_END)
            lines.append(before)
            if end:
                return int(code), "".join(lines)
    finally:
        limit.cancel()
    raise AssertionError(f"the shell ended at {command}: {''.join(lines)}")


def like(shown: str, printed: str, numbers: bool = True) -> bool:
    """Tell whether a page shows what was printed; without ``numbers`` any number is like any other."""
    pattern = ""
    for line in shown.strip("\n").split("\n"):
        if line.strip() == "...":
            pattern += r"(?:.*\n)*?"
            continue
        pieces = map(re.escape, line.split("..."))
        text = ".*".join(pieces) + r"[ ]*"
        pattern += (text if numbers else re.sub(r"\d+", r"\\d+", re.sub(r"(?:\\ )+", r"\\ +", text))) + r"\n"
    return re.fullmatch(pattern, printed.rstrip("\n") + "\n") is not None
