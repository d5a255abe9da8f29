# SPDX-License-Identifier: LGPL-2.1-or-later
from diskulog.livesettings import SETTINGS_BYTES, LiveSettings, Settings


def test_what_is_written_is_read_by_the_other_side():
    memory = memoryview(bytearray(SETTINGS_BYTES))
    writer, reader = LiveSettings(memory), LiveSettings(memory)
    assert reader.generation == 0
    first, second = Settings(5.0, 4096, 10.0, 20, 0, 20), Settings(0.25, 1, 3600.0, 10000, 1, 40)
    writer.write(first)
    assert (reader.generation, reader.read()) == (1, first)
    writer.write(second)
    assert (reader.generation, reader.read()) == (2, second)
