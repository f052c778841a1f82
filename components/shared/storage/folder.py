"""Folders of this machine as stores."""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import time
from collections.abc import Iterable, Iterator
from enum import Enum, auto
from pathlib import Path, PurePosixPath
from stat import S_ISDIR
from typing import Any

from components.shared.errors import TransientError, UserError, failure_of_files
from components.shared.regular_file import (
    FileInFluxError,
    FileTooLargeError,
    IrregularFileError,
    check_regular,
    open_regular,
    read_regular,
)
from components.shared.storage.schemes import folder_of, is_read_otherwise
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


class LinkTarget(Enum):
    """Where a name in a folder leads, whatever links it goes through."""

    INSIDE = auto()
    FILE_SYSTEM = auto()
    """Outside of the folder, on the same file system."""
    ELSEWHERE = auto()
    """On another file system, in a loop of links, or nowhere."""


def where_it_leads(path: Path, folder: Path) -> LinkTarget:
    """Where a name below a folder leads.

    Args:
        path: The name; a file may be missing there.
        folder: The folder, without links in its own path.
    """
    try:
        target = path.resolve()
        if target.is_relative_to(folder):
            return LinkTarget.INSIDE
        is_beside = target.stat().st_dev == folder.stat().st_dev
    except (OSError, RuntimeError):  # it leads nowhere, or in a loop
        return LinkTarget.ELSEWHERE
    return LinkTarget.FILE_SYSTEM if is_beside else LinkTarget.ELSEWHERE


class FolderStore:
    """A folder. Writes go to a temporary name in the same folder, are flushed to disk and renamed.

    Links to files inside the folder are followed; links that leave it are refused, unless the store is told
    to follow those that stay on the file system. Links to folders are not listed. A pipe, a socket or a
    device in the place of an object is refused by name: nothing waits.
    """

    def __init__(self, root: Path, *, follows_links: bool = False) -> None:
        self._follows_links = follows_links
        try:
            self._root = root.expanduser().resolve()
        except (RuntimeError, ValueError) as error:  # no such home, a loop of links, a null character
            raise UserError(
                f"a folder must have a usable path; got {str(root)[:100]!a}: {error}. Change it."
            ) from None
        if is_read_otherwise(str(self._root)):
            raise UserError(
                "a folder's path must have no backslash and no control character; got "
                f"{str(self._root)[:100]!a}. Rename the folder, or choose another."
            )

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
            data = read_regular(self._path(key))
        except OSError as error:
            raise self._failure("read", key, error) from error
        if crc32c is not None and checksum(data) != crc32c:
            raise ObjectChangedError(self.uri, key, crc32c, checksum(data))
        return data

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        check_range(start, stop)
        try:
            with open_regular(self._path(key)) as file:
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
            check_regular(key, found.st_mode)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except OSError as error:
            raise self._failure("look at", key, error) from error
        return Stat(
            key=key,
            size_bytes=found.st_size,
            modified_ns=found.st_mtime_ns,
            changed_ns=max(found.st_mtime_ns, found.st_ctime_ns),
            written_s=found.st_mtime,
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
        except (NotADirectoryError, IsADirectoryError):  # there is no object of this name
            return
        except OSError as error:
            raise self._failure("delete", key, error) from error

    def kvstore(self, prefix: str = "") -> dict[str, Any]:
        check_prefix(prefix)
        folder = self._path(prefix.removesuffix("/")) if prefix else self._root
        self._check_all_regular(folder)
        return {"driver": "file", "path": f"{folder}/"}

    def _check_all_regular(self, folder: Path) -> None:
        """Refuse a folder that holds a pipe, a socket or a device: tensorstore would wait for it for ever."""
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        self._check_all_regular(Path(entry.path))
                    elif not entry.is_file(follow_symlinks=False):
                        _check_not_waited_for(entry)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            key = os.path.relpath(error.filename or folder, self._root)
            raise self._failure("read", key, error) from error

    def _path(self, key: str) -> Path:
        check_key(key)
        path = self._root / key
        where = where_it_leads(path, self._root)
        if where is LinkTarget.FILE_SYSTEM and not self._follows_links:
            raise UserError(
                f"'{key}' must lie inside {self.uri}; it is a link that leaves it. Copy the file instead, or "
                f"make files of links to slices: fibstack data renumber {shlex.quote(self.uri)} NEW_FOLDER "
                "--follow-links."
            )
        if where is LinkTarget.ELSEWHERE:
            raise UserError(
                f"'{key}' must lie inside {self.uri}, or be a link to a file of its file system; it is a "
                "link that leaves it. Copy the file instead."
            )
        return path

    def _failure(self, verb: str, key: str, error: OSError) -> UserError | TransientError:
        what = f"{verb} {self.uri}/{key}"
        if isinstance(error, FileNotFoundError):
            return ObjectMissingError(f"cannot {what}: there is no such file. Check the path.")
        lasting = _lasting_failure(what, error)
        if lasting:
            return lasting
        if isinstance(error, FileInFluxError):
            return TransientError(f"cannot {what}: {error.strerror}. Try again when it is written.")
        return failure_of_files(f"cannot {what}", error) or TransientError(
            f"cannot {what}: {error.strerror or error}. Check the disk and try again."
        )


def _lasting_failure(what: str, error: OSError) -> UserError | None:
    """The error for a failure that another try cannot help; None where one can."""
    if isinstance(error, IrregularFileError):
        return UserError(f"cannot {what}: {error.strerror}. Put a file in its place, or remove it.")
    if isinstance(error, FileTooLargeError):
        return UserError(f"cannot {what}: {error.strerror}. Put the right file in its place.")
    if isinstance(error, NotADirectoryError | IsADirectoryError | FileExistsError):
        return UserError(f"cannot {what}: a file and a folder have the same name. Move one of them.")
    return None


def temporary_beside(path: Path) -> Path:
    """A new name in the folder of a file, under which the file is written before it is renamed."""
    return path.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{secrets.token_hex(4)}")


def abandoned_files(uri: str) -> Iterator[Path]:
    """The temporary files that killed writers left in a folder long ago.

    A location that is no folder has none: an upload that does not end leaves no object.
    """
    root = folder_of(uri)
    if root is None:
        return
    before_s = time.time() - _ABANDONED_AFTER_S
    for file in Path(FolderStore(root).uri).rglob(f"{TEMPORARY_PREFIX}*"):
        with contextlib.suppress(OSError):  # its writer, or another sweeper, was faster
            if file.lstat().st_mtime < before_s:
                yield file


def remove_abandoned(uri: str) -> int:
    """Remove the temporary files that killed writers left in a folder long ago; returns their number."""
    n_removed = 0
    for file in abandoned_files(uri):
        with contextlib.suppress(OSError):
            file.unlink()
            n_removed += 1
    return n_removed


def remove_empty_folders(uri: str, keys: Iterable[str], *, keep_root: bool = False) -> None:
    """Remove the folders of objects that are gone, and the root, as far as nothing else lies in them.

    Args:
        uri: The root; a location that is no folder has none.
        keys: The objects.
        keep_root: Leave the root itself, although it is empty.
    """
    root = folder_of(uri)
    if root is None:
        return
    top = Path(FolderStore(root).uri)
    folders = {parent for key in keys for parent in PurePosixPath(key).parents}
    folders -= {PurePosixPath()} if keep_root else set()
    for folder in sorted(folders, key=lambda folder: len(folder.parts), reverse=True):
        path = top / folder
        with contextlib.suppress(OSError):  # something else lies there, or it is gone
            if path.resolve() == path:  # no link is on the way
                path.rmdir()


def _check_not_waited_for(entry: os.DirEntry[str]) -> None:
    try:
        mode = entry.stat().st_mode
    except OSError:  # a link that leads nowhere: nobody can open it
        return
    if not S_ISDIR(mode):
        check_regular(entry.path, mode)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
