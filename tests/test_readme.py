# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the README says of the format, the exit codes and the commands is what the code does."""

import re
import struct
from pathlib import Path

from diskulog import cli, ondisk
from diskulog.exits import Exit

_README = Path(__file__).resolve().parents[1] / "README.rst"


def between(mark: str) -> str:
    text = _README.read_text()
    return text[text.index(f".. {mark} begins") : text.index(f".. {mark} ends")]


def rows(text: str, columns: int) -> list[list[str]]:
    """The rows of an RST simple table whose first column is a number, cut into words and the rest."""
    return [line.split(maxsplit=columns - 1) for line in text.splitlines() if re.match(r"\d", line)]


def test_the_format_table_names_every_field_where_the_code_has_it() -> None:
    expected = [("0", "4", "magic"), ("4", "4", "version"), ("8", "8", "nr_regions")]
    at = ondisk.EXTENSION_OFFSET_BYTES
    for name, code in ondisk.EXTENSION_FIELDS:
        size = struct.calcsize("<" + code)
        expected.append((str(at), str(size), name))
        at += size
    at = ondisk.EXTENSION_OFFSET_BYTES + ondisk.EXTENSION_CHECKSUM_OFFSET_BYTES
    expected.append((str(at), "4", "checksum"))
    assert [tuple(row[:3]) for row in rows(between("layout"), 4)] == expected


def test_the_format_tables_constants_are_the_codes() -> None:
    meanings = {(row[0], row[2]): row[3] for row in rows(between("layout"), 4)}
    assert meanings["0", "magic"] == f"0x{ondisk.MAGIC:X}"
    assert meanings["512", "magic"] == f"``{ondisk.EXTENSION_MAGIC.decode()}``"
    states = {int(number): word for number, word in re.findall(r"(\d) (\w+)", meanings["532", "state"])}
    assert states == {state.value: state.name.lower() for state in ondisk.State}
    assert str(ondisk.SYNC_ALIGN_BYTES) in meanings["688", "sync_offset_bytes"]
    assert f"begins at byte {ondisk.CLEAN_OFFSET_BYTES}," in _README.read_text()


def test_the_sizes_that_it_calls_enough_are() -> None:
    assert ondisk.needed_bytes(24576, 512) <= 8 * 1024
    assert ondisk.needed_bytes(4_000_000, 512) <= 1024 * 1024


def test_the_exit_codes_are_the_codes() -> None:
    text = _README.read_text()
    table = text[text.index("code meaning") : text.index("The configuration is")]
    assert [int(row[0]) for row in rows(table, 2)] == [code.value for code in Exit]
    for number, meaning in rows(table, 2):
        assert f"{number} {meaning.split(',')[0].split(' (')[0]}" in cli.EXIT_CODES


def test_every_command_is_in_the_table(capfdbinary) -> None:
    assert cli.run(["--help"]) == 0
    text = capfdbinary.readouterr().out.decode()
    commands = re.findall(r"^  (\w+) {2,}", text[text.index("Commands:") :], re.MULTILINE)
    assert len(commands) >= 3
    for command in commands:
        assert f"``diskulog {command}" in _README.read_text()


def test_every_promise_names_tests_that_exist() -> None:
    promises = re.split(r"^\d+\. ", between("promises"), flags=re.MULTILINE)[1:]
    top = _README.parent
    for promise in promises:
        names = re.findall(r"``((?:G|tests)/[\w/]+\.py)(?:::(\w+))?``", promise)
        assert names, promise
        for path, test in names:
            file = top / path.replace("G/", "tests/kernel/guest/", 1)
            assert f"def {test or 'test_'}" in file.read_text(), (path, test)
