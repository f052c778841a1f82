"""The documents that steps hand to each other: what is in `process/`.

Each is JSON with a `schema_version` and its own checksum; unknown keys are refused. Sizes are `xyz`,
transforms are `volume_from_slice` or `neighbour_from_slice` at full resolution (geometry.py).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from components.shared.documents.config import RunConfig
from components.shared.documents.locations import Locations
from components.shared.grid import SizeXyz
from components.shared.storage.store import checksum

PLAN_KEY = "plan.json"
TRANSFORMS_KEY = "transforms.json"
TRENDS_KEY = "trends.json"
SLICES_KEY = "slices.jsonl"
"""Keys below the process URI; slices.jsonl has a line for each z, for people and their scripts."""

Matrix3 = tuple[
    tuple[float, float, float],
    tuple[float, float, float],
    tuple[float, float, float],
]
"""3 x 3, row major."""
PixelType = Literal["uint8", "uint16"]
Model = Literal["translation", "rigid", "rigid_stretch", "affine"]

_HEAD = b'{\n "crc32c": "'
"""What a sealed document begins with; eight hex digits follow."""


class Document(BaseModel):
    """A frozen document whose keys are all known."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SealedDocument(Document):
    """A document that is an object in storage, and carries the checksum of its own bytes."""

    crc32c: str = ""
    """Of the bytes that follow these digits in the file; empty: not checked, as after a change by hand."""

    def to_json(self) -> bytes:
        """The document as indented JSON with its checksum, the same bytes for the same content."""
        unsealed = self.model_copy(update={"crc32c": ""}).model_dump_json(indent=1).encode() + b"\n"
        rest = unsealed.removeprefix(_HEAD)
        return _HEAD + checksum(rest).encode() + rest

    def vouches_for(self, data: bytes) -> bool:
        """Whether the bytes that this was read from have the checksum that it names, if it names one."""
        return self.crc32c in ("", checksum(data[len(_HEAD) + len(self.crc32c) :]))


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
    """Of the part that is used, as the height."""
    height_px: int
    crc32c: str | None = None
    """Of the file's content, where the listing tells: in buckets."""
    modified_ns: int | None = None
    """When the file was last written, where the listing tells: in folders."""
    n_channels: int = 1
    """In the file: 3 are red, green and blue, a fourth is alpha."""
    more_channels: tuple[ChannelFile, ...] = ()
    """One for each pattern of the configuration's `more_channels`."""

    @property
    def file_channels(self) -> tuple[int, ...]:
        """Number of channels of each file, in the order of the volume's channels."""
        return self.n_channels, *(file.n_channels for file in self.more_channels)


Replacement = Literal["nearest", "previous", "next", "blend", "blank"]


class Override(Document):
    """One decision about one slice."""

    z: int = Field(ge=0)
    skip: bool = False
    """Take no part in the solve; show another slice instead."""
    keep: bool = False
    """Show the slice, whatever its verdict."""
    replace: Replacement | int | None = None
    """Show this instead; the slice still takes part in the solve."""
    pin: tuple[float, float] | None = None
    """Where the slice's centre lies, x and y in px of the frame of the solve."""
    cut: bool = False
    """The step from the slice before is real: pairs across it and the smoothness prior are dropped."""
    matrix: Matrix3 | None = None
    """neighbour_from_slice from z - 1 to z, in place of every pair across."""

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
    """How the numbers in the files become the grey levels of the slices."""

    crop: tuple[int, int, int, int] | None = None
    """x, y, width and height in px of the part of each picture that is used; None: all of it."""
    invert: bool = False
    """Whether the grey levels of `image` are turned round."""
    values: tuple[tuple[float, float], ...] = ()
    """What becomes 0 and 65535, of each file of a slice; empty for integers of 8 and 16 bit."""


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
    """What the overrides file said when the run was planned."""
    more_intensity_ranges: tuple[tuple[float, float], ...] = ()
    """Raw grey levels shown as 0 and 255, for each of `more_channels`; of `image`, transforms.json tells."""

    @property
    def file_channels(self) -> tuple[int, ...]:
        """Number of channels of each of a slice's files, the same for all slices."""
        return self.slices[0].file_channels

    @property
    def largest_xy(self) -> tuple[int, int]:
        """Width and height in px that hold every slice."""
        return max(s.width_px for s in self.slices), max(s.height_px for s in self.slices)


class SliceStatistics(Document):
    """What one look at a raw slice tells, in raw grey levels."""

    z: int
    mean: float
    std: float
    low: float
    """0.1st percentile."""
    high: float
    """99.9th percentile."""
    zero_fraction: float
    saturated_fraction: float
    """Fraction of pixels at the type's greatest value."""
    sharpness: float
    """Energy of the fine band over that of the coarse band (difference of Gaussians)."""
    content_fraction: float
    """Fraction of the picture with texture to match."""
    n_features: int
    entropy_bits: float = 0.0
    """Of the grey levels; 0 for one level alone."""
    noise: float = 0.0
    """Standard deviation of what differs from pixel to pixel."""
    contrast: float = 0.0
    """Standard deviation, in the neighbourhood of a point, of what is larger than noise: a loud part's."""
    streaks_along_x: float = 0.0
    """Fraction of the contrast's energy that is long along x and thin along y: charging, scan lines."""
    streaks_along_y: float = 0.0
    """The same along y: curtains."""
    content_grid: tuple[float, ...] = ()
    """Content of 8 x 8 cells, rows first; 0..1, judged by the slice's own loud parts."""


class PairRecord(Document):
    """The evidence on one pair of slices; `matrix` is `neighbour_from_slice`, None where refused."""

    z: int
    neighbour_z: int
    accepted: bool
    reason: str
    """Reason code of the refusal; empty where accepted."""
    n_matches: int
    n_inliers: int
    coverage: float
    """Fraction of the content's cells that hold inliers."""
    model: Model | None
    residuals_px: dict[Model, float]
    """RMS under each model at full resolution: of the windows, or of the inliers where none are kept."""
    matrix: Matrix3 | None
    sigma_px: float
    """1-sigma of the transform at the picture's centre, at full resolution; 0 where refused."""
    n_windows: int
    """Windows that the sub-pixel refinement kept; 0 = SIFT alone."""
    ncc_before: float
    """Normalised cross-correlation with both slices as they lie."""
    ncc_after: float
    """The same after the transform; equal to `ncc_before` where refused."""
    fallback: str
    """Name of the fallback that found the transform; empty for the normal way.

    `inverted` says that one of the two slices has its grey levels turned round. `static_pattern` says that
    something stays in place while the tissue moves. `wide` is a neighbour further than usual.
    `whole_frame_alone` is good to some px, since no window confirms it.
    """
    difference: float | None = None
    """Mean absolute difference as they lie, in standard deviations of the band-passed pictures; 0 is a copy.
    None where nothing can be compared."""


class AlignRecord(SealedDocument):
    """The evidence of one chunk, `process/align/<first>-<last>.json`."""

    schema_version: Literal[1] = 1
    slices: tuple[SliceStatistics, ...]
    pairs: tuple[PairRecord, ...]


Verdict = Literal[
    "good",
    "missing",
    "duplicate",
    "blank",
    "saturated",
    "inverted",
    "defocused",
    "charged",
    "partial",
    "slip",
    "step",
    "isolated",
]
"""What is wrong with a slice; `step` is a persistent jump before it, which is kept and reported."""
Action = Literal["keep", "invert", "replace", "blend", "blank"]
"""keep: shown as it is. invert: shown with grey levels turned round. replace: `replaced_from` is shown.
blend: the mean of `replaced_from` and `blended_with`, each warped by its own matrix. blank: black."""


class SliceTransform(Document):
    """One slice of the volume: where it lies, and what became of it."""

    z: int
    uri: str
    """URI of the raw slice; empty where it is missing."""
    matrix: Matrix3
    """volume_from_slice."""
    verdict: Verdict
    action: Action
    replaced_from: int | None
    """z of the slice that is shown instead, warped by that slice's own matrix."""
    blended_with: int | None = None
    """z of the second slice of a blend."""
    evidence: str = ""
    """What speaks for the verdict, in a few words with figures."""
    override: str = ""
    """The decision of the overrides file that was applied, as written there."""
    sigma_px: float = 0.0
    """1-sigma of the slice's position against the middle of its part of the stack."""
    step_sigma_px: float = 0.0
    """1-sigma of the step from the slice before."""
    rotation_sigma_deg: float = 0.0
    """1-sigma of the rotation, against the middle of its part of the stack."""
    scale_sigma_ppm: float = 0.0
    """1-sigma of the scale, against the same."""
    n_edges: int
    """Accepted pairs of this slice."""
    edge_weight: float
    """Mean robust weight of these pairs in the solve, 0..1."""
    residual_px: float
    """RMS disagreement of the believed ones with the solution, over the common area; 0 where none is."""

    @property
    def source_z(self) -> int:
        """The slice that is shown here, by its z; of a blend, the first of the two."""
        return self.z if self.replaced_from is None else self.replaced_from

    @property
    def description(self) -> str:
        """What became of the slice, in words: slice 512: blank, replaced by 511."""
        shown = action_text(self.action, self.replaced_from, self.blended_with)
        return f"slice {self.z}: {self.verdict}, {shown}"


def action_text(action: str, replaced_from: int | None, blended_with: int | None) -> str:
    """What is shown of a slice, in words.

    Example:
        >>> action_text("replace", 511, None), action_text("blend", 511, 513), action_text("keep", None, None)
        ('replaced by 511', 'replaced by the mean of 511 and 513', 'kept')
    """
    if action == "blend":
        return f"replaced by the mean of {replaced_from} and {blended_with}"
    if action == "replace":
        return f"replaced by {replaced_from}"
    return {"keep": "kept", "invert": "turned round", "blank": "left black"}.get(action, action)


class Transforms(SealedDocument):
    """`process/transforms.json` (contract 4)."""

    schema_version: Literal[1] = 1
    volume_size_xyz: SizeXyz
    volume_origin_xyz_px: tuple[int, int, int]
    """Position of voxel (0, 0, 0) in the frame of the solve; its z is the number of the first slice."""
    slice_origin_xy_px: tuple[int, int] = (0, 0)
    """Where pixel (0, 0) of a slice, as `matrix` counts, lies in the picture of its file: `crop`'s corner."""
    intensity_range: Annotated[tuple[float, float], Field(description="Raw grey levels shown as 0 and 255.")]
    slices: tuple[SliceTransform, ...]
    """One for each z, ascending, without gaps."""


class Track(Document):
    """How one number of the slices' transforms runs along z, against the mean of the stack."""

    parameter: Literal["x", "y", "rotation", "scale_x", "scale_y", "shear"]
    unit: Literal["px", "deg", "ppm"]
    net: float
    """From the first slices to the last, as the pairs have it."""
    expected_net: float
    """1-sigma of the same for a random walk with the steps of this track, each over `step_length` slices."""
    step_length: int
    non_closure: float | None
    """How much more the longest pairs alone would move from end to end than the pairs of neighbours alone."""
    non_closure_sigma: float | None
    """1-sigma of that by chance; null where too few pairs tell."""
    lowest: float
    highest: float
    written_lowest: float
    """Of the transforms that are written, after the trend policy."""
    written_highest: float


class Trends(SealedDocument):
    """`process/trends.json`: the slow motions in a solution, and what was done about them."""

    schema_version: Literal[1] = 1
    policy: Literal["keep", "hybrid", "detrend", "straighten", "anchor"]
    n_slices: int
    tracks: tuple[Track, ...]
    box_growth: float
    """Area of the box around all slices over that of the largest slice, as the pairs have it."""
    written_box_growth: float
    warnings: tuple[str, ...]
    suggestion: str
    """Which policy fits, and why."""
