# SPDX-License-Identifier: LGPL-2.1-or-later
"""A mirror that moves to another log: under writes, disturbed before a step, killed behind one.

Lives here: what the tests of ``migrate`` and ``replace-log`` share. Does not know what any of them wants to show.
"""

import os
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from diskulog import cli
from diskulog.moving import run as running
from diskulog.moving.plan import Step
from diskulog.moving.under_way import Job
from tests.kernel.guest.load import Writer, blocks
from tests.kernel.guest.rig import Mirror, diskulog, run, switch, until, write

AHEAD_BYTES = 4096  # the first block stays as it is, so that a resync would show


def writes_to(mirror: Mirror) -> Writer:
    return Writer(mirror.device, blocks(mirror.length * 512)[1:], pause_seconds=0.005)


def in_sync_but_for_what_nobody_knows(mirror: Mirror, table: str) -> None:
    mirror.create(table)
    mirror.wait_in_sync()
    write(mirror.legs[1], 0, b"\7" * AHEAD_BYTES)  # a resync would undo it


def nothing_was_resynced(mirror: Mirror, writer: Writer) -> None:
    assert mirror.in_sync_count() == mirror.region_count
    assert writer.stale(mirror.device) == []
    assert [writer.stale(leg) for leg in mirror.legs] == [[], []]
    assert mirror.differing() == [0]


def moved(mirror: Mirror, *words: str) -> str:
    code, said = diskulog(words[0], mirror.name, *words[1:], "--yes")
    assert code == 0, said
    return said


def table_of(mirror: Mirror, *options: str) -> str:
    return run("dmsetup", "table", *options, mirror.name)


def killed_behind(step: Step, *words: str) -> None:
    """Run a command of ours that dies without a word as soon as a step is done."""
    pid = os.fork()
    if not pid:
        try:
            do = running._DO[step]

            def and_die(job: Job) -> None:
                do(job)
                os.kill(os.getpid(), signal.SIGKILL)

            running._DO[step] = and_die
            cli.run([*words, "--yes"])
        except BaseException:
            traceback.print_exc()
        os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status), f"the command ended before {step.name}"


@contextmanager
def just_before(step: Step, happens: Callable[[], None]) -> Iterator[None]:
    """Have something happen when a command of ours in this process has come to a step."""
    do = running._DO[step]

    def and_then(job: Job) -> None:
        happens()
        do(job)

    running._DO[step] = and_then
    try:
        yield
    finally:
        running._DO[step] = do


def refused_for_its_leg(mirror: Mirror, weak: str, words: tuple[str, ...]) -> None:
    """Let the first leg fail and come back behind a command's back, which must not load a table that copies from it."""
    linear = run("dmsetup", "table", weak).strip()
    mirror.wait_in_sync()
    before = table_of(mirror)
    with writes_to(mirror) as writer:
        until("it is under load", lambda: writer.count > 20)

        def fail() -> None:
            switch(weak, f"0 {mirror.length} error")
            seen = writer.count
            until("the leg is called failed", lambda: " DA " in mirror.status())
            until("writes go on with the other leg", lambda: writer.count > seen + 20)
            switch(weak, linear)
            assert len(writer.stale(mirror.legs[0])) > 10, "the leg missed nothing"

        with just_before(Step.SUSPEND, fail):
            code, said = diskulog(*words, "--yes")
        assert (code, "a leg failed meanwhile" in said, "goes on" in said) == (4, True, True), said
        assert table_of(mirror) == before
        assert table_of(mirror, "--inactive").strip() == ""
        seen = writer.count
        until("it goes on", lambda: writer.count > seen + 20)
    mirror.wait_in_sync()
    assert writer.stale(mirror.device) == []
    assert mirror.differing() == []  # the old table knew which leg is good
