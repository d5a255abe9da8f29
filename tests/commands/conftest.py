# SPDX-License-Identifier: LGPL-2.1-or-later
import pytest

from diskulog import cli


@pytest.fixture
def run(capsys):
    """Run a command: its exit code, what it printed, what it complained of."""

    def call(*arguments):
        status = cli.run([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return status, out, err

    return call
