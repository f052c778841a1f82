"""Documents of `compose`: `transforms.json`, and `trends.json`, the slow changes along z.

`transforms.json` says where each slice lies in the volume, its verdict, and what is shown at its place.
`given_places.json` says the same of another run, whose slices' places those of this run take.

Sizes are `xyz`, transforms are `volume_from_slice` at full resolution (geometry.py).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from components.shared.documents.sealed import Document, SealedDocument, without_empty
from components.shared.grid import SizeXyz

TRANSFORMS_KEY = "transforms.json"
TRENDS_KEY = "trends.json"
PLACES_KEY = "given_places.json"


Matrix3 = tuple[
    tuple[float, float, float],
    tuple[float, float, float],
    tuple[float, float, float],
]
"""A 3 x 3 matrix, row by row."""


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
"""Verdict on a slice: good, or what is wrong with it. `step` is a lasting jump from the previous slice,
which is kept and reported."""


Action = Literal["keep", "invert", "replace", "blend", "blank"]
"""Action at a slice's place. keep: the slice is shown as it is. invert: it is shown with inverted grey
levels. replace: `replaced_from` is shown. blend: the mean of `replaced_from` and `blended_with` is shown,
each warped by its own matrix. blank: the place is black."""


class FillLevel(Document):
    """A grey level of a slice that is a fill value: exactly this, in many pixels, and far from all others."""

    level: int
    share: float
    """Fraction of the slice's pixels that have it."""
    is_padding: bool
    """It lies along the sides of the slice: the volume shows it as its margin."""


class GreyLine(Document):
    """How the grey levels of a slice that flickers are brought to those of the slices around it."""

    gain: float
    offset: float
    """In raw grey levels."""

    def shown(self, level: float) -> float:
        """The grey level that a raw one is shown as; of the line, so it may lie beyond the type.

        Example:
            >>> GreyLine(gain=1.5, offset=-5).shown(100.0)
            145.0
        """
        return level * self.gain + self.offset


class RowShifts(Document):
    """Shifts of the rows of a slice, as sums of cubic B-splines along y (components/shared/row_shifts.py)."""

    first_row_px: float
    """Row of the slice at which the second spline of each sum has its peak."""
    knot_px: float
    """Rows from the peak of a spline to that of the next."""
    shifts: str
    """Base64 of the coefficients as 16-bit little-endian numbers in 1/256 px: those of x, then those of y."""


class WarpField(Document):
    """A smooth displacement over a slice, as sums of products of cubic B-splines along y and along x."""

    first_xy_px: tuple[float, float]
    """Place in the slice at which the second spline along x and the second along y have their peaks."""
    knot_px: float
    """Pixels from the peak of a spline to that of the next, along both."""
    n_xy: tuple[int, int]
    """Number of splines along x and along y."""
    displacements: str
    """Base64 of the coefficients as 16-bit little-endian numbers in 1/256 px, rows of splines one after
    another: those of the displacement along x, then those along y."""


StreakAxis = Literal["x", "y"]
"""Axis that streaks are long along."""


class Streaks(Document):
    """Streaks of a slice, and what a filter of them would do, RMS in raw grey levels."""

    axis: StreakAxis
    gain: float
    """Streaks that it would take away."""
    damage: float
    """Tissue that it would take away, by the same filter turned by 90 degrees."""


class SliceTransform(Document):
    """Place of one slice in the volume, the verdict on it, and what is shown there."""

    z: int
    uri: str
    """URI of the raw slice; empty where it is missing."""
    matrix: Matrix3
    """volume_from_slice at full resolution."""
    verdict: Verdict
    action: Action
    replaced_from: int | None
    """z of the slice that is shown instead, warped by that slice's own matrix."""
    blended_with: int | None = None
    """z of the second slice of a blend."""
    shown_z: int | None = None
    """z of the slice that the plane of this z shows where `z: correct` evens the steps along z; left out of
    the file where the plane shows what `action` says."""
    evidence: str = ""
    """Reasons for the verdict, in a few words with figures."""
    override: str = ""
    """The decision of the overrides file that was applied, as written there."""
    sigma_px: float = 0.0
    """1-sigma of the slice's position against the middle of its part of the stack."""
    step_sigma_px: float = 0.0
    """1-sigma of the step from the previous slice."""
    rotation_sigma_deg: float = 0.0
    """1-sigma of the rotation, against the middle of its part of the stack."""
    scale_sigma_ppm: float = 0.0
    """1-sigma of the scale, against the middle of its part of the stack."""
    n_edges: int
    """Number of accepted pairs of this slice."""
    edge_weight: float
    """Mean robust weight of the accepted pairs in the solve, 0..1."""
    residual_px: float
    """RMS disagreement of the kept pairs with the solution, over the common area; 0 where no pair is kept."""
    fill: tuple[FillLevel, ...] = ()
    """Fill values of the raw slice; left out of the file where there is none."""
    grey_line: GreyLine | None = None
    """Correction of its brightness and contrast; left out of the file where there is none."""
    filtered_streaks: StreakAxis | None = None
    """Axis of the streaks that are filtered; left out of the file where none are."""
    rows: RowShifts | None = None
    """Shifts of the slice's rows: what the volume shows at `matrix p` lies in the slice at p + shift, that of
    the row of p. Left out of the file where the rows lie as the matrix says."""
    warp: WarpField | None = None
    """Soft warp of the slice: what the volume shows at `matrix p` lies in the slice at q = p + displacement,
    that of p; with `rows` at q + shift, that of the row of q. Left out of the file where there is none."""

    @model_serializer(mode="wrap")
    def _without_empty(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = serialise(self)
        for key in ("fill", "grey_line", "filtered_streaks", "rows", "warp"):
            values = without_empty(values, key)
        if self.shown_z is None:
            values.pop("shown_z", None)
        return values

    @property
    def padding_levels(self) -> tuple[int, ...]:
        """Grey levels of the raw slice that the volume shows as its margin."""
        return tuple(fill.level for fill in self.fill if fill.is_padding)

    @property
    def source_z(self) -> int:
        """Number z of the slice that is shown here; of a blend, of the first of the two."""
        if self.shown_z is not None:
            return self.shown_z
        return self.z if self.replaced_from is None else self.replaced_from

    @property
    def shown_numbers(self) -> tuple[int, ...]:
        """Numbers of the slices that a plane shows by this row: its own, another, two of a blend, or none.

        Where steps along z are evened, `Transforms.plane` tells which row that is.
        """
        if self.action == "blank":
            return ()
        if self.action in ("keep", "invert"):
            return (self.z,)
        return tuple(z for z in (self.replaced_from, self.blended_with) if z is not None)

    @property
    def others_shown(self) -> tuple[int, ...]:
        """Numbers z of the slices that this row shows instead of its own, or mixes."""
        named = (self.replaced_from, self.blended_with, self.shown_z)
        return tuple(z for z in named if z is not None)

    @property
    def is_ordinary(self) -> bool:
        """True of a slice that is good and shown as it is."""
        return self.verdict == "good" and self.action == "keep"

    @property
    def shown(self) -> str:
        """Words for what is shown at the slice's place, such as: replaced by 511."""
        text = action_text(self.action, self.replaced_from, self.blended_with)
        return text if self.shown_z is None else f"{text}; its plane shows {self.shown_z}"

    @property
    def description(self) -> str:
        """Sentence on the slice, such as: slice 512: blank, replaced by 511."""
        return f"slice {self.z}: {self.verdict}, {self.shown}"


def action_text(action: str, replaced_from: int | None, blended_with: int | None) -> str:
    """Words for an action, by the numbers of the slices that it shows.

    Example:
        >>> action_text("replace", 511, None), action_text("blend", 511, 513), action_text("keep", None, None)
        ('replaced by 511', 'replaced by the mean of 511 and 513', 'kept')
    """
    if action == "blend":
        return f"replaced by the mean of {replaced_from} and {blended_with}"
    if action == "replace":
        return f"replaced by {replaced_from}"
    return {"keep": "kept", "invert": "turned round", "blank": "left black"}.get(action, action)


class FoundDisplacement(Document):
    """Jitter of the rows of a stack, or soft warps of its slices, and what was done about them."""

    found_xy_px: tuple[float, float]
    """RMS along x and y, as parts of pictures tell it that were held out; 0 where they tell none."""
    is_corrected_xy: tuple[bool, bool]
    n_slices: int
    """Number of slices that are corrected: whose rows are moved back, or that are straightened."""
    corrected_px: float
    """RMS of the correction over these slices."""


class Transforms(SealedDocument):
    """`process/transforms.json`: the size of the volume, and the place and action of each slice."""

    schema_version: Literal[1] = 1
    volume_size_xyz: SizeXyz
    volume_origin_xyz_px: tuple[int, int, int]
    """Position of voxel (0, 0, 0) in the frame of the solve; its z is the number of the first slice."""
    first_voxel_xy: tuple[int, int] = (0, 0)
    """x and y that viewers show for voxel (0, 0): of a part that was cut out, its place in the run's volume.
    Left out of the file where they are 0."""
    slice_origin_xy_px: tuple[int, int] = (0, 0)
    """Position in the picture of a file of the pixel that `matrix` counts as (0, 0): the corner of `crop`."""
    intensity_range: Annotated[tuple[float, float], Field(description="Raw grey levels shown as 0 and 255.")]
    row_jitter: FoundDisplacement | None = None
    """Jitter of the rows; None where it was not looked for."""
    soft_warp: FoundDisplacement | None = None
    """Soft warps of the slices; None where they were not looked for."""
    slices: tuple[SliceTransform, ...]
    """Rows for every z of the volume, ascending, also for missing slices."""

    @property
    def shown_xyz(self) -> SizeXyz:
        """x, y and slice number that viewers show for the first voxel."""
        return (*self.first_voxel_xy, self.volume_origin_xyz_px[2])

    @model_serializer(mode="wrap")
    def _without_place(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = serialise(self)
        if self.first_voxel_xy == (0, 0):
            values.pop("first_voxel_xy", None)
        return values

    def planes_of(self) -> dict[int, list[int]]:
        """Numbers z of the planes that show a row, ascending, by the row's z."""
        planes: dict[int, list[int]] = {}
        for z_index, entry in enumerate(self.slices):
            planes.setdefault(self.plane(z_index).z, []).append(entry.z)
        return planes

    def plane(self, z_index: int, *, evened: bool = True) -> SliceTransform:
        """The row that says what a plane shows: its own, or that of the slice which evens the steps along z.

        Args:
            z_index: The plane.
            evened: False for an array of tiles that keeps each slice at its own number.
        """
        entry = self.slices[z_index]
        if entry.shown_z is None or not evened:
            return entry
        index = entry.shown_z - self.slices[0].z
        # An export that is cut along z may lack that row.
        return self.slices[index] if 0 <= index < len(self.slices) else entry


class PlacedSize(Document):
    """The size of a slice that has a place."""

    z: int
    width_px: int
    height_px: int


class GivenPlaces(SealedDocument):
    """`process/given_places.json`: where the slices of another run lie, and what it shows of them."""

    schema_version: Literal[1] = 1
    output: str
    """Output of that run."""
    sizes: tuple[PlacedSize, ...]
    """Sizes of its slices, z ascending; of numbers that it misses there are none."""
    transforms: Transforms

    @property
    def shown_z(self) -> list[int]:
        """Numbers of the slices that its planes show, ascending; raw grey levels keep theirs when evened."""
        planes, is_evened = range(len(self.transforms.slices)), (False, True)
        rows = [self.transforms.plane(plane, evened=evened) for plane in planes for evened in is_evened]
        return sorted({z for row in rows for z in row.shown_numbers})


class Track(Document):
    """Course along z of one parameter of the slices' transforms, against the mean of the stack."""

    parameter: Literal["x", "y", "rotation", "scale_x", "scale_y", "shear"]
    unit: Literal["px", "deg", "ppm"]
    net: float
    """Difference between the last slices and the first, as the pairs have it."""
    expected_net: float
    """1-sigma of `net` for a random walk with the steps of this track, each over `step_length` slices."""
    step_length: int
    non_closure: float | None
    """Net motion by the longest pairs alone, minus that by the pairs of neighbours alone."""
    non_closure_sigma: float | None
    """1-sigma of `non_closure` by chance; null where too few pairs tell."""
    lowest: float
    highest: float
    written_lowest: float
    """Lowest value in the transforms that are written, after the trend policy; `lowest` is before it."""
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
    """Sentence that says which policy fits, and why."""
