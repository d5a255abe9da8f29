# SPDX-License-Identifier: LGPL-2.1-or-later
import io
import json
import sys

import pytest

from diskulog.exits import Exit
from diskulog.mirrors import assembling

LINE = "0 8192 mirror userspace 5 u integrated_flush disk /dev/l 1024 2 /dev/a 0 /dev/b 0 1 handle_errors"
SECOND = LINE.replace(" u ", " second ")
WORDS = ("/dev/a", "/dev/b", "--log", "/dev/l", "--uuid", "u")


@pytest.fixture(autouse=True)
def nobody_to_ask(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))


# create


def test_create_with_yes(run, host):
    status, out, err = run("mirror", "create", "home", *WORDS, "--yes")
    assert (status, out) == (0, "home: is a mirror of 2 legs, /dev/mapper/home\n")
    assert "the usual one" in err
    assert host.commands == [f"create home --table {LINE}"]


def test_create_asks_what_becomes_of_the_legs(run, host, monkeypatch):
    status, out, err = run("mirror", "create", "home", *WORDS)
    assert (status, out) == (Exit.REFUSED, "")
    assert "say --yes to go on" in err

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    status, _, err = run("mirror", "create", "home", *WORDS)
    assert status == Exit.REFUSED
    assert "home: becomes a mirror; what is on /dev/a (nothing seen) stays, and is copied over /dev/b" in err
    assert host.commands == []
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    assert run("mirror", "create", "home", *WORDS)[0] == 0


def test_create_dry_run_prints_the_command(run, host):
    status, out, _ = run("mirror", "create", "home", *WORDS, "--dry-run")
    assert (status, out) == (0, f"dmsetup create home --table '{LINE}'\n")
    assert host.commands == []


def test_create_without_a_daemon(run, host):
    host.daemon(False)
    status, out, err = run("mirror", "create", "home", *WORDS, "--yes")
    assert (status, out) == (Exit.NO_DAEMON, "")
    assert "no daemon answers" in err
    assert "systemctl start diskulog" in err
    status, out, err = run("mirror", "create", "home", *WORDS, "--dry-run")
    assert status == 0
    assert "warning: no daemon answers" in err
    assert host.commands == []


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("a/b", *WORDS), 2, "the name of a mirror"),
        (("there", *WORDS), 4, "is there already"),
        (("home", "/dev/a", "/dev/b", "--log", "/dev/a"), 2, "same device"),
        (("home",), 2, "Missing argument"),
        (("home", "/dev/a", "/dev/b"), 2, "say where the log is to be"),
    ],
)
def test_create_what_is_wrong(run, host, words, status, said):
    (host.state / "others").write_text("there\n")
    code, out, err = run("mirror", "create", *words, "--yes")
    assert (code, out, err.count("\n")) == (status, "", 1)
    assert said in err


def test_create_that_the_kernel_refuses(run, host):
    (host.state / "fail-home").write_text("device-mapper: reload ioctl on home failed: Invalid argument\n")
    status, _, err = run("mirror", "create", "home", *WORDS, "--yes")
    assert status == Exit.REFUSED
    assert "home: dmsetup: device-mapper: reload ioctl on home failed: Invalid argument; dmesg, and" in err


def test_create_with_the_uuid_of_another(run, host):
    host.mirror("first", LINE.replace("/dev/a", "8:8").replace("/dev/b", "8:9"))
    for words in (("mirror", "create", "home", *WORDS, "--yes"), ("table", *WORDS)):
        status, out, err = run(*words)
        assert (status, out) == (Exit.REFUSED, "")
        assert "uuid u: is that of mirror first; give another with --uuid" in err
        assert "'diskulog adopt --uuid NEW /dev/l' gives it to a copied log" in err
    assert host.commands == []


# list


def test_list(run, host):
    host.mirror("home", LINE.replace("/dev/a 0", "253:9 8"), 0)
    host.mapped("vg-a", 9)
    host.mirror("old", "0 8192 mirror core 1 1024 2 8:0 0 8:1 0", 1)
    status, out, err = run("mirror", "list")
    assert (status, err) == (0, "")
    assert out == (
        "home\n"
        "  uuid:   u\n"
        "  log:    disk /dev/l, kept by a daemon\n"
        "  length: 4.0 MiB, 8 regions of 512.0 KiB\n"
        "  legs:   /dev/mapper/vg-a from sector 8, /dev/b\n"
        "  errors: handled\n"
        "old\n"
        "  log:    core in memory, kept by the kernel\n"
        "  length: 4.0 MiB, 8 regions of 512.0 KiB\n"
        "  legs:   /dev/disk0, /dev/disk1\n"
        "  errors: NOT HANDLED: when the log fails, writes go on without it (no handle_errors in the table)\n"
    )


def test_list_as_json(run, host):
    host.mirror("home", LINE)
    status, out, _ = run("mirror", "list", "--json")
    found = json.loads(out)
    assert (status, found["exit_status"], found["command"]) == (0, 0, "mirror list")
    assert found["mirrors"] == [
        {
            "name": "home",
            "kept_by": "daemon",
            "uuid": "u",
            "log_type": "disk",
            "log": "/dev/l",
            "region_size_sectors": 1024,
            "length_sectors": 8192,
            "legs": [{"device": "/dev/a", "offset_sectors": 0}, {"device": "/dev/b", "offset_sectors": 0}],
            "integrated_flush": True,
            "handle_errors": True,
        }
    ]


def test_list_without_device_mapper(run, host):
    (host.state / "said").write_text("/dev/mapper/control: open failed: No such device")
    status, out, err = run("mirror", "list", "--json")
    assert (status, json.loads(out)["exit_status"], err.count("\n")) == (2, 2, 1)


def test_list_escapes_what_it_prints(run, host):
    host.mirror("home", LINE.replace(" u ", " \x1b[2J "))
    assert "\x1b" not in run("mirror", "list")[1]


def test_list_of_none(run, host):
    assert run("mirror", "list") == (0, "", "diskulog: there are no mirrors\n")


# save


def test_save_names_devices_so_that_they_last(run, host, monkeypatch):
    host.mirror("home", LINE.replace("/dev/a", "253:9").replace("/dev/b", "8:1"), 0)
    host.mapped("vg-a", 9)
    monkeypatch.setattr("diskulog.mirrors.naming.LINKS", ())
    monkeypatch.setattr("diskulog.mirrors.naming.sysfs.node", lambda _: "/dev/sdb")
    status, out, err = run("mirror", "save", "home")
    assert status == 0
    assert out == f"home {LINE.replace('/dev/a', '/dev/mapper/vg-a').replace('/dev/b', '/dev/sdb')}\n"
    assert err == "diskulog: warning: /dev/sdb may be another device after a boot; no link in /dev/disk leads to it\n"


@pytest.mark.parametrize("word", ["nosync", "sync"])
def test_save_leaves_out_what_was_true_once(run, host, word):
    # written down, 'nosync' would call legs equal after a crash, and 'sync' would copy everything at each boot
    host.mirror("home", LINE.replace("userspace 5", "userspace 7").replace(" 1024 ", f" 1024 {word} block_on_error "))
    status, out, err = run("mirror", "save", "home")
    assert status == 0
    assert out == f"home {LINE.replace('userspace 5', 'userspace 6').replace(' 1024 ', ' 1024 block_on_error ')}\n"
    assert f"warning: '{word}' is left out: it speaks of a mirror that is made for the first time" in err


def test_save_what_lvm_made_of_pieces(run, host):
    host.mirror("vg-lv", LINE)
    with (host.state / "tables").open("a") as file:
        file.write(f"vg-lv: 8192{LINE[1:]}\n")
    assert run("mirror", "save", "vg-lv")[0] == Exit.REFUSED


def test_save_what_is_not_there(run, host):
    assert run("mirror", "save", "home")[0] == Exit.USAGE


# assemble


@pytest.fixture
def tab(tmp_path, host, monkeypatch):
    monkeypatch.setattr(assembling, "_is_there", lambda _: True)
    file = tmp_path / "mirrortab"
    file.write_text(f"# ours\none {LINE}\ntwo {SECOND}\n")
    return file


def test_assemble(run, host, tab):
    status, out, err = run("mirror", "assemble", "--file", tab)
    assert (status, out, err) == (0, "one: assembled\ntwo: assembled\n", "")
    assert len(host.commands) == 2
    assert run("mirror", "assemble", "--file", tab)[:2] == (0, "one: is there already\ntwo: is there already\n")


def test_assemble_some(run, host, tab):
    assert run("mirror", "assemble", "--file", tab, "two")[:2] == (0, "two: assembled\n")
    status, _, err = run("mirror", "assemble", "--file", tab, "two", "three")
    assert status == Exit.USAGE
    assert "three: " in err


def test_assemble_that_fails_and_that_finds_another(run, host, tab):
    host.mirror("two", LINE.replace(" u ", " v "))
    status, out, err = run("mirror", "assemble", "--file", tab)
    assert (status, out) == (Exit.REFUSED, "one: assembled\n")
    assert "two: is there with another table" in err
    (host.state / "fail-three").write_text("what")
    tab.write_text(tab.read_text() + f"three {LINE.replace(' u ', ' third ')}\n")
    status, out, err = run("mirror", "assemble", "--file", tab)
    assert (status, out) == (Exit.PROBLEM, "one: is there already\n")
    assert "three: not assembled: three: dmsetup: what" in err


def test_assemble_dry_run(run, host, tab):
    status, out, _ = run("mirror", "assemble", "--file", tab, "--dry-run")
    assert (status, out.count("(dry run, nothing done)")) == (0, 2)
    assert host.commands == []


def test_assemble_waits_for_a_daemon_and_gives_up(run, host, tab, monkeypatch):
    host.daemon(False)
    status, _, err = run("mirror", "assemble", "--file", tab)
    assert status == Exit.NO_DAEMON
    assert "no daemon answers" in err
    monkeypatch.setattr(assembling.time, "sleep", lambda _: host.daemon(True))
    assert run("mirror", "assemble", "--file", tab, "--wait", "60")[0] == 0


def test_assemble_needs_no_daemon_for_the_kernels_own_logs(run, host, tab):
    host.daemon(False)
    tab.write_text("old 0 8192 mirror core 1 1024 2 /dev/a 0 /dev/b 0 1 handle_errors\n")
    assert run("mirror", "assemble", "--file", tab)[0] == 0


def test_assemble_without_a_daemon_makes_those_of_the_kernel(run, host, tab):
    host.daemon(False)
    kernels = "0 8192 mirror core 1 1024 2 /dev/a 0 /dev/b 0 1 handle_errors"
    tab.write_text(f"one {LINE}\nthere {SECOND}\nold {kernels}\nbad\n")
    host.mirror("there", SECOND)
    status, out, err = run("mirror", "assemble", "--file", tab)
    assert (status, out) == (Exit.PROBLEM, "there: is there already\nold: assembled\n")
    assert "one: not assembled: no daemon answers; start it" in err
    assert "bad: not assembled: line 4: " in err
    assert host.commands == [f"create old --table {kernels}"]
    status, out, err = run("mirror", "assemble", "--file", tab, "--dry-run")
    assert (status, "warning: no daemon answers" in err, "one: assembled (dry run" in out) == (1, True, True)
    assert run("mirror", "assemble", "--file", tab, "one", "bad")[0] == Exit.NO_DAEMON


@pytest.mark.parametrize("wait", ["-1", "nan", "inf", "4000"])
def test_assemble_with_a_wait_that_is_none(run, host, tab, wait):
    assert run("mirror", "assemble", "--file", tab, "--wait", wait)[0] == Exit.USAGE


def test_assemble_without_a_file(run, host, tmp_path):
    status, _, err = run("mirror", "assemble", "--file", tmp_path / "none")
    assert status == Exit.USAGE
    assert "mirrortab" in err


# remove


def test_remove(run, host):
    host.mirror("home", LINE)
    assert run("mirror", "remove", "home", "--dry-run")[:2] == (0, "dmsetup remove --retry home\n")
    assert host.commands == []
    assert run("mirror", "remove", "home") == (0, "home: removed\n", "")
    assert host.commands == ["remove --retry home"]


def test_remove_in_use(run, host):
    host.mirror("home", LINE)
    host.hold("253:0", "dm-4")
    status, out, err = run("mirror", "remove", "home")
    assert (status, out) == (Exit.REFUSED, "")
    assert "home: is in use: held by dm-4" in err


def test_remove_without_a_daemon(run, host):
    host.mirror("home", LINE)
    host.daemon(False)
    assert run("mirror", "remove", "home")[0] == Exit.NO_DAEMON
    assert run("mirror", "remove", "--all")[0] == Exit.NO_DAEMON
    assert host.commands == []


def test_remove_all(run, host):
    assert run("mirror", "remove", "--all") == (0, "", "")
    host.mirror("one", LINE, 0)
    host.mirror("two", LINE, 1)
    assert run("mirror", "remove", "--all", "--dry-run")[1].count("would be removed") == 2
    host.hold("253:1", "dm-4")
    status, out, err = run("mirror", "remove", "--all")
    assert (status, out) == (Exit.PROBLEM, "one: removed\n")
    assert "two: is in use" in err


@pytest.mark.parametrize("words", [(), ("home", "--all"), ("none",)])
def test_remove_what_is_wrong(run, host, words):
    assert run("mirror", "remove", *words)[0] == Exit.USAGE
