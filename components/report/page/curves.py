"""The curves along z: how well neighbours agree, and where each slice was moved."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from components.report.gather import RunEvidence
from components.report.page.figures import Curve, Panel, curves_svg
from components.report.slice_table import column
from components.shared.documents.slices import SliceRow


def correlation_svg(evidence: RunEvidence) -> str:
    """Curves of NCC along z: from `preview.json` if present, else from the pair records."""
    preview, rows = evidence.preview, evidence.rows
    if preview is not None:
        panels = [
            Panel(label, [Curve("before", _known(before)), Curve("after", _known(after))])
            for label, before, after in (
                ("NCC, next", preview.ncc_next_before, preview.ncc_next_after),
                ("next but one", preview.ncc_second_before, preview.ncc_second_after),
            )
        ]
        return _curves(range(preview.first_z, preview.first_z + len(preview.ncc_next_after)), panels)
    before, after = Curve("before", column(rows, "ncc_before")), Curve("after", column(rows, "ncc_after"))
    return _curves([row.z for row in rows], [Panel("NCC", [before, after])])


def tracks_svg(rows: Sequence[SliceRow]) -> str:
    """Shift, rotation, scale and step of each slice, with bands of one sigma, and these sigmas themselves."""
    position, step = shown_sigma(rows, "sigma_px"), shown_sigma(rows, "step_sigma_px")

    def track(name: str, column_name: str, sigma: NDArray[np.float64]) -> Curve:
        return Curve(name, column(rows, column_name), sigma)

    panels = [
        Panel("shift, px", [track("x", "dx_px", position), track("y", "dy_px", position)]),
        Panel("rotation, °", [track("rotation", "rotation_deg", shown_sigma(rows, "rotation_sigma_deg"))]),
        Panel("scale, ppm", [track("scale", "scale_ppm", shown_sigma(rows, "scale_sigma_ppm"))]),
        Panel("step, px", [track("step", "step_px", step)]),
        Panel("1 sigma, px", [Curve("of the position", position), Curve("of the step", step)]),
    ]
    return _curves([row.z for row in rows], panels)


def steps_along_z_svg(rows: Sequence[SliceRow], invented: float | None) -> str:
    """The step along z of each slice with its band of one sigma, and about 1 the band of what is invented."""
    steps = column(rows, "z_step")
    if not np.isfinite(steps).any():
        return ""
    curves = [Curve("step", steps, column(rows, "z_step_sigma"))]
    if invented is not None:
        even = np.ones_like(steps)
        curves.append(Curve("even", even, even * invented))
    return _curves([row.z for row in rows], [Panel("step along z", curves)])


def shown_sigma(rows: Sequence[SliceRow], name: str) -> NDArray[np.float64]:
    """1-sigma of one kind for each slice that is shown itself and held by pairs, NaN for all others.

    The step from the previous slice is known only if both slices are shown and held.
    """
    is_held = np.array([row.action in ("keep", "invert") and row.n_edges > 0 for row in rows], bool)
    if name == "step_sigma_px":
        is_held[1:] &= is_held[:-1].copy()
        is_held[:1] = False
    return np.where(is_held, column(rows, name), np.nan)


def _known(values: Sequence[float | None]) -> NDArray[np.float64]:
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _curves(z: Sequence[int], panels: Sequence[Panel]) -> str:
    """The panels that hold a known value, as SVG; empty where none does."""
    known = [panel for panel in panels if any(np.isfinite(curve.values).any() for curve in panel.curves)]
    return curves_svg(z, known) if known else ""
