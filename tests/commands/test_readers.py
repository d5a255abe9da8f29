# SPDX-License-Identifier: LGPL-2.1-or-later
"""The commands that only read: check and diff; ``inspect`` has its own place in test_cli."""

import json

import pytest

from diskulog.exits import Exit
from tests import images


def test_check_says_what_a_log_breaks(run, path):
    path.write_bytes(images.changed())
    with images.untouched(path):
        status, out, err = run("check", path)
    assert (status, err) == (Exit.PROBLEM, "")
    assert out.startswith(f"{path}: damaged\n\nerror: bitmap-changed: ")
    assert run("check", "--quiet", path) == (Exit.PROBLEM, "", "")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (images.diskulog(), Exit.FINE),
        (images.damaged(), Exit.PROBLEM),
        (bytes(4096), Exit.NOT_A_LOG),
        (b"", Exit.NOT_A_LOG),
        (bytes(images.diskulog(version=9)), Exit.NOT_A_LOG),
    ],
)
def test_check_in_json(run, path, data, status):
    path.write_bytes(data)
    found, out, err = run("check", "--json", path)
    document = json.loads(out)
    assert (found, err) == (status, "")
    assert document["exit_status"] == status
    unreadable = ("not-a-log", "blank", "cut-off", "feature-not-known")
    assert (status == Exit.NOT_A_LOG) == (document["findings"][0]["name"] in unreadable)


@pytest.mark.parametrize("words", [("check",), ("dump",), ("diff", "-")])
def test_json_is_printed_of_a_failure_too(run, tmp_path, words):
    status, out, err = run(*words, "--json", tmp_path / "none")
    document = json.loads(out)
    assert (document["command"], document["exit_status"]) == (words[0], status)
    assert status in (Exit.USAGE, Exit.NOT_A_LOG)
    assert err == f"diskulog: {document['messages'][0]['text']}\n"


def test_check_of_what_cannot_be_opened(run, tmp_path):
    status, out, err = run("check", tmp_path / "none")
    assert (status, out) == (Exit.USAGE, "")
    assert "No such file" in err


def test_diff_since_a_dump(run, path, tmp_path):
    path.write_bytes(images.diskulog(dirty=[1]))
    before = tmp_path / "dump"
    before.write_text(run("dump", path)[1])
    assert run("diff", before, path) == (Exit.FINE, "no difference\n", "")
    path.write_bytes(images.diskulog(dirty=[2]))
    with images.untouched(path):
        status, out, err = run("diff", "--since", before, path)
    assert (status, err) == (Exit.PROBLEM, "")
    assert out == "became dirty: 1 of 1000 regions\n  2\nbecame clean: 1 of 1000 regions\n  1\n"
    document = json.loads(run("diff", "--json", before, path)[1])
    assert (document["became_dirty"], document["exit_status"]) == ([[2, 1]], Exit.PROBLEM)


@pytest.mark.parametrize("names", [(), ("a",), ("a", "b", "c"), ("-", "-")])
def test_diff_takes_two(run, names):
    status, _, err = run("diff", *names)
    assert status == Exit.USAGE
    assert err.startswith("diskulog: diff: ")


def test_diff_of_what_is_no_log(run, path, tmp_path):
    path.write_bytes(images.diskulog())
    other = tmp_path / "other"
    other.write_bytes(bytes(4096))
    status, _, err = run("diff", path, other)
    assert status == Exit.NOT_A_LOG
    assert f"{other} is blank" in err


def test_diff_of_a_log_that_is_not_believed(run, path, tmp_path):
    path.write_bytes(images.changed([5]))
    other = tmp_path / "other"
    other.write_bytes(images.diskulog())
    status, out, err = run("diff", other, path)
    assert status == Exit.PROBLEM
    assert "compared is what 'diskulog repair' makes of it" in err
    assert "became dirty: 1000 of 1000 regions" in out
    assert run("diff", path, path)[0] == Exit.PROBLEM


def test_a_limit_below_zero(run, path):
    assert run("diff", "--limit", "-1", path, path)[0] == Exit.USAGE
