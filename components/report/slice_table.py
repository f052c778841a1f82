"""One row per slice: what the report's table and curves show."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.shared.documents.plan import Plan
from components.shared.documents.transforms import action_text


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceRow:
    """A slice of the volume. A figure that is not known is NaN."""

    z: int
    file: str = ""
    verdict: str = ""
    action: str = ""
    replaced_from: int | None = None
    blended_with: int | None = None
    evidence: str = ""
    override: str = ""
    sigma_px: float = math.nan
    step_sigma_px: float = math.nan
    dx_px: float = math.nan
    dy_px: float = math.nan
    rotation_deg: float = math.nan
    rotation_sigma_deg: float = math.nan
    scale_ppm: float = math.nan
    scale_sigma_ppm: float = math.nan
    n_edges: int = 0
    residual_px: float = math.nan
    step_px: float = math.nan
    ncc_before: float = math.nan
    ncc_after: float = math.nan

    @property
    def is_ordinary(self) -> bool:
        return self.verdict == "good" and self.action == "keep"

    @property
    def shown(self) -> str:
        """What is shown of the slice, in words."""
        return action_text(self.action, self.replaced_from, self.blended_with)


_FIGURES = [f.name for f in fields(SliceRow) if f.type == "float"]


def read_rows(lines: Iterable[str], plan: Plan) -> list[SliceRow]:
    """The rows of `slices.jsonl`; keys that are absent or null stay unknown.

    Raises:
        ValueError: a line is not a JSON object with a z.
    """
    files = {s.z: s.key for s in plan.slices}
    return [_row(json.loads(line), files) for line in lines if line.strip()]


def _row(values: dict[str, Any], files: dict[int, str]) -> SliceRow:
    if not isinstance(values, dict) or not isinstance(values.get("z"), int):
        raise ValueError("a line of slices.jsonl must be an object with a z")
    figures = {name: float(values[name]) for name in _FIGURES if values.get(name) is not None}
    return SliceRow(
        z=values["z"],
        file=files.get(values["z"], ""),
        verdict=str(values.get("verdict", "")),
        action=str(values.get("action", "")),
        replaced_from=values.get("replaced_from"),
        blended_with=values.get("blended_with"),
        evidence=str(values.get("evidence") or ""),
        override=str(values.get("override") or ""),
        n_edges=int(values.get("n_edges") or 0),
        **figures,
    )


def column(rows: Sequence[SliceRow], name: str) -> NDArray[np.float64]:
    """One figure of every row."""
    return np.array([getattr(row, name) for row in rows], np.float64)


def worst_first(rows: Sequence[SliceRow]) -> list[SliceRow]:
    """Replaced and isolated slices first, then those that agree least with the slice before."""

    def badness(row: SliceRow) -> tuple[bool, float, float, int]:
        ncc = row.ncc_after if math.isfinite(row.ncc_after) else 2.0
        residual = row.residual_px if math.isfinite(row.residual_px) else 0.0
        return row.is_ordinary, ncc, -residual, row.z

    return sorted(rows, key=badness)


def median(values: NDArray[np.float64]) -> float | None:
    """The median of the known values, None where none is known."""
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else None


def largest(values: NDArray[np.float64]) -> float | None:
    """The largest of the known values, None where none is known."""
    known = values[np.isfinite(values)]
    return float(known.max()) if len(known) else None
