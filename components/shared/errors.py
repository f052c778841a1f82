"""The errors that a user may see, each with the exit code that tells whether a retry can help.

Message grammar: `<what> must <rule>; got <value> in <uri>. <what to do>`.
"""

from __future__ import annotations

from typing import ClassVar


class FibstackError(Exception):
    """An error with a sentence for the user; never shown with a traceback."""

    exit_code: ClassVar[int] = 1


class UserError(FibstackError):
    """The input is bad: a missing slice, an unreadable header. A retry cannot help."""

    exit_code: ClassVar[int] = 65


class TransientError(FibstackError):
    """Storage or the machine failed in a way that may pass. A retry can help."""

    exit_code: ClassVar[int] = 75


class ConfigError(FibstackError):
    """The configuration is bad: an unknown key, a negative number. A retry cannot help."""

    exit_code: ClassVar[int] = 78


FINAL_EXIT_CODES = frozenset({UserError.exit_code, ConfigError.exit_code})
"""Exit codes after which the same call would fail in the same way."""
