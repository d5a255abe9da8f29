# SPDX-License-Identifier: LGPL-2.1-or-later
"""The target that reads a trace, and replays each of its logs on an image.

Lives here: what must hold of both, whatever the trace says. Does not know the command line.
"""

import io
from collections.abc import Hashable

from diskulog.clears import ClearPolicy
from diskulog.errors import BadLogError
from diskulog.replay import show
from diskulog.replay.beginning import beginning, survey
from diskulog.replay.medium import Medium, head_of
from diskulog.replay.player import Player
from diskulog.replay.run import Replay
from diskulog.trace import text
from diskulog.trace.reader import Trace
from diskulog.trace.record import line, record_from
from tests import images
from tools.fuzzing.parsers import gist

_IMAGES = (bytes(64 * 1024), bytes(images.diskulog(100, dirty=[5], out_of_sync=[7], size=64 * 1024)))


class _Image:
    """An image in memory, in the place of a file."""

    name, block_bytes = "image", 512

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.size_bytes = len(content)

    def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        return self._content[offset_bytes : offset_bytes + length_bytes]


def run_trace(data: bytes) -> Hashable:
    """A trace: records that come back the same, up to the first line that is damaged; and each log can be replayed."""
    try:
        trace = Trace("trace", io.BytesIO(data))
    except BadLogError as error:
        return gist(error)[:60]
    assert text.title(trace.header).count("\n") == 1
    kinds = set()
    for record in trace.records():
        assert line(record_from(line(record).encode())) == line(record)
        assert text.line(trace.header, record).count("\n") == 1
        kinds.add(type(record).__name__)
    damage = gist(trace.damage)[:60]
    replayed = [_replay(trace, content, uuid) for content in _IMAGES for uuid in list(survey(trace))[:4]]
    return *sorted(kinds), damage, *replayed


def _replay(trace: Trace, content: bytes, uuid: bytes) -> Hashable:
    medium = Medium(_Image(content))  # type: ignore[arg-type]  # as much of a FileSource as it asks for
    try:
        first = beginning(survey(trace)[uuid], head_of(medium), trace.header.boot_id)
    except BadLogError as error:
        return gist(error)[:60]
    with Player(medium, trace.header, ClearPolicy(), False) as player:
        playing = Replay(trace, player, uuid, first, None)
        for event in playing.events():
            assert not any("bug:" in said for said in getattr(event, "said", ())), event
            show.step_text(trace.header, event)
            show.step_json(event)
        found = playing.result()
        "".join(show.result_text(found))
    return found.live, found.failed
