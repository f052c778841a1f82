"""`slices.jsonl`: a line of figures for each z, for people, their scripts and the report."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

from components.shared.documents.transforms import SliceTransform

SLICES_KEY = "slices.jsonl"
"""Key below the process URI."""


class SliceRow(SliceTransform):
    """A line of `slices.jsonl`: where a slice lies, what became of it, and its figures, null if unknown."""

    dx_px: float
    """Displacement of the centre of the shown slice along x, in the volume."""
    dy_px: float
    """Displacement of the centre of the shown slice along y."""
    rotation_deg: float
    """Rotation of the shown slice, from x towards y."""
    scale_ppm: float
    """Scale - 1, in ppm; the scale is the square root of the factor by which areas grow."""
    shear_ppm: float
    """Shear in ppm: the sine of the angle by which the axes deviate from 90 degrees."""
    step_px: float | None
    """Displacement of the centre relative to that of the previous row."""
    n_features: int | None
    """SIFT features that were found in the slice."""
    content_fraction: float | None
    """Part of the slice's area that holds tissue, 0 to 1."""
    streak_gain: float | None = None
    """Streaks that a filter would take away, RMS in raw grey levels."""
    streak_damage: float | None = None
    """Tissue that the same filter would take away, RMS in raw grey levels."""
    ncc_before: float | None
    """NCC with the next present slice, both as they lie in their files."""
    ncc_after: float | None
    """NCC with the next present slice after the transform of their pair."""
    z_position: float | None
    """Place along z in mean slices, as the likeness of slices tells; null where a slice is not good."""
    z_step: float | None
    """Distance from the good slice before over that of their numbers: 1 where slices are even."""
    z_step_sigma: float | None
    """1-sigma of `z_step`."""


_FIGURES = frozenset(
    name for name, field in SliceRow.model_fields.items() if field.annotation in (float, float | None)
)
_UNKNOWN: dict[str, Any] = dict.fromkeys(SliceRow.model_fields) | dict.fromkeys(_FIGURES, math.nan)
_UNKNOWN |= {"uri": "", "verdict": "", "action": "", "evidence": "", "override": "", "n_edges": 0}


def known_row(**values: Any) -> SliceRow:  # noqa: ANN401 - whatever a line holds
    """The row of a slice of which some values are known; other figures are NaN, all else is empty or None.

    It is not checked against the schema, which a line of another version of fibstack does not obey.

    Raises:
        ValueError: there is no z, or a figure is no number.
        TypeError: a figure is no number.

    Example:
        >>> row = known_row(z=3, dx_px=2, ncc_after=None, of_another_version=True)
        >>> row.z, row.dx_px, row.ncc_after, row.verdict, row.replaced_from
        (3, 2.0, nan, '', None)
    """
    if not isinstance(values.get("z"), int):
        raise ValueError("a line of slices.jsonl must be an object with a z")
    known = {name: value for name, value in values.items() if name in _UNKNOWN and value is not None}
    figures = {name: float(known[name]) for name in _FIGURES & known.keys()}
    return SliceRow.model_construct(**_UNKNOWN | known | figures)


def read_rows(lines: Iterable[str]) -> list[SliceRow]:
    """The rows of a `slices.jsonl` of any version of fibstack; blank lines are passed over.

    Raises:
        ValueError: a line is not a JSON object with a z, or a figure is no number.
        TypeError: a figure is no number.
    """
    found = [json.loads(line) for line in lines if line.strip()]
    return [known_row(**values) if isinstance(values, dict) else known_row() for values in found]
