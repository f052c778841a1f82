"""The cost of stored data: objects by place and storage class, and a month's price of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from commands.data.contents import STANDARD, Entry, entries_of
from components.shared.documents.cost import Prices
from components.shared.errors import UserError
from components.shared.storage.registry import open_store
from components.shared.storage.run_buckets import part_uri, run_buckets_of
from components.shared.storage.schemes import scheme_of
from components.shared.text import GIB


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """An object, as far as its price depends on it."""

    place: str
    """Place that the object is counted with: the folder at the top, or the bucket."""
    storage_class: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Number, bytes and price of the objects of one place and storage class."""

    place: str
    storage_class: str
    n_objects: int
    n_bytes: int
    dollars_a_month: float | None
    """Price of a month; None where the table has no price for the class."""


def stored_entries(uri: str) -> Iterator[tuple[str, Entry]]:
    """All that lies below a URI or in the buckets of a run, each with the place that it is counted with.

    Raises:
        UserError: the place is not there, or a right is missing.
    """
    if run_buckets_of(uri):
        parts = (part_uri(uri, part) for part in ("neuroglancer", "chunk", "process", "tmp"))
        for part in parts:
            if open_store(part).exists():
                yield from ((part, entry) for entry in entries_of(part))
        return
    if scheme_of(uri).cloud != "google" and not open_store(uri).exists():
        raise UserError(f"a place must be a folder, gs:// or s3:// URI that exists; got {uri}. Check it.")
    yield from ((_top(entry.key), entry) for entry in entries_of(uri))


def costs_of(objects: Iterable[StoredObject], prices: Prices) -> list[Cost]:
    """Costs by place and storage class, sorted by place."""
    n_objects: Counter[tuple[str, str]] = Counter()
    n_bytes: Counter[tuple[str, str]] = Counter()
    for o in objects:
        n_objects[o.place, o.storage_class] += 1
        n_bytes[o.place, o.storage_class] += o.size_bytes
    return [
        Cost(
            place=place,
            storage_class=storage_class,
            n_objects=n_objects[place, storage_class],
            n_bytes=size,
            dollars_a_month=_dollars(storage_class, size, prices),
        )
        for (place, storage_class), size in sorted(n_bytes.items())
    ]


def _dollars(storage_class: str, n_bytes: int, prices: Prices) -> float | None:
    by_class = {STANDARD: prices.storage_gib_month} | {
        k.upper(): v for k, v in prices.colder_gib_month.items()
    }
    price = by_class.get(storage_class)
    return None if price is None else n_bytes / GIB * price


def _top(key: str) -> str:
    """The folder at the top that a key lies in.

    Example:
        >>> _top("process/align/0-15.json"), _top("img.00000.png")
        ('process/', '(files)')
    """
    folder, slash, _ = key.partition("/")
    return f"{folder}/" if slash else "(files)"
