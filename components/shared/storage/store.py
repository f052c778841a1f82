"""The interface to storage: whole objects, by key, below a root.

A `Store` is a root (a folder, or a bucket with a prefix) and reads and writes whole objects below it by key.
Keys use `/`, never start with one, and never leave the root. A write is atomic: a reader sees the old
object, the new one, or none, never a part. Array reads go through tensorstore with `kvstore`. `registry`
opens the store of a URI.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import PurePosixPath
from typing import Any, Protocol

import google_crc32c

from components.shared.errors import UserError
from components.shared.storage.parallel import in_parallel

READS = 4
"""Reads of an object before a checksum mismatch counts as damage in storage, not in transfer."""
_MAX_KEY_BYTES = 1024
_UNKNOWN_TYPE = "application/octet-stream"
_CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".png": "image/png",
}


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


class Vouches(Enum):
    """The evidence that an object still holds what was written, short of reading it."""

    CHECKSUM = "checksum"
    """The store keeps the crc32c of every object, and lists it."""
    WHEN_ASKED = "checksum, when asked"
    """The store tells the crc32c of one object at a time (`Store.stat`), of those that it keeps one of."""
    TIMES = "size and time"
    """The store keeps when an object was last written and changed, by a clock that all its objects share."""
    NOTHING = "nothing"
    """The store keeps a size at most: only the bytes themselves tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat:
    """Size, checksum and time of an object, as a store knows them without reading it."""

    key: str
    size_bytes: int
    crc32c: str | None = None
    """The checksum in big-endian hex; None where the store does not tell it."""
    modified_ns: int | None = None
    """Nanoseconds from 1970 to the last write, to tell a source's files apart where there is no checksum."""
    changed_ns: int | None = field(default=None, compare=False)
    """Nanoseconds from 1970 to the last change of the content, the name or the times themselves; None unless
    the store vouches by size and time. Programs can put the time of writing back, but not this one."""
    written_s: float | None = field(default=None, compare=False)
    """Seconds from 1970 to the last write, by the store's clock: to tell people, and which of two documents
    is newer, never what an object holds."""


class Store(Protocol):
    """The objects below a root URI.

    Every method raises:
        UserError: the key leaves the root, permission is missing, or the bucket does not exist.
        TransientError: storage failed in a way that may pass, and went on failing while it was retried.
    """

    @property
    def uri(self) -> str:
        """The root, without a trailing slash."""

    @property
    def vouches(self) -> Vouches:
        """The evidence for the content of an object; `work.records` trusts nothing else."""

    def exists(self) -> bool:
        """True where the root is there: the folder, or the bucket (which has no folders)."""

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


def with_checksums(store: Store, stats: Sequence[Stat]) -> list[Stat]:
    """Sizes of objects with what vouches for them; where a listing has nothing, each is asked for, or read.

    Args:
        store: Store of the objects.
        stats: The objects.
    """
    if store.vouches is Vouches.WHEN_ASKED:
        return in_parallel(lambda stat: store.stat(stat.key) or stat, stats)
    if store.vouches is not Vouches.NOTHING:
        return list(stats)
    return [replace(stat, crc32c=checksum(store.read(stat.key))) for stat in stats]


def read_bounded(store: Store, key: str, max_bytes: int) -> bytes:
    """The whole object, whose size is looked at before it is read.

    Raises:
        ObjectMissingError: there is no such object.
        UserError: it is larger than `max_bytes`.
    """
    found = store.stat(key)
    if found is not None and found.size_bytes > max_bytes:
        raise UserError(
            f"a document must have at most {max_bytes:,} bytes; got {found.size_bytes:,} in "
            f"{join_uri(store.uri, key)}. Put the right file in its place, or remove it."
        )
    return store.read(key)


def told_browsers(key: str) -> tuple[str, str | None]:
    """The type of an object, and how long browsers may keep it; None for as long as they like.

    Public objects are cached for an hour otherwise, and a viewer would go on showing the old run.

    Example:
        >>> told_browsers("info"), told_browsers("8_8_8/0.shard")
        (('application/json', 'no-cache'), ('application/octet-stream', None))
    """
    name = PurePosixPath(key)
    is_info = name.name == "info"  # of a precomputed volume
    content_type = "application/json" if is_info else _CONTENT_TYPES.get(name.suffix, _UNKNOWN_TYPE)
    return content_type, None if content_type == _UNKNOWN_TYPE else "no-cache"


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
