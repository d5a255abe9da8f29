# SPDX-License-Identifier: LGPL-2.1-or-later
"""Tables as LVM wrote them for cmirrord, on a host that is alone; and what docs/lvm.rst says, every line of it."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.guest import test_lvm
from tests.kernel.guest.rig import Daemon, Mirror, fails, read, run, scramble, write

_TOP = Path(__file__).resolve().parents[3]
_PAGE = _TOP / "docs/lvm.rst"
_ALONE = "[compat]\nclustered_single_host = true\n"
_HELD_SECONDS = 3600  # only what this test does makes a region clean: a suspend, that is
# LVM's name of a volume: the volume group's id and its own, 32 characters each
_UUID = "LVM-vQ3jcmEYqW6RSmQ0ZNrpr9ACJbNyIBIQ" + "x4VcRGyJnDnYHDZLBW8kUGvHr3Wc2cF1"
_WRITTEN = [3, 4, 40]

group = test_lvm.group


def number(device: str) -> str:
    found = os.stat(device).st_rdev
    return f"{os.major(found)}:{os.minor(found)}"


def lvm_table(mirror: Mirror, option: str = "") -> str:
    """The line that LVM 2.02 wrote: every device by its number, no integrated_flush, handle_errors."""
    log = f"{number(mirror.log)} {mirror.region_size}" if mirror.word == "clustered-disk" else str(mirror.region_size)
    words = f"{mirror.uuid} {mirror.word} {log} {option}".split()
    legs = " ".join(f"{number(leg)} 0" for leg in mirror.legs)
    return f"0 {mirror.length} mirror userspace {len(words)} {' '.join(words)} 2 {legs} 1 handle_errors"


@pytest.fixture(scope="module")
def alone(one_daemon: Daemon) -> Iterator[Daemon]:
    """A daemon that was told that its host is alone."""
    before = one_daemon.config.read_text()
    one_daemon.config.write_text(f"[clears]\nhold_seconds = {_HELD_SECONDS}\n{_ALONE}")
    one_daemon.start()
    one_daemon.restart()
    yield one_daemon
    one_daemon.config.write_text(before)
    one_daemon.stop()  # whoever needs one starts it


@pytest.fixture
def clustered(mirror: Mirror) -> Mirror:
    mirror.word, mirror.mode, mirror.uuid = "clustered-disk", "", _UUID
    return mirror


@pytest.mark.parametrize(("word", "instead"), [("clustered-disk", "'disk'"), ("clustered-core", "'core'")])
def test_without_the_switch_they_are_refused_with_the_way_out(
    clustered: Mirror, daemon: Daemon, word: str, instead: str
) -> None:
    clustered.word = word
    start = daemon.mark()
    fails("dmsetup", "create", clustered.name, "--table", lvm_table(clustered))
    daemon.says("refused", start)
    (line,) = [line for line in daemon.said(start).splitlines() if "refused" in line]
    if word == "clustered-disk":
        page = _PAGE.read_text().split(".. refusal begins")[1].split(".. refusal ends")[0]
        assert " ".join(page.partition("none")[2].split()) in line
    for wanted in (repr(word), "another host may write too", instead, "[compat] clustered_single_host = true"):
        assert wanted in line
    assert read(clustered.log, 0, 65536) == bytes(65536)


def test_an_lvm_style_table_on_a_disk_log(alone: Daemon, clustered: Mirror) -> None:
    mirror, table = clustered, lvm_table(clustered)
    mirror.create(table)
    mirror.wait_in_sync()
    assert mirror.differing() == []
    assert mirror.status().endswith(f"3 disk {number(mirror.log)} A"), "the words that libdm reads"
    assert run("dmsetup", "table", mirror.name).strip() == table

    mirror.suspend()
    mirror.resume()
    assert mirror.in_sync_count() == mirror.region_count
    report = mirror.inspect()
    assert (report["log"]["uuid"], report["log"]["dialect"]) == (_UUID, "diskulog")
    assert report["dirty"] == report["out_of_sync"] == []

    # as lvchange --refresh does it: the same table, loaded anew
    mirror.load(table)
    mirror.suspend()
    mirror.resume()
    assert mirror.in_sync_count() == mirror.region_count
    mirror.write_some(1, _WRITTEN)
    assert mirror.compare()["dirty"] == [[3, 2], [40, 1]]

    # killed in the middle of a write: the kernel tries again until a daemon knows the log
    alone.stop(9)
    writer = subprocess.Popen(
        ["dd", "if=/dev/zero", f"of={mirror.device}", "bs=4k", "count=1", "seek=992", "oflag=direct", "status=none"]
    )
    alone.start()
    assert writer.wait(60) == 0
    report = mirror.compare()
    assert report["dirty"] == [[3, 2], [40, 1], [62, 1]]
    assert report["log"]["state"] == "open"
    assert mirror.in_sync_count() == mirror.region_count, "nothing is resynced for a restart"

    # a crash: what the log said at that moment, and legs that differ everywhere
    crashed = read(mirror.log, 0, 1 << 20)
    mirror.remove()
    assert mirror.inspect()["log"]["state"] == "closed"
    scramble(mirror)
    write(mirror.log, 0, crashed)
    mirror.create(table)
    mirror.wait_in_sync()
    copied = {3, 4, 40, 62}
    assert set(mirror.differing()) == set(range(mirror.region_count)) - copied
    mirror.remove()
    assert mirror.inspect()["log"]["state"] == "closed"


def test_an_lvm_style_table_with_nosync_and_one_with_a_core_log(alone: Daemon, clustered: Mirror) -> None:
    mirror = clustered
    mirror.create(lvm_table(mirror, "nosync"))
    assert mirror.in_sync_count() == mirror.region_count
    mirror.remove()

    mirror.word, mirror.uuid = "clustered-core", _UUID[::-1].replace("-MVL", "")
    table = lvm_table(mirror)
    mirror.create(table)
    mirror.wait_in_sync()
    assert mirror.status().endswith("1 core")
    mirror.write_some(2, _WRITTEN)
    alone.restart()
    mirror.write_some(3, _WRITTEN)
    mirror.suspend()
    mirror.resume()
    assert mirror.in_sync_count() == mirror.region_count
    assert mirror.differing() == []
    mirror.remove()
    mirror.create(table)
    mirror.wait_in_sync()  # it was in memory only
    mirror.remove()


def test_what_the_page_says_of_a_volume_of_lvms(alone: Daemon, group: None) -> None:
    text = _PAGE.read_text()
    text = text[text.index(".. moving begins") : text.index(".. moving ends")]
    block = [line.strip() for line in text.splitlines() if line.startswith("   ")]
    commands = [line.removeprefix("$ ") for line in block if line.startswith("$ ")]
    assert len(commands) > 10
    script = "set -e -o pipefail\n" + "\n".join(commands) + "\n"
    done = subprocess.run(["bash"], input=script, capture_output=True, text=True, timeout=90, env=os.environ)
    assert done.returncode == 0, done.stdout + done.stderr
    said = [" ".join(line.split()) for line in done.stdout.splitlines()]
    at = 0
    for line in block:
        if line and not line.startswith(("$ ", "..")):
            pattern = re.sub(r"\d+", r"\\d+", re.escape(" ".join(line.split())).replace("\\ ", " "))
            while at < len(said) and not re.fullmatch(pattern, said[at]):
                at += 1
            assert at < len(said), f"{line!r} is not in\n{done.stdout}"
            at += 1
    assert "mirror disk 2" in said[at - 2], "what LVM loads itself"
