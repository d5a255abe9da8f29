# SPDX-License-Identifier: LGPL-2.1-or-later
"""Inputs as text: those to begin from, and one that was met badly.

Lives here: their form, their names, and where they lie. Does not know how they are run.
"""

import re
import traceback
from hashlib import blake2b
from pathlib import Path

from tools.fuzzing.targets import Failure, Target

CORPUS = Path(__file__).resolve().parents[2] / "tests" / "data" / "fuzz"


def decoded(line: str) -> bytes:
    """Read an input from a line of hex, in which ``00*1008`` stands for 1008 zeros."""
    pieces = re.findall(r"([0-9a-f]+)(?:\*(\d+))?", line)
    return b"".join(bytes.fromhex(digits) * int(times or 1) for digits, times in pieces)


def encoded(data: bytes) -> str:
    """Write an input as ``decoded`` reads it."""
    pieces = re.finditer(rb"(?s)(.)\1{15,}|(?:(?!(.)\2{15,}).)+", data)
    return " ".join(f"{m[1].hex()}*{len(m[0])}" if m[1] else m[0].hex() for m in pieces)


def inputs(path: Path) -> list[bytes]:
    """The inputs of a file, one a line; comments begin with #."""
    return [decoded(line) for line in path.read_text().splitlines() if not line.startswith("#")]


def name_of(data: bytes) -> str:
    """A short name; no CRC, which is the same for all logs that differ in what an own checksum covers."""
    return blake2b(data, digest_size=6).hexdigest()


def corpus(target: Target) -> list[bytes]:
    """What a target's inputs begin from."""
    return inputs(CORPUS / f"{target.corpus}.txt")


def tell(failure: Failure, directory: Path) -> None:
    """Save a failing input, and say how and how to run it again."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"fuzz-{failure.target}-{name_of(failure.data)}.txt"
    path.write_text(encoded(failure.data) + "\n")
    traceback.print_exception(failure.__cause__)
    print(
        f"tools/fuzz: {failure.target}: FAILED; again: tools/fuzz --target {failure.target} --replay {path}", flush=True
    )
