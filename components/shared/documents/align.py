"""Records of `align`: statistics of each slice, and the transform of each pair with its evidence."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

from pydantic import SerializerFunctionWrapHandler, model_serializer

from components.shared.documents.sealed import Document, SealedDocument, without_empty
from components.shared.documents.transforms import FillLevel, GreyLine, Matrix3, RowShifts, Streaks, WarpField

Model = Literal["translation", "rigid", "rigid_stretch", "affine"]


class SliceStatistics(Document):
    """Statistics of one raw slice, in raw grey levels; fill values count for the two fractions alone."""

    z: int
    mean: float
    std: float
    low: float
    """0.1st percentile of the grey levels."""
    high: float
    """99.9th percentile of the grey levels."""
    zero_fraction: float
    saturated_fraction: float
    """Fraction of pixels at the type's greatest value, if that is not padding."""
    sharpness: float
    """Energy of the fine band over that of the coarse band (difference of Gaussians)."""
    content_fraction: float
    """Fraction of the picture with texture to match."""
    n_features: int
    entropy_bits: float = 0.0
    """Entropy of the distribution of grey levels; 0 where all pixels have one level."""
    noise: float = 0.0
    """Standard deviation of the noise, which differs from pixel to pixel."""
    contrast: float = 0.0
    """Standard deviation, within the neighbourhood of a point, of structures larger than noise, in parts of
    the slice that have much contrast."""
    streaks_along_x: float = 0.0
    """Fraction of the contrast's energy that is long along x and thin along y: charging, scan lines."""
    streaks_along_y: float = 0.0
    """Fraction of the contrast's energy that is long along y and thin along x: curtains."""
    content_grid: tuple[float, ...] = ()
    """Fraction of content in each of 8 x 8 cells, row by row; content is told by comparison with the parts of
    the slice that have much contrast."""
    fill: tuple[FillLevel, ...] = ()
    """Fill values of the slice; left out of the file where there is none."""
    streaks: Streaks | None = None
    """Streaks of the slice; None in records of earlier releases."""

    @model_serializer(mode="wrap")
    def _without_empty_fill(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_empty(serialise(self), "fill")

    def on_line(self, line: GreyLine | None) -> SliceStatistics:
        """The statistics with the range and the noise of the grey levels that are shown."""
        if line is None:
            return self
        return self.model_copy(
            update={
                "low": line.shown(self.low),
                "high": line.shown(self.high),
                "noise": line.gain * self.noise,
            }
        )


REASONS: Mapping[str, str] = MappingProxyType(
    {
        "no_content": "nothing in the picture to compare",
        "too_few_inliers": "too few points agree on a motion",
        "coverage": "points agree in one corner alone",
        "determinant": "of another magnification",
        "rotation": "turned too far",
        "second_consensus": "points agree on two motions",
        "windows_disagree": "parts of the picture move apart",
        "bands_disagree": "bands of the picture move apart",
        "ncc_not_better": "no more alike when aligned",
        "ncc_not_above_chance": "no more alike than by chance",
    }
)
"""Words for each code of the reason for which a pair is refused."""


def reason_in_words(code: str) -> str:
    """Words for the reason for which a pair is refused, also for a code of another version.

    Example:
        >>> reason_in_words("rotation"), reason_in_words("no_overlap")
        ('turned too far', 'no overlap')
    """
    return REASONS.get(code) or code.replace("_", " ")


def in_words_with(code: str, found: str) -> str:
    """Words for a reason, with those for its value and limit where these are known.

    Example:
        >>> in_words_with("too_few_inliers", "6 points, at least 20"), in_words_with("rotation", "")
        ('too few points agree on a motion (6 points, at least 20)', 'turned too far')
    """
    return f"{reason_in_words(code)} ({found})" if found else reason_in_words(code)


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
    """RMS residual under each model at full resolution: of the windows, or of the inliers if none is kept."""
    matrix: Matrix3 | None
    sigma_px: float
    """1-sigma of the transform at the picture's centre, at full resolution; 0 where refused."""
    n_windows: int
    """Number of windows that the sub-pixel refinement kept; 0: the transform is from SIFT alone."""
    ncc_before: float
    """NCC of the two slices as they lie."""
    ncc_after: float
    """NCC of the two slices after the transform; equal to `ncc_before` where the pair is refused."""
    fallback: str
    """Name of the fallback that found the transform; empty for the normal way.

    `inverted` says that one of the two slices has inverted grey levels. `static_pattern` says that
    something stays in place while the tissue moves. `wide` is a neighbour further than usual.
    `whole_frame_alone` is good to some px, since no window confirms it. `turned` is a neighbour that was
    turned by more than a stage does, or recorded at another magnification, and matches when that is undone.
    """
    refused_matrix: Matrix3 | None = None
    """`neighbour_from_slice` that is refused for its rotation or its determinant; None for other pairs. The
    matches of a pair agree on it, to about a pixel, or a search over all angles finds it, to a few. A person
    who knows that the sample was turned may give it as an override."""
    refused_motion: str = ""
    """Words for the value of that motion and its limit, such as "turned by 12.0 degrees, at most 5"."""
    refused_for: str = ""
    """Words for the value that `reason` is about and its limit, such as "6 points, at least 20"; empty where
    accepted, and in records of earlier releases."""
    support_px: tuple[float, float, float, float] | None = None
    """Left, top, right and bottom of a rectangle, in px of the slice: spread evenly over it, evidence has the
    mean and the variance of what the transform is from. With `sigma_px` it tells the transform's covariance.
    None where refused."""
    difference: float | None = None
    """Mean absolute difference of the two slices as they lie, in standard deviations of the band-passed
    pictures; 0 is a copy, None where nothing can be compared."""
    rows: RowShifts | None = None
    """Shifts of the slice's rows beyond the transform: the neighbour shows at `matrix (p + shift)` what is at
    p. Those that the even stripes of columns tell, x and y, then those of the odd ones. Left out of the file
    for pairs that do not tell them."""
    warp: WarpField | None = None
    """Smooth displacement of the slice beyond the transform: the neighbour shows at
    `matrix (p + displacement)` what is at p. That of the black cells, x and y, then that of the white ones.
    Left out of the file for pairs that do not tell it."""

    @model_serializer(mode="wrap")
    def _without_empty(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = serialise(self)
        for name in ("rows", "warp", "refused_for"):
            written = without_empty(written, name)
        return written

    @property
    def refusal(self) -> str:
        """Why the pair is refused, with the value and the limit."""
        return in_words_with(self.reason, self.refused_for)


class AlignRecord(SealedDocument):
    """The evidence of one chunk, `process/align/<first>-<last>.json`."""

    schema_version: Literal[1] = 1
    slices: tuple[SliceStatistics, ...]
    pairs: tuple[PairRecord, ...]
