"""The sentence on pictures that are there twice, which the plan of a folder does not tell."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence

from components.shared.documents.plan import SourceSlice
from components.shared.storage.parallel import in_parallel
from components.shared.storage.store import Store, checksum
from components.shared.text import listed

_SHOWN = 3
_LOOKED_AT_BYTES = 4096
"""Bytes in the middle of a file that tell most files apart."""


def repeated(source: Store, slices: Sequence[SourceSlice]) -> Iterator[str]:
    """The sentence on pictures that are there twice, as a copy or a restart of a microscope leaves them.

    It is of folders: a bucket tells checksums, which the plan compares.

    Args:
        source: Where the slices lie.
        slices: The slices of the plan.
    """
    if any(entry.crc32c is not None for entry in slices):
        return

    def middle(entry: SourceSlice) -> Hashable:
        start = max(0, entry.size_bytes // 2 - _LOOKED_AT_BYTES // 2)
        return source.read_range(entry.key, start, start + _LOOKED_AT_BYTES)

    groups: Iterable[list[SourceSlice]] = [list(slices)]
    for told in (lambda entry: entry.size_bytes, middle, lambda entry: checksum(source.read(entry.key))):
        groups = [group for several in groups for group in _alike(several, told)]
    pairs = sorted((entry.z, group[0].z) for group in groups for entry in group[1:])
    if pairs:
        named = [f"slice {again} is slice {first}" for again, first in pairs]
        yield f"the same picture twice: {listed(named, _SHOWN)}"


def _alike(slices: Sequence[SourceSlice], told: Callable[[SourceSlice], Hashable]) -> list[list[SourceSlice]]:
    """Groups of two and more slices of which the same is told."""
    groups: dict[Hashable, list[SourceSlice]] = {}
    for entry, value in zip(slices, in_parallel(told, slices), strict=True):
        groups.setdefault(value, []).append(entry)
    return [group for group in groups.values() if len(group) > 1]
