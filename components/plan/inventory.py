"""Which slices a listing holds, and what speaks against working on them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from components.shared.config import RunConfig
from components.shared.documents import PixelType, SourceSlice
from components.shared.errors import UserError
from components.shared.imageio import ImageHeader
from components.shared.storage import Stat

_SHOWN = 5
"""So many examples are shown in a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The objects of a source whose names are like the pattern."""

    slices: dict[int, Stat]
    """Objects that the pattern names, by number."""
    otherwise_padded: tuple[str, ...]
    """Names with a number that is padded otherwise, such as img.7.png for img.%05d.png."""

    def between(self, minz: int, maxz: int) -> dict[int, Stat]:
        """The slices minz..maxz that are there, z ascending."""
        return {z: self.slices[z] for z in sorted(self.slices) if minz <= z <= maxz}


def name_prefix(pattern: str) -> str:
    """What every name of a pattern starts with.

    Example:
        >>> name_prefix("raw/img.%05d.png")
        'raw/img.'
    """
    return pattern.partition("%")[0]


def number_slices(pattern: str, listed: Iterable[Stat]) -> Listing:
    """Sort listed objects by the number in their name.

    Example:
        >>> names = ("007.png", "8.png", "notes.txt")
        >>> listing = number_slices("%03d.png", [Stat(key=name, size_bytes=1) for name in names])
        >>> list(listing.slices), listing.otherwise_padded
        ([7], ('8.png',))
    """
    before, after = re.split(r"%\d*d", pattern)
    like = re.compile(f"{re.escape(before)}([0-9]+){re.escape(after)}")
    slices: dict[int, Stat] = {}
    otherwise_padded = []
    for stat in listed:
        match = like.fullmatch(stat.key)
        if match is None:
            continue
        number = int(match[1])
        if pattern % number == stat.key:
            slices[number] = stat
        else:
            otherwise_padded.append(stat.key)
    return Listing(slices=slices, otherwise_padded=tuple(otherwise_padded))


def no_match_sentence(config: RunConfig, listing: Listing, others: Sequence[str], uri: str) -> str:
    """Why no slice was found, with the names that are there.

    Args:
        config: Names the pattern and the range of the slices.
        listing: The objects whose names are like the pattern.
        others: Some names in the pattern's folder.
        uri: The source.
    """
    wanted = f"the source must hold slices '{config.image}' numbered {config.minz} to {config.maxz}; got"
    if listing.slices:
        found = f"{len(listing.slices)} slices numbered {min(listing.slices)} to {max(listing.slices)}"
        return f"{wanted} {found} in {uri}. Change minz and maxz."
    if listing.otherwise_padded:
        names = ", ".join(listing.otherwise_padded[:_SHOWN])
        return f"{wanted} names such as {names} in {uri}. Change the digits of %05d in 'image', or use %d."
    if others:
        return f"{wanted} names such as {', '.join(others[:_SHOWN])} in {uri}. Change 'image' or 'source'."
    return f"{wanted} no file in {uri}. Change 'source' to the folder or bucket of the slices."


def missing_slices(
    present: Iterable[int], minz: int, maxz: int, *, allow_gaps: bool, uri: str
) -> tuple[int, ...]:
    """The numbers between minz and maxz without a slice.

    Raises:
        UserError: there are any and gaps are not allowed, or the first or last slice is missing: a range that
            exists can be named instead.
    """
    there = set(present)
    missing = tuple(z for z in range(minz, maxz + 1) if z not in there)
    if missing and not allow_gaps:
        shown = ", ".join(map(str, missing[:_SHOWN])) + (", ..." if len(missing) > _SHOWN else "")
        raise UserError(
            f"every slice from {minz} to {maxz} must be there; got {len(missing)} missing ({shown}) in "
            f"{uri}. Add them, change minz and maxz, or set allow_gaps."
        )
    if missing and (missing[0] == minz or missing[-1] == maxz):
        raise UserError(
            f"the first and the last slice must be there, also with allow_gaps; got {minz} to {maxz} "
            f"in {uri}. Set minz to {min(there)} and maxz to {max(there)}."
        )
    return missing


def source_slices(present: dict[int, Stat], headers: Sequence[ImageHeader]) -> tuple[SourceSlice, ...]:
    """The entries of a plan, from the listing and the headers in the same order."""
    return tuple(
        SourceSlice(
            z=z,
            key=stat.key,
            size_bytes=stat.size_bytes,
            width_px=header.width_px,
            height_px=header.height_px,
            crc32c=stat.crc32c,
        )
        for (z, stat), header in zip(present.items(), headers, strict=True)
    )


def common_pixel_type(present: dict[int, Stat], headers: Sequence[ImageHeader], uri: str) -> PixelType:
    """The pixel type of every slice.

    Raises:
        UserError: slices of 8 and of 16 bit are mixed.
    """
    first_of: dict[PixelType, str] = {}
    for stat, header in zip(present.values(), headers, strict=True):
        first_of.setdefault(header.pixel_type, stat.key)
    if len(first_of) > 1:
        found = " and ".join(f"{kind} ({key})" for kind, key in sorted(first_of.items()))
        raise UserError(
            f"every slice must have the same bit depth; got {found} in {uri}. "
            f"Convert the slices to one bit depth."
        )
    return headers[0].pixel_type


def repeated_slices(slices: Sequence[SourceSlice]) -> list[tuple[int, int]]:
    """Pairs of neighbouring slices with the same checksum: one was exported twice."""
    pairs = itertools.pairwise(slices)
    return [(a.z, b.z) for a, b in pairs if a.crc32c is not None and a.crc32c == b.crc32c]
