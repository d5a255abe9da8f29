# SPDX-License-Identifier: LGPL-2.1-or-later
"""What every test may use: the bounded hypothesis profile, and a host in memory."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.fake_host import Rig

settings.register_profile(
    "bounded", deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("bounded")


@pytest.fixture(params=[True, False], ids=["in place", "served"])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """A host whose log device is blank; work runs at once."""
    made = Rig()
    made.in_place = request.param
    yield made
    made.close()


@pytest.fixture(params=[True, False], ids=["in place", "served"])
def slow(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """A host on which the test decides when each piece of work runs; its log is all clean, and closed."""
    made = Rig(auto=False)
    made.in_place = request.param
    made.disk.format()
    yield made
    made.close()
