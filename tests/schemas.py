# SPDX-License-Identifier: LGPL-2.1-or-later
"""The published schemas, and whether what is printed is what they say.

Lives here: which schema is whose, as a validator. Does not know what any command prints.
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from diskulog.commands import schema

DIALECT = "https://json-schema.org/draft/2020-12/schema"
LINES = ("replay",)  # print a document a line


@cache
def validator(name: str) -> Draft202012Validator:
    """Return what judges the JSON of a command, by its name."""
    return Draft202012Validator(json.loads(schema.file_of(name).read_text()))


def line(name: str, text: str) -> Any:
    """Read one document; an assertion fails for what its schema does not know."""
    found = json.loads(text)
    errors = [error.message for error in validator(name).iter_errors(found)]
    assert not errors, f"{name}: {errors}\n{text:.2000}"
    return found


def document(text: str) -> Any:
    """Read a document that says whose it is, as ``line`` does."""
    return line(json.loads(text)["command"], text)


def printed(words: Sequence[object], out: str) -> None:
    """Hold what a command printed to its schema, if JSON was asked for; one that is cut off is the test's business."""
    if "--json" in words and "--help" not in words:
        if words[0] in LINES:
            for each in out.splitlines():
                line(str(words[0]), each)
        elif out:
            with suppress(json.JSONDecodeError):
                document(out)
