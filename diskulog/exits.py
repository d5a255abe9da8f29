# SPDX-License-Identifier: LGPL-2.1-or-later
"""The one table of exit codes, and which failure ends in which.

Lives here: the codes that every command and the JSON ``exit_status`` use. Does not know the commands.
"""

import errno as errnos
from enum import IntEnum
from typing import Final

from diskulog.errors import BadLogError, DiskulogError, RefusedError


class Exit(IntEnum):
    """What a command ends with; scripts rely on the numbers."""

    FINE = 0
    PROBLEM = 1  # damage, differences
    USAGE = 2
    NOT_A_LOG = 3  # or of a version that is not known
    REFUSED = 4  # busy, or the answer was no
    IO_ERROR = 5
    NO_DAEMON = 6
    NO_PERMISSION = 7


class UsageError(DiskulogError):
    """The command line or the configuration asks for what cannot be."""


class NoDaemonError(DiskulogError):
    """No daemon runs, or none that answers."""


class UnknownVersionError(DiskulogError):
    """What was read is of a version that is not known."""


_BY_ERRNO: Final = {
    errnos.ENOENT: Exit.USAGE,
    errnos.ENOTDIR: Exit.USAGE,
    errnos.EISDIR: Exit.USAGE,
    errnos.ELOOP: Exit.USAGE,
    errnos.ENAMETOOLONG: Exit.USAGE,
    errnos.ENXIO: Exit.USAGE,  # a device node without a device behind it
    errnos.ENODEV: Exit.USAGE,
    errnos.EACCES: Exit.NO_PERMISSION,
    errnos.EPERM: Exit.NO_PERMISSION,
    errnos.EBUSY: Exit.REFUSED,
    errnos.EROFS: Exit.REFUSED,
}

_BY_CLASS: Final[tuple[tuple[type[BaseException], Exit], ...]] = (
    (UsageError, Exit.USAGE),
    (BadLogError, Exit.NOT_A_LOG),
    (UnknownVersionError, Exit.NOT_A_LOG),
    (NoDaemonError, Exit.NO_DAEMON),
    (RefusedError, Exit.REFUSED),
    (KeyboardInterrupt, Exit.REFUSED),
)


def exit_for(failure: BaseException) -> Exit:
    """Name the code that a failure ends in; what nobody foresaw counts as an I/O error."""
    for kind, code in _BY_CLASS:
        if isinstance(failure, kind):
            return code
    number = getattr(failure, "errno", None)
    return _BY_ERRNO.get(number, Exit.IO_ERROR) if isinstance(number, int) else Exit.IO_ERROR
