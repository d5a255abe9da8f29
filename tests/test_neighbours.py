# SPDX-License-Identifier: LGPL-2.1-or-later
import logging
import os
import socket
from pathlib import Path

import pytest

from diskulog import neighbours as module
from diskulog.errors import RefusedError
from diskulog.neighbours import Neighbour, refuse_beside_another

# a real one (Debian 6.12): a process in group 7, one in others, the kernel's own sockets, another family
PROC_NET_NETLINK = """\
sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode
00000000b09756d2 0   1          00000551 0        0        0     2        0        9021
00000000c36cf92b 0   0          00000000 0        0        0     2        0        1021
00000000b09756d3 11  0          00000040 0        0        0     2        0        1027
00000000a0b1c2d3 11  4242       00000040 0        0        0     2        0        777
00000000a0b1c2d4 11  4243       00000007 0        0        0     2        0        778
00000000a0b1c2d5 15  4244       00000040 0        0        0     2        0        779
00000000a0b1c2d6 11  4294963000 00000041 0        0        0     2        0        780
"""


class TestNeighbours:
    @pytest.fixture(autouse=True)
    def proc(self, tmp_path, monkeypatch):
        listing = tmp_path / "netlink"
        listing.write_text(PROC_NET_NETLINK)
        monkeypatch.setattr(module, "_PROC_NETLINK", listing)
        return listing

    def test_only_processes_in_group_seven_of_the_connector_listen(self, monkeypatch):
        monkeypatch.setattr(module, "_owner", {777: 4242, 780: 5000}.get)
        assert module._listeners() == [4242, 5000]

    def test_a_socket_whose_owner_cannot_be_seen_goes_by_its_port(self, monkeypatch):
        monkeypatch.setattr(module, "_owner", lambda _: None)
        assert module._listeners() == [4242, 4294963000]

    def test_nobody_in_the_group_is_no_matter(self, proc, caplog):
        proc.write_text(PROC_NET_NETLINK.splitlines()[0] + "\n")
        with caplog.at_level(logging.DEBUG, "diskulog.transport"):
            refuse_beside_another()
        assert caplog.records == []

    def test_a_process_that_may_answer_is_refused(self, monkeypatch):
        monkeypatch.setattr(module, "_owner", lambda _: os.getpid())
        monkeypatch.setattr(module, "_may_answer", lambda _: True)
        name = Path("/proc/self/comm").read_text().strip()
        with pytest.raises(RefusedError) as refused:
            refuse_beside_another()
        assert str(refused.value) == (
            f"netlink group 7: process {os.getpid()} ({name}) is listening and may answer requests; "
            "stop it; two daemons would answer each other's logs"
        )

    def test_somebody_answers_when_one_of_them_may(self, proc, monkeypatch):
        monkeypatch.setattr(module, "_owner", {777: 4242, 780: 5000}.get)
        monkeypatch.setattr(module, "_may_answer", lambda pid: pid == 5000)
        assert module.somebody_answers()
        monkeypatch.setattr(module, "_may_answer", lambda _: False)
        assert not module.somebody_answers()

    def test_a_process_that_only_listens_is_warned_about(self, monkeypatch, caplog):
        monkeypatch.setattr(module, "_owner", {777: os.getpid(), 780: 2**22 + 1}.get)
        monkeypatch.setattr(module, "_may_answer", lambda _: False)
        with caplog.at_level(logging.WARNING, "diskulog.transport"):
            refuse_beside_another()
        assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
        assert f"process {os.getpid()} " in caplog.text
        assert f"process {2**22 + 1} (unknown) listens on netlink group 7" in caplog.text

    def test_a_socket_that_was_kept_for_us_is_our_own(self, monkeypatch, caplog):
        # systemd, which holds it too, runs as root
        monkeypatch.setattr(module, "_owner", {777: 1}.get)
        monkeypatch.setattr(module, "_may_answer", lambda pid: pid == 1)
        with caplog.at_level(logging.WARNING, "diskulog.transport"):
            refuse_beside_another(777)
            assert [record.args[0] for record in caplog.records] == [4294963000]
            with pytest.raises(RefusedError):
                refuse_beside_another()

    def test_the_owner_of_a_socket_is_found_by_its_inode(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            assert module._owner(os.fstat(sock.fileno()).st_ino) == os.getpid()
        assert module._owner(2**40) is None

    def test_a_process_that_ends_while_it_is_looked_at_is_passed_over(self, monkeypatch):
        processes = [Path("/proc/0"), Path(f"/proc/{os.getpid()}")]
        monkeypatch.setattr(module.Path, "glob", lambda *_: iter(processes))
        with socket.socket(socket.AF_UNIX) as sock:
            assert module._owner(os.fstat(sock.fileno()).st_ino) == os.getpid()

    @pytest.mark.parametrize(
        ("effective", "may"), [(0, False), (1 << 21, True), (0x1FFFFFFFFFF, True), (0x1FFFFFFFFFF & ~(1 << 21), False)]
    )
    def test_whoever_has_cap_sys_admin_may_answer(self, monkeypatch, effective, may):
        monkeypatch.setattr(module.Path, "read_text", lambda _: f"Name:\tx\nCapEff:\t{effective:016x}\n")
        assert module._may_answer(1) is may

    def test_a_process_that_is_gone_may_not(self):
        assert module._may_answer(2**22 + 1) is False

    def test_systemd_that_keeps_a_socket_is_named_only_when_nobody_else_has_it(self, tmp_path, monkeypatch):
        processes = [tmp_path / "1", tmp_path / "30"]
        for process in processes:
            (process / "fd").mkdir(parents=True)
            (process / "fd" / "3").symlink_to("socket:[777]")
        monkeypatch.setattr(module.Path, "glob", lambda *_: iter(processes))
        assert module._owner(777) == 30
        (processes[1] / "fd" / "3").unlink()
        assert module._owner(777) == 1

    def test_neighbours_have_names(self, monkeypatch):
        monkeypatch.setattr(module, "_owner", {777: os.getpid(), 780: 2**22 + 1}.get)
        mine, gone = module.neighbours()
        assert mine.name == Path("/proc/self/comm").read_text().strip()
        assert gone == Neighbour(2**22 + 1, "unknown", False)
