# SPDX-License-Identifier: LGPL-2.1-or-later
import json
import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskulog.errors import DeviceError, RefusedError
from diskulog.exits import Exit, exit_for
from diskulog.forensic.comparison import Difference, Tally, Unread
from diskulog.forensic.verifystate import Identity, StateFile, decode, encode

RUN = Identity("u-1", 100, 1024, 102400, (5, 50), (("/dev/a", 0, 10**6), ("/dev/b\udcff", 8, 10**6)))


def tally() -> Tally:
    made = Tally(20, 10, 10240, 2, 1, 1, 1, 3, 2, last_differing=12)
    made.differing = [Difference(7, 2, 7168, (1,)), Difference(12, 1, 12300, (1,))]
    made.unread = [Unread(9, 1, "cannot read /dev/b\udcff: no")]
    return made


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state"


def test_a_round_trip(path):
    file = StateFile(path)
    assert file.load(RUN) is None
    file.save(RUN, tally())
    assert file.load(RUN) == tally()
    file.save(RUN, Tally(next_region=5))
    assert file.load(RUN) == Tally(next_region=5)
    assert list(path.parent.iterdir()) == [path]
    file.remove()
    file.remove()
    assert file.load(RUN) is None


def test_an_empty_file_is_a_beginning(path):
    path.write_bytes(b"")
    assert StateFile(path).load(RUN) is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"uuid": None}, "it is of another run: the log's uuid: u-1 then, None now"),
        ({"region_count": 99}, "regions: 100 then, 99 now"),
        ({"region_bytes": 2048}, "bytes of a region: 1024"),
        ({"length_bytes": 1}, "bytes of the mirror: 102400"),
        ({"regions": (5, 51)}, "--regions: "),
        ({"legs": (RUN.legs[1], RUN.legs[0])}, "the legs: "),
    ],
)
def test_the_state_of_another_run_is_refused_and_kept(path, changes, said):
    file = StateFile(path)
    file.save(RUN, tally())
    with pytest.raises(RefusedError, match=said) as refused:
        file.load(replace(RUN, **changes))
    assert str(refused.value).startswith(f"--state {path}: ")
    assert "name another file, or remove it" in str(refused.value)
    assert file.load(RUN) == tally()


@pytest.mark.parametrize(
    "content",
    [
        b"x",
        b"[]",
        b"{}",
        b"null",
        b"5",
        b'"x"',
        b"\xff\xfe",
        b"[" * 10**5,
        b'{"diskulog_verify_state": 2}',
        b"\0" * 1024,
    ],
    ids=lambda content: repr(content[:30]),
)
def test_what_is_no_state(path, content):
    path.write_bytes(content)
    with pytest.raises(RefusedError, match="it is no state of 'diskulog verify'"):
        StateFile(path).load(RUN)
    assert path.read_bytes() == content


BAD = [None, -3, 2**64, True, 1.5, "1", [], {}]


@given(st.data())
def test_a_state_that_was_changed_by_hand_is_refused_or_sound(data):
    found = json.loads(encode(RUN, tally()))
    target = data.draw(st.sampled_from([found, found["run"], found["tally"], found["tally"]["differing"][0]]))
    key = data.draw(st.sampled_from(sorted(target)))
    if data.draw(st.booleans()):
        del target[key]
    else:
        target[key] = data.draw(st.sampled_from(BAD))
    try:
        read = decode(json.dumps(found), RUN)
    except ValueError:
        return
    assert RUN.regions[0] <= read.next_region <= RUN.regions[1]
    assert isinstance(read.differing, list)


@pytest.mark.parametrize("region", [4, 51])
def test_a_state_that_goes_on_elsewhere(region):
    with pytest.raises(ValueError, match=f"it is damaged: it goes on at region {region}"):
        decode(encode(RUN, Tally(next_region=region)), RUN)


@pytest.mark.parametrize("field", ["differing", "unread"])
def test_a_state_that_does_not_list_what_it_counts(field):
    made = tally()
    getattr(made, field).pop()
    with pytest.raises(ValueError, match="it is damaged: it does not list what it counts"):
        decode(encode(RUN, made), RUN)


def test_a_leg_that_is_not_there():
    made = tally()
    made.unread = [Unread(9, 2, "x")]
    with pytest.raises(ValueError, match="no state"):
        decode(encode(RUN, made), RUN)


def test_where_it_cannot_be(path):
    with pytest.raises(DeviceError, match="No such file") as failed:
        StateFile(path / "below" / "nothing").save(RUN, tally())
    assert exit_for(failed.value) == Exit.USAGE
    with pytest.raises(RefusedError, match="is no regular file"):
        StateFile(path.parent).load(RUN)
    with pytest.raises(RefusedError, match="is no regular file"):
        StateFile(path.parent.joinpath("/dev/null")).load(RUN)


def test_a_write_that_fails_leaves_the_old_state_and_no_litter(path, monkeypatch):
    file = StateFile(path)
    file.save(RUN, tally())

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DeviceError, match=f"--state {path}: No space left"):
        file.save(RUN, Tally(next_region=5))
    assert file.load(RUN) == tally()
    assert list(path.parent.iterdir()) == [path]
