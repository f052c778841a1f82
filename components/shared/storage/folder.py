"""Folders of this machine as stores."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat as stat_mode
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.shared.errors import TransientError, UserError
from components.shared.storage.schemes import folder_of
from components.shared.storage.store import (
    ObjectChangedError,
    ObjectMissingError,
    Stat,
    Vouches,
    check_key,
    check_prefix,
    check_range,
    checksum,
)

TEMPORARY_PREFIX = ".fibstack-tmp-"
"""Beginning of the name of a file that is being written; a file of such a name is no object."""
_ABANDONED_AFTER_S = 24 * 3600
"""Age at which a temporary file belongs to a writer that was killed: no write takes so long."""


class FolderStore:
    """A folder. Writes go to a temporary name in the same folder, are flushed to disk and renamed.

    Links to files inside the folder are followed; links that leave it are refused. Links to folders
    are not listed.
    """

    def __init__(self, root: Path) -> None:
        try:
            self._root = root.expanduser().resolve()
        except (RuntimeError, ValueError) as error:  # no such home, a loop of links, a null character
            raise UserError(
                f"a folder must have a usable path; got {str(root)[:100]!a}: {error}. Change it."
            ) from None

    @property
    def uri(self) -> str:
        return str(self._root)

    @property
    def vouches(self) -> Vouches:
        return Vouches.TIMES

    def exists(self) -> bool:
        try:
            return self._root.is_dir()
        except OSError:  # a name that no folder can have
            return False

    def read(self, key: str, crc32c: str | None = None) -> bytes:
        try:
            data = self._path(key).read_bytes()
        except OSError as error:
            raise self._failure("read", key, error) from error
        if crc32c is not None and checksum(data) != crc32c:
            raise ObjectChangedError(self.uri, key, crc32c, checksum(data))
        return data

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        check_range(start, stop)
        try:
            with self._path(key).open("rb") as file:
                # Python reserves what it is asked to read, however short the file is.
                end = min(stop, os.fstat(file.fileno()).st_size)
                if end <= start:
                    return b""
                file.seek(start)
                return file.read(end - start)
        except OSError as error:
            raise self._failure("read", key, error) from error

    def write(self, key: str, *parts: bytes | memoryview) -> None:
        path = self._path(key)
        temporary = temporary_beside(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with temporary.open("xb") as file:
                    file.writelines(parts)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
            _sync_folder(path.parent)
        except OSError as error:
            raise self._failure("write", key, error) from error

    def stat(self, key: str) -> Stat | None:
        try:
            found = self._path(key).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise self._failure("look at", key, error) from error
        if not stat_mode.S_ISREG(found.st_mode):
            return None
        return Stat(
            key=key, size_bytes=found.st_size, modified_ns=found.st_mtime_ns, written_s=found.st_mtime
        )

    def list(self, prefix: str = "") -> Iterator[Stat]:
        check_prefix(prefix)
        return self._list_folder(prefix.rpartition("/")[0], prefix)

    def _list_folder(self, folder: str, prefix: str) -> Iterator[Stat]:
        """The objects below a folder that start with `prefix`; enters no folder that cannot hold any."""
        try:
            with os.scandir(self._path(folder) if folder else self._root) as entries:
                # A folder sorts as its objects do: with its slash.
                names = sorted(e.name + "/" * e.is_dir(follow_symlinks=False) for e in entries)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise self._failure("list", folder, error) from error
        for name in names:
            key = f"{folder}/{name}" if folder else name
            if key.endswith("/"):
                if key.startswith(prefix) or prefix.startswith(key):
                    yield from self._list_folder(key.removesuffix("/"), prefix)
            elif key.startswith(prefix) and not name.startswith(TEMPORARY_PREFIX):
                found = self.stat(key)
                if found:
                    yield found

    def delete(self, key: str) -> None:
        try:
            self._path(key).unlink(missing_ok=True)
        except NotADirectoryError:
            return
        except OSError as error:
            raise self._failure("delete", key, error) from error

    def kvstore(self, prefix: str = "") -> dict[str, Any]:
        check_prefix(prefix)
        folder = self._path(prefix.removesuffix("/")) if prefix else self._root
        return {"driver": "file", "path": f"{folder}/"}

    def _path(self, key: str) -> Path:
        check_key(key)
        path = self._root / key
        try:
            inside = path.resolve().is_relative_to(self._root)
        except RuntimeError:  # a loop of links
            inside = False
        if not inside:
            raise UserError(
                f"'{key}' must lie inside {self.uri}; it is a link that leaves it. Copy the file instead."
            )
        return path

    def _failure(self, verb: str, key: str, error: OSError) -> UserError | TransientError:
        where = f"{self.uri}/{key}"
        if isinstance(error, FileNotFoundError):
            return ObjectMissingError(f"cannot {verb} {where}: there is no such file. Check the path.")
        if isinstance(error, PermissionError) or error.errno == errno.EROFS:
            return UserError(
                f"cannot {verb} {where}: permission denied. Check who owns it and who may read and write it."
            )
        if isinstance(error, NotADirectoryError | IsADirectoryError | FileExistsError):
            return UserError(
                f"cannot {verb} {where}: a file and a folder have the same name. Move one of them."
            )
        if error.errno == errno.ENAMETOOLONG:
            return UserError(f"cannot {verb} {where}: the name is too long. Choose a shorter one.")
        return TransientError(
            f"cannot {verb} {where}: {error.strerror or error}. Check the disk's free space and try again."
        )


def temporary_beside(path: Path) -> Path:
    """A new name in the folder of a file, under which the file is written before it is renamed."""
    return path.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{secrets.token_hex(4)}")


def remove_abandoned(uri: str) -> int:
    """Remove the temporary files that killed writers left in a folder long ago; returns their number.

    A location that is no folder has none: an upload that does not end leaves no object.
    """
    root = folder_of(uri)
    if root is None:
        return 0
    before_s = time.time() - _ABANDONED_AFTER_S
    n_removed = 0
    for file in Path(FolderStore(root).uri).rglob(f"{TEMPORARY_PREFIX}*"):
        with contextlib.suppress(OSError):  # its writer, or another sweeper, was faster
            if file.lstat().st_mtime < before_s:
                file.unlink()
                n_removed += 1
    return n_removed


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
