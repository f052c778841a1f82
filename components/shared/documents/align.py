"""Records of `align`: statistics of each slice, and the transform of each pair with its evidence."""

from __future__ import annotations

from typing import Literal

from components.shared.documents.sealed import Document, SealedDocument
from components.shared.documents.transforms import Matrix3

Model = Literal["translation", "rigid", "rigid_stretch", "affine"]


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
