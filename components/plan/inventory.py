"""Which slices a listing holds, and what speaks against working on them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from components.shared.config import RunConfig
from components.shared.documents import ChannelFile, PixelType, SourceSlice
from components.shared.errors import ConfigError, UserError
from components.shared.image_formats import MAX_CHANNELS, ImageHeader
from components.shared.storage import Stat

_PNG_CHANNELS = 4
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


def no_match_sentence(
    config: RunConfig, pattern: str, listing: Listing, others: Sequence[str], uri: str
) -> str:
    """Why no slice was found, with the names that are there.

    Args:
        config: Names the range of the slices.
        pattern: Name pattern of the slices, or of a further channel.
        listing: The objects whose names are like the pattern.
        others: Some names in the pattern's folder.
        uri: The source.
    """
    key = "image" if pattern == config.image else "more_channels"
    wanted = f"the source must hold slices '{pattern}' numbered {config.minz} to {config.maxz}; got"
    if listing.slices:
        found = f"{len(listing.slices)} slices numbered {min(listing.slices)} to {max(listing.slices)}"
        return f"{wanted} {found} in {uri}. Change minz and maxz."
    if listing.otherwise_padded:
        names = ", ".join(listing.otherwise_padded[:_SHOWN])
        return f"{wanted} names such as {names} in {uri}. Change the digits of %05d in '{key}', or use %d."
    if others:
        return f"{wanted} names such as {', '.join(others[:_SHOWN])} in {uri}. Change '{key}' or 'source'."
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


def with_every_channel(
    found: Sequence[dict[int, Stat]], patterns: Sequence[str], *, allow_gaps: bool, uri: str
) -> dict[int, tuple[Stat, ...]]:
    """The files of the slices of which every channel is there, z ascending.

    With `allow_gaps`, a slice without one of its channels counts as missing: none is shown black.

    Args:
        found: The files of each channel, by z.
        patterns: Name pattern of each channel.
        allow_gaps: Whether slices may be missing.
        uri: The source.

    Raises:
        UserError: a channel lacks slices that another one has and gaps are not allowed, or no slice is left.
    """
    some = {z for files in found for z in files}
    lacking = {pattern: some - set(files) for pattern, files in zip(patterns, found, strict=True)}
    complete = some.difference(*lacking.values())
    if any(lacking.values()) and not (allow_gaps and complete):
        pattern, numbers = next((p, sorted(zs)) for p, zs in lacking.items() if zs)
        shown = ", ".join(map(str, numbers[:_SHOWN])) + (", ..." if len(numbers) > _SHOWN else "")
        raise UserError(
            f"every slice must have every channel; got {len(numbers)} without '{pattern}' ({shown}) in "
            f"{uri}. Add them, change minz and maxz, or set allow_gaps."
        )
    return {z: tuple(files[z] for files in found) for z in sorted(complete)}


def source_slices(
    present: dict[int, tuple[Stat, ...]], headers: dict[str, ImageHeader], uri: str
) -> tuple[SourceSlice, ...]:
    """The entries of a plan.

    Args:
        present: The files of each slice, the one that is aligned first, z ascending.
        headers: Header of each file, by its key.
        uri: The source.

    Raises:
        UserError: the channels of a slice differ in size.
    """
    for files in present.values():
        sizes = {(headers[file.key].width_px, headers[file.key].height_px): file.key for file in files}
        if len(sizes) > 1:
            got = " and ".join(f"{width} x {height} px ({key})" for (width, height), key in sizes.items())
            raise UserError(
                f"the channels of a slice must have the same size; got {got} in {uri}. "
                f"Save them as they were recorded together."
            )
    return tuple(
        SourceSlice(
            z=z,
            key=first.key,
            size_bytes=first.size_bytes,
            width_px=headers[first.key].width_px,
            height_px=headers[first.key].height_px,
            crc32c=first.crc32c,
            n_channels=headers[first.key].n_channels,
            more_channels=tuple(
                ChannelFile(
                    key=file.key,
                    size_bytes=file.size_bytes,
                    n_channels=headers[file.key].n_channels,
                    crc32c=file.crc32c,
                )
                for file in others
            ),
        )
        for z, (first, *others) in present.items()
    )


def check_channels(slices: Sequence[SourceSlice], config: RunConfig, uri: str) -> None:
    """Refuse a stack whose slices differ in their number of channels.

    Raises:
        UserError: they do, or there are more in all than a volume may have.
        ConfigError: there are more than PNG can hold, which is asked for.
    """
    first_of: dict[tuple[int, ...], str] = {}
    for entry in slices:
        first_of.setdefault(entry.file_channels, entry.key)
    if len(first_of) > 1:
        found = " and ".join(
            f"{'+'.join(map(str, channels))} ({key})" for channels, key in sorted(first_of.items())
        )
        raise UserError(
            f"every slice must have the same channels; got {found} in {uri}. "
            f"Convert all slices to grey, or all to RGB."
        )
    n_channels = sum(slices[0].file_channels)
    if n_channels > MAX_CHANNELS:
        raise UserError(
            f"a volume must have at most {MAX_CHANNELS} channels; got {n_channels} in {uri}. "
            f"Name fewer in 'more_channels'."
        )
    if config.lossless_encoding == "png" and n_channels > _PNG_CHANNELS:
        raise ConfigError(
            f"'lossless_encoding' png must have at most {_PNG_CHANNELS} channels; got {n_channels} in {uri}. "
            f"Set lossless_encoding to raw."
        )


def common_pixel_type(headers: dict[str, ImageHeader], uri: str) -> PixelType:
    """The pixel type of every file.

    Args:
        headers: Header of each file, by its key.
        uri: The source.

    Raises:
        UserError: slices of 8 and of 16 bit are mixed.
    """
    first_of: dict[PixelType, str] = {}
    for key, header in headers.items():
        first_of.setdefault(header.pixel_type, key)
    if len(first_of) > 1:
        found = " and ".join(f"{kind} ({key})" for kind, key in sorted(first_of.items()))
        raise UserError(
            f"every slice must have the same bit depth; got {found} in {uri}. "
            f"Convert the slices to one bit depth."
        )
    (pixel_type,) = first_of
    return pixel_type


def repeated_slices(slices: Sequence[SourceSlice]) -> list[tuple[int, int]]:
    """Pairs of neighbouring slices with the same checksum: one was exported twice."""
    pairs = itertools.pairwise(slices)
    return [(a.z, b.z) for a, b in pairs if a.crc32c is not None and a.crc32c == b.crc32c]
