"""One small interface over folders and buckets.

A `Store` is a root (a folder, or a bucket with a prefix) and reads and writes whole objects below it by key.
Keys use `/`, never start with one, and never leave the root. A write is atomic: a reader sees the old
object, the new one, or none, never a part. Array reads go through tensorstore with `kvstore`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat as stat_mode
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote

import google_crc32c

from components.shared.errors import TransientError, UserError

READS = 4
"""What arrives damaged is asked for so many times before it counts as damaged where it lies."""
_TEMPORARY = ".fibstack-tmp-"
_ABANDONED_AFTER_S = 24 * 3600
"""No write takes so long; a temporary file that is older belongs to a writer that was killed."""
_MAX_KEY_BYTES = 1024


class ObjectMissingError(UserError):
    """There is no object with this key."""


class ObjectChangedError(UserError):
    """The object is there, but its content is not the one that was asked for."""

    def __init__(self, uri: str, key: str, expected_crc32c: str, found_crc32c: str) -> None:
        super().__init__(
            f"an object must keep its crc32c {expected_crc32c}; got {found_crc32c} in {uri}/{key}. "
            "It was changed or damaged where it lies: write it again."
        )
        self.found_crc32c = found_crc32c


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat:
    """What a store knows of an object without reading it."""

    key: str
    size_bytes: int
    crc32c: str | None = None
    """Big-endian hex, where the store keeps it (buckets do, folders do not)."""
    modified_ns: int | None = None
    """When a file was last written, since 1970; None in buckets."""
    written_s: float | None = field(default=None, compare=False)
    """When it was last written, by the store's clock, since 1970: to tell people, never to decide by."""


class Store(Protocol):
    """Objects below a root URI.

    Every method raises:
        UserError: the key leaves the root, permission is missing, or the bucket does not exist.
        TransientError: storage failed in a way that may pass, and went on failing while it was retried.
    """

    @property
    def uri(self) -> str:
        """The root, without a trailing slash."""

    def exists(self) -> bool:
        """Whether the root is there: the folder, or the bucket (which has no folders)."""

    def read(self, key: str, crc32c: str | None = None) -> bytes:
        """The whole object, as it is stored: what was damaged on its way is asked for again.

        Args:
            key: The object.
            crc32c: The checksum that its content must have, where one is known.

        Raises:
            ObjectMissingError: there is no such object.
            ObjectChangedError: its content has another checksum where it lies.
        """

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        """Bytes start..stop-1 of the object, fewer where it ends before; not checked.

        Raises:
            ObjectMissingError: there is no such object.
        """

    def write(self, key: str, *parts: bytes | memoryview) -> None:
        """Create or replace the object, atomically; it holds the parts one behind the other."""

    def stat(self, key: str) -> Stat | None:
        """Size and checksum of the object, or None where there is none."""

    def list(self, prefix: str = "") -> Iterator[Stat]:
        """Every object whose key starts with `prefix`, in the order of the keys."""

    def delete(self, key: str) -> None:
        """Remove the object; an absent one is fine."""

    def kvstore(self, prefix: str = "") -> dict[str, Any]:
        """The tensorstore key-value store spec of the objects below the folder `prefix`."""


def open_store(uri: str) -> Store:
    """The store at a `gs://bucket/prefix` URI, a `file://` URI or a plain path.

    Raises:
        UserError: the scheme is not supported, or the bucket or folder cannot be named so.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return LocalStore(Path(uri))
    if scheme == "gs":
        from components.shared.storage.gcs import GcsStore

        return GcsStore(uri)
    if scheme == "file" and rest.removeprefix("localhost").startswith("/"):
        return LocalStore(Path(unquote(rest.removeprefix("localhost"))))
    raise UserError(f"a location must be a folder, file:///folder or gs://bucket; got '{uri}'. Change it.")


def join_uri(uri: str, *parts: str) -> str:
    """A URI below another.

    Example:
        >>> join_uri("gs://bucket/run/", "process")
        'gs://bucket/run/process'
    """
    return "/".join([uri.rstrip("/"), *parts])


def checksum(*parts: bytes | memoryview) -> str:
    """The crc32c of bytes, of parts one behind the other, as eight hex digits.

    Example:
        >>> checksum(b"12345", b"6789")
        'e3069283'
    """
    crc = 0
    for part in parts:
        crc = google_crc32c.extend(crc, bytes(part))
    return f"{crc:08x}"


def check_key(key: str) -> None:
    """Refuse a key that is empty, absolute, or leaves its root.

    Raises:
        UserError: the key breaks a rule.
    """
    bad_part = any(part in ("", ".", "..") for part in key.split("/"))
    if bad_part or "\\" in key or not key.isprintable() or len(key.encode()) > _MAX_KEY_BYTES:
        raise UserError(f"an object's name must stay inside its folder; got {key[:100]!a}. Change the name.")


def check_prefix(prefix: str) -> None:
    """Refuse a prefix of keys that no key could have; the empty one and a trailing slash are fine.

    Raises:
        UserError: the prefix breaks a rule.
    """
    if prefix:
        check_key(prefix.removesuffix("/"))


def check_range(start: int, stop: int) -> None:
    """Refuse a range of bytes that runs backwards: a mistake of the caller, not of the user.

    Raises:
        ValueError: not 0 <= start <= stop.
    """
    if not 0 <= start <= stop:
        raise ValueError(f"a byte range must run from 0 or more upwards; got {start}..{stop}")


class LocalStore:
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
                file.seek(start)
                return file.read(stop - start)
        except OSError as error:
            raise self._failure("read", key, error) from error

    def write(self, key: str, *parts: bytes | memoryview) -> None:
        path = self._path(key)
        temporary = path.with_name(f"{_TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}")
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
            elif key.startswith(prefix) and not name.startswith(_TEMPORARY):
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


def remove_abandoned(uri: str) -> int:
    """Remove the temporary files that killed writers left in a folder long ago; returns their number.

    A bucket has none: an upload that does not end leaves no object.
    """
    store = open_store(uri)
    if not isinstance(store, LocalStore):
        return 0
    before_s = time.time() - _ABANDONED_AFTER_S
    n_removed = 0
    for file in Path(store.uri).rglob(f"{_TEMPORARY}*"):
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
