# SPDX-License-Identifier: LGPL-2.1-or-later
import pytest

from diskulog import cli
from tests import fake_control, schemas
from tests.fake_devices import Host


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log"


@pytest.fixture
def run(capsys):
    """Run a command; return its code and what it printed. JSON is what its schema says."""

    def call(*arguments):
        status = cli.run([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        assert "internal error" not in err
        schemas.printed(arguments, out)
        return status, out, err

    return call


@pytest.fixture
def socket_path(tmp_path):
    return tmp_path / "control.sock"


@pytest.fixture
def daemon(socket_path):
    """A daemon's control socket, with nothing behind it."""
    with fake_control.serving(socket_path) as made:
        yield made


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A host with two legs and a log device, all zeros, and a daemon."""
    made = Host(tmp_path, monkeypatch)
    for name in ("a", "b"):
        made.device(name, 8192)
    made.device("l", 2048)
    return made
