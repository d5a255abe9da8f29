# SPDX-License-Identifier: LGPL-2.1-or-later
"""The engines: a plain one, atheris (coverage guided, for long runs), and the inputs of a file again.

Lives here: which input comes next, and when to stop. Does not know what the inputs mean.
"""

import gc
import os
import random
import sys
import tempfile
import time
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType

from tools.fuzzing.changes import MAX_BYTES
from tools.fuzzing.corpus import corpus, inputs, name_of, tell
from tools.fuzzing.targets import Failure, Target, limits

KEPT_INPUTS = 4096  # that the plain engine goes on from


@dataclass
class Tally:
    """How far a run of the plain engine came; ``kinds`` are outcomes that differ, the nearest it has to coverage."""

    executions: int = 0
    kinds: set[Hashable] = field(default_factory=set)


def explore(target: Target, runs: int | None, seconds: float | None, seed: int) -> Tally:
    """Change inputs by chance, and go on from those that were met in a new way; raises the first Failure."""
    chance, tally, kept = random.Random(f"{seed} {target.name}"), Tally(), list[bytes]()
    until = time.monotonic() + (seconds or float("inf"))
    begin = corpus(target)
    with limits():
        while (runs is None or tally.executions < runs) and time.monotonic() < until:
            fresh = tally.executions < len(begin)
            data = (
                begin[tally.executions] if fresh else target.changed(chance, chance.choice(kept), chance.choice(kept))
            )
            tally.executions += 1
            kind = target.execute(data)
            if fresh or (kind not in tally.kinds and len(kept) < KEPT_INPUTS):
                kept.append(data)
            tally.kinds.add(kind)
    return tally


def explore_with_atheris(
    target: Target, runs: int | None, seconds: float | None, seed: int, found: Path | None, failures: Path
) -> None:
    """The same, guided by coverage; libFuzzer ends the process."""
    import atheris  # noqa: PLC0415 - for long runs only, and not installed with the rest

    for known in gc.get_objects():
        if isinstance(known, FunctionType) and (known.__module__ or "").startswith(("diskulog", "tomllib")):
            atheris.instrument_func(known)

    def one(data: bytes) -> None:
        try:
            target.execute(data)
        except Failure as failure:
            tell(failure, failures)
            os._exit(1)

    def change(data: bytes, max_size: int, seed: int) -> bytes:
        chance = random.Random(seed)
        if chance.random() < 0.5:
            return target.changed(chance, data)[:max_size]
        made = bytearray(atheris.Mutate(data, max_size))
        target.mend(chance, made)
        return bytes(made[:max_size])

    directory = found or Path(tempfile.mkdtemp(prefix="diskulog-fuzz-corpus-"))
    directory.mkdir(parents=True, exist_ok=True)
    for data in corpus(target):
        (directory / name_of(data)).write_bytes(data)
    options = {"runs": runs or -1, "max_total_time": int(seconds or 0), "seed": seed + 1}
    options |= {"max_len": MAX_BYTES, "timeout": 60, "rss_limit_mb": 2048, "print_final_stats": 1}
    atheris.Setup(
        [sys.argv[0], *(f"-{key}={value}" for key, value in options.items()), str(directory)],
        one,
        custom_mutator=change,
    )
    with limits():
        atheris.Fuzz()


def replay(target: Target, path: Path) -> int:
    """Run the inputs of a file; return the exit code."""
    with limits():
        for data in inputs(path):
            print(f"tools/fuzz: {target.name}: {len(data)} bytes: {target.execute(data)}")
    return 0
