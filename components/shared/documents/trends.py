"""`trends.json`: slow changes along z, measured and kept or removed."""

from __future__ import annotations

from typing import Literal

from components.shared.documents.sealed import Document, SealedDocument

TRENDS_KEY = "trends.json"


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
