# SPDX-License-Identifier: LGPL-2.1-or-later

import pytest

from diskulog import ondisk
from diskulog.errors import BadLogError
from diskulog.exits import Exit
from diskulog.forensic import findings
from diskulog.forensic.findings import EXPLAINED
from diskulog.forensic.image import load
from diskulog.forensic.report import report
from diskulog.ondisk import Header, State
from tests import images, schemas


def found(data, holders=()):
    return findings.findings(report(images.loaded(bytes(data), holders)))


def names(data, holders=()):
    return [finding.name for finding in found(data, holders)]


def reserved(fill):
    data = images.diskulog()
    data[100:103] = bytes([fill]) * 3
    return data


def stray():
    data = images.diskulog(state=State.OPEN)
    data[1024 + 125] = 1
    return data


# each rule, broken: what there is to say, the gravest first
BROKEN = {
    "extension-damaged": (images.damaged(), ["extension-damaged", "resync"]),
    "region-count-differs": (images.resized(900), ["region-count-differs", "resync"]),
    "sync-bitmap-misplaced": (images.diskulog(sync_offset_bytes=100), ["sync-bitmap-misplaced", "resync"]),
    "bitmap-changed": (images.changed(), ["bitmap-changed", "resync"]),
    "not-closed": (images.diskulog(state=State.OPEN), ["not-closed", "resync"]),
    "released": (images.diskulog(state=State.RELEASED), ["released", "resync"]),
    "stray-bits": (stray(), ["stray-bits", "not-closed", "resync"]),
    "fresh-from-lvm": (images.lvm_fresh(0), ["fresh-from-lvm"]),
    "resync": (images.kernel(dirty=[1]), ["resync"]),
    "reserved-not-zero": (reserved(7), ["reserved-not-zero", "resync"]),
    "version-1": (images.kernel(version=1), ["resync", "version-1"]),
    "uuid-empty": (images.diskulog(uuid=""), ["uuid-empty", "resync"]),
    "region-size-impossible": (images.diskulog(region_size_sectors=1000), ["region-size-impossible", "resync"]),
    "length-differs": (images.diskulog(target_length_sectors=5), ["length-differs", "resync"]),
    "clean-not-in-sync": (images.diskulog(out_of_sync=[4]), ["clean-not-in-sync", "resync"]),
    "times-impossible": (images.diskulog(closed_seconds=5), ["resync", "times-impossible"]),
    "host-unknown": (images.diskulog(host_name="", state=State.OPEN), ["not-closed", "resync", "host-unknown"]),
    "capacity-differs": (images.diskulog(sync_capacity_bytes=4096), ["resync", "capacity-differs"]),
}


@pytest.mark.parametrize(("data", "wanted"), BROKEN.values(), ids=BROKEN)
def test_a_rule_that_is_broken_is_named(data, wanted):
    assert names(data) == wanted


UNREADABLE = {
    "not-a-log": b"\x55" * 4096,
    "blank": bytes(4096),
    "stopped": ondisk.STOPPED.ljust(4096, b"\0"),
    "cut-off": bytes(images.kernel(100_000)[:4096]),
    "version-not-known": bytes(images.kernel(version=3)),
    "feature-not-known": bytes(images.diskulog(incompatible=4)),
    "too-many-regions": bytes(images.claims(2**33, size=2**10)),
}


@pytest.mark.parametrize(("data", "name"), [(data, name) for name, data in UNREADABLE.items()], ids=UNREADABLE)
def test_what_cannot_be_read_has_a_name_too(data, name):
    source = images.MemorySource(data)
    source.size_bytes = None if name == "too-many-regions" else len(data)
    with pytest.raises(BadLogError) as caught:
        load(source)
    finding = findings.unreadable(caught.value)
    assert (finding.name, finding.severity, finding.text) == (name, "error", str(caught.value))


def test_a_live_log_is_said_to_be():
    assert names(images.kernel(), ("dm-0",)) == ["live"]


def test_every_name_is_explained_and_every_explanation_used():
    assert set(EXPLAINED) == {*BROKEN, *UNREADABLE, "live"}
    for finding in found(images.damaged()):
        assert (finding.meaning, finding.remedy) == EXPLAINED[finding.name]


def test_logs_that_lvm_filled_with_ones_have_nothing_reserved():
    data = images.lvm_fresh(0xFF)
    data[:16] = Header(nr_regions=1024).pack()
    assert names(data) == ["resync"]


def test_times_of_no_calendar():
    text = found(images.diskulog(created_seconds=2**63, resumed_seconds=0))[-1].text
    assert text.startswith("created 9223372036854775808 seconds since 1970, closed 2023")


def test_an_error_alone_is_a_problem():
    assert findings.exit_status(found(images.diskulog(state=State.OPEN))) == Exit.FINE
    assert findings.exit_status(found(images.changed())) == Exit.PROBLEM


def test_the_text_by_eye():
    told = found(images.diskulog(dirty=[1], state=State.OPEN))
    assert "".join(findings.text("a\nb", Exit.FINE, told)) == (
        "a\\nb: a sound log\n\n"
        "warning: not-closed: not closed in order: its host or its daemon went away while the log was in use\n"
        "  means: The last life of the log ended in a crash, or it is at work on another host now.\n"
        "  do:    Nothing: dirty regions are resynced at the next activation. Do not activate it on two hosts.\n\n"
        "info: resync: at the next activation 1 region (512.0 KiB) will be resynced\n"
        "  means: What the next activation costs.\n"
        "  do:    Nothing.\n"
    )


def test_the_json_names_everything():
    document = schemas.document(findings.as_json("a\udcff", Exit.PROBLEM, found(images.changed())))
    assert (document["command"], document["exit_status"], document["device"]) == ("check", 1, "a\\udcff")
    assert set(document["findings"][0]) == {"name", "severity", "text", "meaning", "remedy"}
