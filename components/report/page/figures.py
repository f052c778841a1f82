"""The report's figures as inline SVG and WebP: no script, no font and no picture comes from elsewhere.

Lines carry place-holder colours that become CSS variables, so that the page's light and dark colours hold for
the figures too.
"""

from __future__ import annotations

import base64
import html
import io
import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_POINTS = 2400
"""Points of a curve; one with more is drawn as its envelope: lowest and highest value of each bin."""

_LOSSLESS = 101
"""Quality at which OpenCV writes WebP without loss."""
PHOTO_QUALITY = 75
"""Quality of pictures that are looked at and not measured: a fifth of the bytes."""

_WIDTH_INCH, _PANEL_INCH, _MARGINS_INCH = 9.6, 1.55, 0.85
_LEFT, _RIGHT, _X_MARGIN = 0.08, 0.99, 0.01
"""Left and right end of the panels in widths of the figure; what is left free of a panel at each end."""

_THEME = {
    "#010101": "var(--text)",
    "#020202": "var(--line)",
    "#030303": "var(--series-1)",
    "#040404": "var(--series-2)",
    "#050505": "var(--bad)",
}
_TEXT, _LINE, _SERIES_1, _SERIES_2, _BAD = _THEME
_STYLE = {
    "font.family": "sans-serif",
    "font.size": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "fibstack",
    "path.simplify_threshold": 0.3,
    "text.color": _TEXT,
    "axes.labelcolor": _TEXT,
    "axes.edgecolor": _LINE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": _LINE,
    "grid.linewidth": 0.5,
    "xtick.color": _LINE,
    "ytick.color": _LINE,
    "xtick.labelcolor": _TEXT,
    "ytick.labelcolor": _TEXT,
}


@dataclass(frozen=True, slots=True)
class Curve:
    """A named sequence of values; NaN leaves a gap."""

    name: str
    values: NDArray[np.float64]
    sigma: NDArray[np.float64] | None = None
    """1-sigma of each value, drawn as a band to both sides."""


@dataclass(frozen=True, slots=True)
class Panel:
    """A set of axes with one or two curves against z."""

    label: str
    curves: Sequence[Curve]


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure on the page with its values, which the page shows under the pointer and gives as CSV."""

    id: str
    name: str
    svg: str
    json: str


def envelope(
    z: NDArray[np.float64], values: NDArray[np.float64], most: int = MOST_POINTS
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Thin out a long curve without losing an outlier: each bin keeps its lowest and highest point.

    Example:
        >>> x, y = envelope(np.arange(8.0), np.array([0, 1, 9, 1, 0, -5, 0, 1.0]), most=4)
        >>> y.tolist()
        [0.0, 9.0, -5.0, 1.0]
    """
    if len(z) <= most:
        return z, values
    kept: list[int] = []
    for part in np.array_split(np.arange(len(z)), most // 2):
        known = part[np.isfinite(values[part])]
        if len(known):
            kept.extend(sorted({int(known[values[known].argmin()]), int(known[values[known].argmax()])}))
        else:
            kept.append(int(part[0]))
    return z[kept], values[kept]


def band_envelope(
    z: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64], most: int = MOST_POINTS
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Thin out a long band so that no part of it is lost: each bin reaches from its lowest to its highest.

    Example:
        >>> x, low, high = band_envelope(np.arange(4.0), np.array([0, -5, 1, 1.0]), np.full(4, 2.0), most=2)
        >>> x.tolist(), low.tolist(), high.tolist()
        ([0.0, 2.0], [-5.0, 1.0], [2.0, 2.0])
    """
    if len(z) <= most:
        return z, low, high
    starts = np.linspace(0, len(z), most, endpoint=False).astype(int)
    return z[starts], np.fmin.reduceat(low, starts), np.fmax.reduceat(high, starts)


def chart_of(
    figure_id: str, name: str, z: Sequence[int], panels: Sequence[Panel], marked: Collection[int]
) -> Chart:
    """Panels under each other with z as the common axis, with their values.

    Args:
        figure_id: Name of the element on the page.
        name: Name for people.
        z: Numbers of the slices.
        panels: What is drawn.
        marked: Slices that are marked with a link to their card.
    """
    columns = [
        {"name": f"{panel.label}, {curve.name}" if len(panel.curves) > 1 else panel.label, "values": values}
        for panel in panels
        for curve in panel.curves
        for values in [[_short(value) for value in curve.values.tolist()]]
    ]
    data = {"name": name, "z": list(z), "extent": [_LEFT, _RIGHT], "margin": _X_MARGIN, "columns": columns}
    svg = curves_svg(z, panels, sorted(set(marked).intersection(z)))
    return Chart(figure_id, name, _named(svg, figure_id, name), script_json(data))


def script_json(value: object) -> str:
    """JSON that cannot end the script element that holds it."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def _short(value: float) -> float | None:
    """A value with the digits that somebody reads; None where it is not known."""
    return float(f"{value:.4g}") if np.isfinite(value) else None


def _named(svg: str, figure_id: str, name: str) -> str:
    """The figure with a title, and with names of its parts that no other figure on the page has."""
    svg = re.sub(r'xlink:href="#slice-(\d+)"', r'href="#slice-\1" aria-label="slice \1"', svg)
    svg = re.sub(r'(\bid="|xlink:href="#|url\(#)', rf"\g<1>{figure_id}-", svg)
    title = f'<title id="{figure_id}-title">{html.escape(name)}</title>'
    return re.sub(
        r"<svg ([^>]*)>", rf'<svg role="group" aria-labelledby="{figure_id}-title" \1>{title}', svg, count=1
    )


def curves_svg(z: Sequence[int], panels: Sequence[Panel], marked: Sequence[int] = ()) -> str:
    """Panels under each other with z as the common axis, as an `<svg>` element.

    Args:
        z: Numbers of the slices.
        panels: What is drawn.
        marked: Slices that get a mark above the first panel, a link to `#slice-<z>`.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_STYLE):  # type: ignore[arg-type] # matplotlib lists every key as a literal
        height = _MARGINS_INCH + _PANEL_INCH * len(panels)
        figure = Figure(figsize=(_WIDTH_INCH, height))
        grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False)
        # The same margins for every figure: panels under each other share their z axis.
        figure.subplots_adjust(
            left=_LEFT, right=_RIGHT, bottom=0.45 / height, top=1 - 0.4 / height, hspace=0.16
        )
        for axes, panel in zip(grid[:, 0], panels, strict=True):
            _draw(axes, np.asarray(z, np.float64), panel, above_marks=axes is grid[0, 0] and bool(marked))
        margin = _X_MARGIN * max(z[-1] - z[0], 1)
        grid[0, 0].set_xlim(z[0] - margin, z[-1] + margin)
        for slice_z in marked:
            grid[0, 0].text(
                slice_z, 1.0, "▼", transform=grid[0, 0].get_xaxis_transform(), ha="center", va="bottom",
                color=_BAD, fontsize=8, url=f"#slice-{slice_z}",
            )  # fmt: skip
        figure.align_ylabels()
        grid[-1, 0].set_xlabel("slice number z")
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    for placeholder, variable in _THEME.items():
        svg = svg.replace(placeholder, variable)
    return svg


def _draw(axes: Axes, z: NDArray[np.float64], panel: Panel, *, above_marks: bool) -> None:
    for curve, color in zip(panel.curves, (_SERIES_1, _SERIES_2), strict=False):
        if curve.sigma is not None:
            band = band_envelope(z, curve.values - curve.sigma, curve.values + curve.sigma)
            axes.fill_between(*band, color=color, alpha=0.3, linewidth=0)
        x, y = envelope(z, curve.values)
        marker = "." if len(x) < 200 else None
        axes.plot(x, y, color=color, linewidth=1.1, marker=marker, markersize=3, label=curve.name)
    axes.set_ylabel(panel.label)
    axes.ticklabel_format(useOffset=False)
    if len(panel.curves) > 1:
        axes.legend(
            loc="lower right",
            bbox_to_anchor=(1, 1.1 if above_marks else 0.98),
            ncols=2,
            frameon=False,
            borderpad=0,
        )


def picture_uri(values: NDArray[np.uint8], known: NDArray[np.bool_], quality: int = _LOSSLESS) -> str:
    """A grey picture as a `data:` URI of a WebP, transparent where nothing is known.

    WebP takes about half the bytes of PNG, which has no grey with transparency in OpenCV.

    Args:
        values: Grey levels.
        known: False where nothing is known.
        quality: 1 to 100, or more for one without loss.
    """
    grey = cv2.cvtColor(values, cv2.COLOR_GRAY2BGRA)
    grey[..., 3] = np.where(known, 255, 0)
    _, webp = cv2.imencode(".webp", grey, [cv2.IMWRITE_WEBP_QUALITY, quality])
    return "data:image/webp;base64," + base64.b64encode(webp.tobytes()).decode()
