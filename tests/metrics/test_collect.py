# SPDX-License-Identifier: LGPL-2.1-or-later
import pytest

from diskulog import sysfs
from diskulog.exits import NoDaemonError
from diskulog.metrics import collect
from tests import fake_control
from tests.fake_control import log


@pytest.fixture
def path(tmp_path):
    return tmp_path / "control.sock"


def values(found):
    return {family.name: family.samples[0].value for family in found}


def test_the_daemon_is_asked_each_time(path):
    told = []
    ask = collect.always(path, told.append)
    with fake_control.serving(path) as daemon:
        daemon.answers = [fake_control.answer(log(marked_regions=1)), fake_control.answer(log(marked_regions=2))]
        assert values(ask())["diskulog_log_marked_regions_total"] == 1
        assert values(ask())["diskulog_log_marked_regions_total"] == 2
        assert daemon.requests == [{"do": "status"}] * 2
    assert told == []


def test_a_daemon_that_comes_and_goes_is_told_once_each_time(path):
    told = []
    ask = collect.always(path, told.append)
    assert [values(ask())["diskulog_up"] for _ in range(3)] == [0, 0, 0]
    with fake_control.serving(path) as daemon:
        assert values(ask())["diskulog_up"] == values(ask())["diskulog_up"] == 1
        daemon.answering = lambda client, _: client.sendall(b"nonsense\n")
        assert set(values(ask())) == {"diskulog_up", "diskulog_collected_timestamp_seconds"}
    assert len(told) == 3
    assert str(path) in told[0]
    assert told[1] == f"the daemon answers at {path}"


def test_once_fails(path):
    with pytest.raises(NoDaemonError):
        collect.once(path)


def test_the_mirror_is_named_by_sysfs(path, tmp_path, monkeypatch):
    monkeypatch.setattr(sysfs, "SYS_BLOCK", tmp_path / "sys")
    mirror = tmp_path / "devices/dm-3"
    (mirror / "dm").mkdir(parents=True)
    (mirror / "dm/name").write_text("home\n")
    (mirror / "dev").write_text("253:3\n")
    for number, name in ((2, "253:2"), (4, "7:0"), (5, "7:1")):
        slave = mirror / f"slaves/dm-{number}"
        slave.mkdir(parents=True)
        (slave / "dev").write_text(f"{name}\n")
    holders = tmp_path / "sys/253:2/holders"
    holders.mkdir(parents=True)
    (holders / "dm-3").symlink_to(mirror)
    with fake_control.serving(path) as daemon:
        daemon.answers = [fake_control.answer(log(), log(uuid="c", log_type="core", log_device=None))]
        found = {family.name: family.samples for family in collect.once(path)}
    names = {dict(sample.labels)["uuid"]: dict(sample.labels)["mirror"] for sample in found["diskulog_log_regions"]}
    assert names == {"UUID-1": "home", "c": ""}
