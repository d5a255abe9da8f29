# SPDX-License-Identifier: LGPL-2.1-or-later
import pytest

from tests.fake_devices import Host


@pytest.fixture
def host(tmp_path, monkeypatch):
    return Host(tmp_path, monkeypatch)
