# SPDX-License-Identifier: LGPL-2.1-or-later
"""What every command that writes has in common: it asks, it refuses, a dry run changes nothing, and then it writes."""

import io
import os
import sys
from pathlib import Path

import pytest

from diskulog.exits import Exit
from diskulog.forensic import dump
from diskulog.ondisk import State
from tests import images

FORMAT = ("--uuid", "home", "--region-size", "1024", "--regions", "1000")
# the words behind the device, and what lies there before
WRITERS = {
    "adopt": ((), images.changed()),
    "format": (FORMAT, bytes(images.DEVICE_BYTES)),
    "mark": (("--regions", "5"), images.diskulog()),
    "repair": (("--write",), images.changed()),
    "restore": ((), bytes(images.DEVICE_BYTES)),
}


def words(name, path, tmp_path):
    if name != "restore":
        return (name, path, *WRITERS[name][0])
    dumped = tmp_path / "dump"
    dumped.write_text("".join(dump.text(images.loaded(images.diskulog(dirty=[7])))))
    return (name, dumped, path)


@pytest.fixture(params=WRITERS)
def writer(request, path, tmp_path):
    path.write_bytes(WRITERS[request.param][1])
    return words(request.param, path, tmp_path)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_it_writes_with_yes(run, path, writer):
    before = path.read_bytes()
    status, out, err = run(*writer, "--yes")
    assert (status, err) == (Exit.FINE, "")
    assert out.startswith(f"{path}: ")
    assert path.read_bytes() != before
    assert run("check", "--quiet", path)[0] == Exit.FINE


def test_nobody_to_ask_is_a_no(run, path, writer, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    with images.untouched(path):
        status, out, err = run(*writer)
    assert (status, out) == (Exit.REFUSED, "")
    assert "say --yes" in err


@pytest.mark.parametrize(("answer", "status"), [("n\n", Exit.REFUSED), ("", Exit.REFUSED), ("y\n", Exit.FINE)])
def test_it_asks(run, path, writer, monkeypatch, answer, status):
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    before = path.read_bytes()
    found, _, err = run(*writer)
    assert "Write it? [y/N]" in err
    assert found == status
    assert (path.read_bytes() == before) == (status != Exit.FINE)


def test_a_dry_run_changes_nothing(run, path, writer):
    dry = [word for word in writer if word != "--write"]
    with images.untouched(path):
        status, out, err = run(*dry, *([] if writer[0] == "repair" else ["--dry-run"]))
    assert status == (Exit.PROBLEM if writer[0] == "repair" else Exit.FINE)
    assert "(dry run, nothing written)" in out
    assert err == ""


@pytest.mark.loop
def test_a_device_in_use_is_refused(run, writer, path, loop_device, tmp_path):
    device = loop_device(path.read_bytes())
    name = [device if word == path else word for word in writer]
    with open(device, "rb"):  # a descriptor is no use
        assert run(*name[:1], *name[1:], "--yes")[0] == Exit.FINE
    backing = tmp_path / "backing0"
    held = [backing if word == path else word for word in writer]
    status, _, err = run(*held, "--yes")
    assert status == Exit.REFUSED
    assert f"held by {Path(device).name}" in err


@pytest.mark.parametrize("name", WRITERS)
def test_standard_input_cannot_be_written_to(run, name, tmp_path):
    status, _, err = run(*words(name, "-", tmp_path), "--yes")
    assert status == Exit.USAGE
    assert "standard input cannot be written to" in err


@pytest.mark.parametrize("name", WRITERS)
def test_a_device_that_is_not_there(run, name, tmp_path):
    status, _, err = run(*words(name, tmp_path / "none", tmp_path), "--yes")
    assert status == Exit.USAGE
    assert "No such file" in err


# what lies there


@pytest.mark.parametrize("name", ["format", "restore"])
@pytest.mark.parametrize(
    ("before", "named"),
    [
        (bytes(1080) + b"\x53\xef" + bytes(images.DEVICE_BYTES), "an ext2, ext3 or ext4 file system"),
        (images.diskulog(uuid="other"), "the log of mirror other"),
        (images.kernel(), "a mirror log that the kernel or LVM wrote"),
    ],
)
def test_what_lies_there_is_named_and_kept(run, path, tmp_path, name, before, named):
    path.write_bytes(before)
    with images.untouched(path):
        status, _, err = run(*words(name, path, tmp_path), "--yes")
    assert status == Exit.REFUSED
    assert f"holds {named}; name another device, or say --overwrite" in err
    assert run(*words(name, path, tmp_path), "--yes", "--overwrite")[0] == Exit.FINE
    assert run("check", "--quiet", path)[0] == Exit.FINE


def test_a_dump_goes_back_to_the_log_of_its_mirror(run, path, tmp_path):
    path.write_bytes(images.diskulog())
    assert run(*words("restore", path, tmp_path), "--yes")[0] == Exit.FINE
    assert images.loaded_from(path).clean.read(0, 1) == b"\x7f"


def test_a_device_that_is_too_small(run, path, tmp_path):
    path.write_bytes(bytes(2048))
    for name in ("format", "restore"):
        with images.untouched(path):
            status, _, err = run(*words(name, path, tmp_path), "--yes")
        assert status == Exit.REFUSED
        assert "use a larger device" in err


# each its own


def test_dump_restore_dump_is_the_same(run, path, tmp_path):
    for data in (images.diskulog(dirty=[5], out_of_sync=[5]), images.kernel(dirty=[9])):
        path.write_bytes(data)
        for more in ((), ("--json",)):
            status, text, err = run("dump", path, *more)
            assert (status, err) == (Exit.FINE, "")
            dumped, other = tmp_path / "dump", tmp_path / "other"
            dumped.write_text(text)
            other.write_bytes(bytes(len(data)))
            assert run("restore", dumped, other, "--yes")[0] == Exit.FINE
            assert run("dump", other, *more)[1] == text


def test_a_damaged_log_is_dumped_as_it_would_be_repaired(run, path, tmp_path):
    path.write_bytes(images.changed())
    status, text, err = run("dump", path)
    assert status == Exit.PROBLEM
    assert "a bitmap changed after diskulog closed the log: dumped is what 'diskulog repair' makes of it" in err
    assert run("repair", "--write", "--yes", path)[0] == Exit.FINE
    assert run("dump", path)[1] == text


def test_nothing_to_repair(run, path):
    path.write_bytes(images.diskulog())
    with images.untouched(path):
        assert run("repair", "--write", "--yes", path) == (Exit.FINE, f"{path}: nothing to repair\n", "")


def test_repair_says_what_it_costs(run, path):
    path.write_bytes(images.changed())
    assert run("repair", path)[1] == (
        f"{path}: a bitmap changed after diskulog closed the log; repaired, 1000 regions (500.0 MiB) "
        "will be resynced at the next activation (dry run, nothing written)\n"
    )


def test_a_log_with_a_damaged_extension_is_given_a_uuid_and_a_place_for_its_bitmap(run, path):
    path.write_bytes(images.damaged())
    assert run("repair", "--write", "--yes", "--uuid", "home", path)[0] == Exit.FINE
    found = images.loaded_from(path)
    assert (found.extension.uuid, found.extension.sync_offset_bytes) == ("home", images.DEVICE_BYTES // 2)
    assert run("check", "--quiet", path)[0] == Exit.FINE


@pytest.mark.parametrize(
    ("options", "dirty"),
    [
        (("--regions", "5-6,8"), [5, 6, 8]),
        (("--sectors", "1024-3000"), [1, 2]),
        (("--bytes", "0"), [0]),
        (("--all",), list(range(1000))),
    ],
)
def test_mark(run, path, options, dirty):
    path.write_bytes(images.diskulog())
    assert run("mark", path, "--yes", *options)[0] == Exit.FINE
    found = images.loaded_from(path)
    assert [region for region in range(1000) if not found.clean.bits(region, region + 1)[0]] == dirty
    status, out, _ = run("mark", path, *options)
    assert status == Exit.FINE
    assert "nothing to mark" in out


@pytest.mark.parametrize("options", [(), ("--all", "--regions", "1"), ("--bytes", "1", "--sectors", "1")])
def test_mark_takes_one_kind_of_ranges(run, path, options):
    path.write_bytes(images.diskulog())
    status, _, err = run("mark", path, *options)
    assert status == Exit.USAGE
    assert "say one of --regions" in err


def test_a_kernel_log_is_marked_by_region(run, path):
    path.write_bytes(images.kernel())
    assert run("mark", path, "--yes", "--regions", "0")[0] == Exit.FINE
    assert path.read_bytes()[1024] == 0xFE
    assert run("mark", path, "--yes", "--bytes", "0")[0] == Exit.USAGE


def test_format_says_what_no_mirror_has(run, path):
    path.write_bytes(bytes(images.DEVICE_BYTES))
    with images.untouched(path):
        status, _, err = run("format", path, "--yes", "--uuid", "u", "--region-size", "1000", "--regions", "5")
    assert status == Exit.USAGE
    assert "must be a power of two" in err
    status, _, err = run("format", path)
    assert status == Exit.USAGE
    assert "Missing option" in err


def test_a_restore_of_what_is_no_dump(run, path, tmp_path):
    path.write_bytes(bytes(images.DEVICE_BYTES))
    bad = tmp_path / "bad"
    bad.write_text("diskulog dump 1\nnonsense\n")
    with images.untouched(path):
        status, _, err = run("restore", bad, path, "--yes")
    assert status == Exit.NOT_A_LOG
    assert err == f"diskulog: {bad}, line 2: nonsense is not known\n"


def test_a_log_that_knows_of_more_dirty_regions_is_kept(run, path, tmp_path):
    path.write_bytes(images.diskulog(dirty=[1, 2, 7], state=State.OPEN))
    with images.untouched(path):
        status, _, err = run(*words("restore", path, tmp_path), "--yes")
    assert status == Exit.REFUSED
    assert "calls 2 regions dirty which the dump calls clean; dump it first, or say --overwrite" in err
    assert run(*words("restore", path, tmp_path), "--yes", "--overwrite")[0] == Exit.FINE


def test_a_log_of_another_size_is_kept(run, path, tmp_path):
    path.write_bytes(images.diskulog(500))
    status, _, err = run(*words("restore", path, tmp_path), "--yes")
    assert status == Exit.REFUSED
    assert "has 500 regions, and the dump 1000" in err


@pytest.mark.parametrize("changes", [{"uuid": ""}, {"incompatible": 4}, {"version": 9}])
def test_a_log_that_may_be_another_one_s_is_kept(run, path, tmp_path, changes):
    path.write_bytes(images.diskulog(**changes))
    assert run(*words("restore", path, tmp_path), "--yes")[0] == Exit.REFUSED


@pytest.mark.parametrize(
    ("changes", "said"), [({"uuid": "a b"}, "no table can have"), ({"region_size_sectors": 3}, "no mirror has regions")]
)
def test_a_dump_that_no_table_agrees_with(run, path, tmp_path, changes, said):
    dumped = tmp_path / "dump"
    dumped.write_text("".join(dump.text(images.loaded(images.diskulog(**changes)))))
    path.write_bytes(bytes(images.DEVICE_BYTES))
    status, _, err = run("restore", dumped, path, "--yes")
    assert status == Exit.FINE
    assert said in err


def test_what_took_a_log_s_header_is_named_before_it_goes(run, path):
    data = images.diskulog(dirty=[5])
    data[:512] = bytes(510) + b"\x55\xaa"
    path.write_bytes(data)
    with images.untouched(path):
        status, _, err = run("repair", "--write", "--yes", path)
    assert status == Exit.REFUSED
    assert "holds a partition table; if it may go, say --overwrite" in err
    assert run("repair", "--write", "--yes", "--overwrite", path)[0] == Exit.FINE
    assert run("check", "--quiet", path)[0] == Exit.FINE


@pytest.mark.parametrize("name", ["mark", "adopt"])
def test_a_log_that_another_host_may_have_in_use(run, path, tmp_path, name):
    path.write_bytes(images.diskulog(state=State.OPEN))
    _, _, err = run(*words(name, path, tmp_path), "--dry-run")
    assert f"warning: {path} was not closed on host anvil: is it in use there?" in err
    path.write_bytes(images.diskulog(state=State.OPEN, host_name=os.uname().nodename))
    assert "in use there" not in run(*words(name, path, tmp_path), "--dry-run")[2]


def test_a_sound_log_is_not_renamed_by_a_repair(run, path):
    path.write_bytes(images.diskulog())
    with images.untouched(path):
        assert "'diskulog adopt --uuid' gives" in run("repair", "--uuid", "x", path)[1]
