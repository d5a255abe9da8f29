# SPDX-License-Identifier: LGPL-2.1-or-later
"""Targets that read one piece of text or one datagram: the codec, the constructor string, the configuration.

Lives here: what must hold of each; any bytes go in, something hashable that says how they were met comes out. Does not
know logs, devices or workers.
"""

import errno
import re
from collections.abc import Hashable
from contextlib import suppress

from diskulog import config, ctr, wire
from diskulog.errors import BadRequestError, RefusedError
from diskulog.exits import UsageError
from diskulog.wire import Unreadable
from tools.fuzzing.answers import awaited, check_reply


def gist(*parts: object) -> str:
    """What was said, without what varies with the input."""
    return " ".join(re.sub(r"'.*'|\".*\"|\d+", "", str(part)) for part in parts)


def run_wire(data: bytes) -> Hashable:
    """The codec: every datagram is a request, something to refuse, or nobody's; nothing raises but the decoders."""
    found, seq = wire.unframe(data), awaited(data)
    assert found == wire.unframe(memoryview(bytearray(data)))
    assert (found.seq if found else None) == seq, f"seq {seq} is awaited, {found} was read"
    if found is None:
        return None
    if isinstance(found, Unreadable):
        return check_reply(data, wire.bare_refusal(found.seq, errno.EINVAL))
    for region_count in (None, 0, 1, 2**32 - 1, 2**62):
        check_reply(data, bytes(wire.fallback_reply(found, region_count)))
    met = []
    for decode in (wire.regions, wire.region, wire.region_sync):
        with suppress(BadRequestError):
            decode(found.data)
            met.append(decode.__name__)
    return found.type, *met


def run_ctr(data: bytes) -> Hashable:
    """The constructor string: refused in words, or arguments that keep every limit."""
    ctr.is_reconnect(data)
    met = []
    for alone in (False, True):
        try:
            args = ctr.parse(data, clustered_single_host=alone)
        except RefusedError as error:
            met.append(gist(error))
            continue
        size = args.region_size_sectors
        assert 2 <= size <= min(2**31, args.target_length_sectors)
        assert size.bit_count() == 1
        assert (args.region_count - 1) * size < args.target_length_sectors <= args.region_count * size
        assert args.region_count < 2**32
        assert args.log_type in ("disk", "core")
        assert (args.device is None) == (args.log_type == "core")
        met.append((args.type_word, args.sync, args.block_on_error))
    return tuple(met)


def run_config(data: bytes) -> Hashable:
    """The configuration: values in their bounds, or one line."""
    try:
        found = config.parse(data, "fuzz.toml")
    except UsageError as error:
        return str(error).rpartition(": ")[2][:20]
    assert 1 <= found.clears.max_held < 2**32
    assert 0 < found.clears.leg_flush_timeout_seconds <= 3600
    return tuple(found.model_fields_set)
