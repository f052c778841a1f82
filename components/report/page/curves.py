"""The curves along z: how well neighbours agree, and where each slice was moved."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from components.report.gather import RunEvidence
from components.report.page.figures import Chart, Curve, Panel, chart_of
from components.report.slice_table import column
from components.shared.documents.slices import SliceRow


def correlation_chart(evidence: RunEvidence, marked: Collection[int] = ()) -> Chart | None:
    """Curves of NCC along z: from `preview.json` if present, else from the pair records."""
    name = "NCC of neighbouring slices"
    preview, rows = evidence.preview, evidence.rows
    if preview is not None:
        panels = [
            Panel(label, [Curve("before", _known(before)), Curve("after", _known(after))])
            for label, before, after in (
                ("NCC with next", preview.ncc_next_before, preview.ncc_next_after),
                ("NCC, next but one", preview.ncc_second_before, preview.ncc_second_after),
            )
        ]
        z = range(preview.first_z, preview.first_z + len(preview.ncc_next_after))
        return _chart("correlation", name, z, panels, marked)
    before, after = Curve("before", column(rows, "ncc_before")), Curve("after", column(rows, "ncc_after"))
    return _chart("correlation", name, [row.z for row in rows], [Panel("NCC", [before, after])], marked)


def tracks_chart(rows: Sequence[SliceRow], marked: Collection[int] = ()) -> Chart | None:
    """Shift, rotation, scale, shear and step of each slice with bands of one sigma, and those alone."""
    position, step = shown_sigma(rows, "sigma_px"), shown_sigma(rows, "step_sigma_px")

    def track(name: str, column_name: str, sigma: NDArray[np.float64]) -> Curve:
        return Curve(name, column(rows, column_name), sigma)

    panels = [
        Panel("shift, px", [track("x", "dx_px", position), track("y", "dy_px", position)]),
        Panel("rotation, °", [track("rotation", "rotation_deg", shown_sigma(rows, "rotation_sigma_deg"))]),
        Panel(
            "ppm",
            [
                track("scale", "scale_ppm", shown_sigma(rows, "scale_sigma_ppm")),
                Curve("shear", column(rows, "shear_ppm")),
            ],
        ),
        Panel("step, px", [track("step", "step_px", step)]),
        Panel("sigma, px", [Curve("of the position", position), Curve("of the step", step)]),
    ]
    return _chart("tracks", "Where each slice was moved", [row.z for row in rows], panels, marked)


def steps_along_z_chart(
    rows: Sequence[SliceRow], invented: float | None, marked: Collection[int] = ()
) -> Chart | None:
    """The step along z of each slice with its band of one sigma, and about 1 the band of what is invented."""
    steps = column(rows, "z_step")
    if not np.isfinite(steps).any():
        return None
    curves = [Curve("step", steps, column(rows, "z_step_sigma"))]
    if invented is not None:
        even = np.ones_like(steps)
        curves.append(Curve("even", even, even * invented))
    z = [row.z for row in rows]
    return _chart("steps-along-z", "Steps along z", z, [Panel("step along z", curves)], marked)


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


def _chart(
    figure_id: str, name: str, z: Sequence[int], panels: Sequence[Panel], marked: Collection[int]
) -> Chart | None:
    """The panels that hold a known value; None where none does."""
    known = [panel for panel in panels if any(np.isfinite(curve.values).any() for curve in panel.curves)]
    return chart_of(figure_id, name, z, known, marked) if known else None
