"""`plan.json`: the slices, the configuration, and how the work is cut into units."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pydantic import (
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from components.shared.documents.config import ASSUMED_VOXEL_NM, RunConfig
from components.shared.documents.locations import Locations, found_at, locations_in
from components.shared.documents.read_document import read_document
from components.shared.documents.sealed import Document, SealedDocument, without_empty
from components.shared.documents.transforms import Matrix3
from components.shared.given_file import GivenModel
from components.shared.storage.registry import place_of
from components.shared.storage.run_buckets import output_with
from components.shared.storage.store import Store

PLAN_KEY = "plan.json"


PixelType = Literal["uint8", "uint16"]


Part = tuple[int, int, int, int]
"""x, y, width and height in px of a part of a picture, as the key `crop` has them."""


class DataBar(Document):
    """A rectangle that keeps its place in the pictures of a stack while the tissue moves."""

    x: int = Field(ge=0)
    """First column in px of the used part of the picture; `y` is the first row."""
    y: int = Field(ge=0)
    width_px: int = Field(ge=1)
    height_px: int = Field(ge=1)
    picture_size_px: tuple[int, int]
    """Width and height of the pictures that it was found in."""

    def sides_in(self, size_px: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
        """First and last + 1 column, and row, in a picture of another size: a bar keeps to the same edges.

        Example:
            >>> bar = DataBar(x=0, y=460, width_px=512, height_px=52, picture_size_px=(512, 512))
            >>> bar.sides_in((512, 512)), bar.sides_in((400, 300))
            (((0, 512), (460, 512)), ((0, 400), (248, 300)))
        """
        columns, rows = map(
            _sides, (self.x, self.y), (self.width_px, self.height_px), self.picture_size_px, size_px
        )
        return columns, rows


def _sides(start: int, length: int, side_px: int, other_side_px: int) -> tuple[int, int]:
    """Where something along a side of a picture lies along that side of another one."""
    if start + length < side_px:
        return min(start, other_side_px), min(start + length, other_side_px)
    return 0 if start == 0 else max(other_side_px - length, 0), other_side_px


def part_without(bars: Sequence[DataBar], size_px: tuple[int, int], region: Part | None = None) -> Part:
    """The part of a picture that is matched: what is left where each bar is cut off with the least loss.

    Args:
        bars: The data bars.
        size_px: Width and height of the picture.
        region: Part of it of which something is left; None: all of it.

    Example:
        >>> below = DataBar(x=0, y=460, width_px=512, height_px=52, picture_size_px=(512, 512))
        >>> label = DataBar(x=10, y=10, width_px=100, height_px=30, picture_size_px=(512, 512))
        >>> part_without([], (512, 512)), part_without([below, label], (512, 512))
        ((0, 0, 512, 512), (0, 40, 512, 420))
        >>> part_without([below, label], (512, 512), (200, 20, 300, 492))
        (200, 20, 300, 440)
    """
    x, y, width_px, height_px = region or (0, 0, *size_px)
    left, top, right, bottom = x, y, x + width_px, y + height_px
    for bar in bars:
        (bar_left, bar_right), (bar_top, bar_bottom) = bar.sides_in(size_px)
        left, top, right, bottom = max(
            (left, top, right, min(bottom, bar_top)),
            (left, max(top, bar_bottom), right, bottom),
            (left, top, min(right, bar_left), bottom),
            (max(left, bar_right), top, right, bottom),
            key=_area,
        )
    if _area((left, top, right, bottom)) == 0:  # a small picture that is all bar
        return x, y, width_px, height_px
    return left, top, right - left, bottom - top


def pixels_within(part: Part, scale: float) -> tuple[slice, slice]:
    """The rows and columns of a picture at a scale that lie wholly within a part of its slice.

    Example:
        >>> pixels_within((10, 0, 100, 57), 0.1)
        (slice(0, 5, None), slice(1, 11, None))
    """
    x, y, width_px, height_px = part
    rows, columns = (
        # The end of the picture may be a hair below its last pixel.
        slice(math.ceil(start * scale), math.floor((start + length) * scale + 1e-9))
        for start, length in ((y, height_px), (x, width_px))
    )
    return rows, columns


def _area(sides: tuple[int, int, int, int]) -> int:
    left, top, right, bottom = sides
    return max(right - left, 0) * max(bottom - top, 0)


class ChannelFile(Document):
    """A file with a further channel of a slice, or several; of the slice's size."""

    key: str
    size_bytes: int
    n_channels: int
    crc32c: str | None = None
    modified_ns: int | None = None


class SourceSlice(Document):
    """A slice of the input, as its listing and header tell."""

    z: int
    key: str
    """Name of the file below the source."""
    size_bytes: int
    width_px: int
    """Width of the part of the picture that is used; `height_px` is of the same part."""
    height_px: int
    crc32c: str | None = None
    """CRC-32C of the file's content, from the listing of a bucket; None in a folder."""
    modified_ns: int | None = None
    """Time at which the file was last written, from the listing of a folder; None in a bucket."""
    n_channels: int = 1
    """Number of channels in the file: 3 are red, green and blue, a fourth is alpha."""
    more_channels: tuple[ChannelFile, ...] = ()
    """Files of the further channels, one for each pattern of the configuration's `more_channels`."""

    @property
    def files(self) -> tuple[SourceSlice | ChannelFile, ...]:
        """Its files, in the order of the volume's channels."""
        return self, *self.more_channels

    @property
    def file_channels(self) -> tuple[int, ...]:
        """Number of channels of each file, in the order of the volume's channels."""
        return self.n_channels, *(file.n_channels for file in self.more_channels)


_AnyFile = TypeVar("_AnyFile", SourceSlice, ChannelFile)
Replacement = Literal["nearest", "previous", "next", "blend", "blank"]


class Override(GivenModel, Document):
    """A person's decision about one slice."""

    z: int = Field(ge=0)
    skip: bool = False
    """Take no part in the solve; show another slice instead."""
    keep: bool = False
    """Show the slice, whatever its verdict."""
    replace: Replacement | int | None = None
    """Show this instead; the slice still takes part in the solve."""
    pin: tuple[float, float] | None = None
    """Position of the slice's centre, x and y in px of the frame of the solve."""
    cut: bool = False
    """The step from the previous slice is real: pairs across it and the smoothness prior are dropped."""
    matrix: Matrix3 | None = None
    """neighbour_from_slice of slice z - 1 and its neighbour z, in place of every pair across the step."""

    @model_validator(mode="after")
    def _decides_one_thing(self) -> Override:
        if len(self.decisions) != 1:
            raise ValueError(f"an override must decide one thing; got {list(self.decisions) or 'nothing'}")
        return self

    @property
    def decisions(self) -> tuple[str, ...]:
        """Names of the fields that are given: one."""
        return tuple(name for name, value in self if name != "z" and value is not None and value is not False)

    @property
    def as_written(self) -> str:
        """The override as a line of its file has it."""
        given = self.model_dump(mode="json", exclude_defaults=True)
        return f"{{{', '.join(f'{key}: {json.dumps(value)}' for key, value in given.items())}}}"


class FillNumber(Document):
    """A fill value of a file: exactly this number, in many pixels of some slices, and far from all others."""

    number: float
    share: float
    """Greatest fraction of a sampled slice's pixels that have it."""


class Reading(Document):
    """Rules by which the numbers in the files become the grey levels of the slices."""

    crop: tuple[int, int, int, int] | None = None
    """x, y, width and height in px of the part of each picture that is used; None: all of it."""
    invert: bool = False
    """The grey levels of `image` are inverted."""
    values: tuple[tuple[float, float], ...] = ()
    """Numbers that become 0 and 65535, for each file of a slice; empty for integers of 8 and 16 bit."""
    fill: tuple[tuple[FillNumber, ...], ...] = ()
    """Fill values that become 0, for each file of a slice. Left out where no file has one, and for 8 and 16
    bit: `align` finds theirs."""

    @model_serializer(mode="wrap")
    def _without_empty_fill(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_empty(serialise(self), "fill")

    def fill_numbers(self, file: int) -> tuple[float, ...]:
        """The fill values of a file of a slice, counted from 0."""
        return tuple(fill.number for fill in self.fill[file]) if self.fill else ()


def region_of_slices(match_region: tuple[int, ...], reading: Reading) -> Part | None:
    """The key `match_region`, which counts from the corner of a picture, in px of the slices; None if empty.

    Example:
        >>> region_of_slices((30, 40, 200, 100), Reading(crop=(10, 0, 300, 300)))
        (20, 40, 200, 100)
    """
    if not match_region:
        return None
    x, y, width_px, height_px = match_region
    left, top = reading.crop[:2] if reading.crop else (0, 0)
    return x - left, y - top, width_px, height_px


class PixelSize(Document):
    """The size of a pixel, as an image file tells it."""

    x_nm: float = Field(gt=0)
    y_nm: float = Field(gt=0)
    told_by: str
    """Name of the entry in the file, such as "Zeiss tag 34118, Image Pixel Size"."""


class FilesOfPixelSize(Document):
    """The slices whose files tell one and the same size of a pixel, or none."""

    size: PixelSize | None
    """Size that they tell; None where they tell none."""
    n_files: int
    first_key: str
    """Name of the first of these files below the source."""


@dataclass(frozen=True, slots=True)
class VoxelSize:
    """The size of a voxel, and where it comes from."""

    xyz_nm: tuple[float, float, float]
    origin: Literal["configuration", "files", "assumed"]
    told: PixelSize | None
    """Size of a pixel that most files tell; None where none tells one."""

    @property
    def source(self) -> str:
        """Where it comes from, as a sentence says it in brackets."""
        if self.origin == "configuration":
            return "as configured"
        if self.told is None:
            return "assumed, since no file tells it: --set resolution=NM"
        return f"x and y from the files ({self.told.told_by}), z assumed to be x"


def voxel_size(resolution: tuple[float, ...], pixel_sizes: Sequence[FilesOfPixelSize]) -> VoxelSize:
    """The size of a voxel: as the configuration says, else as most files tell, else `ASSUMED_VOXEL_NM`.

    A picture does not tell how thick its slice is: voxels are assumed to be as deep as they are wide, as
    FIB-SEM aims at.

    Args:
        resolution: Key of the configuration; empty where it is not given.
        pixel_sizes: What the files tell, that of most files first.

    Example:
        >>> told = FilesOfPixelSize(size=PixelSize(x_nm=4, y_nm=4, told_by="a tag"), n_files=9, first_key="0")
        >>> voxel_size((), [told]).xyz_nm, voxel_size((8, 8, 20), [told]).xyz_nm, voxel_size((), []).xyz_nm
        ((4.0, 4.0, 4.0), (8, 8, 20), (8.0, 8.0, 8.0))
    """
    told = next((files.size for files in pixel_sizes if files.size), None)
    if resolution:
        x, y, z = resolution
        return VoxelSize((x, y, z), "configuration", told)
    if told is not None:
        return VoxelSize((told.x_nm, told.y_nm, told.x_nm), "files", told)
    return VoxelSize((ASSUMED_VOXEL_NM,) * 3, "assumed", None)


class MovedSource(Document):
    """The names that the hashes of units have for slices that were moved or copied since.

    A unit that is done stays done where its slices are the same, wherever they lie.
    """

    source: str
    """The configured source when the slices were first planned."""
    written: Mapping[str, tuple[str | None, int | None]]
    """Checksum and time of writing, as first planned, of files that have others now, by key."""


class Plan(SealedDocument):
    """`process/plan.json`: the input, and how it is worked on."""

    schema_version: Literal[1] = 1
    config: RunConfig
    locations: Locations
    pixel_type: PixelType
    reading: Reading = Reading()
    pixel_sizes: tuple[FilesOfPixelSize, ...] | None = None
    """Sizes of a pixel that the files of `image` tell, that of most files first; None in plans of versions
    that did not look."""
    data_bars: tuple[DataBar, ...] | None = None
    """Data bars in the pictures of `image`, which are left out of alignment; None in plans of versions that
    did not look."""
    shown_otherwise: tuple[str, ...] = ()
    """Sentences on pictures that their tags turn or invert; left out of the file where there are none."""
    slices: tuple[SourceSlice, ...]
    """Present slices, z ascending."""
    missing_z: tuple[int, ...]
    match_scale: float
    """Slices are matched at this scale (<= 1) of full resolution, the same for all."""
    thumbnail_scale: float
    """Scale (<= 1) of the thumbnails, the same for all."""
    chunk_length: int
    """Slices per call of `align`."""
    fan: int
    """Most items in a loop."""
    task_voxels: int = Field(default=0, ge=0)
    """Voxels that a task of `pyramid` takes where there are as many, in blocks that it writes one after
    another; 0 in plans of versions that made as many tasks as `fan` allowed."""
    overrides: tuple[Override, ...] = ()
    """Decisions of the overrides file, as it was when the run was planned."""
    more_intensity_ranges: tuple[tuple[float, float], ...] = ()
    """Raw grey levels shown as 0 and 255, for each of `more_channels`; of `image`, transforms.json tells."""
    resolved_from: dict[str, JsonValue] = Field(default_factory=dict)
    """Values that keys had before `fibstack resolve` set them otherwise, by key."""
    places_crc32c: str = ""
    """Checksum of `given_places.json`, by which slices are placed as those of another run; empty where they
    are matched."""
    moved_from: MovedSource | None = Field(default=None, exclude_if=lambda moved: moved is None)
    """Left out where the slices lie where they were first planned."""
    findings: tuple[str, ...] = ()
    """Sentences on what a person must know of the input, without a full stop, as `design`, the report and
    the summary of the run tell them."""

    @model_serializer(mode="wrap")
    def _without_empty(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_empty(serialise(self), "shown_otherwise")

    @property
    def first_source(self) -> str:
        """The configured source when the slices were first planned: the one that hashes of units name."""
        return self.moved_from.source if self.moved_from is not None else self.config.source

    def as_first_planned(self, entry: SourceSlice) -> SourceSlice:
        """A slice as hashes of units name it."""
        if self.moved_from is None or not self.moved_from.written:
            return entry
        written = self.moved_from.written

        def first(file: _AnyFile) -> _AnyFile:
            crc32c, modified_ns = written.get(file.key, (file.crc32c, file.modified_ns))
            return file.model_copy(update={"crc32c": crc32c, "modified_ns": modified_ns})

        more = tuple(first(file) for file in entry.more_channels)
        return first(entry).model_copy(update={"more_channels": more})

    @property
    def file_channels(self) -> tuple[int, ...]:
        """Number of channels of each of a slice's files, the same for all slices."""
        return self.slices[0].file_channels

    @property
    def voxel(self) -> VoxelSize:
        """The size of a voxel, and where it comes from."""
        return voxel_size(self.config.resolution, self.pixel_sizes or ())

    @property
    def resolution_nm(self) -> tuple[float, float, float]:
        """The size of a voxel in nm, x, y and z."""
        return self.voxel.xyz_nm

    @property
    def lossless_grey_levels(self) -> str:
        """The sentence on what the numbers in the lossless volumes are, and how to have raw ones."""
        config = self.config
        is_deep = self.pixel_type == "uint16"
        if is_deep and config.keep_bits:
            return "The lossless volume has the raw grey levels of the slices, at 16 bit, interpolated once."
        changes = [
            *(["mapped from 16 bit to 8"] if is_deep else []),
            *([f"local contrast evened (clip_limit {config.clip_limit:g})"] if config.clip_limit > 0 else []),
            *(["slices that flicker brought to those around"] if config.intensity == "z" else []),
            *(["streaks filtered where that gains"] if config.streaks == "filter" else []),
        ]
        if not changes:
            return "The lossless volume has the raw grey levels of the slices, interpolated once."
        raw = ["keep_bits=true"] if is_deep else []
        if not is_deep:
            raw += ["clip_limit=0"] if config.clip_limit > 0 else []
            raw += ["intensity=none"] if config.intensity == "z" else []
            raw += ["streaks=report"] if config.streaks == "filter" else []
        settings = " ".join(f"--set {setting}" for setting in raw)
        return (
            f"Grey levels of the lossless volume are at 8 bit and not raw: {', '.join(changes)}. To measure "
            f"grey levels, have raw ones: {settings}."
        )

    @property
    def largest_xy(self) -> tuple[int, int]:
        """Width and height in px that hold every slice."""
        return max(s.width_px for s in self.slices), max(s.height_px for s in self.slices)

    @property
    def match_region(self) -> Part | None:
        """The configured part of each slice that is matched, in px of the slice; None: all of it."""
        return region_of_slices(self.config.match_region, self.reading)

    def matched_part(self, size_px: tuple[int, int]) -> Part:
        """The part of a slice of this size that is matched: `match_region`, without data bars."""
        return part_without(self.data_bars or (), size_px, self.match_region)


def plan_in(process: Store) -> Plan:
    """The plan of the output whose records lie in a store, with the places where that output lies now.

    Raises:
        UserError: there is none, or it is damaged, or not of this version.
    """
    plan = read_document(process, PLAN_KEY, Plan)
    if place_of(plan.locations.process_uri) == process.uri:
        return plan
    if output_with(process.uri) is None:  # nothing tells where its other parts lie
        return plan
    config = found_at(plan.config, process.uri)
    locations = locations_in(config.output, plan.locations.source_uri)
    return plan.model_copy(update={"config": config, "locations": locations})
