#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""tools/demo --forensic: a mirror crashes under writes, is looked into, and is activated again; each step is checked.

Lives here: the steps, what each must say, the two ways to crash. Does not know how the mirror lives (demo_guest.py).
Run: demo_forensic.py here|vm.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import demo_guest
from demo_guest import BUSY, REGION_BYTES, REGION_SECTORS, REGIONS, WRITING

TOOLS: Final = Path(__file__).resolve().parent
IMAGES: Final = ("leg-a", "leg-b", "log")
DISKS: Final = ("/dev/vda", "/dev/vdb", "/dev/vdc")
LEG_BYTES: Final = REGIONS * REGION_BYTES
SIZES: Final = (LEG_BYTES, LEG_BYTES, 1 << 20)
DIRTY: Final = frozenset(region for pair in BUSY for region in pair)
TAMPERED: Final = 100
COPIED: Final = len(DIRTY) + 1
HELD_SECONDS: Final = 1.0  # how long leg a's writes are held before the rest is
DONE: Final = "every step said what it should"
EXIT_FINE, EXIT_UNLIKE, EXIT_INTERRUPTED = 0, 1, 130  # 2, usage, is the shell's half's


class UnlikeError(Exception):
    """A step did not say what it should."""


@dataclass(frozen=True)
class Step:
    """A command, the code it must end with, and expressions that must be found in what it prints."""

    command: str
    code: int
    says: tuple[str, ...]


FIRST: Final = (
    Step(
        "diskulog inspect log",
        0,
        (
            r"^uuid: +demo-mirror$",
            r"^state: +open$",
            rf"^clean: +{REGIONS - len(DIRTY)} ",
            rf"^dirty: +{len(DIRTY)} ",
            r"^out of sync: 0 ",
            r"^ +40 +6 ",
            r"^ +90 +4 ",
        ),
    ),
    Step("diskulog check log", 0, (r"^log: a sound log$", r"^warning: not-closed: ")),
    Step(
        "diskulog diff --since log.dump log",
        1,
        (rf"^became dirty: {len(DIRTY)} of {REGIONS} regions\n  40-45\n  90-93$",),
    ),
    Step("cmp leg-a leg-b", 1, (r"differ",)),
)
SECOND: Final = (
    Step("diskulog verify log leg-a leg-b", 0, (rf"^skipped: +{len(DIRTY)} dirty, 0 ", r"^differing: +none$")),
    Step(
        f"dd if=/dev/urandom of=leg-b bs=4k count=1 seek={TAMPERED * REGION_BYTES // 4096} conv=notrunc status=none",
        0,
        (r"^$",),
    ),
    Step("diskulog verify log leg-a leg-b", 1, (r"^differing: +1$", rf"^ +{TAMPERED} +1 ")),
    Step(f"diskulog mark --yes --regions {TAMPERED} log", 0, (rf"1 more region dirty, {COPIED} of {REGIONS} in all",)),
)
THIRD: Final = (
    Step(
        "diskulog inspect log",
        0,
        (r"^state: +closed$", r"^dirty: +0 ", r"^checksums: .* clean bitmap ok, sync bitmap ok$"),
    ),
    Step("cmp leg-a leg-b && echo equal", 0, (r"^equal$",)),
    Step("diskulog verify log leg-a leg-b", 0, (rf"^compared: +{REGIONS} ", r"^differing: +none$")),
)
BEFORE: Final = (rf" {REGIONS}/{REGIONS} 1 AA 3 disk \S+ A$", f"^{re.escape(WRITING)}$")
AFTER: Final = (
    rf": live, {REGIONS - COPIED} of {REGIONS} regions in sync",
    rf" {REGIONS}/{REGIONS} 1 AA 3 disk \S+ A$",
    rf"^sectors written to leg b: {COPIED * REGION_SECTORS}, ",
)
# what is typed, in order; the README's chapter shows some of them
COMMANDS: Final = (
    demo_guest.SERVE,
    demo_guest.CREATE,
    demo_guest.STATUS,
    demo_guest.DUMP,
    *(step.command for step in (*FIRST, *SECOND)),
    demo_guest.SERVE,
    demo_guest.CREATE,
    demo_guest.STATUS,
    demo_guest.REMOVE,
    *(step.command for step in THIRD),
)


def title(text: str) -> None:
    print(f"\n\033[1m== {text}\033[0m" if sys.stdout.isatty() else f"\n== {text}", flush=True)


def check(what: str, text: str, says: tuple[str, ...]) -> None:
    """Hold an output to what it must say.

    Raises:
        UnlikeError: naming what is missing.
    """
    for expression in says:
        if not re.search(expression, text, re.MULTILINE):
            raise UnlikeError(f"{what}: nothing like {expression!r} in\n{text}")


def take(steps: tuple[Step, ...], folder: Path) -> None:
    for step in steps:
        print(f"$ {step.command}", flush=True)
        both = f"{{ {step.command}; }} 2>&1"
        done = subprocess.run(both, shell=True, cwd=folder, stdout=subprocess.PIPE, text=True, check=False)
        print(done.stdout, end="", flush=True)
        if done.returncode != step.code:
            raise UnlikeError(f"{step.command}: ended with {done.returncode}, not {step.code}")
        if step.code:
            print(f"(exit code {step.code})", flush=True)
        check(step.command, done.stdout, step.says)


def regions_apart(folder: Path) -> set[int]:
    with (folder / "leg-a").open("rb") as a, (folder / "leg-b").open("rb") as b:
        return {region for region in range(REGIONS) if a.read(REGION_BYTES) != b.read(REGION_BYTES)}


# ---- where the mirror lives ----


class Life:
    """A life of the mirror, whose output is passed on and kept."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.text = ""

    def read(self, until: str = "") -> None:
        """Pass on what is printed, to a line or to the end."""
        assert self.process.stdout is not None
        # not "for line in": that would read ahead
        for line in iter(self.process.stdout.readline, ""):
            print(line, end="", flush=True)
            self.text += line
            if line.rstrip("\n") == until:
                return

    def __enter__(self) -> Life:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.communicate()


def started(command: list[str | Path], folder: Path) -> Life:
    return Life(subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True, start_new_session=True))


def guest(life: str) -> list[str | Path]:
    return [TOOLS.parent / ".venv/bin/python", "-S", TOOLS / "demo_guest.py", life]


@contextmanager
def in_vm(life: str, folder: Path) -> Iterator[Life]:
    """Live in a VM whose disks are the images."""
    disks = [word for image in IMAGES for word in ("--disk", folder / image)]
    command: list[str | Path] = [TOOLS / "vm", "--modules", "dm-delay", "--share", folder, *disks, "--"]
    with started([*command, *guest(life), *DISKS], folder) as found:
        yield found


def cut_vm(life: Life, _: Path) -> None:
    """Kill the machine; at the end of its output it is gone."""
    time.sleep(HELD_SECONDS)
    os.killpg(life.process.pid, signal.SIGKILL)
    life.read()


@contextmanager
def here(life: str, folder: Path) -> Iterator[Life]:
    """Live on this kernel, on loop devices."""
    with ExitStack() as until_done:
        loops = []
        for image in IMAGES:
            attach = ["losetup", "--find", "--show", folder / image]
            loops.append(subprocess.run(attach, stdout=subprocess.PIPE, text=True, check=True).stdout.strip())
            until_done.callback(subprocess.run, ["losetup", "--detach", loops[-1]], check=True)
        yield until_done.enter_context(started([*guest(life), *loops], folder))


def cut_here(life: Life, folder: Path) -> None:
    """Take what the disks hold in the middle of writes, and go on with that.

    Leg a is held first, so that writes are on leg b only; none of them was acknowledged. Then the log and leg b are.
    """
    for name, seconds in (("leg-a", HELD_SECONDS), ("log", 0.0), ("leg-b", 0.0)):
        subprocess.run(["dmsetup", "suspend", "--noflush", "--nolockfs", name], check=True)
        time.sleep(seconds)
    for image in IMAGES:
        shutil.copyfile(folder / image, folder / f"{image}.cut")
    for name in ("leg-b", "log", "leg-a"):
        subprocess.run(["dmsetup", "resume", name], check=True)
    life.process.terminate()  # ends in order, on images that nobody looks at
    life.read()


def crashed(folder: Path) -> None:
    for image in IMAGES:
        if (copy := folder / f"{image}.cut").exists():
            copy.replace(folder / image)


Machine = Callable[[str, Path], "contextmanager[Life]"]
PLACES: Final = {
    "vm": (in_vm, cut_vm, "the power of the VM is cut"),
    "here": (here, cut_here, "what the three disks hold at one moment is what is left"),
}


def story(place: str, folder: Path) -> None:
    lives, cut, how = PLACES[place]
    title("A mirror whose log diskulog keeps; its log as text, for later; writes")
    with lives("before", folder) as life:
        life.read(WRITING)
        check("before the crash", life.text, BEFORE)
        cut(life, folder)
    crashed(folder)
    title(f"The crash: {how}. What the images say")
    take(FIRST, folder)
    apart = regions_apart(folder)
    print(f"the legs differ in {len(apart)} regions, all of them dirty: {sorted(apart)}", flush=True)
    if not apart or not apart <= DIRTY:
        raise UnlikeError(f"the legs differ in {sorted(apart)}, dirty are {sorted(DIRTY)}")
    title("What is clean is equal. A write behind the mirror's back is found, and marked by hand")
    take(SECOND, folder)
    title("Activated again: what is dirty is copied from leg a to leg b, and nothing else")
    with lives("after", folder) as life:
        life.read()
        check("after the crash", life.text, AFTER)
        if life.process.wait():
            raise UnlikeError(f"the mirror's second life ended with {life.process.returncode}")
    title("The log, closed in order")
    take(THIRD, folder)


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # and the VM, in its own session, ends too
    os.environ["PATH"] = f"{TOOLS.parent / '.venv/bin'}:{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    os.environ["DM_DISABLE_UDEV"] = "1"
    with tempfile.TemporaryDirectory(prefix="diskulog-demo-") as name:
        folder = Path(name)
        for image, size in zip(IMAGES, SIZES, strict=True):
            with (folder / image).open("wb") as file:
                file.truncate(size)
        (folder / "leg-a").write_bytes(os.urandom(LEG_BYTES))  # or the first resync would copy zeros over zeros
        try:
            story(sys.argv[1], folder)
        except UnlikeError as unlike:
            print(f"tools/demo: {unlike}", file=sys.stderr)
            return EXIT_UNLIKE
        except KeyboardInterrupt:  # whatever was started has ended by now
            return EXIT_INTERRUPTED
    print(f"\n{DONE}", flush=True)
    return EXIT_FINE


if __name__ == "__main__":
    sys.exit(main())
