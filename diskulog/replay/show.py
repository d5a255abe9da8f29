# SPDX-License-Identifier: LGPL-2.1-or-later
"""A replay as people and scripts read it: a line for each request, what changed below it, the result at the end.

Lives here: layout, answers as words, JSON lines. Does not play.
"""

import json
import struct
from collections.abc import Callable, Iterator
from errno import errorcode
from typing import Any, Final, NamedTuple

from diskulog import wire
from diskulog.forensic import text as inspect_text
from diskulog.printable import printable
from diskulog.replay.bits import Change
from diskulog.replay.player import Step
from diskulog.replay.run import Result
from diskulog.trace.record import Header, Lost, text
from diskulog.trace.text import asked, clock, lost_text, ranges_text, type_name
from diskulog.wire import Request
from diskulog.wire import RequestType as _T

_LIMIT: Final = 20
_ASKED_WIDTH: Final = 44
_ERROR_FIELD: Final = 14  # of wire.FRAME
_ACK: Final = struct.Struct("=28xI")  # of a bare acknowledgement
_PAIR: Final = struct.Struct("=qQ")
_NUMBER: Final = struct.Struct("=Q")
LEGEND: Final = "+ became clean, or in sync; - became dirty, or out of sync\n"


class Answer(NamedTuple):
    """An answer taken apart: a positive errno or 0, the payload, and both as words."""

    error: int
    payload: bytes
    words: str


def _number(data: bytes) -> str:
    return str(_NUMBER.unpack(data)[0])


def _work(data: bytes) -> str:
    there, region = _PAIR.unpack(data)
    return f"region {region}" if there else "none"


def _recovering(data: bytes) -> str:
    recovering, hint = _PAIR.unpack(data)
    return f"{recovering}, hint {hint}"


def _string(data: bytes) -> str:
    return printable(repr(text(data.rstrip(b"\0")))) if data else "0"


_PAYLOADS: Final[dict[int, Callable[[bytes], str]]] = {
    _T.CTR: _string,
    _T.GET_REGION_SIZE: _number,
    _T.IS_CLEAN: _number,
    _T.IN_SYNC: _number,
    _T.GET_RESYNC_WORK: _work,
    _T.GET_SYNC_COUNT: _number,
    _T.STATUS_INFO: _string,
    _T.STATUS_TABLE: _string,
    _T.IS_REMOTE_RECOVERING: _recovering,
}


def answer(datagram: bytes) -> Answer:
    """Take an answer of the server apart."""
    request = wire.unframe(datagram)
    if not isinstance(request, Request):  # a bare acknowledgement
        error = int(_ACK.unpack_from(datagram)[0])
        return Answer(error, b"", f"refused, {_errno(error)}")
    error = -int(wire.FRAME.unpack_from(datagram)[_ERROR_FIELD])
    if error:
        return Answer(error, request.data, _errno(error))
    return Answer(0, request.data, _payload(request))


def _payload(request: Request) -> str:
    words = _PAYLOADS.get(request.type)
    return words(request.data) if words else "0"


def _errno(error: int) -> str:
    return errorcode.get(error, f"errno {error}")


# -- for people ------------------------------------------------------------------------------------------------------


def step_text(header: Header, step: Step | Lost) -> str:
    """Return the lines of a step."""
    when = clock(header, step.at_seconds)
    if isinstance(step, Lost):
        return f"{when}  ! {lost_text(step)}; from here on this is a guess\n"
    answers = ", ".join(answer(one).words for one in step.answers) or "no answer"
    first = (
        f"{asked(step.request):<{_ASKED_WIDTH}} = {answers}" if step.request else "time passes: clears that were held"
    )
    lines = [f"{when}  {first}"]
    lines += [f"    mapping: {_changes(step.mapping)}"] if step.mapping else []
    if step.msyncs:
        lines.append(f"    medium:  {_changes(step.medium) or 'nothing new'} ({step.msyncs} msync)")
    lines += [f"    | {printable(line)}" for line in step.said]
    return "\n".join(lines) + "\n"


def _changes(found: tuple[Change, ...]) -> str:
    return "; ".join(f"{change.bitmap}{_signed('+', change.set)}{_signed('-', change.cleared)}" for change in found)


def _signed(sign: str, found: tuple[tuple[int, int], ...]) -> str:
    return f" {sign}{ranges_text(found)}" if found else ""


def result_text(found: Result) -> Iterator[str]:
    """Yield the lines of the result."""
    lost = f", {found.lost} not heard" if found.lost else ""
    state = "live" if found.live else "not live"
    failed = ", FAILED" if found.failed else ""
    yield f"\nafter {found.requests} requests{lost} the log is {state}{failed}; {found.held_clears} clears are held\n"
    if found.log is None:
        yield f"{printable(found.nothing)}\n"
    else:
        yield from inspect_text.pieces(found.log, inspect_text.Layout(_LIMIT))


# -- for scripts -----------------------------------------------------------------------------------------------------


def title_json(header: Header, uuid: bytes) -> str:
    """Return the first line."""
    return _line(
        {
            "format_version": 1,
            "command": "replay",
            "uuid": _spelled(text(uuid)),
            "host": header.host,
            "kernel": header.kernel,
            "boot_id": header.boot_id.hex(),
            "start": header.start_seconds,
        }
    )


def step_json(step: Step | Lost) -> str:
    """Return the line of a step."""
    if isinstance(step, Lost):
        return _line({"at": round(step.at_seconds, 6), "lost": step.requests})
    fields: dict[str, Any] = {"at": round(step.at_seconds, 6), **_request_json(step.request)}
    if step.answers:
        error, payload, words = answer(step.answers[-1])
        fields |= {"error": error, "answer": words, "answer_data": payload.hex()}
    fields |= {"mapping": _changes_json(step.mapping), "medium": _changes_json(step.medium)}
    return _line({**fields, "msyncs": step.msyncs, "messages": [_spelled(line) for line in step.said]})


def _request_json(datagram: bytes | None) -> dict[str, Any]:
    request = wire.unframe(datagram) if datagram is not None else None
    if not isinstance(request, Request):
        return {"type": None}
    return {
        "type": type_name(request.type),
        "seq": request.seq,
        "luid": f"{request.luid:x}",
        "data": request.data.hex(),
    }


def _changes_json(found: tuple[Change, ...]) -> dict[str, Any]:
    return {change.bitmap: {"set": _runs(change.set), "cleared": _runs(change.cleared)} for change in found}


def _runs(found: tuple[tuple[int, int], ...]) -> list[list[int]]:
    return [[first, last - first + 1] for first, last in found]


def result_json(found: Result, status: int, messages: list[str]) -> Iterator[str]:
    """Yield the last line, in pieces: the log in it is what ``inspect --json`` would say."""
    fields = {
        "exit_status": status,
        "requests": found.requests,
        "lost": found.lost,
        "live": found.live,
        "failed": found.failed,
        "held_clears": found.held_clears,
        "messages": [_spelled(message) for message in [*messages, found.nothing] if message],
    }
    yield _line(fields)[:-2] + ',"inspect":'
    if found.log is None:
        yield "null"
    else:
        from diskulog.forensic import model  # noqa: PLC0415 - pydantic is heavy

        yield from model.pieces(model.document(found.log))
    yield "}\n"


def failure_json(status: int, message: str) -> str:
    """Return the one line of a replay that could not begin."""
    document = {"format_version": 1, "command": "replay", "exit_status": status, "messages": [_spelled(message)]}
    return _line(document)


def _spelled(words: str) -> str:
    return words.encode("utf-8", "backslashreplace").decode()


def _line(fields: dict[str, Any]) -> str:
    return json.dumps(fields, separators=(",", ":")) + "\n"
