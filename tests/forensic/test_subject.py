# SPDX-License-Identifier: LGPL-2.1-or-later
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from diskulog import ondisk, sysfs
from diskulog.errors import RefusedError
from diskulog.exits import UsageError
from diskulog.forensic import image, source, subject
from diskulog.forensic.comparison import Layout
from diskulog.forensic.subject import LiveLog, Told
from diskulog.ondisk import State
from tests import images

SIZE, LENGTH = 1024, 1000 * 1024 - 24  # as in images.extension


@pytest.mark.parametrize("told", [Told(), Told(2), Told(2**20, 1), Told(None, 5)])
def test_sizes_that_can_be(told):
    subject.check_told(told)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (Told(0), "--region-size 0"),
        (Told(1), "--region-size 1"),
        (Told(-4), "--region-size -4"),
        (Told(1000), "--region-size 1000: must be a power of two"),
        (Told(None, 0), "--length 0"),
        (Told(None, -1), "--length -1"),
    ],
)
def test_sizes_that_cannot(told, said):
    with pytest.raises(UsageError, match=said):
        subject.check_told(told)


@pytest.mark.parametrize(
    ("data", "told", "complete"),
    [
        (images.diskulog(), Told(), Told(SIZE, LENGTH, images.UUID)),
        (images.diskulog(), Told(SIZE, LENGTH, images.UUID), Told(SIZE, LENGTH, images.UUID)),
        (images.diskulog(target_length_sectors=0), Told(), Told(SIZE, None, images.UUID)),
        (images.diskulog(target_length_sectors=0, region_size_sectors=0), Told(64), Told(64, None, images.UUID)),
        (images.diskulog(target_length_sectors=5), Told(), Told(SIZE, None, images.UUID)),
        (images.resized(700), Told(None, 700 * SIZE), Told(SIZE, 700 * SIZE, images.UUID)),
        (images.kernel(), Told(64), Told(64)),
        (images.kernel(), Told(64, 63_950), Told(64, 63_950)),
        (images.kernel(), Told(64, 63_950, "u"), Told(64, 63_950, "u")),
        (images.damaged(), Told(64), Told(64)),
    ],
)
def test_what_log_and_user_know_together(data, told, complete):
    assert subject.complete(images.loaded(data), told) == complete


@pytest.mark.parametrize(
    ("data", "told", "kind", "said"),
    [
        (images.kernel(), Told(), UsageError, "give it with --region-size SECTORS"),
        (images.damaged(), Told(), UsageError, "--region-size"),
        (
            images.diskulog(),
            Told(512),
            RefusedError,
            "its region size in sectors is 1024 in the log, and was given as 512",
        ),
        (images.diskulog(), Told(None, 7), RefusedError, "its length in sectors is 1023976 in the log"),
        (images.diskulog(), Told(None, None, "other"), RefusedError, "its uuid is LVM-s0me-m1rror in the log"),
        (images.kernel(), Told(64, 64), RefusedError, "it counts 1000 regions, 64 sectors in regions of 64 are 1"),
        (images.lvm_fresh(0), Told(64), RefusedError, "the mirror was never active"),
    ],
)
def test_what_does_not_fit(data, told, kind, said):
    with pytest.raises(kind, match=said):
        subject.complete(images.loaded(data), told)


def test_a_layout_of_known_length():
    found = images.loaded(images.diskulog())
    assert subject.layout(found, Told(SIZE, LENGTH), 10**12) == Layout(SIZE * 512, 1000, LENGTH * 512)


@pytest.mark.parametrize(
    ("shortest", "length"), [(10**12, 64_000 * 512), (63_950 * 512, 63_950 * 512), (5, 63_936 * 512 + 512)]
)
def test_a_layout_of_unknown_length_ends_with_the_legs(shortest, length):
    found = images.loaded(images.kernel())
    assert subject.layout(found, Told(64), shortest) == Layout(64 * 512, 1000, length)


def test_a_log_without_regions_has_no_length():
    assert subject.layout(images.loaded(images.kernel(0)), Told(64), 10**12) == Layout(64 * 512, 0, 0)


# one region again


@contextmanager
def opened(path, data):
    path.write_bytes(data)
    with source.opened(str(path)) as log:
        yield LiveLog(log, image.load(log))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log"


def bit(path, offset, region, value):
    data = bytearray(path.read_bytes())
    data[offset + region // 8] &= ~(1 << region % 8)
    data[offset + region // 8] |= value << region % 8
    path.write_bytes(data)


@pytest.mark.parametrize(
    "make",
    [lambda: images.kernel(dirty=[9]), lambda: images.diskulog(dirty=[9], state=State.OPEN)],
    ids=["kernel", "diskulog"],
)
def test_the_clean_bit_is_read_anew(path, make):
    with opened(path, make()) as log:
        assert [log.is_clean(region) for region in (0, 8, 9, 10, 999)] == [True, True, False, True, True]
        bit(path, 1024, 8, 0)
        bit(path, 1024, 9, 1)
        assert [log.is_clean(region) for region in (8, 9)] == [False, True]


def test_clean_means_in_sync_too(path):
    with opened(path, images.diskulog(state=State.OPEN)) as log:
        bit(path, images.extension().sync_offset_bytes, 12, 0)
        assert not log.is_clean(12)
        assert log.is_clean(13)


@pytest.mark.parametrize(
    "now",
    [
        images.kernel(),
        images.diskulog(500),
        images.diskulog(uuid="another"),
        images.diskulog(region_size_sectors=2048),
        images.damaged(),
        bytes(images.DEVICE_BYTES),
        b"",
    ],
    ids=["kernel", "count", "uuid", "size", "damaged", "blank", "gone"],
)
def test_a_log_that_became_another(path, now):
    with opened(path, images.diskulog()) as log:
        path.write_bytes(now)
        with pytest.raises(RefusedError, match="the log was given another size or owner meanwhile; start again"):
            log.is_clean(3)


def test_a_kernel_log_that_was_resized(path):
    with opened(path, images.kernel()) as log:
        path.write_bytes(images.kernel(999))
        with pytest.raises(RefusedError):
            log.is_clean(3)


def test_suspend_and_resume_change_nothing_that_matters(path):
    with opened(path, images.diskulog(state=State.OPEN)) as log:
        path.write_bytes(images.diskulog(state=State.CLOSED, generation=99, closed_seconds=5))
        assert log.is_clean(3)


def test_an_extension_that_is_stored_at_this_moment_is_read_again(path):
    with opened(path, images.diskulog()) as log:
        torn = iter([bytes(images.damaged())[: ondisk.HEAD_BYTES]])
        plain = log._source.read
        log._source = SimpleNamespace(read=lambda at, size: next(torn, None) or plain(at, size))
        assert log.is_clean(3)


def test_live_is_asked_anew(path, monkeypatch):
    with opened(path, images.kernel()) as log:
        assert not log.live()
        monkeypatch.setattr(sysfs, "holders", lambda _: ("dm-0",))
        assert log.live()


def test_a_pipe_is_never_live():
    assert not LiveLog(images.MemorySource(b""), images.loaded(images.kernel())).live()
