"""One small interface over folders and buckets.

A `Store` is a root (a folder, or a bucket with a prefix) and reads and writes whole objects below it by key.
Keys use `/`, never start with one, and never leave the root. A write is atomic: a reader sees the old
object, the new one, or none, never a part. Array reads go through tensorstore with `kvstore`.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

import google_crc32c

from components.shared.errors import TransientError, UserError

_TEMPORARY = ".fibstack-tmp-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat:
    """What a store knows of an object without reading it."""

    key: str
    size_bytes: int
    crc32c: str | None = None
    """Big-endian hex, where the store keeps it (buckets do, folders do not)."""


class Store(Protocol):
    """Objects below a root URI."""

    @property
    def uri(self) -> str:
        """The root, without a trailing slash."""

    def read(self, key: str) -> bytes:
        """The whole object.

        Raises:
            UserError: there is no such object, or no permission.
            TransientError: storage failed in a way that may pass.
        """

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        """Bytes start..stop-1 of the object, fewer where it ends before."""

    def write(self, key: str, data: bytes | memoryview) -> None:
        """Create or replace the object, atomically."""

    def stat(self, key: str) -> Stat | None:
        """Size and checksum of the object, or None where there is none."""

    def list(self, prefix: str = "") -> Iterator[Stat]:
        """Every object whose key starts with `prefix`, in the order of the keys."""

    def delete(self, key: str) -> None:
        """Remove the object; an absent one is fine."""

    def kvstore(self, prefix: str) -> dict[str, Any]:
        """The tensorstore key-value store spec of the objects below `prefix`."""


def open_store(uri: str) -> Store:
    """The store at a `gs://bucket/prefix` URI, a `file://` URI or a plain path.

    Raises:
        UserError: the scheme is not supported.
    """
    scheme = urlsplit(uri).scheme if "://" in uri else ""
    if scheme == "gs":
        from components.shared.gcs import GcsStore

        return GcsStore(uri)
    if scheme == "file":
        return LocalStore(Path(unquote(urlsplit(uri).path)))
    if scheme == "":
        return LocalStore(Path(uri))
    raise UserError(f"a location must be a folder, file:// or gs://; got '{uri}'. Change the scheme.")


def join_uri(uri: str, *parts: str) -> str:
    """A URI below another.

    Example:
        >>> join_uri("gs://bucket/run/", "process")
        'gs://bucket/run/process'
    """
    return "/".join([uri.rstrip("/"), *parts])


def checksum(data: bytes | memoryview) -> str:
    """The crc32c of some bytes as eight hex digits.

    Example:
        >>> checksum(b"123456789")
        'e3069283'
    """
    return f"{google_crc32c.value(bytes(data)):08x}"


def check_key(key: str) -> None:
    """Refuse a key that is empty, absolute, or leaves its root.

    Raises:
        UserError: the key breaks a rule.
    """
    bad_part = any(part in ("", ".", "..") for part in key.split("/"))
    if bad_part or "\\" in key or len(key) > 1024 or not key.isprintable():
        raise UserError(f"an object's name must stay inside its folder; got '{key[:100]}'. Change the name.")


class LocalStore:
    """A folder. Writes go to a temporary name in the same folder, are flushed to disk and renamed."""

    def __init__(self, root: Path) -> None:
        self._root = Path(os.path.abspath(root.expanduser()))

    @property
    def uri(self) -> str:
        return str(self._root)

    def _path(self, key: str) -> Path:
        check_key(key)
        path = self._root / key
        if not path.resolve().is_relative_to(self._root.resolve()):
            raise UserError(
                f"'{key}' must lie inside {self.uri}; it is a link that leaves it. Copy the file instead."
            )
        return path

    def read(self, key: str) -> bytes:
        try:
            return self._path(key).read_bytes()
        except OSError as error:
            raise self._failure("read", key, error) from error

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        try:
            with self._path(key).open("rb") as file:
                file.seek(start)
                return file.read(stop - start)
        except OSError as error:
            raise self._failure("read", key, error) from error

    def write(self, key: str, data: bytes | memoryview) -> None:
        path = self._path(key)
        temporary = path.with_name(f"{_TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with temporary.open("xb") as file:
                    file.write(data)
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
        return Stat(key=key, size_bytes=found.st_size)

    def list(self, prefix: str = "") -> Iterator[Stat]:
        folder = self._root / prefix.rpartition("/")[0]
        found = []
        for base, _, names in os.walk(folder):
            for name in names:
                path = Path(base, name)
                key = path.relative_to(self._root).as_posix()
                if key.startswith(prefix) and not name.startswith(_TEMPORARY):
                    found.append((key, path))
        for key, path in sorted(found):
            yield Stat(key=key, size_bytes=path.stat().st_size)

    def delete(self, key: str) -> None:
        try:
            self._path(key).unlink(missing_ok=True)
        except OSError as error:
            raise self._failure("delete", key, error) from error

    def kvstore(self, prefix: str) -> dict[str, Any]:
        return {"driver": "file", "path": f"{self._root / prefix}/"}

    def _failure(self, verb: str, key: str, error: OSError) -> UserError | TransientError:
        where = f"{self.uri}/{key}"
        if isinstance(error, FileNotFoundError):
            return UserError(f"cannot {verb} {where}: there is no such file. Check the path.")
        if isinstance(error, PermissionError):
            return UserError(f"cannot {verb} {where}: permission denied. Check who owns the folder.")
        return TransientError(
            f"cannot {verb} {where}: {error.strerror or error}. Free the disk or try again."
        )


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
