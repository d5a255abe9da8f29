# SPDX-License-Identifier: LGPL-2.1-or-later
import pytest

from tests import fake_control


@pytest.fixture
def socket_path(tmp_path):
    return tmp_path / "control.sock"


@pytest.fixture
def daemon(socket_path):
    with fake_control.serving(socket_path) as made:
        yield made
