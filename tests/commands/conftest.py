# SPDX-License-Identifier: LGPL-2.1-or-later
import pytest

from diskulog import cli


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log"


@pytest.fixture
def run(capsys):
    """Run a command; return its code and what it printed."""

    def call(*arguments):
        status = cli.run([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        assert "internal error" not in err
        return status, out, err

    return call
