# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a failure is called on the command line: one sentence.

Lives here: telling ours from the parser's and from what nobody foresaw. Does not know commands, or codes (``exits``).
"""

import typer


def parser_complaint(failure: BaseException) -> str | None:
    """Return what the parser has to say of the command line; None of any other failure."""
    # the class of these is click's in typer < 0.26 and private to typer since; both have this method
    message = getattr(failure, "format_message", None)
    return str(message()) if message else None


def sentence(failure: BaseException) -> str:
    """Say in one sentence what went wrong."""
    complaint = parser_complaint(failure)
    if complaint is not None:
        return f"{complaint} (see 'diskulog --help')"
    if isinstance(failure, (KeyboardInterrupt, typer.Abort)):
        return "interrupted"
    if isinstance(failure, MemoryError):
        return "not enough memory"
    known = isinstance(failure, OSError) or type(failure).__module__.startswith("diskulog.")
    return str(failure) if known else f"internal error, please report it: {type(failure).__name__}: {failure}"
