# SPDX-License-Identifier: LGPL-2.1-or-later
import struct

import pytest

from diskulog import wire
from diskulog.replay import show
from diskulog.replay.bits import Change
from diskulog.replay.player import Step
from diskulog.replay.run import Result
from diskulog.trace.record import Lost
from tests import fake_kernel, schemas
from tests.fake_kernel import FLUSH, IN_SYNC
from tests.traces import HEADER, heard

REQUEST = heard(FLUSH, struct.pack("=2Q", 3, 4), seq=9).datagram


def reply(kind, payload=b"", error=0, data=b""):
    request = wire.unframe(fake_kernel.datagram(kind, b"u", 1, data))
    return bytes(wire.reply(request, payload, error))


@pytest.mark.parametrize(
    ("kind", "payload", "words"),
    [
        (fake_kernel.CTR, b"253:2\0", "'253:2'"),
        (fake_kernel.CTR, b"", "0"),
        (fake_kernel.GET_REGION_SIZE, wire.u64(1024), "1024"),
        (fake_kernel.IN_SYNC, wire.flag(True), "1"),
        (fake_kernel.IS_CLEAN, wire.flag(False), "0"),
        (fake_kernel.GET_RESYNC_WORK, wire.resync_work(5), "region 5"),
        (fake_kernel.GET_RESYNC_WORK, wire.resync_work(None), "none"),
        (fake_kernel.IS_REMOTE_RECOVERING, wire.remote_recovering(99), "0, hint 99"),
        (fake_kernel.STATUS_INFO, wire.string("1 core"), "'1 core'"),
        (fake_kernel.FLUSH, b"", "0"),
        (fake_kernel.DTR, b"", "0"),
    ],
)
def test_answers_as_words(kind, payload, words):
    assert show.answer(reply(kind, payload)) == (0, payload, words)


def test_errors_have_their_names():
    assert show.answer(reply(IN_SYNC, bytes(8), 3)) == (3, bytes(8), "ESRCH")
    assert show.answer(reply(IN_SYNC, bytes(8), 9999)).words == "errno 9999"
    assert show.answer(wire.bare_refusal(5, 22)) == (22, b"", "refused, EINVAL")


def step(**more):
    fields = {"request": REQUEST, "answers": (reply(FLUSH),), "mapping": (), "medium": (), "msyncs": 0, "said": ()}
    return Step(0.5, **(fields | more))


def test_a_plain_step_is_one_line():
    line = "22:13:20.500000  FLUSH                 3-4                    = 0\n"
    assert show.step_text(HEADER, step()) == line


def test_what_changed_stands_below_it():
    mapping = (Change("clean", ((1, 1),), ((3, 4), (9, 9))), Change("sync", (), ((3, 3),)))
    made = show.step_text(HEADER, step(mapping=mapping, medium=mapping[:1], msyncs=2, said=("log x:\x1b live",)))
    assert made.splitlines()[1:] == [
        "    mapping: clean +1 -3-4, 9; sync -3",
        "    medium:  clean +1 -3-4, 9 (2 msync)",
        "    | log x:\\x1b live",
    ]
    assert "    medium:  nothing new (1 msync)\n" in show.step_text(HEADER, step(msyncs=1))


def test_steps_of_another_kind():
    assert "time passes" in show.step_text(HEADER, step(request=None))
    assert "= no answer" in show.step_text(HEADER, step(answers=()))
    assert "! 4 requests were not heard" in show.step_text(HEADER, Lost(0.5, 4))


def test_the_json_of_a_step():
    change = Change("clean", ((1, 1),), ((3, 5),))
    made = schemas.line("replay", show.step_json(step(mapping=(change,), msyncs=1, said=("x\udcff",))))
    assert made == {
        "at": 0.5,
        "type": "FLUSH",
        "seq": 9,
        "luid": "ffff888000001000",
        "data": struct.pack("=2Q", 3, 4).hex(),
        "error": 0,
        "answer": "0",
        "answer_data": "",
        "mapping": {"clean": {"set": [[1, 1]], "cleared": [[3, 3]]}},
        "medium": {},
        "msyncs": 1,
        "messages": ["x\\udcff"],
    }
    assert schemas.line("replay", show.step_json(step(request=None, answers=())))["type"] is None
    assert schemas.line("replay", show.step_json(Lost(0.5, None))) == {"at": 0.5, "lost": None}


def test_a_result_without_a_log():
    found = Result(3, 2, True, True, 4, None, "it is blank")
    text = "".join(show.result_text(found))
    assert text == "\nafter 3 requests, 2 not heard the log is live, FAILED; 4 clears are held\nit is blank\n"
    made = schemas.line("replay", "".join(show.result_json(found, 1, ["damaged"])))
    assert (made["exit_status"], made["inspect"], made["messages"]) == (1, None, ["damaged", "it is blank"])


def test_a_failure():
    assert schemas.line("replay", show.failure_json(3, "no")) == {
        "format_version": 1,
        "command": "replay",
        "exit_status": 3,
        "messages": ["no"],
    }
