"""Checks that the slices of a stack fit together and suit the configuration."""

from __future__ import annotations

import math
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median_low

from components.shared.documents.config import RunConfig
from components.shared.documents.plan import (
    DataBar,
    FilesOfPixelSize,
    Part,
    PixelSize,
    Reading,
    SourceSlice,
    VoxelSize,
    part_without,
)
from components.shared.documents.transforms import GivenPlaces
from components.shared.errors import ConfigError, UserError
from components.shared.limits import limit
from components.shared.pictures.formats.header import MAX_CHANNELS, ImageHeader
from components.shared.pictures.formats.orientation import ORIENTATIONS
from components.shared.pictures.grey_levels import SampleType
from components.shared.text import listed, ranges

_SHOWN = 3
"""Slices that a sentence names."""
_PNG_CHANNELS = 4
"""Channels of an RGBA picture, the most that PNG holds (PNG specification, ISO/IEC 15948, section 6.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitnessLimits:
    """Limits that decide when a picture is no slice of the stack."""

    most_times_larger: int = limit(
        16,
        unit="times the median number of pixels",
        why="a picture four times as wide and as high as the others is another picture, such as an overview",
        measured_on="not measured",
        too_small="stacks whose field of view was widened during the recording are refused",
        too_large="one wrong picture fills a pod's memory and makes the whole volume as wide as itself",
    )
    told_times: float = limit(
        2.0,
        unit="times the median width or height, either way",
        why="a picture half or twice as wide or as high is named: it may be an overview, or of another scan",
        measured_on="not measured",
        too_small="every change of the field of view is a finding",
        too_large="an overview among the slices is not named",
    )
    least_matched_px: int = limit(
        64,
        unit="px at matching scale, shorter side of match_region",
        why="a window that is compared is as large at least, so a smaller part tells nothing",
        measured_on="derived from the smallest windows of align",
        too_small="every pair of a region of a few pixels is refused, after the whole stack has been read",
        too_large="narrow strips of tissue cannot be asked for",
    )


FITNESS = FitnessLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolutionLimits:
    """Limits that decide when the configured resolution and that of the files contradict each other."""

    same_pixel_percent: float = limit(
        1.0,
        unit="percent of the size of a pixel",
        why="sizes that differ by less are one size, rounded; pictures that were binned differ by 100",
        measured_on="not measured",
        too_small="8 nm in the configuration is said to contradict the 8.03 nm of the files",
        too_large="a magnification that was changed by some percent in the middle of the stack is not told",
    )
    most_times_wider: int = limit(
        100,
        unit="times the size of a pixel, either way",
        why="nobody bins 100 pixels into one: a resolution that differs more is of another unit",
        measured_on="not measured; the units that are mixed up, pm, nm and um, differ by 1,000",
        too_small="pictures that were made much smaller after the recording are refused",
        too_large="a resolution in another unit is taken",
    )


RESOLUTION = ResolutionLimits()


def check_areas(headers: dict[str, ImageHeader], uri: str) -> None:
    """Refuse a picture that is far larger than the others.

    Args:
        headers: Header of each file, by its key.
        uri: The source.

    Raises:
        UserError: a picture has more than `most_times_larger` times the pixels of the median.
    """
    usual_px = median_low(header.width_px * header.height_px for header in headers.values())
    key, largest = max(headers.items(), key=lambda item: item[1].width_px * item[1].height_px)
    if largest.width_px * largest.height_px > FITNESS.most_times_larger * usual_px:
        raise UserError(
            f"a slice must have at most {FITNESS.most_times_larger} times the {usual_px:,} px of the others; "
            f"got {largest.width_px:,} x {largest.height_px:,} px in {uri}/{key}. "
            f"Cut it or leave it out: move it away and add --set allow_gaps=true."
        )


def size_findings(slices: Sequence[SourceSlice]) -> Iterator[str]:
    """The sentence on slices of which a side is half or twice the usual one, such as an overview."""
    usual_px = median_low(s.width_px for s in slices), median_low(s.height_px for s in slices)

    def is_odd(entry: SourceSlice) -> bool:
        sides = zip((entry.width_px, entry.height_px), usual_px, strict=True)
        return any(max(a, b) >= FITNESS.told_times * min(a, b) for a, b in sides)

    odd = [f"{s.key} of {s.width_px:,} x {s.height_px:,} px as slice {s.z}" for s in slices if is_odd(s)]
    if odd:
        yield (
            f"pictures of another size than most, of {usual_px[0]:,} x {usual_px[1]:,} px, are taken: "
            f"{listed(odd, _SHOWN, between='; ')}. Move away what is no slice and add --set allow_gaps=true"
        )


def check_placed_numbers(places: GivenPlaces, numbers: Collection[int], uri: str) -> None:
    """Refuse slices that do not have the numbers of those whose places they are to take.

    Args:
        places: Where the slices of another run lie.
        numbers: Numbers of the slices that are there.
        uri: The source.

    Raises:
        UserError: one that the other volume shows is missing.
    """
    shown = places.shown_z
    missing = [z for z in shown if z not in numbers]
    if len(missing) == len(shown):
        renumber = shlex.join(
            ["fibstack", "data", "renumber", uri, f"{uri}-numbered", "--first", str(shown[0])]
        )
        got = f"{min(numbers)} to {max(numbers)}" if numbers else "none"
        raise UserError(
            f"slices must have the numbers of those in {places.output}, {shown[0]} to {shown[-1]}, to be "
            f"placed as these are; got {got} in {uri}. Number them so: {renumber}."
        )
    if missing:
        named = listed(ranges(missing, to=" to "), _SHOWN)
        raise UserError(
            f"every slice that the volume in {places.output} shows must be there; got none of number "
            f"{named} in {uri}. Add {'it' if len(missing) == 1 else 'them'}, or show others there: "
            f"{shlex.join(['fibstack', 'resolve', places.output])} --overrides FILE."
        )


def check_placed_slices(places: GivenPlaces, slices: Sequence[SourceSlice], uri: str) -> None:
    """Refuse slices of another size than those whose places they are to take.

    Args:
        places: Where the slices of another run lie.
        slices: The slices.
        uri: The source.

    Raises:
        UserError: one has another size.
    """
    sizes = {size.z: (size.width_px, size.height_px) for size in places.sizes}
    for entry in slices:
        width_px, height_px = sizes.get(entry.z, (entry.width_px, entry.height_px))
        if (entry.width_px, entry.height_px) != (width_px, height_px):
            raise UserError(
                f"slices must have the sizes of those in {places.output}, to be placed as these are; got "
                f"{entry.width_px:,} x {entry.height_px:,} px for {width_px:,} x {height_px:,} px in "
                f"{uri}/{entry.key}. Give slices of the same fields of view, or run them by themselves."
            )


def shown_otherwise(slices: Sequence[SourceSlice], headers: Mapping[str, ImageHeader]) -> tuple[str, ...]:
    """Sentences on pictures that their tags turn or invert.

    Args:
        slices: The slices of the plan.
        headers: Header of each file, by its key.
    """
    said = []
    for orientation, words in ORIENTATIONS.items():
        turned = [entry.key for entry in slices if headers[entry.key].orientation == orientation]
        if turned:
            said.append(f"{_part(turned, slices)} {words}, as the files' orientation ({orientation}) says")
    inverted = [entry.key for entry in slices if headers[entry.key].is_inverted]
    if inverted:
        said.append(f"{_part(inverted, slices)} inverted, as the files say that white is 0 (tag 262)")
    return tuple(said)


def _part(keys: Sequence[str], slices: Sequence[SourceSlice]) -> str:
    if len(keys) == len(slices):
        return "pictures are"
    return f"{len(keys):,} of {len(slices):,} pictures ({listed(keys, _SHOWN)}) are"


def check_resolution(voxel: VoxelSize, uri: str) -> None:
    """Refuse a `resolution` that is in another unit than nm, by what the files tell.

    Raises:
        ConfigError: it is more than `most_times_wider` times the size of the files' pixels, or less than that
            part of it.
    """
    if voxel.told is None:
        return
    told_xy = (voxel.told.x_nm, voxel.told.y_nm)
    ratios = [given / told for given, told in zip(voxel.xyz_nm[:2], told_xy, strict=True)]
    if max(ratios) > RESOLUTION.most_times_wider or min(ratios) * RESOLUTION.most_times_wider < 1:
        raise ConfigError(
            f"'resolution' must be in nm, within {RESOLUTION.most_times_wider} times what the files tell, "
            f"{_told(voxel.told)}; got {list(voxel.xyz_nm)} for {uri}. Give "
            f"--set 'resolution=[{told_xy[0]:g}, {told_xy[1]:g}, THICKNESS OF A SLICE]', or leave it out."
        )


def resolution_findings(
    voxel: VoxelSize, pixel_sizes: Sequence[FilesOfPixelSize], n_slices: int
) -> Iterator[str]:
    """Sentences on sizes of a pixel that differ between configuration and files, or between files.

    Args:
        voxel: The size of a voxel that is used.
        pixel_sizes: What the files tell, that of most files first.
        n_slices: Number of files.
    """
    if voxel.told is None:
        return
    if voxel.origin == "configuration" and not _are_one(voxel.xyz_nm[:2], voxel.told):
        x, y, z = voxel.xyz_nm
        yield (
            f"resolution contradicts the files: configured are {x:g} x {y:g} nm a pixel, and the files tell "
            f"{_told(voxel.told)}; the configured one is used. Were the pictures not binned or resized, set "
            f"resolution to [{voxel.told.x_nm:g}, {voxel.told.y_nm:g}, {z:g}]"
        )
    for files in pixel_sizes:
        if files.size is not None and not _are_one((files.size.x_nm, files.size.y_nm), voxel.told):
            yield (
                f"the size of a pixel changes: {files.n_files} of {n_slices} files tell {_told(files.size)}, "
                f"the first of them {files.first_key}, most tell {_told(voxel.told)}"
            )


def data_bar_findings(
    bars: Sequence[DataBar], slices: Sequence[SourceSlice], reading: Reading
) -> Iterator[str]:
    """A sentence on the data bars of a stack, with the `crop` that leaves them out of the volume too.

    Args:
        bars: The data bars.
        slices: The slices, of any sizes.
        reading: How they are read; a part that is cut out already counts.
    """
    if not bars:
        return
    parts = [part_without(bars, size_px) for size_px in {(s.width_px, s.height_px) for s in slices}]
    left, top = (max(part[axis] for part in parts) for axis in (0, 1))
    right, bottom = (min(part[axis] + part[axis + 2] for part in parts) for axis in (0, 1))
    x, y, *_ = reading.crop or (0, 0)
    crop = [x + left, y + top, right - left, bottom - top]
    named = "; ".join(f"{bar.width_px} x {bar.height_px} px {_place(bar)}" for bar in bars)
    noun, verbs, them = ("a data bar", ("takes", "is"), "it")
    if len(bars) > 1:
        noun, verbs, them = (f"{len(bars)} data bars", ("take", "are"), "them")
    yield (
        f"{noun} ({named}) {verbs[0]} no part in alignment and {verbs[1]} shown in the volume; "
        f"--set 'crop={crop}' leaves {them} out of both"
    )


def _place(bar: DataBar) -> str:
    """Where in the picture a data bar lies, in words that follow its size."""
    width_px, height_px = bar.picture_size_px
    edges = {
        "bottom": bar.y + bar.height_px == height_px,
        "top": bar.y == 0,
        "left": bar.x == 0,
        "right": bar.x + bar.width_px == width_px,
    }
    touched = [edge for edge, is_touched in edges.items() if is_touched]
    across = {"bottom", "top"} if bar.width_px == width_px else {"left", "right"}
    if bar.width_px == width_px or bar.height_px == height_px:
        touched = [edge for edge in touched if edge in across]
    return f"at the {' '.join(touched)}" if touched else f"from x {bar.x}, y {bar.y}"


def _are_one(xy_nm: Sequence[float], told: PixelSize) -> bool:
    least = 1 - RESOLUTION.same_pixel_percent / 100
    told_xy = (told.x_nm, told.y_nm)
    return all(min(a, b) >= least * max(a, b) for a, b in zip(xy_nm, told_xy, strict=True))


def _told(size: PixelSize) -> str:
    return f"{size.x_nm:g} x {size.y_nm:g} nm ({size.told_by})"


def check_sides(slices: Sequence[SourceSlice], smallest_scale: float, uri: str) -> None:
    """Refuse a slice with a side of less than a pixel at the smallest scale that it is looked at.

    Args:
        slices: The slices.
        smallest_scale: The smaller of the matching scale and the scale of thumbnails.
        uri: The source.

    Raises:
        UserError: a slice is too thin.
    """
    thinnest = min(slices, key=lambda entry: min(entry.width_px, entry.height_px))
    if min(thinnest.width_px, thinnest.height_px) * smallest_scale < 1:
        raise UserError(
            f"a slice must have sides of at least {math.ceil(1 / smallest_scale):,} px, which are 1 px where "
            f"slices are matched or shown small; got {thinnest.width_px:,} x {thinnest.height_px:,} px in "
            f"{uri}/{thinnest.key}. Cut the slices to the part with tissue, or add "
            "--set downsample_factor=1."
        )


def check_match_region(
    region: Part, slices: Sequence[SourceSlice], config: RunConfig, match_scale: float, uri: str
) -> None:
    """Refuse a `match_region` that leaves a slice, or shows too little of it.

    Args:
        region: The part of each slice that is matched, in px of the slices.
        slices: The slices.
        config: The configuration.
        match_scale: Scale at which slices are matched.
        uri: The source.

    Raises:
        ConfigError: the region does not fit.
    """
    x, y, width_px, height_px = region
    for entry in slices:
        if min(x, y) < 0 or x + width_px > entry.width_px or y + height_px > entry.height_px:
            used = f"'crop' {list(config.crop)}" if config.crop else "every picture"
            raise ConfigError(
                f"'match_region' must lie inside of {used}; got {list(config.match_region)} for "
                f"{entry.width_px:,} x {entry.height_px:,} px in {uri}/{entry.key}. "
                "Give a smaller --set 'match_region=[X, Y, WIDTH, HEIGHT]'."
            )
    least_px = math.ceil(FITNESS.least_matched_px / match_scale)
    if min(width_px, height_px) < least_px:
        raise ConfigError(
            f"'match_region' must have sides of at least {least_px:,} px; got {list(config.match_region)}. "
            "Give a larger --set 'match_region=[X, Y, WIDTH, HEIGHT]'."
        )


def check_channels(slices: Sequence[SourceSlice], config: RunConfig, uri: str) -> None:
    """Refuse a stack whose slices differ in their number of channels.

    Raises:
        UserError: they differ, or a slice has more channels than a volume may have.
        ConfigError: `lossless_encoding` asks for PNG, and a slice has more channels than PNG can hold.
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
            "Name fewer: --set 'more_channels=[PATTERN, ...]'."
        )
    if config.lossless_encoding == "png" and n_channels > _PNG_CHANNELS:
        raise ConfigError(
            f"'lossless_encoding' png must have at most {_PNG_CHANNELS} channels; got {n_channels} in {uri}. "
            "Add --set lossless_encoding=raw."
        )


def common_sample_type(headers: dict[str, ImageHeader], uri: str) -> SampleType:
    """The type of the numbers in every file.

    Args:
        headers: Header of each file, by its key.
        uri: The source.

    Raises:
        UserError: slices of different types are mixed, such as of 8 and 16 bit.
    """
    first_of: dict[SampleType, str] = {}
    for key, header in headers.items():
        first_of.setdefault(header.sample_type, key)
    if len(first_of) > 1:
        found = " and ".join(f"{kind} ({key})" for kind, key in sorted(first_of.items()))
        raise UserError(
            f"every slice must hold numbers of one type; got {found} in {uri}. "
            f"Convert the slices to one type."
        )
    (sample_type,) = first_of
    return sample_type
