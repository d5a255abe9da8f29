# SPDX-License-Identifier: LGPL-2.1-or-later
"""The hook and the boot script for initramfs-tools in a directory that stands for /, with stand-ins for programs."""

import os
import re
import subprocess
from pathlib import Path

import pytest

CONF = Path(__file__).resolve().parents[2] / "conf/initramfs-tools"
SCRIPTS = [path for path in CONF.rglob("*") if path.is_file() and path.parent.name != "conf-hooks.d"]
TABLE = "0 1024 mirror userspace 5 U integrated_flush disk /dev/log 64 2 /dev/a 0 /dev/b 0 1 handle_errors"
HOOK_FUNCTIONS = """
copy_exec() { mkdir -p "$DESTDIR${1%/*}" && cp "$1" "$DESTDIR$1" && echo "$1" >>"$COPIED"; }
manual_add_modules() { echo "modules $*" >>"$COPIED"; }
"""
# an interpreter that has diskulog: its place, a file of machine code and the command are what the tree's maker prints
PYTHON = """#!/bin/sh
case "$*" in
"-P -c import diskulog.initramfs.tree") ;;
"-P -m diskulog.initramfs.tree "*)
	printf '%s\\n' {place}/python {place}/lib/part.so "PYTHONPATH=/x {place}/python -m y"
	;;
*) exit 1 ;;
esac
"""
FUNCTIONS = """
log_begin_msg() { echo "begin: $*"; }
log_end_msg() { echo end; }
log_failure_msg() { echo "failure: $*"; }
"""


class Root:
    """A place with the files that a script names by absolute paths, and stand-ins that tell what they were asked."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.calls = place / "calls"
        self.bin = place / "stand-ins"
        self.bin.mkdir()
        self.calls.touch()

    def stand_in(self, name: str, then: str = "exit 0") -> None:
        file = self.bin / name
        file.write_text(f'#!/bin/sh\necho "{name} $*" >>{self.calls}\n{then}\n')
        file.chmod(0o755)

    def write(self, name: str, text: str) -> None:
        file = self.place / name.removeprefix("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def run(self, script: Path, *names: str, **environ: str) -> tuple[int, list[str]]:
        """Run a script with the paths that begin so moved here; its code, and what it said."""
        text = script.read_text()
        for name in names:
            text = re.sub(rf"(?<![\w}}/]){re.escape(name)}", f"{self.place}{name}", text)
        here = {"PATH": f"{self.bin}:{os.environ['PATH']}", "COPIED": str(self.calls), **environ}
        done = subprocess.run(["sh", "-c", text, script.name], env=here, capture_output=True, text=True, check=False)
        return done.returncode, (done.stdout + done.stderr).splitlines()

    def called(self, word: str) -> list[str]:
        return [line for line in self.calls.read_text().splitlines() if line.startswith(f"{word} ")]


@pytest.fixture
def root(tmp_path):
    return Root(tmp_path)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(CONF)))
def test_a_script_is_executable_and_tells_its_prerequisites(script):
    assert os.access(script, os.X_OK)
    done = subprocess.run([script, "prereqs"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "\n")


class TestHook:
    script = CONF / "hooks/diskulog"

    @pytest.fixture(autouse=True)
    def system(self, root):
        root.write("/usr/share/initramfs-tools/hook-functions", HOOK_FUNCTIONS)
        root.write("/sbin/dmsetup", "")
        root.write("lib/part.so", "")
        root.write("python", PYTHON.format(place=root.place))
        root.write("program", f"#!{root.place}/python\n")
        for name in ("program", "python"):
            (root.place / name).chmod(0o755)
        root.stand_in("chroot")
        root.write("/etc/diskulog/initramfs", "root  # and no other\n")
        root.write("/etc/diskulog/mirrortab", f"# name, table\nroots {TABLE}\n  root {TABLE}\nother {TABLE}\n")
        return root

    def run(self, root):
        places = ("/etc/diskulog", "/usr/share/initramfs-tools", "/sbin/dmsetup")
        program = str(root.place / "program")
        return root.run(self.script, *places, DESTDIR=str(root.place / "dest"), DISKULOG_PROGRAM=program)

    def test_where_no_mirror_is_named_it_does_nothing(self, root):
        (root.place / "etc/diskulog/initramfs").unlink()
        assert self.run(root) == (0, [])
        assert not (root.place / "dest").exists()

    def test_daemon_tables_and_modules_are_there(self, root):
        assert self.run(root) == (0, [])
        tree = root.place / "dest/diskulog"
        (tables,) = tree.rglob("mirrortab")
        assert tables.read_text() == f"root {TABLE}\n"
        assert (tree / f"{root.place}/lib/part.so".lstrip("/")).exists()
        assert not list(tree.rglob("diskulog.toml"))
        assert (root.place / "dest/conf/diskulog").read_text() == f"PYTHONPATH=/x {root.place}/python -m y\n"
        assert root.called("modules") == ["modules dm_mirror dm_log_userspace"]
        assert root.called("chroot") == [f"chroot {tree} {root.place}/python -m y --check"]
        assert {"dev", "proc", "sys", "run"} <= {path.name for path in tree.iterdir()}
        assert any(path.name.startswith("libgcc_s.so") for path in tree.rglob("*"))

    def test_a_last_line_without_its_end_counts(self, root):
        root.write("/etc/diskulog/mirrortab", f"other {TABLE}\nroot {TABLE}")
        assert self.run(root) == (0, [])
        (tables,) = (root.place / "dest/diskulog").rglob("mirrortab")
        assert tables.read_text() == f"root {TABLE}\n"

    def test_two_mirrors_with_one_uuid_fail_it(self, root):
        """Their daemons would take each other's log out of use, at each boot anew."""
        root.write("/etc/diskulog/mirrortab", f"root {TABLE}\nhome {TABLE.replace('/dev/log', '/dev/other')}\n")
        root.write("/etc/diskulog/initramfs", "root home\n")
        code, said = self.run(root)
        assert (code, len(said)) == (1, 1)
        assert "the uuid U is that of more than one of them" in said[0]

    def test_the_kernels_logs_have_no_uuid_and_a_name_may_be_there_twice(self, root):
        kernels = "0 1024 mirror disk 3 /dev/log 64 nosync 2 /dev/a 0 /dev/b 0"
        root.write("/etc/diskulog/mirrortab", f"one {kernels}\ntwo {kernels}\nroot {TABLE}\n")
        root.write("/etc/diskulog/initramfs", "one two root root\n")
        assert self.run(root) == (0, [])

    def test_a_configuration_goes_along(self, root):
        root.write("/etc/diskulog/diskulog.toml", "[clears]\n")
        assert self.run(root) == (0, [])
        (found,) = (root.place / "dest").rglob("diskulog.toml")
        assert found.read_text() == "[clears]\n"

    @pytest.mark.parametrize(
        ("names", "words"),
        [("roo", "names the mirror roo, of which"), ("# nothing\n", "names no mirror")],
    )
    def test_a_name_without_a_table_fails_it(self, root, names, words):
        root.write("/etc/diskulog/initramfs", names)
        code, said = self.run(root)
        assert code == 1
        assert said[0].startswith("E: diskulog: ")
        assert words in said[0]

    def test_no_tables_at_all_fail_it(self, root):
        (root.place / "etc/diskulog/mirrortab").unlink()
        code, said = self.run(root)
        assert (code, len(said)) == (1, 1)
        assert "there is no" in said[0]

    def test_a_daemon_that_cannot_start_fails_it(self, root):
        root.stand_in("chroot", "echo why; exit 2")
        assert self.run(root) == (1, ["why", "E: diskulog: the daemon cannot start from the initramfs"])

    def test_a_program_that_is_none_of_pythons_fails_it(self, root):
        root.write("program", "#!/bin/false\n")
        code, said = self.run(root)
        assert code == 1
        assert said == [
            f"E: diskulog: {root.place}/program is no Python program that has diskulog: its first line says /bin/false"
        ]


class TestBoot:
    script = CONF / "scripts/local-top/diskulog"

    @pytest.fixture(autouse=True)
    def system(self, root):
        for name in ("modprobe", "mount", "chroot", "dmsetup"):
            root.stand_in(name)
        root.write("/scripts/functions", FUNCTIONS)
        root.write("/conf/diskulog", "PYTHONPATH=/x:/y /usr/bin/python3 -S -m diskulog.initramfs.start\n")
        root.write("/diskulog/etc/diskulog/mirrortab", f"root {TABLE}\nother {TABLE.replace('/dev/a', '8:1')}\n")
        return root

    def run(self, root, *there: str):
        # a block device is what is written here: nodes need root
        text = self.script.read_text().replace("[ -b ", "[ -e ").replace("[ ! -b ", "[ ! -e ")
        script = root.place / "script"
        script.write_text(text)
        for name in there:
            root.write(f"/dev/{name}", "")
        places = ("/conf/diskulog", "/scripts/", "/run/", "/diskulog/", "/dev/mapper", "/dev/kmsg", "/dev/*")
        root.write("/dev/kmsg", "")
        tables = root.place / "diskulog/etc/diskulog/mirrortab"
        if str(root.place) not in tables.read_text():
            tables.write_text(tables.read_text().replace("/dev/", f"{root.place}/dev/"))
        return root.run(script, *places)

    def test_without_the_hooks_file_it_does_nothing(self, root):
        (root.place / "conf/diskulog").unlink()
        assert self.run(root, "a", "b", "log") == (0, [])
        assert root.calls.read_text() == ""

    def test_it_starts_the_daemon_and_assembles_what_is_complete(self, root):
        assert self.run(root, "b", "log") == (0, ["begin: Starting diskulog", "end"])
        (daemon,) = root.called("chroot")
        place = f"{root.place}/run/initramfs/diskulog"
        assert daemon == f"chroot {place} /usr/bin/python3 -S -m diskulog.initramfs.start"
        assert [line.split()[-1].removeprefix(place) for line in root.called("mount")] == [
            "",
            "/dev",
            "/proc",
            "/sys",
            "/run",
        ]
        (created,) = root.called("dmsetup")
        assert created.startswith("dmsetup create other --table 0 1024 mirror userspace"), "root lacks a leg"
        # called again, as local-block does: no second daemon, and the leg has come
        root.write("/dev/mapper/other", "")
        assert self.run(root, "a") == (0, [])
        assert len(root.called("chroot")) == 1
        assert [line.split()[2] for line in root.called("dmsetup")] == ["other", "root"]

    def test_a_daemon_that_does_not_start_is_told_once(self, root):
        root.stand_in("chroot", "exit 4")
        expected = ["begin: Starting diskulog", "failure: diskulog: the daemon does not start; see dmesg", "end"]
        assert self.run(root) == (0, expected)
        assert self.run(root) == (0, [])

    def test_a_mirror_that_cannot_be_made_does_not_stop_the_others(self, root):
        root.stand_in("dmsetup", "exit 1")
        code, said = self.run(root, "a", "b", "log")
        assert code == 0
        assert [line for line in said if "failure" in line] == [
            f"failure: diskulog: cannot assemble {name}; see dmesg" for name in ("root", "other")
        ]
