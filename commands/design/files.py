"""Sentences on what files tell beyond the plan: pictures that are turned or inverted, and pictures twice."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

from components.plan.source import sampled_slices
from components.shared.documents.plan import SourceSlice
from components.shared.pictures.slice_files import read_header
from components.shared.storage.parallel import in_parallel
from components.shared.storage.store import Store, checksum
from components.shared.text import listed

_SHOWN = 3
_LOOKED_AT_BYTES = 4096
"""Bytes in the middle of a file that tell most files apart."""
_TURNED: Mapping[int, str] = MappingProxyType(
    {
        2: "mirrored left to right",
        3: "turned by 180 degrees",
        4: "mirrored top to bottom",
        5: "mirrored and turned by 90 degrees",
        6: "turned by 90 degrees clockwise",
        7: "mirrored and turned by 90 degrees",
        8: "turned by 90 degrees counterclockwise",
    }
)
"""Words for what an orientation makes of a picture (TIFF 6.0, tag 274)."""


def shown_otherwise(source: Store, slices: Sequence[SourceSlice]) -> Iterator[str]:
    """Sentences on pictures that their tags turn or invert, among some slices from all over the stack.

    Args:
        source: Where the slices lie.
        slices: The slices of the plan.
    """
    sampled = sampled_slices(slices)
    headers = in_parallel(lambda entry: read_header(source, entry.key, entry.size_bytes), sampled)
    pairs = list(zip(sampled, headers, strict=True))
    for orientation, words in _TURNED.items():
        turned = [entry.key for entry, header in pairs if header.orientation == orientation]
        if turned:
            yield f"{_part(turned, sampled)} {words}, as the files' orientation ({orientation}) says"
    inverted = [entry.key for entry, header in pairs if header.is_inverted]
    if inverted:
        yield f"{_part(inverted, sampled)} inverted, as the files say that white is 0 (tag 262)"


def _part(keys: Sequence[str], sampled: Sequence[SourceSlice]) -> str:
    if len(keys) == len(sampled):
        return "pictures are"
    return f"{len(keys)} of {len(sampled)} pictures that were looked at ({listed(keys, _SHOWN)}) are"


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
