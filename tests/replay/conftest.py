# SPDX-License-Identifier: LGPL-2.1-or-later
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from diskulog.replay import medium as module
from diskulog.replay.medium import Medium
from diskulog.units import MIB


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[bytes], Medium]]:
    """Open an image that holds these bytes; it must hold them still at the end."""
    with ExitStack() as until_end:
        made: list[tuple[Path, bytes]] = []

        def call(content: bytes = bytes(MIB)) -> Medium:
            path = tmp_path / f"image-{len(made)}"
            path.write_bytes(content)
            made.append((path, bytes(content)))
            return until_end.enter_context(module.opened(str(path)))

        yield call
        for path, content in made:
            assert path.read_bytes() == content
