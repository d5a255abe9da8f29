# SPDX-License-Identifier: LGPL-2.1-or-later
import io
import json
import os
import random
import struct
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diskulog.exits import Exit
from diskulog.trace.record import End, Lost, header_line, line
from tests import images
from tests.fake_kernel import CLEAR, FLUSH, IN_SYNC
from tests.traces import HEADER, heard, of_a_kernel, write

REGIONS = struct.pack("=2Q", 3, 4)
LIFE = [
    heard(IN_SYNC, bytes(8), at=0.5),
    heard(FLUSH, REGIONS, at=1.0),
    Lost(1.2, 2),
    heard(FLUSH, uuid=b"other", at=1.5),
    heard(CLEAR, REGIONS, at=2.0),
    End(60.0, 4, 2),
]


@pytest.fixture
def trace(tmp_path):
    return write(tmp_path / "t.trace", LIFE)


@pytest.fixture
def image(tmp_path):
    """A log of 100 regions; the test must leave it alone."""
    path, content = tmp_path / "log.img", bytes(images.diskulog(100))
    path.write_bytes(content)
    yield path
    assert path.read_bytes() == content


def one_line(err):
    assert err.startswith("diskulog: ")
    assert err.count("\n") == 1
    return err


class TestPrinting:
    def test_a_trace_alone_is_printed(self, run, trace):
        status, out, err = run("replay", trace)
        assert (status, err) == (Exit.FINE, "")
        lines = out.splitlines()
        assert len(lines) == 7
        assert lines[2] == "22:13:21.000000  LVM-s0me-m1rror  FLUSH                 3-4"

    def test_one_log_of_it(self, run, trace):
        out = run("replay", trace, "--uuid", "other")[1]
        assert [line.split()[1:3] for line in out.splitlines()[1:]] == [["!", "2"], ["other", "FLUSH"], ["end:", "4"]]

    def test_that_it_was_not_ended_is_said(self, run, trace):
        write(trace, LIFE[:-1])
        status, out, err = run("replay", trace)
        assert (status, err) == (Exit.FINE, "")
        assert out.endswith("the trace has no end: it is still being written, or its tracer was killed\n")
        assert "no end" not in run("replay", trace, "--limit", "1")[1]

    def test_some_requests_of_it(self, run, trace):
        assert len(run("replay", trace, "--limit", "2")[1].splitlines()) == 3
        assert len(run("replay", trace, "--limit", "9")[1].splitlines()) == 7


class TestRunning:
    def test_requests_answers_changes_and_the_result(self, run, trace, image):
        status, out, err = run("replay", trace, image)
        assert (status, err) == (Exit.FINE, "")
        assert "it starts resumed" in out
        assert (
            "FLUSH                 3-4                    = 0\n    mapping: clean -3-4\n    medium:  clean -3-4" in out
        )
        assert "! 2 requests were not heard" in out
        assert "    mapping: clean +3-4\n" in out  # five seconds after the clear
        assert "after 3 requests, 2 not heard the log is live; 0 clears are held" in out
        assert "state:       open" in out

    def test_as_json_lines(self, run, trace, image):
        status, out, _ = run("replay", "--json", trace, image)
        lines = [json.loads(content) for content in out.splitlines()]
        assert status == lines[-1]["exit_status"] == Exit.FINE
        assert (lines[0]["format_version"], lines[0]["command"], lines[0]["uuid"]) == (1, "replay", images.UUID)
        assert [content.get("type") for content in lines[1:-1]] == [
            None,
            "IN_SYNC",
            "FLUSH",
            None,
            "CLEAR_REGION",
            None,
        ]
        assert lines[-1]["requests"] == 3
        assert lines[-1]["inspect"]["log"]["state"] == "open"
        assert lines[-1]["inspect"]["dirty"] == []

    def test_the_result_as_a_new_image(self, run, trace, image, tmp_path):
        new = tmp_path / "new.img"
        assert run("replay", trace, image, "--limit", "2", "--out-image", new)[0] == Exit.FINE
        log = json.loads(run("inspect", "--json", new)[1])
        assert log["dirty"] == [[3, 2]]
        assert run("replay", trace, image, "--out-image", new)[0] == Exit.REFUSED
        assert run("replay", trace, image, "--out-image", image)[0] == Exit.REFUSED

    def test_the_daemons_configuration_counts(self, run, trace, image, tmp_path):
        config = tmp_path / "c.toml"
        config.write_text("[clears]\nhold_seconds = 3600\n")
        assert "; 2 clears are held" in run("replay", trace, image, "--config", config)[1]
        config.write_text("[clears]\nhold = 3600\n")
        assert run("replay", trace, image, "--config", config)[0] == Exit.USAGE

    def test_a_real_kernels_trace_on_a_blank_device(self, run, tmp_path):
        write(tmp_path / "t", of_a_kernel("6.12"))
        (tmp_path / "blank").write_bytes(bytes(1 << 20))
        status, _, err = run("replay", tmp_path / "t", tmp_path / "blank")
        assert status == Exit.USAGE
        assert "it has UUID-plain, UUID-integrated, UUID-long; choose one with --uuid" in one_line(err)
        status, out, err = run("replay", tmp_path / "t", tmp_path / "blank", "--uuid", "UUID-plain")
        assert (status, err) == (Exit.FINE, "")
        assert "clean:       4 (100.0 %)" in out
        assert not any((tmp_path / "blank").read_bytes())


class Terminal(io.StringIO):
    def isatty(self):
        return True


class TestStepping:
    def test_it_waits_after_each_request(self, run, trace, image, monkeypatch):
        typed = Terminal("\n\n\nrest")
        monkeypatch.setattr("sys.stdin", typed)
        status, out, _ = run("replay", "--step", trace, image)
        assert status == Exit.FINE
        assert typed.read() == "rest"
        assert "after 3 requests" in out

    @pytest.mark.parametrize("typed", ["q\n", "\nquit\n", ""], ids=["q", "quit", "end"])
    def test_it_can_be_ended(self, run, trace, image, monkeypatch, typed):
        monkeypatch.setattr("sys.stdin", Terminal(typed))
        out = run("replay", "--step", trace, image)[1]
        assert f"after {2 if 'quit' in typed else 1} requests" in out

    def test_it_needs_a_terminal(self, run, trace, image, monkeypatch):
        for stdin in (io.StringIO("\n"), None):
            monkeypatch.setattr("sys.stdin", stdin)
            status, _, err = run("replay", "--step", trace, image)
            assert status == Exit.USAGE
            assert "--step needs a terminal" in one_line(err)


class TestBadInput:
    @pytest.mark.parametrize(
        "arguments",
        [
            (),
            ("t", "--json"),
            ("t", "--step"),
            ("t", "--out-image", "x"),
            ("t", "--config", "x"),
            ("t", "i", "--step", "--json"),
            ("t", "i", "--limit", "0"),
            ("t", "i", "extra"),
            ("t", "-"),
        ],
        ids=" ".join,
    )
    def test_usage_errors_are_one_line_and_2(self, run, trace, arguments):
        status, _, err = run("replay", *(trace if word == "t" else word for word in arguments))
        assert status == Exit.USAGE
        one_line(err)

    def test_in_json_a_failure_is_json_too(self, run, trace, tmp_path):
        status, out, err = run("replay", "--json", trace, tmp_path / "none")
        assert status == json.loads(out)["exit_status"] == Exit.USAGE
        one_line(err)

    @pytest.mark.parametrize("extra", [(), ("i",), ("--json", "i")], ids=["print", "run", "json"])
    def test_a_trace_that_is_cut_off_is_shown_to_the_cut_and_1(self, run, trace, image, extra):
        trace.write_bytes(trace.read_bytes()[:-10])
        status, out, err = run("replay", trace, *(image if word == "i" else word for word in extra))
        assert status == Exit.PROBLEM
        assert "line 7 is cut off; only what comes before it is known" in one_line(err)
        assert "CLEAR_REGION" in out
        if "--json" in extra:
            assert json.loads(out.splitlines()[-1])["exit_status"] == Exit.PROBLEM

    @pytest.mark.parametrize("content", [b"", b"hello", b"\0" * 4096, bytes(images.diskulog(100))], ids=len)
    @pytest.mark.parametrize("extra", [(), ("i",)], ids=["print", "run"])
    def test_what_is_no_trace_is_3(self, run, trace, image, content, extra):
        trace.write_bytes(content)
        status, _, err = run("replay", trace, *(image for _ in extra))
        assert status == Exit.NOT_A_LOG
        assert "cannot be read as a trace" in one_line(err)

    def test_an_image_that_does_not_say_how_the_log_was_made_is_3(self, run, trace, tmp_path):
        (tmp_path / "blank").write_bytes(bytes(1 << 20))
        status, _, err = run("replay", trace, tmp_path / "blank", "--uuid", images.UUID)
        assert status == Exit.NOT_A_LOG
        assert "begins in the middle of the log's life" in one_line(err)

    def test_a_trace_without_requests_is_2(self, run, trace, image):
        write(trace, [End(1.0, 0, 0)])
        assert run("replay", trace, image)[0] == Exit.USAGE

    def test_a_reader_that_goes_away_is_no_failure(self, trace, image):
        gone, pipe = os.pipe()
        os.close(gone)
        command = [sys.executable, "-m", "diskulog", "replay", str(trace), str(image)]
        done = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, timeout=60, check=False)
        os.close(pipe)
        assert (done.returncode, done.stderr) == (0, b"")

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=150)
    @given(st.randoms(use_true_random=False), st.integers(1, 8))
    def test_any_damage_ends_in_a_code_and_at_most_one_line(self, run, trace, image, dice: random.Random, hits):
        content = bytearray((header_line(HEADER) + "".join(map(line, LIFE))).encode())
        for _ in range(hits):
            at = dice.randrange(len(content))
            content[at : at + dice.choice((0, 1, 1, 9))] = dice.choice(
                (b"", bytes([dice.randrange(256)]), b"9" * 30, b"\n", b'"', b"-1", b"1e99", b"NaN", b"RESUME", b"CTR")
            )
        trace.write_bytes(content)
        for words in ((trace,), (trace, image, "--uuid", images.UUID)):
            status, _, err = run("replay", *words)
            assert status in (Exit.FINE, Exit.PROBLEM, Exit.USAGE, Exit.NOT_A_LOG)
            assert err.count("\n") == (status != Exit.FINE)
            assert "internal error" not in err
