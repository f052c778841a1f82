"""Failures of this machine as sentences: full disks, limits of the shell, want of memory; ends of programs.

What a command or a step writes may not arrive, and what it asks of the system may be refused. Each such end
has one sentence that names the remedy, and an exit code of failure; none is taken for a bug.
"""

from __future__ import annotations

import contextlib
import errno
import sys
from typing import Any

import click

from components.shared.errors import TransientError, UserError

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


class EndingCommand(click.Command):
    """A command that ends with a sentence and an exit code of failure where the machine fails it.

    So it does where what it prints does not arrive, such as on a full disk.
    """

    def main(self, *args: Any, **settings: Any) -> Any:  # noqa: ANN401 - click's signature
        result: Any = None
        ending: SystemExit | None = None
        try:
            result = super().main(*args, **settings)
        except SystemExit as error:
            ending = error
        except Exception as error:
            failure = failure_of_machine(error)
            if failure is None:
                raise
            ending = _told(failure)
        try:
            if sys.stdout is not None:
                sys.stdout.flush()
        except OSError as error:
            _drop_output()
            if ending is None or not ending.code:
                what = "cannot write the standard output"
                failure = failure_of_files(what, error) or TransientError(
                    f"{what}: {error.strerror}. Try again."
                )
                ending = _told(failure)
        except ValueError:  # it is closed
            pass
        if ending is not None:
            raise ending
        return result


def _told(failure: UserError | TransientError) -> SystemExit:
    """The end of a program, whose reason has been said as far as it can be."""
    with contextlib.suppress(OSError):
        click.echo(f"error: {failure}", err=True)
    return SystemExit(failure.exit_code)


def _drop_output() -> None:
    """Say no more: what is left is said once more as Python ends, and would end it with 120."""
    sys.stdout = sys.__stdout__ = None  # type: ignore[misc]
