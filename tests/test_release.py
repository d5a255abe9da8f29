# SPDX-License-Identifier: LGPL-2.1-or-later
"""tools/release in a repository of its own: a tag is the version, and what is not finished gets none."""

import shutil
import subprocess

import pytest

from tests.toolbox import TOP

_GIT = ["git", "-c", "user.name=a founder", "-c", "user.email=founder@invalid.example", "-c", "init.defaultBranch=main"]
FINISHED = {
    "diskulog/__init__.py": '__version__ = "1.2.3"\n',
    "CHANGELOG.rst": "Changes\n=======\n\n1.2.3 (2026-11-26)\n------------------\n\n* New.\n\n1.2.2 (2026-01-01)\n",
    "debian/changelog": "diskulog (1.2.3) unstable; urgency=medium\n",
}
UNFINISHED = {
    "no-release": ("diskulog/__init__.py", '__version__ = "1.2.3.dev0"\n', "a release has three numbers"),
    "another-version": (
        "diskulog/__init__.py",
        '__version__ = "1.2.4"\n',
        "CHANGELOG.rst: the first heading is '1.2.3 ",
    ),
    "no-date": ("CHANGELOG.rst", "1.2.3 (not released)\n", "write '1.2.3 (year-month-day)'"),
    "nothing-said": ("CHANGELOG.rst", "Changes\n", "CHANGELOG.rst: the first heading is ''"),
    "a-number-like-it": ("CHANGELOG.rst", "1.203 (2026-11-26)\n", "CHANGELOG.rst: the first heading is '1.203 "),
    "debian-unreleased": ("debian/changelog", "diskulog (1.2.3) UNRELEASED; urgency=medium\n", "debian/changelog: "),
    "debian-older": ("debian/changelog", "diskulog (1.2.2) unstable; urgency=medium\n", "debian/changelog: "),
}


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with a finished version and the script."""
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    git(tmp_path, "init", "-q")
    (tmp_path / "tools").mkdir()
    shutil.copy(TOP / "tools/release", tmp_path / "tools")
    for name, text in FINISHED.items():
        write(tmp_path, name, text)
    return tmp_path


def git(directory, *words):
    done = subprocess.run([*_GIT, *words], cwd=directory, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def write(directory, name, text):
    (directory / name).parent.mkdir(exist_ok=True)
    (directory / name).write_text(text)
    git(directory, "add", "-A")
    git(directory, "commit", "-qm", name)


def release(directory, *words):
    # the author of an annotated tag, on a machine where nobody has told git
    told = {"GIT_COMMITTER_NAME": "a founder", "GIT_COMMITTER_EMAIL": "founder@invalid.example"}
    command = ["env", *(f"{name}={value}" for name, value in told.items()), directory / "tools/release", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def tags(directory):
    return git(directory, "tag", "--points-at", "HEAD").split()


def test_a_finished_version_becomes_a_tag(repository):
    looked = release(repository, "--dry-run")
    assert (looked.returncode, looked.stdout, tags(repository)) == (0, "tools/release: this commit can be v1.2.3\n", [])
    done = release(repository)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("tools/release: this commit is v1.2.3 now")
    assert tags(repository) == ["v1.2.3"]
    assert git(repository, "cat-file", "-t", "v1.2.3") == "tag\n"
    assert release(repository).stdout == "tools/release: this commit is v1.2.3\n"


@pytest.mark.parametrize(("name", "text", "said"), UNFINISHED.values(), ids=UNFINISHED)
def test_what_is_not_finished_gets_no_tag(repository, name, text, said):
    write(repository, name, text)
    done = release(repository)
    assert done.returncode == 1
    assert said in done.stderr
    assert tags(repository) == []


def test_what_is_not_committed_is_in_no_release(repository):
    (repository / "new").write_text("")
    done = release(repository)
    assert (done.returncode, tags(repository)) == (1, [])
    assert "not committed" in done.stderr


def test_a_version_is_one_commit(repository):
    assert release(repository).returncode == 0
    write(repository, "more", "")
    done = release(repository)
    assert (done.returncode, tags(repository)) == (1, [])
    assert "v1.2.3 is another commit already" in done.stderr


def test_an_unknown_word_is_refused(repository):
    done = release(repository, "--force")
    assert done.returncode == 2
    assert "unknown argument: --force" in done.stderr
