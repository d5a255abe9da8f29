# SPDX-License-Identifier: LGPL-2.1-or-later
"""table, mirror and doctor on a real dm: made, shown, judged, removed, and made again from a mirrortab."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from diskulog import transport
from diskulog.mirrors import dm
from diskulog.moving.plan import Step
from tests.kernel.guest.moves import killed_behind
from tests.kernel.guest.rig import Daemon, Mirror, diskulog, forget, run, scramble, switch, until, write, zero

LENGTH, REGION_SIZE = 8192, 128


@pytest.fixture
def home(daemon: Daemon) -> Iterator[Mirror]:
    """A mirror that is not made yet, with a blank log, whose legs differ everywhere."""
    made = Mirror("home", ["/dev/ram0", "/dev/ram1"], "/dev/ram2", "diskulog-home", REGION_SIZE, LENGTH)
    zero(made.log)
    scramble(made)
    yield made
    daemon.start()
    for name in ("home", "second", "faulty"):
        forget(name)


def words(mirror: Mirror) -> list[str]:
    """What describes a mirror on the command line."""
    sizes = ["--region-size", str(mirror.region_size), "--length", str(mirror.length)]
    return [*mirror.legs, "--log", mirror.log, "--uuid", mirror.uuid, *sizes]


def judged(expect: int) -> dict[str, list[str]]:
    """Run doctor, and return severities and texts by the name of the finding."""
    code, said = diskulog("doctor", "--json")
    assert code == expect, said
    found: dict[str, list[str]] = {}
    for each in json.loads(said)["findings"]:
        found.setdefault(each["name"], []).append(f"{each['severity']}: {each['text']}")
    return found


def test_without_a_daemon_only_what_needs_none_is_assembled(home: Mirror, daemon: Daemon, tmp_path: Path) -> None:
    core = f"0 {LENGTH} mirror core 1 {REGION_SIZE} 2 /dev/ram3 0 /dev/ram4 0 1 handle_errors"
    tab = tmp_path / "mirrortab"
    tab.write_text(f"home {home.table()}\nsecond {core}\n")
    daemon.stop()
    code, said = diskulog("mirror", "assemble", "--file", str(tab))
    assert (code, "second: assembled" in said, "home: not assembled: no daemon" in said) == (1, True, True), said
    assert diskulog("mirror", "assemble", "--file", str(tab), "home")[0] == 6
    daemon.start()
    code, said = diskulog("mirror", "assemble", "--file", str(tab))
    assert (code, "home: assembled" in said, "second: is there already" in said) == (0, True, True), said


def test_a_mirror_from_its_legs_to_the_mirrortab_and_back(home: Mirror, tmp_path: Path) -> None:
    code, said = diskulog("table", *words(home))
    assert (code, said) == (0, home.table() + "\n")
    code, said = diskulog("mirror", "create", "home", *words(home), "--yes")
    assert code == 0, said
    assert dm.mirror("home").line.text() == home.table().replace("/dev/ram0", "1:0").replace("/dev/ram1", "1:1")
    home.wait_in_sync()

    # what is in use is refused, by the name of who uses it
    code, said = diskulog("table", "/dev/ram1", "/dev/ram3", "--core")
    assert (code, "/dev/ram1: is in use: held by dm-" in said, "(home)" in said) == (4, True, True), said
    code, said = diskulog("table", "/dev/mapper/home", "/dev/ram3", "--core")
    assert (code, "/dev/mapper/home: is on mirror home" in said) == (4, True), said
    code, said = diskulog("mirror", "create", "home", "/dev/ram3", "/dev/ram4", "--core", "--yes")
    assert (code, "is there already" in said) == (4, True), said
    code, said = diskulog("mirror", "list")
    assert (code, "legs:   /dev/ram0, /dev/ram1" in said, "errors: handled" in said) == (0, True, True), said
    assert not {name for name, texts in judged(0).items() if texts[0].startswith("error")}

    home.write_some(seed=7, regions=range(5))
    home.wait_clean()
    fd = os.open(home.device, os.O_RDONLY)
    code, said = diskulog("mirror", "remove", "home")
    os.close(fd)
    assert (code, "home: is in use: opened by a program" in said) == (4, True), said
    code, line = diskulog("mirror", "save", "home")
    assert code == 0
    line = line.splitlines()[-1]  # after warnings: a ram disk has no lasting name
    assert line == f"home {home.table()}"
    until("nobody has it open", lambda: diskulog("mirror", "remove", "home")[0] == 0)
    assert home.inspect()["log"]["state"] == "closed"

    # a blank log is no longer there: only what was dirty would be copied
    code, said = diskulog("mirror", "create", "home", *words(home), "--yes")
    assert (code, "--keep-log" in said) == (4, True), said
    tab = tmp_path / "mirrortab"
    core = f"0 {LENGTH} mirror userspace 4 second integrated_flush core {REGION_SIZE} 2 /dev/ram3 0 /dev/ram4 0"
    missing = home.table().replace("/dev/ram0", "/dev/none").replace(home.uuid, "gone")
    tab.write_text(f"# ours\nbroken 0 8 linear 1:0 0\ngone {missing}\n{line}\nsecond {core} 1 handle_errors\n")
    code, said = diskulog("mirror", "assemble", "--file", str(tab))
    assert (code, "home: assembled" in said, "second: assembled" in said) == (1, True, True), said
    assert "gone: not assembled: not there: /dev/none" in said
    assert "broken: not assembled: line 2: " in said
    assert home.in_sync_count() == home.region_count  # the log's word was taken
    assert home.differing() == []
    assert diskulog("mirror", "assemble", "--file", str(tab), "home", "second")[0] == 0
    tab.write_text(line.replace(home.uuid, "another"))
    code, said = diskulog("mirror", "assemble", "--file", str(tab))
    assert (code, "home: is there with another table" in said) == (4, True), said
    code, said = diskulog("mirror", "remove", "--all")
    assert (code, dm.mirrors()) == (0, ()), said


def test_two_mirrors_with_one_uuid(home: Mirror, tmp_path: Path) -> None:
    home.create()
    home.wait_in_sync()
    home.wait_clean()
    copy = Mirror("second", ["/dev/ram3", "/dev/ram4"], "/dev/ram5", home.uuid, REGION_SIZE, LENGTH)
    zero(copy.log)
    for words_of in (["table"], ["mirror", "create", "second"]):
        code, said = diskulog(*words_of, *words(copy), *(["--yes"] if len(words_of) > 1 else []))
        assert (code, f"uuid {home.uuid}: is that of mirror home" in said) == (4, True), said
    # a log that was copied with its uuid, beside the one that it was copied from
    Path(copy.log).write_bytes(Path(home.log).read_bytes()[: 1 << 20])
    kept = [*copy.legs, "--log", copy.log, "--length", str(LENGTH), "--keep-log"]
    code, said = diskulog("mirror", "create", "second", *kept, "--yes")
    assert (code, "is that of mirror home" in said) == (4, True), said

    tab = tmp_path / "mirrortab"
    tab.write_text(f"second {copy.table()}\n")
    code, said = diskulog("mirror", "assemble", "--file", str(tab))
    assert (code, "second: not assembled: its uuid" in said) == (1, True), said
    assert "same-uuid" not in judged(0)
    assert home.in_sync_count() == home.region_count

    copy.create()  # dmsetup asks nobody
    assert judged(1)["same-uuid"] == [f"error: mirrors home, second have the uuid {home.uuid}"]
    assert diskulog("mirror", "remove", "second")[0] == 0

    # the way out that was told
    code, said = diskulog("adopt", copy.log, "--uuid", "copied", "--yes")
    assert code == 0, said
    code, said = diskulog("mirror", "create", "second", *kept, "--yes")
    assert code == 0, said


def test_doctor_sees_what_a_killed_migrate_leaves(home: Mirror) -> None:
    home.create(home.kernel_table())
    killed_behind(Step.SUSPEND, "migrate", "home", "--to", "diskulog")
    assert judged(0)["suspended"] == ["warning: mirror home is suspended"]
    code, said = diskulog("doctor")
    assert (code, "Say a migrate or replace-log that was broken off again" in said) == (0, True), said
    code, said = diskulog("migrate", "home", "--to", "diskulog", "--yes")
    assert (code, "suspended" in judged(0)) == (0, False), said


def test_doctor_sees_what_is_wrong_and_waits_for_nothing(home: Mirror, daemon: Daemon, tmp_path: Path) -> None:
    good = f"0 8192 linear {home.log} 0"
    run("dmsetup", "create", "faulty", "--table", good)
    home.log, home.features = "/dev/mapper/faulty", ""
    home.create()
    home.wait_in_sync()
    home.wait_clean()
    assert judged(0)["no-handle-errors"] == ["warning: mirror home has no handle_errors in its table"]
    run("dmsetup", "suspend", "home")
    assert judged(0)["suspended"] == ["warning: mirror home is suspended"]
    tab = tmp_path / "mirrortab"
    tab.write_text(f"home {home.table()}\n")
    code, said = diskulog("mirror", "assemble", "--file", str(tab))
    assert (code, "home: is there already: warning: it is suspended" in said) == (0, True), said
    run("dmsetup", "resume", "home")

    switch("faulty", "0 8192 error")
    write(home.device, 0, b"x" * 4096)  # without handle_errors nobody waits for the log
    until("the log has failed", lambda: home.status().endswith("D"))
    until("doctor says so", lambda: "log-failed" in diskulog("doctor", "--json")[1])
    assert judged(1)["log-failed"][0].startswith(f"error: the log of {home.uuid} on ")

    listener = transport.listener(65536, 1.0)  # in this process, which might answer
    assert f"{os.getpid()} (" in judged(1)["two-daemons"][0]
    listener.close()

    switch("faulty", good)
    daemon.stop()
    assert judged(1)["no-daemon"] == ["error: no daemon answers, and mirrors wait for one: home"]
    assert diskulog("mirror", "list")[0] == 0
    code, said = diskulog("mirror", "create", "second", "/dev/ram3", "/dev/ram4", "--core", "--yes")
    assert (code, "no daemon answers" in said) == (6, True), said
    assert diskulog("mirror", "remove", "home")[0] == 6
