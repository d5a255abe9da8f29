# SPDX-License-Identifier: LGPL-2.1-or-later
import pytest

from diskulog.exits import Exit
from diskulog.mirrors import assembling, tab
from diskulog.mirrors.assembling import Outcome, State
from diskulog.mirrortable import parse

LINE = "0 8 mirror userspace 4 u disk /dev/l 8 2 /dev/a 0 /dev/b 0 1 handle_errors"
OTHER = LINE.replace(" u ", " other ")


@pytest.fixture
def there(host, monkeypatch):
    """Every device is there, but for those that the test names."""
    gone: set[str] = set()
    for name in ("a", "b", "l"):
        host.device(name, 8)
    monkeypatch.setattr(assembling, "_is_there", lambda device: device not in gone)
    host.gone = gone
    return host


def assemble(text, wait=0.0, dry_run=False):
    return list(assembling.assemble(tab.parse(text), wait, dry_run=dry_run))


def test_each_mirror_is_made_in_order(there):
    found = assemble(f"one {LINE}\ntwo {OTHER}\n")
    assert found == [Outcome("one", State.ASSEMBLED), Outcome("two", State.ASSEMBLED)]
    assert there.commands == [f"create one --table {LINE}", f"create two --table {OTHER}"]
    assert assembling.exit_status(found) is Exit.FINE


def test_a_dry_run_makes_none(there):
    assert assemble(f"one {LINE}\n", dry_run=True) == [Outcome("one", State.ASSEMBLED)]
    assert there.commands == []


def test_one_that_is_there_is_left_alone_whatever_its_devices_are_called(there):
    live = LINE.replace("/dev/a", there.facts["/dev/a"].number).replace("/dev/l", there.facts["/dev/l"].number)
    there.mirror("one", live)
    assert assemble(f"one {LINE}\n") == [Outcome("one", State.THERE)]
    assert there.commands == []


def test_what_it_was_told_of_its_first_time_makes_no_other_mirror(there):
    there.mirror("one", LINE.replace("userspace 4", "userspace 5").replace(" 8 2 ", " 8 nosync 2 "))
    assert assemble(f"one {LINE}\n") == [Outcome("one", State.THERE)]


@pytest.mark.parametrize(
    "other",
    [
        LINE.replace(" u ", " v "),
        LINE.replace("/dev/b", "/dev/l"),
        LINE.replace(" 1 handle_errors", ""),
        LINE.replace("0 8 mirror", "0 16 mirror"),
    ],
)
def test_another_table_is_not_touched(there, other):
    there.mirror("one", other)
    (found,) = assemble(f"one {LINE}\n")
    assert found.state is State.ANOTHER
    assert "diskulog mirror save" in found.text
    assert there.commands == []
    assert assembling.exit_status([found]) is Exit.REFUSED


def test_what_is_no_mirror_is_not_touched(there):
    (there.state / "others").write_text("one\n")
    (found,) = assemble(f"one {LINE}\n")
    assert (found.state, found.text) == (State.ANOTHER, "nothing changed, and is no mirror")


def test_a_uuid_that_a_mirror_has_that_is_there(there):
    there.mirror("live", LINE)
    (found,) = assemble(f"copy {LINE}\n")
    assert (found.state, found.text) == (State.FAILED, "its uuid u is that of mirror live, which is there")
    assert there.commands == []
    assert assemble(f"live {LINE}\n") == [Outcome("live", State.THERE)]


def test_a_uuid_of_an_earlier_line(there):
    copied = LINE.replace("/dev/a", "/dev/b").replace("/dev/b", "/dev/a", 1)
    first, second = assemble(f"one {LINE}\ncopy {copied}\n")
    assert (first.state, second.state) == (State.ASSEMBLED, State.FAILED)
    assert second.text == "line 2: its uuid is that of one in line 1, and each log has its own"
    assert there.commands == [f"create one --table {LINE}"]


def test_one_that_fails_stops_no_other(there):
    (there.state / "fail-two").write_text("device-mapper: reload ioctl on two failed: Invalid argument")
    there.gone.add("/dev/x")
    there.mirror("five", LINE.replace(" u ", " v "))
    lines = {name: LINE.replace(" u ", f" {name} ") for name in ("one", "two", "four", "five", "six")}
    lines |= {"three": "what", "four": lines["four"].replace("/dev/a", "/dev/x")}
    found = assemble("".join(f"{name} {lines[name]}\n" for name in ("one", "two", "three", "four", "five", "six")))
    assert [outcome.state for outcome in found] == [
        State.ASSEMBLED,
        State.FAILED,
        State.FAILED,
        State.FAILED,
        State.ANOTHER,
        State.ASSEMBLED,
    ]
    assert "Invalid argument" in found[1].text
    assert found[2].text.startswith("line 3: ")
    assert found[3].text == "not there: /dev/x"
    assert assembling.exit_status(found) is Exit.PROBLEM


def test_what_no_daemon_would_take_is_not_tried(there):
    (found,) = assemble(f"one {LINE.replace('/dev/l 8', '/dev/l 7')}\n")
    assert found.state is State.FAILED
    assert "region size: 7 sectors" in found.text
    assert there.commands == []


def test_a_device_that_comes_late_is_waited_for(there, monkeypatch):
    there.gone.add("/dev/a")
    monkeypatch.setattr(assembling.time, "sleep", lambda _: there.gone.clear())
    assert assemble(f"one {LINE}\n", wait=60)[0].state is State.ASSEMBLED


def test_a_line_without_handle_errors_is_told(there):
    (found,) = assemble(f"one {LINE.replace(' 1 handle_errors', '')}\n")
    assert (found.state, found.text) == (State.ASSEMBLED, "warning: without handle_errors")


def test_what_speaks_of_the_first_time_is_told(there):
    (found,) = assemble("one 0 8 mirror core 2 8 nosync 2 /dev/a 0 8:1 0 1 handle_errors\n")
    assert found.state is State.ASSEMBLED
    assert found.text == (
        "warning: with nosync: after a crash, legs that differ may be called equal; "
        "8:1 may be another device after a boot"
    )


def test_one_that_is_there_and_suspended(there):
    there.mirror("one", LINE, suspended=True)
    (found,) = assemble(f"one {LINE}\n")
    assert found.state is State.THERE
    assert "it is suspended, and whoever uses it waits; 'dmsetup resume one'" in found.text
    assert assembling.exit_status([found]) is Exit.FINE


def test_devices_that_are_missing(host):
    line = parse(LINE.replace("/dev/a", "253:3").replace("/dev/b", "/dev/null"))
    assert assembling.missing(line) == ["253:3", "/dev/null", "/dev/l"]
    host.mapped("a", 3)
    assert assembling.missing(line) == ["/dev/null", "/dev/l"]
