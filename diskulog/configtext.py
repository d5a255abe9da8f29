# SPDX-License-Identifier: LGPL-2.1-or-later
"""The configuration in effect, as TOML with remarks or as JSON: each value, its unit, where it comes from.

Lives here: the layout of ``config show``. Does not know where a configuration is read from, or which keys there are.
"""

import json
from collections.abc import Iterator
from itertools import groupby
from typing import Final

from diskulog.config import ENVIRONMENT_VARIABLE, Config, File, Named, Setting, settings

_ORIGINS: Final = {
    Named.ARGUMENT: "file",
    Named.ENVIRONMENT: f"file of {ENVIRONMENT_VARIABLE}",
    Named.NOBODY: "file",
}
_SOURCES: Final = {Named.ARGUMENT: "file", Named.ENVIRONMENT: "environment", Named.NOBODY: "file"}
DEFAULT: Final = "default"


def as_toml(config: Config, file: File | None) -> str:
    """Return a configuration that says the same, with remarks; ``file`` is what was read, None for none."""
    return "\n".join(_lines(config, file)) + "\n"


def _lines(config: Config, file: File | None) -> Iterator[str]:
    named = f", which {ENVIRONMENT_VARIABLE} names" if file and file.named is Named.ENVIRONMENT else ""
    yield f"# {_quoted(str(file.path))[1:-1]}{named}" if file else "# no file: every value is the default"
    found = list(settings(config))
    values = {(each.section, each.key): f"{each.key} = {_value(each.value)}" for each in found}
    width = max(map(len, values.values()))
    for section, members in groupby(found, lambda each: each.section):
        yield ""
        yield f"[{section}]"
        for each in members:
            yield f"{values[each.section, each.key]:{width}}  # {_remark(each, file)}"


def _remark(setting: Setting, file: File | None) -> str:
    unit = f"{setting.unit}, " if setting.unit else ""
    if file is None or not setting.given:
        return f"{unit}{DEFAULT}"
    return f"{unit}{_ORIGINS[file.named]} (default {_value(setting.default)})"


def _value(value: bool | int | float | str) -> str:
    if isinstance(value, str):
        return _quoted(value)
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _quoted(text: str) -> str:
    """Return a basic string of TOML, in which nothing moves a terminal's cursor."""
    return f'"{"".join(map(_character, text))}"'


def _character(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    if char.isprintable():
        return char
    return f"\\u{ord(char):04x}" if ord(char) <= 0xFFFF else f"\\U{ord(char):08x}"


def as_json(config: Config, file: File | None) -> str:
    """Return one JSON document; ``file`` as above."""
    named = {"path": str(file.path), "named_by": str(file.named)} if file else None
    document = {
        "format_version": 1,
        "command": "config show",
        "exit_status": 0,
        "file": named,
        "values": [
            {
                "section": each.section,
                "key": each.key,
                "value": each.value,
                "unit": each.unit,
                "default": each.default,
                "source": _SOURCES[file.named] if file and each.given else DEFAULT,
            }
            for each in settings(config)
        ],
        "messages": [],
    }
    return json.dumps(document) + "\n"
