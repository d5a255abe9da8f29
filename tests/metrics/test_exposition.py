# SPDX-License-Identifier: LGPL-2.1-or-later
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from diskulog.control import model
from diskulog.metrics import families
from diskulog.metrics.exposition import render
from diskulog.metrics.families import Family, Sample
from diskulog.printable import printable
from tests import fake_control, prometheus
from tests.fake_control import log, resyncing

ODD = '\\"\n{},=#\u00fc\u2028\x1b[2J'


def answer(*logs):
    return model.answer(json.dumps(fake_control.answer(*logs)).encode())


def test_the_text():
    found = [
        Family("diskulog_up", "gauge", "Whether.", (Sample("", (), 1),)),
        Family("diskulog_x_seconds", "histogram", "Time.", (Sample("_bucket", (("a", "b"), ("le", "0.5")), 2.25),)),
    ]
    assert render(found) == (
        "# HELP diskulog_up Whether.\n"
        "# TYPE diskulog_up gauge\n"
        "diskulog_up 1\n"
        "# HELP diskulog_x_seconds Time.\n"
        "# TYPE diskulog_x_seconds histogram\n"
        'diskulog_x_seconds_bucket{a="b",le="0.5"} 2.25\n'
    )


@given(st.text(), st.integers(0, 2**63) | st.floats(0, 1e18))
def test_another_reader_reads_the_same(word, number):
    text = render([Family("diskulog_x", "gauge", "X.", (Sample("", (("uuid", word), ("mirror", "m")), number),))])
    assert text.encode()
    assert all(line.isprintable() for line in text.split("\n"))
    (family,) = text_string_to_metric_families(text)
    (sample,) = family.samples
    assert sample.labels == {"uuid": printable(word), "mirror": "m"}
    assert float(sample.value) == float(number)


def test_promtool_finds_no_fault():
    logs = [log(), resyncing(uuid="r"), log(uuid=ODD, log_type="core", log_device=None, clean_count=None)]
    text = render(families.of_answer(answer(*logs), lambda _: "home", 1700000000.0))
    assert prometheus.promtool("check", "metrics", text=text) == ""
    assert prometheus.promtool("check", "metrics", text=render(families.of_nobody(1.0))) == ""


def test_promtool_would_find_one():
    text = "# HELP diskulog_x X.\n# TYPE diskulog_x counter\ndiskulog_x 1\n"
    with pytest.raises(AssertionError, match="should have"):
        prometheus.promtool("check", "metrics", text=text)
