# SPDX-License-Identifier: LGPL-2.1-or-later
"""The wheel and the sdist: what is in them, that both say the same, and that the wheel works where it is installed."""

import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from email.parser import BytesParser
from pathlib import Path, PurePosixPath

import bitarray
import pytest

import diskulog
from diskulog import ondisk
from tests.toolbox import TOP
from tools import wheel_data

VERSION = diskulog.__version__
DATA = f"diskulog-{VERSION}.data/data/"
# who reads which folder of a prefix; what is below conf/ and is nobody's is in share/diskulog
SYSTEM_FOLDERS = {
    "lib/modules-load.d",
    "lib/sysusers.d",
    "lib/systemd/system",
    "lib/tmpfiles.d",
    "share/bash-completion/completions",
    "share/fish/vendor_completions.d",
    "share/man/man1",
    "share/man/man5",
    "share/man/man8",
    "share/zsh/site-functions",
}


# while two VMs have both processors a build takes its time
pytestmark = pytest.mark.timeout(400)


def run(*command, cwd=TOP):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Build as a packager would, without network: the sdist, and from it the wheel."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out)
    return out


@pytest.fixture(scope="module")
def wheel(built):
    (found,) = built.glob("*.whl")
    assert found.name == f"diskulog-{VERSION}-py3-none-any.whl"
    return found


@pytest.fixture(scope="module")
def sdist(built):
    (found,) = built.glob("*.tar.gz")
    assert found.name == f"diskulog-{VERSION}.tar.gz"
    return found


def names_of(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def tracked(*folders):
    """Return what git knows or would be told of, or what lies there where this is no checkout."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *folders]
    done = subprocess.run(listing, cwd=TOP, capture_output=True, text=True, check=False)
    if done.returncode == 0 and done.stdout:
        return set(done.stdout.splitlines())
    found = (path for folder in folders for path in (TOP / folder).rglob("*"))
    return {path.relative_to(TOP).as_posix() for path in found if path.is_file() and "__pycache__" not in path.parts}


def test_the_wheel_has_the_whole_package(wheel):
    inside = {name for name in names_of(wheel) if name.startswith("diskulog/")}
    assert inside == tracked("diskulog")
    assert "diskulog/py.typed" in inside
    schemas = {name for name in inside if name.startswith("diskulog/schema/")}
    assert {"diskulog/schema/inspect-1.json", "diskulog/schema/check-1.json"} < schemas


def test_the_wheel_has_everything_of_conf_where_a_system_looks_for_it(wheel):
    names = names_of(wheel)
    for file in tracked("conf"):
        place = wheel_data.place(PurePosixPath(file).relative_to("conf"))
        assert DATA + place in names, file
    assert DATA + "share/bash-completion/completions/diskulog" in names
    assert DATA + "share/diskulog/diskulog.toml" in names


def test_the_wheel_has_a_man_page_for_each_source(wheel):
    pages = {f"{DATA}share/man/man{page.stem[-1]}/{page.stem}" for page in (TOP / "docs/man").glob("*.[1-8].rst")}
    assert len(pages) > 10
    assert {name for name in names_of(wheel) if "/share/man/" in name} == pages
    with zipfile.ZipFile(wheel) as archive:
        page = archive.read(f"{DATA}share/man/man8/diskulog-serve.8").decode()
    assert f'"diskulog {VERSION}"' in page


def test_the_wheel_has_nothing_else(wheel):
    others = {PurePosixPath(name).parent.as_posix() for name in names_of(wheel) if name.startswith(DATA)}
    folders = {folder.removeprefix(DATA) for folder in others}
    with_folders = ("share/diskulog", "share/initramfs-tools")
    assert {folder for folder in folders if not folder.startswith(with_folders)} <= SYSTEM_FOLDERS
    top = {PurePosixPath(name).parts[0] for name in names_of(wheel)}
    assert top == {"diskulog", f"diskulog-{VERSION}.data", f"diskulog-{VERSION}.dist-info"}


@pytest.mark.parametrize(
    ("file", "place"),
    [
        ("diskulog.service", "lib/systemd/system/diskulog.service"),
        ("diskulog.timer", "lib/systemd/system/diskulog.timer"),
        ("modules-load.d/diskulog.conf", "lib/modules-load.d/diskulog.conf"),
        ("completion/_diskulog", "share/zsh/site-functions/_diskulog"),
        ("grafana/diskulog.json", "share/diskulog/grafana/diskulog.json"),
        ("initramfs-tools/scripts/local-top/diskulog", "share/initramfs-tools/scripts/local-top/diskulog"),
        # no unit is to be found by systemd that somebody put in another folder
        ("examples/diskulog.service", "share/diskulog/examples/diskulog.service"),
    ],
)
def test_a_file_of_conf_has_its_place(file, place):
    assert wheel_data.place(PurePosixPath(file)) == place


def test_the_sdist_has_what_git_has_and_nothing_else(sdist):
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert inside == tracked(".") | {"PKG-INFO"}


def test_the_tree_makes_the_same_wheel_as_the_sdist(wheel, tmp_path):
    run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", tmp_path)
    assert (tmp_path / wheel.name).read_bytes() == wheel.read_bytes()


def test_an_index_would_take_both(wheel, sdist):
    said = run(sys.executable, "-m", "twine", "--no-color", "check", "--strict", wheel, sdist)
    assert said.count("PASSED") == 2


def test_the_metadata_says_what_pip_needs(wheel):
    with zipfile.ZipFile(wheel) as archive:
        metadata = BytesParser().parsebytes(archive.read(f"diskulog-{VERSION}.dist-info/METADATA"))
        entries = archive.read(f"diskulog-{VERSION}.dist-info/entry_points.txt").decode()
    assert metadata["Requires-Python"] == ">=3.11"
    wanted = {re.match(r"[\w-]+", each)[0] for each in metadata.get_all("Requires-Dist") if "extra ==" not in each}
    assert wanted == {"bitarray", "pydantic", "pyroute2", "typer"}
    assert "diskulog = diskulog.cli:main" in entries


def test_the_installed_wheel_works(wheel, tmp_path):
    home = tmp_path / "venv"
    venv.create(home, with_pip=False)
    python = home / "bin/python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index", wheel)
    # the dependencies are those of this environment, for want of network; a .pth found in there is not followed,
    # so the diskulog that runs is the wheel's
    (site,) = (home / "lib").glob("python3*/site-packages")
    (site / "dependencies.pth").write_text(f"{Path(bitarray.__file__).parents[1]}\n")
    program = home / "bin/diskulog"
    assert run(program, "--version", cwd=tmp_path) == f"diskulog {VERSION}\n"
    where = run(python, "-c", "import diskulog; print(diskulog.__file__)", cwd=tmp_path)
    assert where.startswith(str(home))

    image = tmp_path / "log"
    image.write_bytes(bytes(64 * 1024))
    run(program, "format", "--yes", "--uuid", "mine", "--region-size", "1024", "--regions", "100", image, cwd=tmp_path)
    said = run(program, "inspect", image, cwd=tmp_path)
    assert re.search(r"^uuid: +mine$", said, re.MULTILINE)
    assert re.search(r"^dirty: +100 ", said, re.MULTILINE)
    assert ondisk.unpack_header(image.read_bytes()).nr_regions == 100
    assert '"title": "InspectDocument"' in run(program, "inspect", "--schema", cwd=tmp_path)
    assert '"title": "MirrorListDocument"' in run(program, "mirror", "list", "--schema", cwd=tmp_path)
    assert (home / "share/man/man8/diskulog-serve.8").is_file()
    assert (home / "share/bash-completion/completions/diskulog").is_file()
    # what the initramfs' tools run must have stayed a program
    for source in (TOP / "conf/initramfs-tools").rglob("*"):
        placed = home / "share/initramfs-tools" / source.relative_to(TOP / "conf/initramfs-tools")
        assert placed.stat().st_mode & 0o111 == source.stat().st_mode & 0o111, placed


def test_the_version_is_said_in_one_place():
    assert 'dynamic = ["version"]' in (TOP / "pyproject.toml").read_text()
    assert re.search(rf"^{re.escape(VERSION)} \(", (TOP / "CHANGELOG.rst").read_text(), re.MULTILINE)


def test_a_tag_on_this_commit_is_the_version():
    done = subprocess.run(
        ["git", "tag", "--points-at", "HEAD", "v*"], cwd=TOP, capture_output=True, text=True, check=False
    )
    assert set(done.stdout.split()) <= {f"v{VERSION}"}


def test_the_debian_package_has_the_same_version():
    (first, *_) = (TOP / "debian/changelog").read_text().splitlines()
    assert first.startswith(f"diskulog ({VERSION}) ")


def test_the_debian_package_places_everything_that_the_wheel_has_for_a_system():
    rules = (TOP / "debian/rules").read_text()
    for folder in SYSTEM_FOLDERS:
        assert re.search(rf"\b{re.escape(folder.split('/')[1])}\b", rules), folder
