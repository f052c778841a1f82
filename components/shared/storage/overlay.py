"""A store in front of another one, in which work is rehearsed: nothing of it reaches the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from components.shared.storage.store import (
    ObjectChangedError,
    ObjectMissingError,
    Stat,
    Store,
    Vouches,
    checksum,
)


class OverlayStore:
    """The objects of a store, with those that were written here over them, and without those removed here.

    What is written stays in memory, so that documents and records fit, and shards do not.
    """

    def __init__(self, below: Store) -> None:
        self._below = below
        self._content: dict[str, bytes | None] = {}
        """Content of each object that was written here, by key; None where it was removed."""
        self.written: set[str] = set()
        """Keys of all that was ever written here."""

    @property
    def removed(self) -> set[str]:
        """Keys of what was removed here and not written again."""
        return {key for key, content in self._content.items() if content is None}

    @property
    def uri(self) -> str:
        return self._below.uri

    @property
    def vouches(self) -> Vouches:
        return self._below.vouches

    def exists(self) -> bool:
        return self._below.exists()

    def read(self, key: str, crc32c: str | None = None) -> bytes:
        if key not in self._content:
            return self._below.read(key, crc32c)
        content = self._content[key]
        if content is None:
            raise ObjectMissingError(f"cannot read {self.uri}/{key}: it was removed. Check the path.")
        if crc32c is not None and checksum(content) != crc32c:
            raise ObjectChangedError(self.uri, key, crc32c, checksum(content))
        return content

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        return (
            self.read(key)[start:stop] if key in self._content else self._below.read_range(key, start, stop)
        )

    def write(self, key: str, *parts: bytes | memoryview) -> None:
        self._content[key] = b"".join(parts)
        self.written.add(key)

    def stat(self, key: str) -> Stat | None:
        if key not in self._content:
            return self._below.stat(key)
        content = self._content[key]
        if content is None:
            return None
        known = checksum(content) if self.vouches is Vouches.CHECKSUM else None
        return Stat(key=key, size_bytes=len(content), crc32c=known)

    def list(self, prefix: str = "") -> Iterator[Stat]:
        below = self._below.list(prefix) if self._below.exists() else ()
        found = {stat.key: stat for stat in below if stat.key not in self._content}
        for key in self._content:
            stat = self.stat(key) if key.startswith(prefix) else None
            if stat is not None:
                found[key] = stat
        yield from (found[key] for key in sorted(found))

    def delete(self, key: str) -> None:
        self._content[key] = None

    def kvstore(self, prefix: str = "") -> dict[str, Any]:
        return self._below.kvstore(prefix)
