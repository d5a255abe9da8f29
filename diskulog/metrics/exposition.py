# SPDX-License-Identifier: LGPL-2.1-or-later
"""Families of metrics as the text that Prometheus reads, version 0.0.4.

Lives here: how lines are written, and what is escaped. Does not know which metrics there are.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from diskulog.metrics.families import Family, Labels
from diskulog.printable import printable

_QUOTED: Final = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


def render(families: Iterable[Family]) -> str:
    """Return the text; it ends in a line end."""
    return "".join(f"{line}\n" for family in families for line in _lines(family))


def _lines(family: Family) -> Iterator[str]:
    yield f"# HELP {family.name} {family.help}"
    yield f"# TYPE {family.name} {family.kind}"
    for suffix, labels, value in family.samples:
        yield f"{family.name}{suffix}{_braced(labels)} {_number(value)}"


def _braced(labels: Labels) -> str:
    return "{" + ",".join(f'{name}="{value_of(text)}"' for name, text in labels) + "}" if labels else ""


def value_of(text: str) -> str:
    """Return a label's value between its quotes; what would move a terminal's cursor is escaped twice."""
    return printable(text).translate(_QUOTED)


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else repr(value)
