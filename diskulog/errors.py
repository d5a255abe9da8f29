# SPDX-License-Identifier: LGPL-2.1-or-later
"""Everything that may go wrong and is expected to, as one small tree.

Lives here: the error classes, each with the errno that the kernel is answered with. Does not know who raises them.
"""

import errno as errnos


class DiskulogError(Exception):
    """An expected failure; ``errno`` is the positive number that a reply to the kernel carries negated."""

    errno = errnos.EINVAL


class BadRequestError(DiskulogError):
    """A request whose payload cannot be what the kernel sends: wrong size, region out of range."""


class NotResumedError(DiskulogError):
    """Legs that were to be flushed for a log that is suspended, fenced or gone: nothing is known of them."""


class LogFailedError(DiskulogError):
    """The log device failed a read or a write-back; final until the next RESUME (on-disk rule 5)."""

    errno = errnos.EIO


class RefusedError(DiskulogError):
    """A log that must not be used as asked: names the argument, the reason and the way out."""

    def __init__(self, argument: str, reason: str, remedy: str) -> None:
        """Keep the three parts, which the message joins."""
        super().__init__(f"{argument}: {reason}; {remedy}")
        self.argument = argument
        self.reason = reason
        self.remedy = remedy


class DeviceError(DiskulogError):
    """The log device could not be opened, read or written; ``errno`` is the cause's."""

    def __init__(self, what: str, cause: OSError) -> None:
        """Say what was tried on which device, and what the kernel answered."""
        super().__init__(f"{what}: {cause.strerror or cause}")
        self.errno = cause.errno or errnos.EIO


class BadLogError(DiskulogError):
    """Bytes that are no log, or a log of a version that is not known; ``rule`` is the name that ``check`` gives it."""

    def __init__(self, text: str, rule: str = "not-a-log") -> None:
        """Keep both."""
        super().__init__(text)
        self.rule = rule
