# SPDX-License-Identifier: LGPL-2.1-or-later
import logging

from diskulog.complaints import Complaints


def test_each_kind_is_written_once_a_minute(caplog) -> None:
    now = [0.0]
    complaints = Complaints(logging.getLogger("diskulog.test"), lambda: now[0])
    with caplog.at_level(logging.WARNING, "diskulog.test"):
        for at in (0.0, 1.0, 59.9, 60.0, 61.0):
            now[0] = at
            complaints.say("a", "a at %s", at)
        complaints.say("b", "b")
    assert caplog.messages == ["a at 0.0", "a at 60.0", "b"]
