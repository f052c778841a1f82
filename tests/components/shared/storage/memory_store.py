"""A store that keeps bytes and nothing else: a kind of storage that fibstack does not have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import tensorstore as ts

from components.shared.storage.registry import register
from components.shared.storage.schemes import Scheme, without_scheme
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

CONTEXT = ts.Context()
"""Holds the memory: tensorstore finds what this store has written when an array is opened in it."""
MADE: set[str] = set()
"""Roots that are there, as a bucket is that somebody has made."""


class MemoryStore:
    """Objects in memory, of which a listing tells the size alone."""

    def __init__(self, uri: str) -> None:
        self._root = without_scheme(uri).rstrip("/")
        check_prefix(self._root)
        self._objects = ts.KvStore.open(self.kvstore(), context=CONTEXT).result()

    @property
    def uri(self) -> str:
        return f"memory://{self._root}"

    @property
    def vouches(self) -> Vouches:
        return Vouches.NOTHING

    def exists(self) -> bool:
        return any(f"{self._root}/".startswith(f"{made}/") for made in MADE)

    def read(self, key: str, crc32c: str | None = None) -> bytes:
        data = self._value(key)
        if crc32c is not None and checksum(data) != crc32c:
            raise ObjectChangedError(self.uri, key, crc32c, checksum(data))
        return data

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        check_range(start, stop)
        return self._value(key)[start:stop]

    def write(self, key: str, *parts: bytes | memoryview) -> None:
        check_key(key)
        self._objects.write(key, b"".join(bytes(part) for part in parts)).result()

    def stat(self, key: str) -> Stat | None:
        check_key(key)
        found = self._objects.read(key).result()
        return None if found.state == "missing" else Stat(key=key, size_bytes=len(found.value))

    def list(self, prefix: str = "") -> Iterator[Stat]:
        check_prefix(prefix)
        names = sorted(key.decode() for key in self._objects.list().result())
        return (stat for name in names if name.startswith(prefix) and (stat := self.stat(name)))

    def delete(self, key: str) -> None:
        check_key(key)
        self._objects.write(key, None).result()

    def kvstore(self, prefix: str = "") -> dict[str, Any]:
        check_prefix(prefix)
        folder = prefix.rstrip("/") + "/" if prefix else ""
        return {"driver": "memory", "path": f"{self._root}/{folder}"}

    def _value(self, key: str) -> bytes:
        check_key(key)
        found = self._objects.read(key).result()
        if found.state == "missing":
            raise ObjectMissingError(f"cannot read {self.uri}/{key}: there is no such object.")
        return bytes(found.value)


def new_root(name: str) -> str:
    """The URI of an empty root in memory, below a place that is there."""
    register(Scheme(name="memory"), MemoryStore)
    MADE.add(name)
    return f"memory://{name}/some/run"
