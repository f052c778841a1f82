"""Regular files of this machine: the one place that opens what a user, or anybody, may have put there.

A name can lead to a pipe, a socket or a device: a plain `open` of it waits for a writer, or a plain `read`
never ends. Nothing here waits, and no more is read than the file held when it was opened.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class IrregularFileError(OSError):
    """There is a pipe, a socket or a device where a regular file must be."""


class FileTooLargeError(OSError):
    """A file has more bytes than its reader takes."""


class FileInFluxError(OSError):
    """A file has grown or shrunk while it was read."""


def kind_of(mode: int) -> str:
    """The kind of what is no regular file and no folder, by its `st_mode`: a link, a pipe, a socket or so.

    Example:
        >>> kind_of(stat.S_IFIFO | 0o644)
        'a pipe'
    """
    return "a link" if stat.S_ISLNK(mode) else _KINDS.get(stat.S_IFMT(mode), "no file")


def check_regular(path: Path | str, mode: int) -> None:
    """Refuse what cannot be read like a file; a folder too.

    Args:
        path: Its name, for the error.
        mode: `st_mode` of what it leads to.

    Raises:
        IsADirectoryError: it is a folder.
        IrregularFileError: it is a pipe, a socket or a device; the error says which.
    """
    if stat.S_ISREG(mode):
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise IrregularFileError(errno.EINVAL, f"it must be a regular file; got {kind_of(mode)}", str(path))


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading, without waiting.

    Raises:
        OSError: there is none, it may not be read, or something else is there (`check_regular`).
    """
    check_regular(path, path.stat().st_mode)  # a device can act when it is opened; a socket cannot be
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        check_regular(path, os.fstat(descriptor).st_mode)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path, max_bytes: int | None = None) -> bytes:
    """The content of a regular file.

    Args:
        path: The file.
        max_bytes: Largest size that is read; None for any that fits into memory.

    Raises:
        OSError: as `open_regular` does; or the file is too large, or grows or shrinks while it is read.
    """
    with open_regular(path) as file:
        size_bytes = os.fstat(file.fileno()).st_size
        if max_bytes is not None and size_bytes > max_bytes:
            got = f"it must have at most {max_bytes:,} bytes; got {size_bytes:,}"
            raise FileTooLargeError(errno.EFBIG, got, str(path))
        try:
            # A machine that promises more memory than it has would end the program in the middle.
            if size_bytes > os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"):
                raise MemoryError
            data = file.read(size_bytes + 1)
        except MemoryError:
            got = f"it must fit into memory; got {size_bytes:,} bytes"
            raise FileTooLargeError(errno.EFBIG, got, str(path)) from None
    if len(data) != size_bytes:  # also a file of /proc, which says that it has no bytes
        got = "more" if len(data) > size_bytes else f"{len(data):,}"
        raise FileInFluxError(
            errno.EBUSY, f"it must not change while it is read; got {got} of {size_bytes:,} bytes", str(path)
        )
    return data
