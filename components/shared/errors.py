"""The errors that a user may see, each with the exit code that tells whether a retry can help.

Failures of the machine are among them: full disks, limits of the shell, want of memory. None is taken for
a bug.

Message grammar: `<what> must <rule>; got <value> in <uri>. <what to do>`.
"""

from __future__ import annotations

import errno
import shlex
import sys
from pathlib import Path
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


def install_command(*extras: str) -> str:
    """The command that installs extras of this program: from the clone that it runs in, where it does.

    Args:
        extras: Extras of `pyproject.toml`, such as step.
    """
    root, chosen = Path(__file__).parents[2], f"[{','.join(extras)}]"
    if not (root / "pyproject.toml").is_file():
        return f"pip install {shlex.quote(f'fibstack{chosen}')}"
    return shlex.join([sys.executable, "-m", "pip", "install", "-e", f"{root}{chosen}"])


FINAL_EXIT_CODES = frozenset({UserError.exit_code, ConfigError.exit_code})
"""Exit codes after which the same call would fail in the same way."""

MORE_MEMORY = (
    "Give it more memory ('ulimit -v', or the limit of its container), or run fewer at a time: --jobs"
)
_PASSING = {
    errno.ENOSPC: "the disk is full. Make free space and try again",
    errno.EDQUOT: "your quota of the disk is used up. Free some space and try again",
    errno.EMFILE: "too many files are open. Raise the limit, such as by 'ulimit -n 4096', and try again",
    errno.ENFILE: "the system has too many open files. Close some programs and try again",
    errno.ENOMEM: f"there is not enough memory. {MORE_MEMORY}",
    errno.EAGAIN: "no more processes or threads may start. Raise the limit, such as by 'ulimit -u 8192'",
    errno.EIO: "the disk or its connection fails. Look at the system's log, and try again",
}
_LASTING = {
    errno.EFBIG: "the file would be larger than may be. Raise the limit, such as by 'ulimit -f unlimited'",
    errno.EROFS: "permission denied, since the disk is read-only. Choose another place",
    errno.EACCES: "permission denied. Check who owns it and who may read and write it",
    errno.EPERM: "permission denied. Check who owns it and who may read and write it",
    errno.ENAMETOOLONG: "the name is too long. Choose a shorter one",
}


def failure_of_files(what: str, error: OSError) -> UserError | TransientError | None:
    """The error for what the system refuses; None where its reason is none of those known here.

    Args:
        what: what fails, such as "cannot write a/b".
        error: what the system says.
    """
    if error.errno in _LASTING:
        return UserError(f"{what}: {_LASTING[error.errno]}.")
    if error.errno in _PASSING:
        return TransientError(f"{what}: {_PASSING[error.errno]}.")
    return None


def failure_of_machine(error: BaseException) -> UserError | TransientError | None:
    """The error for want of memory, processes, threads, files or space; None for anything else."""
    said = " ".join(str(error).split())[:200].rstrip(".")
    if isinstance(error, MemoryError) or "Insufficient memory" in said or "bad_alloc" in said:
        return TransientError(f"there must be more memory; got: {said or 'no more'}. {MORE_MEMORY}.")
    if type(error).__name__ == "BrokenProcessPool":
        return TransientError(
            f"a process of this program was ended, mostly for want of memory. {MORE_MEMORY}."
        )
    if isinstance(error, RuntimeError) and "can't start new thread" in said:
        return failure_of_files("cannot go on", OSError(errno.EAGAIN, ""))
    if isinstance(error, OSError) and not isinstance(error, ConnectionError):
        return failure_of_files(f"cannot use {error.filename}" if error.filename else "cannot write", error)
    return None
