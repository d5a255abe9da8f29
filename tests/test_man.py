# SPDX-License-Identifier: LGPL-2.1-or-later
"""The man pages say of commands, options, exit codes and the configuration what the program does."""

import re
import subprocess
import sys
import tomllib

import pytest
from docutils import nodes
from docutils.core import publish_doctree

from diskulog import cli
from diskulog.config import Config, settings
from diskulog.exits import Exit
from diskulog.units import human_bytes
from tests import shellblocks, toolbox
from tests.toolbox import TOP
from tools import commandline

PAGES = TOP / "docs/man"
NAMES = sorted(page.name.removesuffix(".rst") for page in PAGES.glob("*.rst"))
COMMANDS = commandline.commands()
PAGE_COMMANDS = {f"diskulog-{each.word}": [] for each in COMMANDS}  # one page has all commands of a group
for each in COMMANDS:
    PAGE_COMMANDS[f"diskulog-{each.word}"].append(each)
PROGRAM, DAEMON, CONFIGURATION = "diskulog.1", "diskulog-serve.8", "diskulog.toml.5"
ORDER = [
    "SYNOPSIS",
    "DESCRIPTION",
    "OPTIONS",
    "THE TEXT",
    "EXIT STATUS",
    "ENVIRONMENT",
    "FILES",
    "EXAMPLES",
    "SEE ALSO",
]
OPTION = r"(?<![\w-])--[a-z][a-z-]*"
CODES = [code.value for code in Exit]

man = toolbox.load("man")


def tree(name):
    page = PAGES / f"{name}.rst"
    return publish_doctree(page.read_text(), source_path=str(page), settings_overrides=man.SETTINGS)


def section(name, title):
    """Find a section; an empty one where the page has none."""
    found = [each for each in tree(name).findall(nodes.section) if each[0].astext() == title]
    return found[0] if found else nodes.section()


def options(name):
    """Read the options of a page: name, the word for the value, the description."""
    found = {}
    for item in section(name, "OPTIONS").findall(nodes.option_list_item):
        for option in item.findall(nodes.option):
            words = option.astext().split(maxsplit=1)
            found[words[0]] = (words[1] if len(words) > 1 else None, item.children[1].astext())
    return found


def commands_of(name):
    return PAGE_COMMANDS.get(name.rpartition(".")[0], [])


COMMAND_PAGES = [name for name in NAMES if commands_of(name)]


def test_every_command_has_a_page_and_every_page_a_command():
    titles = [name.rpartition(".")[0] for name in NAMES if name not in (PROGRAM, CONFIGURATION)]
    assert sorted(titles) == sorted(PAGE_COMMANDS)
    # the commands that need the daemon or this host are in section 8, those that read logs in section 1
    assert {name[-1] for name in COMMAND_PAGES} == {"1", "8"}
    assert {PROGRAM, DAEMON, CONFIGURATION} <= set(NAMES)
    assert [page.name for page in man.pages()] == [f"{name}.rst" for name in NAMES]


@pytest.mark.parametrize("name", NAMES)
def test_a_page_becomes_roff_without_a_word(name):
    title, _, number = name.rpartition(".")
    roff = man.roff(PAGES / f"{name}.rst")  # raises for whatever docutils complains of
    assert f'\n.TH "{title}" "{number}" ' in roff
    assert re.search(rf"\n\.SH NAME\n{re.escape(title)} \\- [a-z].*[^.]\n", roff)
    assert "\u2026" not in roff  # no glyph that a terminal may lack


@pytest.mark.parametrize("name", NAMES)
def test_the_sections_are_there_in_their_order(name):
    titles = [child[0].astext() for child in tree(name).children if isinstance(child, nodes.section)]
    assert titles == [title for title in ORDER if title in titles]
    wanted = {"SYNOPSIS", "DESCRIPTION", "EXAMPLES", "SEE ALSO"}
    assert wanted <= set(titles)
    assert name == CONFIGURATION or {"OPTIONS", "EXIT STATUS"} <= set(titles)


@pytest.mark.parametrize("name", COMMAND_PAGES)
def test_a_page_has_the_options_of_its_command_and_no_other(name):
    own = [option for command in commands_of(name) for option in command.options]
    assert {option: value for option, (value, _) in options(name).items()} == {
        option.name: option.value for option in own
    }
    for option in own:
        text = options(name)[option.name][1]
        assert option.default is None or option.default in [word.rstrip(".") for word in text.split()], option.name
        assert all(choice in text for choice in option.choices), option.name
        assert not option.required or f"{option.name} {option.value}" in section(name, "SYNOPSIS").astext()


@pytest.mark.parametrize("name", COMMAND_PAGES)
def test_a_page_has_the_arguments_of_its_command_and_no_other(name):
    commands = commands_of(name)
    terms = [
        node.astext() for term in section(name, "OPTIONS").findall(nodes.term) for node in term.findall(nodes.emphasis)
    ]
    assert terms == list(dict.fromkeys(word for command in commands for word in command.arguments))
    synopsis = [f"{line} " for line in section(name, "SYNOPSIS").astext().splitlines()[2:]]
    assert synopsis[0].startswith(f"diskulog {commands[0].name} ")
    for command in commands:
        own = "\n".join(line for line in synopsis if line.startswith(f"diskulog {command.name} "))
        assert own, command.name
        assert all(re.search(rf"\b{word}\b", own) for word in command.arguments)


def test_the_program_has_its_options():
    own = {option.name for option in commandline.program().options}
    assert own | {commandline.HELP} == set(options(PROGRAM))


@pytest.mark.parametrize("name", NAMES)
def test_no_page_speaks_of_an_option_that_there_is_not(name):
    known = {option.name for command in COMMANDS for option in command.options} | set(options(PROGRAM))
    own = {option.name for command in commands_of(name) for option in command.options} or known
    parts = [each for each in tree(name).children if isinstance(each, nodes.section) and each[0].astext() != "EXAMPLES"]
    # `diskulog repair --write` may be named elsewhere, with its command
    text = re.sub(r"diskulog [a-z]+ --[a-z-]+", "", "\n".join(part.astext() for part in parts))
    assert set(re.findall(OPTION, text)) <= own


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_are_commands_that_there_are(name):
    for words in re.findall(r"diskulog [a-z]+.*", section(name, "EXAMPLES").astext()):
        [command] = [each for each in COMMANDS if f"{words} ".startswith(f"diskulog {each.name} ")]
        given = set(re.findall(OPTION, words.partition("|")[0]))
        assert given <= {option.name for option in command.options}, words


@pytest.mark.parametrize("name", COMMAND_PAGES)
def test_the_examples_are_those_of_the_help(name, capsys):
    shown = []
    for command in commands_of(name):
        assert cli.run([*command.name.split(), "--help"]) == 0
        text = capsys.readouterr().out
        shown += re.search(r"Examples?:\n((?:    .+\n)+)", text)[1].splitlines()
    block = next(iter(section(name, "EXAMPLES").findall(nodes.literal_block)))
    assert [line.strip() for line in shown] == block.astext().splitlines()


@pytest.mark.parametrize("name", [name for name in NAMES if name != CONFIGURATION])
def test_the_examples_say_how_they_are_held_to_be_true(name):
    comments = section(name, "EXAMPLES").findall(nodes.comment)
    assert [bool(shellblocks.MARKER.match(f".. {comment.astext()}")) for comment in comments] == [True]


@pytest.mark.parametrize("name", [name for name in NAMES if name != CONFIGURATION])
def test_the_exit_codes_are_the_codes(name):
    listed = next(iter(section(name, "EXIT STATUS").findall(nodes.definition_list)))
    items = [(int(item[0].astext()), item[1].astext()) for item in listed]
    assert [number for number, _ in items] == CODES
    for number, meaning in items:
        assert f"{number} {re.split('[,:]', meaning)[0]}" in cli.EXIT_CODES


def test_the_pages_refer_to_pages():
    ours, others = set(), {"blkdeactivate(8)", "dmsetup(8)", "systemctl(1)", "systemd-journald(8)", "sd_notify(3)"}
    for name in NAMES:
        found = set(re.findall(r"[\w.-]+\([1-8]\)", tree(name).astext()))
        title, _, number = name.rpartition(".")
        ours.add(f"{title}({number})")
        assert found <= {f"{each.rpartition('.')[0]}({each.rpartition('.')[2]})" for each in NAMES} | others
        assert f"{title}({number})" not in re.findall(r"[\w.-]+\([1-8]\)", section(name, "SEE ALSO").astext())
    assert ours <= set(re.findall(r"[\w.-]+\([1-8]\)", tree(PROGRAM).astext())) | {"diskulog(1)"}


def test_the_configuration_has_every_key_with_its_default():
    found = {}
    for part in section(CONFIGURATION, "DESCRIPTION").findall(nodes.section):
        if re.fullmatch(r"\[\w+\]", part[0].astext()):
            keys = "\n".join(term.astext() for term in part.findall(nodes.term))
            found |= tomllib.loads(f"{part[0].astext()}\n{keys}\n")
    assert found == Config().model_dump()
    assert found == tomllib.loads((TOP / "conf/diskulog.toml").read_text())


def test_the_bounds_of_the_configuration_are_those_of_its_file():
    flat = " ".join((TOP / "conf/diskulog.toml").read_text().replace("\n#", "").split())
    for part in section(CONFIGURATION, "DESCRIPTION").findall(nodes.definition):
        kind = part.astext().split(". ")[0]
        assert kind in flat, kind


def test_the_tool_writes_each_page_where_man_looks_for_it(tmp_path):
    done = subprocess.run(
        [sys.executable, TOP / "tools/man", tmp_path], capture_output=True, text=True, timeout=60, check=True
    )
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert written == {f"man{name[-1]}/{name}" for name in NAMES}
    assert len(done.stdout.splitlines()) == len(NAMES)


def _said(schema):
    """What the page must say first of a key that has this schema: unit, bounds."""
    if schema["type"] == "boolean":
        return "true or false."
    if "enum" in schema:
        *some, last = schema["enum"]
        return f"{', '.join(some)} or {last}."
    if schema["type"] == "string":
        return "An absolute path,"
    unit = {"seconds": "Seconds", "bytes": "Bytes", "regions": "Regions", "looks": "A number"}[schema["unit"]]
    least, most = (_amount(schema.get(name), schema["unit"]) for name in ("minimum", "maximum"))
    if "exclusiveMinimum" in schema:
        return f"{unit}, more than {schema['exclusiveMinimum']:g}, at most {most}."
    # no log has more regions than 32 bits count: that is no bound worth a word
    return f"{unit}, at least {least}." if schema["unit"] == "regions" else f"{unit}, {least} to {most}."


def _amount(number, unit):
    if unit == "bytes":  # the kernel doubles it in an int: one byte less than a power of two
        return human_bytes(number + number % 2).replace(".0", "")
    return None if number is None else f"{number:g}"


def test_the_units_and_bounds_of_the_configuration_are_those_of_the_code():
    terms = {}
    for item in section(CONFIGURATION, "DESCRIPTION").findall(nodes.definition_list_item):
        terms[item[0].astext().partition(" ")[0]] = item[1].astext()
    units = {setting.key: setting.unit for setting in settings(Config())}
    sections = Config.model_json_schema()["$defs"].values()
    schemas = {key: schema for each in sections for key, schema in each["properties"].items()}
    assert set(terms) == set(schemas) == set(units)
    for key, schema in schemas.items():
        assert terms[key].startswith(_said(schema | {"unit": units[key]})), key
