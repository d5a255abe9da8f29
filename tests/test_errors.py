# SPDX-License-Identifier: LGPL-2.1-or-later
import errno

import pytest

from diskulog import errors


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (errors.DiskulogError("x"), errno.EINVAL),
        (errors.BadRequestError("x"), errno.EINVAL),
        (errors.NotResumedError("x"), errno.EINVAL),
        (errors.LogFailedError("x"), errno.EIO),
        (errors.RefusedError("a", "b", "c"), errno.EINVAL),
        (errors.BadLogError("x"), errno.EINVAL),
        (errors.DeviceError("x", OSError(errno.ENOSPC, "full")), errno.ENOSPC),
        (errors.DeviceError("x", OSError("no number")), errno.EIO),
    ],
)
def test_each_carries_the_errno_that_the_kernel_is_answered_with(error, number):
    assert isinstance(error, errors.DiskulogError)
    assert error.errno == number


def test_a_refusal_names_argument_reason_and_way_out():
    error = errors.RefusedError("region size", "is 0", "use a power of two")
    assert str(error) == "region size: is 0; use a power of two"
    assert (error.argument, error.reason, error.remedy) == ("region size", "is 0", "use a power of two")


def test_a_device_error_says_what_was_tried_and_what_came_back():
    assert str(errors.DeviceError("log device 7:0: map", OSError(errno.EIO, "Input/output error"))) == (
        "log device 7:0: map: Input/output error"
    )
    assert str(errors.DeviceError("log device", OSError("odd"))) == "log device: odd"
