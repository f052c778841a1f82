"""`plan.json`: the slices, the configuration, and how the work is cut into units."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue, model_validator

from components.shared.documents.config import RunConfig
from components.shared.documents.locations import Locations
from components.shared.documents.sealed import Document, SealedDocument
from components.shared.documents.transforms import Matrix3
from components.shared.given_file import GivenModel

PLAN_KEY = "plan.json"


PixelType = Literal["uint8", "uint16"]


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
    def file_channels(self) -> tuple[int, ...]:
        """Number of channels of each file, in the order of the volume's channels."""
        return self.n_channels, *(file.n_channels for file in self.more_channels)


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


class Reading(Document):
    """Rules by which the numbers in the files become the grey levels of the slices."""

    crop: tuple[int, int, int, int] | None = None
    """x, y, width and height in px of the part of each picture that is used; None: all of it."""
    invert: bool = False
    """The grey levels of `image` are inverted."""
    values: tuple[tuple[float, float], ...] = ()
    """Numbers that become 0 and 65535, for each file of a slice; empty for integers of 8 and 16 bit."""


class Plan(SealedDocument):
    """`process/plan.json`: the input, and how it is worked on."""

    schema_version: Literal[1] = 1
    config: RunConfig
    locations: Locations
    pixel_type: PixelType
    reading: Reading = Reading()
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
    overrides: tuple[Override, ...] = ()
    """Decisions of the overrides file, as it was when the run was planned."""
    more_intensity_ranges: tuple[tuple[float, float], ...] = ()
    """Raw grey levels shown as 0 and 255, for each of `more_channels`; of `image`, transforms.json tells."""
    resolved_from: dict[str, JsonValue] = Field(default_factory=dict)
    """Values that keys had before `fibstack resolve` set them otherwise, by key."""

    @property
    def file_channels(self) -> tuple[int, ...]:
        """Number of channels of each of a slice's files, the same for all slices."""
        return self.slices[0].file_channels

    @property
    def largest_xy(self) -> tuple[int, int]:
        """Width and height in px that hold every slice."""
        return max(s.width_px for s in self.slices), max(s.height_px for s in self.slices)
