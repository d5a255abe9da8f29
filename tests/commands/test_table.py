# SPDX-License-Identifier: LGPL-2.1-or-later
import pytest

from diskulog import mirrortable
from diskulog.exits import Exit


def test_the_line_goes_to_standard_output_and_the_reasons_to_standard_error(run, host):
    status, out, err = run("table", "/dev/a", "/dev/b", "--log", "/dev/l")
    assert status == Exit.FINE
    assert out.count("\n") == 1
    found = mirrortable.parse(out)
    assert found.handles_errors
    assert found.integrated_flush
    assert (found.log, found.length_sectors, found.region_size_sectors) == ("/dev/l", 8192, 1024)
    assert "region size 1024 sectors (512.0 KiB), 8 regions: the usual one" in err
    assert found.uuid in err
    assert host.commands == []


def test_every_option(run, host):
    words = ["--uuid", "u", "--region-size", "64", "--length", "640", "--sync", "--plain"]
    status, out, err = run("table", "/dev/a:8", "/dev/b", "--log", "/dev/l", *words)
    assert (status, err) == (0, "")
    assert out == "0 640 mirror userspace 5 u disk /dev/l 64 sync 2 /dev/a 8 /dev/b 0 1 handle_errors\n"
    status, out, err = run("table", "/dev/a", "/dev/b", "--core", "--uuid", "u", "--nosync")
    assert "userspace 5 u integrated_flush core 1024 nosync 2" in out
    assert "warning: nosync" in err


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("/dev/a", "/dev/b"), 2, "say where the log is to be"),
        (("/dev/a", "/dev/b", "--core", "--log", "/dev/l"), 2, "say where the log is to be"),
        (("/dev/a", "--core"), 2, "2 to 9 legs"),
        (("/dev/a", "/dev/b", "--core", "--sync", "--nosync"), 2, "say one of them"),
        (("/dev/a", "/dev/a", "--core"), 2, "is the same device"),
        (("/dev/a", "/dev/b", "--core", "--region-size", "1000"), 2, "power of two"),
        (("/dev/a", "/dev/b", "--core", "--length", "9000"), 4, "has room for 8192 sectors"),
        ((), 2, "Missing argument"),
    ],
)
def test_what_is_wrong_is_one_line(run, host, words, status, said):
    code, out, err = run("table", *words)
    assert (code, out, err.count("\n")) == (status, "", 1)
    assert said in err


def test_a_device_in_use(run, host):
    host.busy["/dev/b"] = "mounted on /home"
    code, _, err = run("table", "/dev/a", "/dev/b", "--log", "/dev/l")
    assert (code, err) == (
        Exit.REFUSED,
        "diskulog: /dev/b: is in use: mounted on /home; free it first, or name another\n",
    )


def test_it_needs_no_daemon(run, host):
    host.daemon(False)
    assert run("table", "/dev/a", "/dev/b", "--log", "/dev/l")[0] == Exit.FINE
