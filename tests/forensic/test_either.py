# SPDX-License-Identifier: LGPL-2.1-or-later
import os

import pytest

from diskulog.errors import BadLogError
from diskulog.forensic import dump, either
from tests import images

LOG = bytes(images.diskulog(1000, dirty=[5]))
TEXT = "".join(dump.text(images.loaded(LOG)))
FORMS = {"log": LOG, "text": TEXT.encode(), "json": "".join(dump.as_json(images.loaded(LOG))).encode()}


@pytest.mark.parametrize("data", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("piped", [False, True])
def test_a_log_and_its_dumps_are_read_alike(data, piped, tmp_path):
    path = tmp_path / "it"
    path.write_bytes(data)
    if not piped:
        assert "".join(dump.text(either.load(str(path)))) == TEXT
        return
    kept, file = os.dup(0), os.open(path, os.O_RDONLY)
    try:
        os.dup2(file, 0)
        assert "".join(dump.text(either.load("-"))) == TEXT
    finally:
        os.dup2(kept, 0)
        os.close(kept)
        os.close(file)


@pytest.mark.parametrize("data", [b"", b"x", b"{", bytes(4096), b"diskulog dump"])
def test_what_is_neither_is_refused(data, tmp_path):
    path = tmp_path / "it"
    path.write_bytes(data)
    with pytest.raises(BadLogError):
        either.load(str(path))


@pytest.mark.loop
def test_a_device_is_read_past_the_cache(loop_device):
    assert "".join(dump.text(either.load(loop_device(LOG)))) == TEXT
