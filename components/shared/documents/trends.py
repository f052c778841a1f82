"""`trends.json`: slow changes along z, measured and kept or removed."""

from __future__ import annotations

from typing import Literal

from components.shared.documents.sealed import Document, SealedDocument

TRENDS_KEY = "trends.json"


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
