"""The slices of a listing: which are there, which are missing, and which files are no sound slice."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from components.shared.documents.config import RunConfig
from components.shared.documents.plan import (
    ChannelFile,
    FilesOfPixelSize,
    PixelSize,
    Reading,
    SourceSlice,
)
from components.shared.documents.transforms import GivenPlaces
from components.shared.errors import ConfigError, UserError
from components.shared.pictures.formats.header import ImageHeader
from components.shared.pictures.slice_files import used_size
from components.shared.storage.store import Stat
from components.shared.text import listed

_NONE: Mapping[int, str] = MappingProxyType({})
_SUFFIXES_ALIKE = (("tif", "tiff"), ("jpg", "jpeg"))
"""Suffixes that programs write for one format."""
SHOWN = 5
"""Examples that a sentence names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The objects of a source whose names fit a pattern, sorted by the number in them."""

    slices: dict[int, Stat]
    """Objects with a name that the pattern makes, by number."""
    otherwise_padded: tuple[str, ...]
    """Names that fit but for the padding of their number, such as img.7.png for img.%05d.png."""
    twice: dict[int, str]
    """Names with other padding whose number a slice has as well, by that number: two files claim it."""
    otherwise_ended: dict[int, str] = field(default_factory=dict)
    """Names that fit but for their suffix, such as img.00007.TIF for img.%05d.tif, by number."""

    def between(self, minz: int, maxz: int) -> dict[int, Stat]:
        """The slices minz..maxz that are there, z ascending."""
        return {z: self.slices[z] for z in sorted(self.slices) if minz <= z <= maxz}


def name_prefix(pattern: str) -> str:
    """The text that every name of a pattern starts with.

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
    stem, others = _other_suffixes(after)
    like_but_for_suffix = re.compile(f"{re.escape(before)}([0-9]+){re.escape(stem)}({others})", re.IGNORECASE)
    slices: dict[int, Stat] = {}
    otherwise_padded = {}
    otherwise_ended: dict[int, str] = {}
    for stat in listed:
        match = like.fullmatch(stat.key)
        if match is None:
            near = like_but_for_suffix.fullmatch(stat.key)
            if near is not None and stat.key.startswith(before):
                otherwise_ended.setdefault(int(near[1]), stat.key)
            continue
        number = int(match[1])
        if pattern % number == stat.key:
            slices[number] = stat
        else:
            otherwise_padded[stat.key] = number
    twice = {number: name for name, number in otherwise_padded.items() if number in slices}
    return Listing(
        slices=slices,
        otherwise_padded=tuple(otherwise_padded),
        twice=twice,
        otherwise_ended=otherwise_ended,
    )


def _other_suffixes(after: str) -> tuple[str, str]:
    """The text before the suffix of a pattern, and the suffixes of its format as a regular expression."""
    stem, dot, suffix = after.rpartition(".")
    alike = next((kind for kind in _SUFFIXES_ALIKE if suffix.lower() in kind), (suffix,))
    return stem + dot, "|".join(map(re.escape, alike))


def check_numbered_once(listing: Listing, minz: int, maxz: int, uri: str) -> None:
    """Refuse a folder in which two files have the number of one slice.

    Raises:
        UserError: two files between minz and maxz have the same number.
    """
    for z, name in sorted(listing.twice.items()):
        if minz <= z <= maxz:
            raise UserError(
                f"every slice must have one file; got {listing.slices[z].key} and {name} of number {z} in "
                f"{uri}. Move the one away that does not belong to the stack."
            )


def no_match_sentence(
    config: RunConfig, pattern: str, listing: Listing, others: Sequence[str], uri: str
) -> str:
    """A sentence for when no slice was found, with names that are there.

    Args:
        config: The configuration, which names the range of the slices.
        pattern: Name pattern of the slices, or of a further channel.
        listing: The objects whose names are like the pattern.
        others: Some names in the pattern's folder.
        uri: The source.
    """
    flag = "--image" if pattern == config.image else "--set more_channels=..."
    wanted = f"the source must hold slices '{pattern}' numbered {config.minz} to {config.maxz}; got"
    if listing.slices:
        found = f"{len(listing.slices)} slices numbered {min(listing.slices)} to {max(listing.slices)}"
        return f"{wanted} {found} in {uri}. Change --minz and --maxz."
    if listing.otherwise_padded:
        names = ", ".join(listing.otherwise_padded[:SHOWN])
        return f"{wanted} names such as {names} in {uri}. Change the digits of %05d in {flag}, or use %d."
    if others:
        return f"{wanted} names such as {', '.join(others[:SHOWN])} in {uri}. Change {flag} or --source."
    return f"{wanted} no file in {uri}. Change --source to the folder or bucket of the slices."


def suffix_findings(
    patterns: Sequence[str], listings: Sequence[Listing], minz: int, maxz: int
) -> Iterator[str]:
    """Sentences on files that are left out for their suffix alone.

    Args:
        patterns: Name pattern of each channel.
        listings: Listing of each channel.
        minz: Number of the first slice.
        maxz: Number of the last slice.
    """
    for pattern, listing in zip(patterns, listings, strict=True):
        left_out = [name for z, name in sorted(listing.otherwise_ended.items()) if minz <= z <= maxz]
        if left_out:
            yield (
                f"left out, since their suffix is not that of '{pattern}': {listed(left_out, SHOWN)}; taken "
                f"are the {len(listing.between(minz, maxz)):,} that have it"
            )


def missing_slices(
    present: Iterable[int],
    minz: int,
    maxz: int,
    *,
    allow_gaps: bool,
    uri: str,
    otherwise_ended: Mapping[int, str] = _NONE,
) -> tuple[int, ...]:
    """The numbers between minz and maxz without a slice.

    Args:
        present: The numbers of the slices that are there.
        minz: Number of the first slice.
        maxz: Number of the last slice.
        allow_gaps: Whether slices may be missing.
        uri: The source.
        otherwise_ended: Names that fit but for their suffix, by number.

    Raises:
        UserError: slices are missing and gaps are not allowed, or the first or the last slice is missing: a
            range that exists can be named instead.
    """
    there = set(present)
    missing = tuple(z for z in range(minz, maxz + 1) if z not in there)
    ends_are_there = not missing or (missing[0] != minz and missing[-1] != maxz)
    ended = [otherwise_ended[z] for z in missing if z in otherwise_ended]
    if ended and not (allow_gaps and ends_are_there):
        raise UserError(
            f"every slice from {minz} to {maxz} must have the suffix of 'image'; got {len(ended)} of "
            f"{len(missing)} missing ones with another, {listed(ended, SHOWN)}, in {uri}. Give all one "
            f"suffix: fibstack data renumber {shlex.quote(uri)} NEW_FOLDER."
        )
    if missing and not allow_gaps:
        shown = listed(missing, SHOWN, rest=", ...")
        renumber = ["fibstack", "data", "renumber", uri, f"{uri}-numbered", "--yes"]
        # Most numbers are missing: they are no slice numbers, but times, or heights in nm.
        remedy = (
            f"Number the slices anew ({shlex.join(renumber)})" if len(missing) > len(there) else "Add them"
        )
        raise UserError(
            f"every slice from {minz} to {maxz} must be there; got {len(missing)} missing ({shown}) in "
            f"{uri}. {remedy}, change --minz and --maxz, or add --set allow_gaps=true."
        )
    if not ends_are_there:
        raise UserError(
            f"the first and the last slice must be there, also with allow_gaps; got {minz} to {maxz} "
            f"in {uri}. Give --minz {min(there)} --maxz {max(there)}."
        )
    return missing


def places_findings(places: GivenPlaces, numbers: Iterable[int]) -> Iterator[str]:
    """Sentences on slices that are placed as those of another run.

    Args:
        places: Where those lie.
        numbers: Numbers of the slices that are there.
    """
    yield f"slices are placed as those in {places.output} are, and not matched"
    known = {size.z for size in places.sizes}
    others = sorted(set(numbers) - known)
    if others:
        named = listed(others, SHOWN, rest=", ...")
        yield f"slices that {places.output} does not have are left out: {named}"


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
        shown = listed(numbers, SHOWN, rest=", ...")
        raise UserError(
            f"every slice must have every channel; got {len(numbers)} without '{pattern}' ({shown}) in "
            f"{uri}. Add them, change --minz and --maxz, or add --set allow_gaps=true."
        )
    return {z: tuple(files[z] for files in found) for z in sorted(complete)}


def source_slices(
    present: dict[int, tuple[Stat, ...]], headers: dict[str, ImageHeader], reading: Reading, uri: str
) -> tuple[SourceSlice, ...]:
    """The slices of a plan, with what their headers tell.

    Args:
        present: The files of each slice, the one that is aligned first, z ascending.
        headers: Header of each file, by its key.
        reading: How pictures are read; names the part that is used.
        uri: The source.

    Raises:
        UserError: the channels of a slice differ in size, or a picture does not hold the part that is used.
    """
    for files in present.values():
        sizes = {(headers[file.key].width_px, headers[file.key].height_px): file.key for file in files}
        if len(sizes) > 1:
            got = " and ".join(f"{width} x {height} px ({key})" for (width, height), key in sizes.items())
            raise UserError(
                f"the channels of a slice must have the same size; got {got} in {uri}. "
                f"Save them as they were recorded together."
            )
    used = {z: _used_size(files[0].key, headers, reading, uri) for z, files in present.items()}
    return tuple(
        SourceSlice(
            z=z,
            key=first.key,
            size_bytes=first.size_bytes,
            width_px=used[z][0],
            height_px=used[z][1],
            crc32c=first.crc32c,
            modified_ns=first.modified_ns,
            n_channels=headers[first.key].n_channels,
            more_channels=tuple(
                ChannelFile(
                    key=file.key,
                    size_bytes=file.size_bytes,
                    n_channels=headers[file.key].n_channels,
                    crc32c=file.crc32c,
                    modified_ns=file.modified_ns,
                )
                for file in others
            ),
        )
        for z, (first, *others) in present.items()
    )


def _used_size(key: str, headers: dict[str, ImageHeader], reading: Reading, uri: str) -> tuple[int, int]:
    header = headers[key]
    size = used_size(header, reading)
    if size is None:
        raise ConfigError(
            f"'crop' must lie inside of every picture; got {list(reading.crop or ())} for "
            f"{header.width_px:,} x {header.height_px:,} px in {uri}/{key}. Give a smaller "
            "--set 'crop=[X, Y, WIDTH, HEIGHT]'."
        )
    return size


def pixel_sizes(
    slices: Sequence[SourceSlice], headers: Mapping[str, ImageHeader]
) -> tuple[FilesOfPixelSize, ...]:
    """The sizes of a pixel that the files of `image` tell, that of most files first.

    Args:
        slices: The slices, z ascending.
        headers: Header of each file, by its key.
    """
    keys_of: dict[PixelSize | None, list[str]] = {}
    for entry in slices:
        keys_of.setdefault(headers[entry.key].pixel_size, []).append(entry.key)
    most_first = sorted(keys_of.items(), key=lambda item: -len(item[1]))
    return tuple(FilesOfPixelSize(size=s, n_files=len(k), first_key=k[0]) for s, k in most_first)


def are_of_files(slices: Sequence[SourceSlice], present: dict[int, tuple[Stat, ...]]) -> bool:
    """Whether slices of an earlier plan are these very files, as far as a listing tells.

    Args:
        slices: Slices of the earlier plan, z ascending.
        present: The files of each slice, z ascending.
    """
    if [entry.z for entry in slices] != list(present):
        return False
    return all(
        len(entry.files) == len(found) and all(map(is_of_file, entry.files, found))
        for entry, found in zip(slices, present.values(), strict=True)
    )


def is_of_file(planned: SourceSlice | ChannelFile, found: Stat) -> bool:
    """Whether a file of an earlier plan is this very one, as far as a listing tells."""
    return found == Stat(
        key=planned.key,
        size_bytes=planned.size_bytes,
        crc32c=planned.crc32c,
        modified_ns=planned.modified_ns,
    )


def repeated_slices(slices: Sequence[SourceSlice]) -> list[tuple[int, int]]:
    """Numbers of neighbouring slices with the same checksum: one was exported twice."""
    pairs = itertools.pairwise(slices)
    return [(a.z, b.z) for a, b in pairs if a.crc32c is not None and a.crc32c == b.crc32c]
