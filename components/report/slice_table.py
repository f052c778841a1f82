"""Columns, order and figures of the rows of `slices.jsonl`, one for each slice."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from components.shared.documents.slices import SliceRow


def column(rows: Sequence[SliceRow], name: str) -> NDArray[np.float64]:
    """Values of one figure, a row each; NaN where it is not known."""
    return np.array([getattr(row, name) for row in rows], np.float64)


def worst_first(rows: Sequence[SliceRow]) -> list[SliceRow]:
    """Replaced and isolated slices first, then those that agree least with the next slice."""

    def badness(row: SliceRow) -> tuple[bool, float, float, int]:
        ncc = math.nan if row.ncc_after is None else row.ncc_after
        residual_px = row.residual_px if math.isfinite(row.residual_px) else 0.0
        return row.is_ordinary, ncc if math.isfinite(ncc) else 2.0, -residual_px, row.z

    return sorted(rows, key=badness)


def median(values: NDArray[np.float64]) -> float | None:
    """Median of the known values; None where none is known."""
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else None


def largest(values: NDArray[np.float64]) -> float | None:
    """Largest of the known values; None where none is known."""
    known = values[np.isfinite(values)]
    return float(known.max()) if len(known) else None
