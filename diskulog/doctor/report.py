# SPDX-License-Identifier: LGPL-2.1-or-later
"""What ``doctor`` found, for people and for scripts; the findings have the shape of those of ``check``.

Lives here: layout. Does not judge.
"""

import json
from collections.abc import Iterator

from diskulog.exits import Exit
from diskulog.forensic.findings import Finding
from diskulog.printable import printable


def text(status: Exit, found: tuple[Finding, ...]) -> Iterator[str]:
    """Yield a verdict and the findings."""
    verdict = "nothing is wrong" if status is Exit.FINE else "something is wrong"
    yield f"this host: {verdict}\n"
    for finding in found:
        yield f"\n{finding.severity}: {finding.name}: {printable(finding.text)}\n"
        yield f"  means: {finding.meaning}\n  do:    {finding.remedy}\n"


def as_json(status: Exit, found: tuple[Finding, ...]) -> str:
    """Return the same as a JSON document."""
    findings = [
        {name: getattr(each, name).encode("utf-8", "backslashreplace").decode() for name in Finding.__slots__}
        for each in found
    ]
    document = {"format_version": 1, "command": "doctor", "exit_status": status, "findings": findings}
    return json.dumps(document, indent=1) + "\n"
