# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who may import whom, as data; ruff's banned-api says the same of the doors to the world, one name at a time."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import diskulog

PACKAGE = Path(diskulog.__file__).parent
MAX_LINES = 300

# nothing here opens, maps, starts or sleeps: the tests drive it with memory
PURE = [
    "units",
    "errors",
    "wire",
    "ctr",
    "ondisk",
    "work",
    "clears",
    "durability",
    "dirtylog",
    "rounds",
    "world",
    "lifecycle",
    "handlers",
    "hotpath",
    "server",
    "refusals",
    "figures",
    "board",
    "publish",
    "livesettings",
    "verdict",
    "media",
    "mapped",
    "store",
    "logstore",
    "complaints",
]
WORLD = [
    "os",
    "socket",
    "mmap",
    "threading",
    "ctypes",
    "select",
    "signal",
    "subprocess",
    "time",
    "pathlib",
    "pyroute2",
    "pydantic",
    "typer",
]
DAEMON_SIDE = [
    *PURE,
    "corestore",
    "keptclears",
    "runfile",
    "daemon",
    "device",
    "lanes",
    "latch",
    "mirror",
    "process",
    "transport",
    "neighbours",
    "supervisor",
    "attendant",
    "forks",
    "status",
    "controlsocket",
    "neighbours",
    "handover",
    "journal",
]

# what hears, reads and replays; replay is the one place where the daemon's side and the forensic side meet
READING_SIDE = [
    "diskulog.mirrortable",
    "diskulog.dmsetup",
    "diskulog.dm",
    "diskulog.forensic",
    "diskulog.mirrors",
    "diskulog.doctor",
    "diskulog.trace",
    "diskulog.replay",
    "diskulog.control",
    "diskulog.metrics",
    "diskulog.moving",
]
COMMAND_LINE = ["diskulog.cli", "diskulog.commands", "diskulog.failures", "typer"]

# module or package -> what it must not import, at any place in it
MUST_NOT = {
    **{name: [*WORLD, *READING_SIDE, *COMMAND_LINE, "diskulog.config", "diskulog.daemon"] for name in PURE},
    "forensic": [
        f"diskulog.{name}"
        for name in [
            "store",
            "server",
            "dirtylog",
            "lifecycle",
            "handlers",
            "daemon",
            "transport",
            "supervisor",
            "lanes",
            "mirror",
            "cli",
            "commands",
            "trace",
            "replay",
            "mirrors",
            "control",
            "metrics",
            "moving",
            "dm",
        ]
    ],
    # the table of a mirror as dm has it; the daemon hears a constructor string, which is ctr's
    "mirrortable": [
        *WORLD,
        *(f"diskulog.{name}" for name in DAEMON_SIDE if name != "errors"),
        *READING_SIDE,
        *COMMAND_LINE,
        "diskulog.config",
    ],
    "dmsetup": [
        *(f"diskulog.{name}" for name in DAEMON_SIDE if name != "errors"),
        *READING_SIDE,
        *COMMAND_LINE,
        "diskulog.config",
    ],
    # it reads and writes logs as the forensic side does, and asks the daemon through its socket like anybody
    "moving": [
        f"diskulog.{name}"
        for name in [*DAEMON_SIDE, "trace", "replay", "config"]
        if name not in ("ctr", "errors", "ondisk", "units", "process")
    ]
    + ["pyroute2", "threading", *COMMAND_LINE],
    "dm": [
        *(f"diskulog.{name}" for name in DAEMON_SIDE if name != "errors"),
        "subprocess",
        *READING_SIDE,
        *COMMAND_LINE,
    ],
    # the daemon is asked through its socket, and knows nothing of who asks
    "control": [
        f"diskulog.{name}"
        for name in [*DAEMON_SIDE, "trace", "replay", "metrics", "moving", "config"]
        if name not in ("errors", "units")
    ]
    + ["pyroute2", "threading", *COMMAND_LINE],
    # a client of the socket's client; nobody but the command line knows it
    "metrics": [
        f"diskulog.{name}" for name in [*DAEMON_SIDE, "trace", "replay", "config"] if name not in ("errors", "units")
    ]
    + ["pyroute2", "threading", *COMMAND_LINE],
    "trace": [
        f"diskulog.{name}"
        for name in [*DAEMON_SIDE, "replay", "control", "config"]
        if name not in ("wire", "errors", "units")
    ]
    + ["pyroute2", *COMMAND_LINE],
    # it plays what the daemon has of the world, and touches none of that
    "replay": [f"diskulog.{name}" for name in [*DAEMON_SIDE, "control", "config"] if name not in PURE]
    + ["pyroute2", *COMMAND_LINE],
    **{name: [*READING_SIDE, *COMMAND_LINE] for name in DAEMON_SIDE if name not in PURE},
    "doctor": [
        f"diskulog.{name}"
        for name in [*DAEMON_SIDE, "trace", "replay", "control"]
        if name not in ("errors", "neighbours", "process", "units")
    ]
    + ["pyroute2", "pydantic", *COMMAND_LINE],
    "mirrors": [
        f"diskulog.{name}"
        for name in [*DAEMON_SIDE, "trace", "replay", "control", "doctor"]
        if name not in ("ctr", "errors", "neighbours", "ondisk", "units", "verdict")
    ]
    + ["pyroute2", "pydantic", *COMMAND_LINE],
    # typer and what it draws in stay out of an initramfs
    "initramfs": [*READING_SIDE, *COMMAND_LINE],
    "config": ["diskulog.daemon", "diskulog.server", "diskulog.forensic", *COMMAND_LINE],
    "configtext": [*WORLD, "diskulog.daemon", "diskulog.server", "diskulog.forensic", *COMMAND_LINE],
    "exits": ["diskulog.daemon", "diskulog.forensic", *COMMAND_LINE],
    "printable": ["diskulog", *WORLD],
    "failures": ["diskulog.cli", "diskulog.commands", "diskulog.daemon", "diskulog.forensic"],
    "cli": ["diskulog.server", "diskulog.store", "diskulog.dirtylog", "diskulog.forensic", "pyroute2"],
    "commands": ["diskulog.cli", "diskulog.server", "diskulog.store", "diskulog.dirtylog", "pyroute2"],
}
# finer: each module of the core knows only what is below it
MUST_NOT_ALSO = {
    "units": ["diskulog"],
    "errors": ["diskulog"],
    "work": ["diskulog"],
    "figures": ["diskulog.dirtylog", "diskulog.board", "logging"],
    "board": ["diskulog.dirtylog", "diskulog.world", "logging"],
    "publish": ["diskulog.server", "diskulog.lifecycle", "diskulog.status", "logging"],
    "refusals": ["diskulog.server", "diskulog.lifecycle", "diskulog.world"],
    "livesettings": ["diskulog", "logging"],
    "status": ["socket", "select", "diskulog.server", "diskulog.dirtylog", "diskulog.daemon"],
    "controlsocket": ["diskulog.board", "diskulog.server", "diskulog.daemon", "diskulog.supervisor"],
    "wire": ["diskulog.dirtylog", "diskulog.server", "diskulog.ondisk", "logging", "bitarray"],
    "ctr": ["diskulog.wire", "diskulog.dirtylog", "diskulog.ondisk", "logging"],
    "clears": ["diskulog", "logging"],
    "durability": ["diskulog.dirtylog", "diskulog.wire", "diskulog.ondisk", "bitarray"],
    "dirtylog": ["diskulog.wire", "diskulog.ondisk", "diskulog.server", "diskulog.lifecycle", "diskulog.world"],
    "rounds": ["diskulog.wire", "diskulog.server", "diskulog.lifecycle", "diskulog.world", "diskulog.store"],
    "handlers": ["diskulog.server", "diskulog.lifecycle", "diskulog.world", "diskulog.ondisk"],
    "lifecycle": ["diskulog.wire", "diskulog.server", "diskulog.handlers", "diskulog.ondisk", "diskulog.store"],
    "hotpath": [
        "diskulog.server",
        "diskulog.lifecycle",
        "diskulog.transport",
        "diskulog.ondisk",
        "bitarray",
        "logging",
    ],
    "server": ["diskulog.ondisk", "diskulog.store", "diskulog.mapped"],
    "store": ["diskulog.wire", "diskulog.server", "diskulog.dirtylog", "diskulog.lifecycle"],
    "mapped": ["diskulog.wire", "diskulog.store", "diskulog.verdict"],
    "verdict": ["diskulog.wire", "diskulog.store", "diskulog.mapped"],
    "ondisk": ["diskulog.wire", "diskulog.ctr", "diskulog.verdict", "diskulog.store"],
    **{f"mirrors.{name}": WORLD for name in ("sizing", "wish")},
    **{f"doctor.{name}": WORLD for name in ("facts", "rules", "report")},
    "transport": ["diskulog.dirtylog", "diskulog.server", "diskulog.store"],
    "initramfs.tree": ["diskulog"],  # it lists what others import, in a process of their own
    "lanes": ["diskulog.server", "diskulog.store", "diskulog.dirtylog"],
    # one door to the socket, one to sysfs and dmsetup; the rest is driven with what they found
    **{f"control.{name}": [*WORLD, "diskulog.control.client"] for name in ("view", "resync", "waiting", "text")},
    "control.model": [name for name in WORLD if name != "pydantic"],
    "control.client": ["diskulog.sysfs", "diskulog.forensic", "diskulog.control.model", "pydantic"],
    "control.mirrors": ["socket", "pydantic", "diskulog.control.client", "diskulog.control.model"],
    "metrics.families": [*WORLD, "diskulog.forensic", "diskulog.control.client", "diskulog.control.mirrors"],
    "metrics.exposition": [*WORLD, "diskulog.control"],
    "metrics.web": ["pydantic", "pathlib", "diskulog.control"],
    # one door to the log devices, one to everybody who is asked, one that does; the rest decides
    **{
        f"moving.{name}": [*WORLD, "diskulog.dm", "diskulog.control", "diskulog.forensic.writing", "diskulog.process"]
        for name in ("table", "medium", "situation", "refusals", "plan")
    },
    "moving.logs": ["diskulog.dm", "diskulog.control", "subprocess"],
    **{
        f"moving.{name}": ["diskulog.control", "diskulog.forensic", "subprocess"]
        for name in ("under_way", "back", "run")
    },
    **{f"forensic.{name}": WORLD for name in ("raw", "density", "chart", "picture", "svg", "png", "font", "text")},
}
# imported by the command line, and by it inside a function only: `diskulog inspect` must not load a socket
LAZY = {
    "commands": [
        "diskulog.daemon",
        "diskulog.supervisor",
        "diskulog.transport",
        "diskulog.process",
        "diskulog.config",
        "diskulog.configtext",
        "diskulog.trace",
        "diskulog.replay",
        "diskulog.mirrors",
        "diskulog.doctor",
        "diskulog.neighbours",
        "diskulog.control",
        "diskulog.metrics",
        "diskulog.moving.look",
        "diskulog.moving.run",
        "diskulog.forensic.model",
        "diskulog.forensic.raw",
        "diskulog.forensic.picture",
        "pyroute2",
        "pydantic",
    ]
}

FILES = sorted(PACKAGE.rglob("*.py"))
NAMES = {path: ".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in FILES}


def imports(tree: ast.AST) -> Iterator[str]:
    """Every module that is imported anywhere below; for ``from a import b`` both a and a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def at_import_time(tree: ast.Module) -> Iterator[str]:
    """The same without functions and ``if TYPE_CHECKING``."""
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom) or (
            isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.dump(node.test)
        ):
            yield from imports(node)


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def forbidden(found: Iterator[str], names: list[str]) -> list[str]:
    return sorted({name for name in found if any(name == bad or name.startswith(f"{bad}.") for bad in names)})


def files_of(name: str) -> list[Path]:
    """The files of a module, or of every module of a package."""
    return [path for path, found in NAMES.items() if found == name or found.startswith(f"{name}.")]


RULES = [(name, bad) for table in (MUST_NOT, MUST_NOT_ALSO) for name, bad in table.items()]


@pytest.mark.parametrize(("name", "bad"), RULES, ids=[name for name, _ in RULES])
def test_a_module_knows_nothing_of_what_is_not_its_own(name, bad):
    files = files_of(name)
    assert files, f"the table speaks of diskulog/{name}, which is not there"
    assert {str(path): forbidden(imports(parsed(path)), bad) for path in files} == {str(path): [] for path in files}


@pytest.mark.parametrize("name", LAZY)
def test_what_is_heavy_is_imported_inside_a_command(name):
    for path in files_of(name):
        assert forbidden(at_import_time(parsed(path)), LAZY[name]) == [], path


def test_the_tables_name_every_module():
    named = {*MUST_NOT, *DAEMON_SIDE, "__init__", "__main__", "sysfs"}
    assert {name for name in NAMES.values() if name.split(".")[0] not in named} == set()


def test_a_forbidden_import_would_be_seen():
    tree = ast.parse("def f():\n    from os import path\n    import mmap as m\n")
    assert forbidden(imports(tree), ["os", "mmap"]) == ["mmap", "os", "os.path"]
    assert forbidden(at_import_time(tree), ["os", "mmap"]) == []
    assert forbidden(imports(ast.parse("import osmium")), ["os"]) == []


def test_there_are_no_import_cycles():
    known = {f"diskulog.{name}".removesuffix(".__init__"): path for path, name in NAMES.items()}
    needs = {
        module: {name for name in at_import_time(parsed(path)) if name in known and name != module}
        for module, path in known.items()
    }
    needs["diskulog"] = needs.pop("diskulog.__init__", needs.get("diskulog", set()))
    while needs:
        free = {module for module, wanted in needs.items() if not wanted & needs.keys()}
        assert free, f"these import each other: {sorted(needs)}"
        needs = {module: wanted for module, wanted in needs.items() if module not in free}


@pytest.mark.parametrize("path", FILES, ids=NAMES.values())
def test_every_file_has_its_licence_a_docstring_and_a_size_that_can_be_read(path):
    text = path.read_text()
    assert text.startswith("# SPDX-License-Identifier: LGPL-2.1-or-later\n")
    assert ast.get_docstring(parsed(path))
    assert len(text.splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", sorted(Path(__file__).parent.rglob("*.py")), ids=lambda path: path.name)
def test_every_test_file_has_its_licence(path):
    text = path.read_text()
    assert not text or text.startswith("# SPDX-License-Identifier: LGPL-2.1-or-later\n")
