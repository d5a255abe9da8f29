# SPDX-License-Identifier: LGPL-2.1-or-later
"""What ``verify`` has to say at its end, as text and as JSON.

Lives here: wording, layout and the fields that scripts read. Does not judge, does not print.
"""

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from diskulog.exits import Exit
from diskulog.forensic.comparison import Difference, Tally
from diskulog.forensic.report import ERROR, report
from diskulog.forensic.text import table
from diskulog.forensic.verifyjob import Outcome
from diskulog.printable import printable
from diskulog.units import SECTOR_BYTES, human_bytes

_FORMAT_VERSION: Final = 1


def pieces(found: Outcome, limit: int) -> Iterator[str]:
    """Yield the text line by line; at most ``limit`` ranges and read errors, 0 for all."""
    for part in (_block(found), _differing(found, limit), _unread(found, limit), _messages(found)):
        for line in part:
            yield f"{line}\n"


def _block(found: Outcome) -> Iterator[str]:
    tally, layout = found.tally, found.layout
    uuid = "" if found.told.uuid is None else f", uuid {printable(found.told.uuid)}"
    sectors = layout.region_bytes // SECTOR_BYTES
    yield f"log:        {printable(found.image.name)}{uuid}{', live' if found.image.live else ''}"
    for number, (leg, _) in enumerate(found.legs, 1):
        yield f"{f'leg {number}:':<12}{printable(leg.device)} from sector {leg.offset_sectors}"
    yield f"regions:    {_asked(found)}, of {human_bytes(layout.region_bytes)} ({sectors} sectors)"
    yield f"compared:   {tally.compared_count} ({human_bytes(tally.compared_bytes)})"
    yield (
        f"skipped:    {tally.dirty_count} dirty, {tally.out_of_sync_count} out of sync, "
        f"{tally.changed_count} written meanwhile"
    )
    if tally.unread_count:
        yield f"not read:   {tally.unread_count}"
    yield f"differing:  {tally.differing_count or 'none'}"
    if not found.finished:
        yield f"not done:   regions {tally.next_region} to {found.regions[1] - 1}"


def _asked(found: Outcome) -> str:
    first, end = found.regions
    count = found.layout.region_count
    return f"all {count}" if (first, end) == (0, count) else f"{first} to {end - 1} of {count}"


def _differing(found: Outcome, limit: int) -> Iterator[str]:
    total = found.tally.range_count
    if not total:
        return
    yield ""
    yield f"differing regions ({total} range{'s' * (total != 1)}, where each differs first)"
    legs = range(1, len(found.legs) + 1)
    header = ["first region", "regions", "byte of the mirror", *(f"of leg {number}" for number in legs), "unlike leg 1"]
    rows = islice(found.tally.differing, limit or None)
    yield from table(header, (_row(found, each) for each in rows))
    yield from _more(total, limit, found.tally.differing)


def _row(found: Outcome, each: Difference) -> list[str]:
    unlike = ", ".join(f"leg {leg + 1}" for leg in each.legs)
    numbers = [each.first_region, each.region_count, each.offset_bytes, *_leg_offsets(found, each)]
    return [*map(str, numbers), unlike]


def _leg_offsets(found: Outcome, each: Difference) -> list[int]:
    return [each.offset_bytes + leg.offset_sectors * SECTOR_BYTES for leg, _ in found.legs]


def _unread(found: Outcome, limit: int) -> Iterator[str]:
    total = found.tally.unread_count
    if not total:
        return
    yield ""
    yield f"regions that could not be read ({total})"
    for each in islice(found.tally.unread, limit or None):
        yield f"  region {each.region}, leg {each.leg + 1}: {printable(each.reason)}"
    yield from _more(total, limit, found.tally.unread)


def _more(total: int, limit: int, kept: list[Any]) -> Iterator[str]:
    shown = min(limit or len(kept), len(kept))
    if shown < total:
        hint = " (--limit 0 shows all)" if shown < len(kept) == total else f" ({len(kept)} are kept)"
        yield f"  ... and {total - shown} more{hint}"


def _messages(found: Outcome) -> Iterator[str]:
    if found.messages:
        yield ""
    for severity, text, _ in found.messages:
        yield f"{severity}: {printable(text)}"


def document(found: Outcome) -> str:
    """Return the JSON: one document, everything that was kept."""
    return _json(
        exit_status=found.exit_status,
        log=_log(found),
        legs=[
            {"device": leg.device, "offset_sectors": leg.offset_sectors, "size_bytes": size} for leg, size in found.legs
        ],
        finished=found.finished,
        **_counts(found),
        differing=[_range(found, each) for each in found.tally.differing],
        unread=[{"region": each.region, "leg": each.leg, "reason": each.reason} for each in found.tally.unread],
        messages=[{"severity": severity, "text": text} for severity, text, _ in found.messages],
    )


def failure(status: Exit, text: str) -> str:
    """Return the JSON of a run that could not begin, or broke off."""
    return _json(exit_status=status, log=None, messages=[{"severity": ERROR, "text": text}])


def _json(**values: object) -> str:
    return json.dumps(_encodable({"format_version": _FORMAT_VERSION, "command": "verify", **values})) + "\n"


def _log(found: Outcome) -> dict[str, object]:
    return {
        "device": found.image.name,
        "dialect": report(found.image).dialect,
        "uuid": found.told.uuid,
        "region_size_sectors": found.told.region_size_sectors,
        "region_count": found.layout.region_count,
        "target_length_sectors": found.told.length_sectors,
        "live": found.image.live,
    }


def _counts(found: Outcome) -> dict[str, object]:
    tally: Tally = found.tally
    return {
        "first_region": found.regions[0],
        "end_region": found.regions[1],
        "next_region": tally.next_region,
        "compared_count": tally.compared_count,
        "compared_bytes": tally.compared_bytes,
        "dirty_count": tally.dirty_count,
        "out_of_sync_count": tally.out_of_sync_count,
        "changed_count": tally.changed_count,
        "unread_count": tally.unread_count,
        "differing_count": tally.differing_count,
        "differing_range_count": tally.range_count,
    }


def _range(found: Outcome, each: Difference) -> dict[str, object]:
    return {
        "first_region": each.first_region,
        "region_count": each.region_count,
        "offset_bytes": each.offset_bytes,
        "leg_offsets_bytes": _leg_offsets(found, each),
        "unlike_first_leg": list(each.legs),
    }


def _encodable(value: Any) -> Any:
    """Spell out the bytes of names that are no UTF-8, which JSON cannot hold."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {key: _encodable(each) for key, each in value.items()}
    return [_encodable(each) for each in value] if isinstance(value, list) else value
