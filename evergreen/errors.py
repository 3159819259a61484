"""The errors that a user sees, each with the exit code of the command line.

An error's text is the whole message: what is wrong, where, and what to do.
Anything else that escapes is an internal fault (exit code 4).
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of ``run.py``."""

    DONE = 0
    REFUSED = 1
    BAD_INPUT = 2
    UNREACHABLE = 3
    INTERNAL = 4
    INTERRUPTED = 130


class EvergreenError(Exception):
    """Base of every error that is part of the product.

    Its text can always be printed and stored as UTF-8: half of a surrogate pair, which a
    JSON escape or a file name may hold, is shown by its escape.
    """

    exit_code = ExitCode.INTERNAL

    def __str__(self) -> str:
        return super().__str__().encode(errors="backslashreplace").decode()


class InputError(EvergreenError):
    """The table or the configuration cannot be used as it is."""

    exit_code = ExitCode.BAD_INPUT


class RefusedError(EvergreenError):
    """A gate or a quality check said no."""

    exit_code = ExitCode.REFUSED


class UnreachableError(EvergreenError):
    """A database, server, file system or lock that is needed does not answer."""

    exit_code = ExitCode.UNREACHABLE


class NotServingError(UnreachableError):
    """A server was started and ended by itself: started again, it would end as it did."""
